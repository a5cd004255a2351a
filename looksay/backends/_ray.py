"""Ray, as `looksay serve --ray` and `looksay describe --ray` begin it: on a cluster that is there, or on this machine alone."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from looksay.errors import BackendError, InputError, MissingDependency

OBJECTS_BYTES = 200 << 20
"""Memory in which Ray's processes hand each other what is large: pictures on their way, nothing that stays."""
STARTS = 3
"""Ray gives its own processes 15 seconds to come up, which may be too few on a busy machine."""
REACHED_S = 10.0
"""A cluster's port is open within that time, or there is none."""
_ANY_ADDRESS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Despite its name it is heard everywhere."""
_HERE = {
    _ANY_ADDRESS: "0",  # loopback is the only one
    "RAY_prestart_worker_first_driver": "0",  # idle workers, which nobody here uses
    "RAY_COLOR_PREFIX": "0",
}


def started(what: str, replicas: tuple[int, int] | None, *, needs: str = "ray", **more: Any) -> Any:
    """The module ray, connected to the cluster of RAY_ADDRESS or to one that is started here, on loopback.

    `what` ("looksay serve --ray") needs the module `needs` of it; `more` goes to ray.init. Raises MissingDependency,
    BackendError, and InputError for more replicas than this machine has cores.
    """
    here = "RAY_ADDRESS" not in os.environ
    if here:
        _fit_here(replicas)
        if sys.modules.get("ray") is not None and _ANY_ADDRESS not in os.environ:
            raise BackendError(
                f"{what}: ray was imported before, when nothing told it to listen on loopback alone: start a cluster "
                "(ray start --head) and name it in RAY_ADDRESS, or have looksay begin before you import ray"
            )
        os.environ |= _HERE | os.environ
        if "RAY_AUTH_MODE" not in os.environ:  # whoever has no token runs no code here
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    else:
        _answers(os.environ["RAY_ADDRESS"])
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray

        import_module(needs)
    except ImportError as error:
        raise MissingDependency(what, "ray", error.name or "ray") from error
    own: dict[str, Any] = {
        "address": "local",
        "num_cpus": max(os.cpu_count() or 1, replicas[1] if replicas else 1),
        "include_dashboard": False,
        "object_store_memory": OBJECTS_BYTES,
    }
    for left in range(STARTS if here else 1, 0, -1):
        try:
            ray.init(logging_level="WARNING", **(own if here else {}), **more)
            break
        except Exception as error:  # a plain one, where its processes do not come up in time
            ray.shutdown()
            if left == 1:
                raise BackendError(f"Ray could not be started or reached: {error}") from error
    return ray


def _fit_here(replicas: tuple[int, int] | None) -> None:
    """Raise InputError for more replicas than this machine has cores (or two): each holds the whole model, and they would
    only wait for one another."""
    cores = os.cpu_count() or 1
    if replicas is not None and replicas[1] > max(2, cores):
        raise InputError(
            f"--replicas {replicas[1]}: this machine has {cores} cores, and each replica holds the model by itself. "
            f"Type --replicas {cores}, or name a cluster in RAY_ADDRESS."
        )


def _answers(address: str) -> None:
    """Raise BackendError where nobody listens at RAY_ADDRESS: Ray itself would go on trying for minutes."""
    found = re.fullmatch(r"(?:ray://)?\[?([^\]/]+?)\]?:(\d+)", address)
    if found is None:  # "auto", and what else Ray knows
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=REACHED_S).close()
    except (OSError, OverflowError) as error:
        raise BackendError(
            f"No Ray cluster answers at {address} (RAY_ADDRESS): {error}. Begin one (ray start --head), or take "
            "RAY_ADDRESS away and one is started on this machine."
        ) from error


def resources(ray: Any) -> list[Mapping[str, float]]:
    """Of each machine of the cluster, what it has (CPU, GPU)."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def shared(
    replicas: tuple[int, int] | None, nodes: Sequence[Mapping[str, float]], device: str = "auto"
) -> tuple[int, int, dict[str, int]]:
    """(the fewest replicas, the most, what each takes): a GPU where there are any, and its share of the cores.

    Ray lets torch have as many threads. Raises InputError where more are asked for than there are GPUs.
    """
    gpus = 0 if device in ("cpu", "mps") else int(sum(node.get("GPU", 0) for node in nodes))
    least, most = replicas or (max(1, gpus), max(1, gpus))
    if gpus and most > gpus:
        raise InputError(
            f"{most} replicas want a GPU each, and there are {gpus}: --replicas {gpus}, or --device cpu."
        )
    room = [(int(node.get("CPU", 0)), int(node.get("GPU", 0)) if gpus else most) for node in nodes]
    shares = range(max(cores for cores, _ in room), 1, -1)
    together = (
        gpus or most
    )  # a GPU's share of the cores is the same whether or not the others are wanted
    fits = (one for one in shares if sum(min(c // one, g) for c, g in room) >= together)
    return least, most, {"num_cpus": next(fits, 1), "num_gpus": 1 if gpus else 0}


def replicas_of(words: str) -> tuple[int, int]:
    """The fewest and the most: "3" or "1-4". Raises InputError.

    >>> replicas_of("3"), replicas_of("1-4")
    ((3, 3), (1, 4))
    """
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", words.strip())
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    wrong = ""
    if found is not None and least < 1:
        wrong = "there is at least one, "
    elif least > most:
        wrong = "the fewest come first, "
    if wrong or found is None:
        raise InputError(
            f"--replicas {words}: {wrong}expected a number, or the fewest and the most: 1-4"
        )
    return least, most
