"""The same application in several processes, or on several machines: Ray Serve shares requests out to replicas.

    run(partial(Shelf, {"mini": "mini"}), create_app, "127.0.0.1", 8000, replicas=(2, 2))

A replica is a process with models of its own (`Replica`). In front of them stands Ray's proxy, which passes a request
on to the one that has the fewest in hand, and what it says itself is put into the words of this interface (`looksay.serve.front`).
A replica that dies takes with it what it was answering; Ray starts another.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import Response
from starlette.routing import Route

from looksay.backends import _ray
from looksay.errors import BackendError, LooksayError
from looksay.serve.metrics import Metrics
from looksay.serve.shelf import Shelf

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "looksay"
"""Of the application, among those that a cluster serves."""
BUSY = 8
"""Requests in hand of each replica from which on another is started, where their number may change."""
DRAIN_S = 30.0
_CAUSE = "cannot serve: "


def run(
    make_shelf: Callable[[], Shelf],
    make_app: Callable[[Shelf], FastAPI],
    host: str,
    port: int,
    replicas: tuple[int, int] | None = None,
    *,
    device: str = "auto",
    tell: Callable[[str], None] = lambda words: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then answer what is being answered.

    Each replica calls `make_shelf` and `make_app`, which are pickled. `replicas`: the fewest and the most; None: one
    for each GPU, or one. Where RAY_ADDRESS names a cluster, replicas run there; otherwise Ray is started on this
    machine, on loopback, for as long as this runs. Raises BackendError where no replica can serve.
    """
    ray = _ray.started("looksay serve --ray", replicas, needs="ray.serve")
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    stop = threading.Event()
    try:
        chosen = options(replicas, _ray.resources(ray), device)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": host, "port": port},
            controller_options={"runtime_env": {"env_vars": _FRONT}},
            logging_config=_QUIET | {"log_level": "CRITICAL"},  # tracebacks of replicas, else
        )
        replica = serve.deployment(serve.ingress()(Replica)).options(**chosen)
        application = replica.bind(make_shelf, make_app)
        try:
            serve.run(application, name=NAME, route_prefix="/", logging_config=_QUIET)
            for which in (signal.SIGINT, signal.SIGTERM):
                signal.signal(which, lambda *_: stop.set())
            tell(_told(chosen))
            while not stop.wait(1.0):
                pass
        except RuntimeError as error:
            raise BackendError(_cause(serve, error)) from None
        finally:
            serve.delete(NAME)  # what is being answered is, before the proxy goes
    finally:
        ray.shutdown()


_QUIET = {"log_level": "ERROR", "enable_access_log": False}
_FRONT = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "looksay.serve.front.layers"}


def options(
    replicas: tuple[int, int] | None, nodes: list[Mapping[str, float]], device: str = "auto"
) -> dict[str, Any]:
    """What Ray Serve is told about the replicas. `nodes`: of each machine, what it has (CPU, GPU).

    A replica takes more requests than it answers at once, so that its own queue decides who is refused, and says for
    how long. Raises InputError where more replicas are asked for than there are GPUs.
    """
    least, most, share = _ray.shared(replicas, nodes, device)
    found: dict[str, Any] = {
        "ray_actor_options": share,
        "max_ongoing_requests": 4096,
        "health_check_period_s": 2.0,
        "graceful_shutdown_timeout_s": DRAIN_S,
        "graceful_shutdown_wait_loop_s": 0.2,
        "max_constructor_retry_count": 1,
    }
    if least == most:
        return found | {"num_replicas": most}
    scaling = {
        "min_replicas": least,
        "max_replicas": most,
        "target_ongoing_requests": BUSY,
        "upscale_delay_s": 10.0,
        "downscale_delay_s": 600.0,
    }
    return found | {"autoscaling_config": scaling}


class Replica:
    """One process of several: a shelf with its first model loaded, behind the application."""

    def __init__(
        self, make_shelf: Callable[[], Shelf], make_app: Callable[[Shelf], FastAPI]
    ) -> None:
        self.shelf, self.make_app = make_shelf(), make_app
        try:
            with self.shelf.serving(next(iter(self.shelf.models))):
                pass  # requests come once it is loaded
        except LooksayError as error:
            raise RuntimeError(_CAUSE + str(error)) from None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray Serve: the application; its /metrics are those of all replicas."""
        app = self.make_app(self.shelf)
        self._metrics: Metrics = app.state.metrics
        app.router.routes.insert(0, Route("/metrics", _everyones))
        return app

    def check_health(self) -> None:
        """Called by Ray Serve, which ends and replaces a replica that raises here."""
        for id, place in self.shelf.models.items():
            if place.it is not None and not place.it.engine.alive:
                raise RuntimeError(f"{id} answers no more: a thread of its queue has ended.")

    def measures(self) -> tuple[str, bytes]:
        """(a name of this replica, its metrics)."""
        from ray import serve

        return serve.get_replica_context().replica_id.unique_id, self._metrics.text()


async def _everyones(request: object) -> Response:
    from ray import serve

    asked = serve.get_deployment_handle(Replica.__name__, NAME).broadcast("measures")
    found = await asked.results_async(timeout_s=10.0, return_exceptions=True)
    given: dict[str, bytes] = dict(
        one for one in found if isinstance(one, tuple)
    )  # one may die meanwhile
    return Response(merged(given), media_type=Metrics.CONTENT_TYPE)


def merged(texts: Mapping[str, bytes]) -> bytes:
    """Metrics of several processes as one text; the label `replica` says whose each is."""
    from prometheus_client import generate_latest
    from prometheus_client.metrics_core import Metric
    from prometheus_client.parser import text_string_to_metric_families

    families: dict[str, Metric] = {}
    for replica, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text.decode()):
            own = Metric(family.name, family.documentation, family.type)
            families.setdefault(family.name, own).samples += [
                one._replace(labels={**one.labels, "replica": replica}) for one in family.samples
            ]
    return generate_latest(cast(Any, SimpleNamespace(collect=families.values)))


def _cause(serve: Any, error: RuntimeError) -> str:
    """Why no replica could begin, out of what Ray says about it."""
    said = [one.message for one in serve.status().applications[NAME].deployments.values()]
    found = re.search(re.escape(_CAUSE) + r"(.+)", "\n".join(said))
    return found[1] if found else f"No replica could begin. Ray says: {error} {' '.join(said)}"


def _told(chosen: Mapping[str, Any]) -> str:
    scaling = chosen.get("autoscaling_config")
    if scaling is None:
        return f"{chosen['num_replicas']} replicas"
    return f"{scaling['min_replicas']} to {scaling['max_replicas']} replicas"
