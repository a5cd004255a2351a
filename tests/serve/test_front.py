"""What Ray Serve is told, and what stands around its proxy: both without Ray."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from looksay.backends import _ray
from looksay.errors import InputError
from looksay.serve import cluster, front, limits
from looksay.serve.shelf import Shelf

Send = Callable[[Any], Awaitable[None]]


def around(inner: Any) -> Any:
    """`inner` as Ray's proxy has it around itself: the first layer is the innermost."""
    for layer in front.layers():
        inner = layer.cls(inner, *layer.args, **layer.kwargs)
    return inner


def ask(inner: Any, **more: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        carrier = httpx.ASGITransport(around(inner))
        async with httpx.AsyncClient(transport=carrier, base_url="http://127.0.0.1") as client:
            return await client.post("/v1/chat/completions", **more)

    return asyncio.run(asked())


def start(status: int, kind: str) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", kind.encode())],
    }


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def told(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


def test_a_proxy_that_gives_no_answer() -> None:
    """What it does when a replica dies before its answer began."""

    async def silent(scope: Any, receive: Any, send: Send) -> None:
        await receive()

    answer = ask(silent, json={})
    assert answer.status_code == 503
    assert told(answer) == front.DIED
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_stream_that_breaks_off_says_so_and_ends() -> None:
    async def breaks(scope: Any, receive: Any, send: Send) -> None:
        await send(start(200, "text/event-stream; charset=utf-8"))
        await send(body(b'data: {"choices": []}\n\n', more=True))

    events = ask(breaks, json={}).text.split("\n\n")
    assert events[0] == 'data: {"choices": []}'
    assert json.loads(events[1].removeprefix("data: "))["error"]["message"] == front.DIED
    assert events[2:] == ["data: [DONE]", ""]


@given(st.lists(st.binary(max_size=9), min_size=1), st.sampled_from([200, 404, 503]), st.booleans())
def test_all_else_goes_through_as_it_is(parts: list[bytes], status: int, stream: bool) -> None:
    kind = "text/event-stream" if stream else "application/json"

    async def speaks(scope: Any, receive: Any, send: Send) -> None:
        await send(start(status, kind))
        for part in parts[:-1]:
            await send(body(part, more=True))
        await send(body(parts[-1]))

    answer = ask(speaks, json={})
    assert (answer.status_code, answer.content) == (status, b"".join(parts))
    assert answer.headers["content-type"] == kind


def test_what_the_proxy_says_itself_is_put_into_the_words_of_the_interface() -> None:
    async def away(scope: Any, receive: Any, send: Send) -> None:
        await send(start(503, "text/plain"))
        await send(body(b"Deployment ", more=True))
        await send(body(b"is unavailable."))

    answer = ask(away, json={})
    assert (answer.status_code, told(answer)) == (503, "Deployment is unavailable.")


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_too_large_is_refused_before_a_replica_has_it(announced: bool) -> None:
    """The proxy reads in a task of its own and stops where the client seems to have gone."""
    read = 0

    async def proxy(scope: Any, receive: Any, send: Send) -> None:
        nonlocal read
        while (message := await receive())["type"] != "http.disconnect":
            read += len(message["body"])

    async def pieces() -> Any:
        for _ in range(65):
            yield bytes(1 << 20)

    whole = bytes(limits.MAX_BODY + 1)
    answer = ask(proxy, content=whole if announced else pieces())
    assert answer.status_code == 413
    assert "is the most" in told(answer)
    assert read <= limits.MAX_BODY


def test_a_client_cannot_ask_to_be_answered_when_it_has_gone() -> None:
    seen: list[bytes] = []

    async def proxy(scope: Any, receive: Any, send: Send) -> None:
        seen.extend(name for name, _ in scope["headers"])

    ask(proxy, json={}, headers={"X-Request-Disconnect-Disabled": "?1", "X-Own": "1"})
    assert b"x-own" in seen
    assert not set(seen) & front._RAYS_OWN


# -- what Ray Serve is told


@example([2], 2, (1, 0))
@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=5),
    st.integers(0, 8),
    st.one_of(st.none(), st.tuples(st.integers(1, 9), st.integers(0, 9))),
)
def test_replicas_fit_on_the_machines(
    cores: list[int], gpus: int, wanted: tuple[int, int] | None
) -> None:
    """All of them at once, wherever there are as many cores at all."""
    replicas = wanted and (wanted[0], wanted[0] + wanted[1])
    nodes: list[Any] = [{"CPU": float(one)} for one in cores]
    nodes[0]["GPU"] = float(gpus)
    if replicas and 0 < gpus < replicas[1]:
        with pytest.raises(InputError, match=f"there are {gpus}"):
            cluster.options(replicas, nodes)
        replicas = None
    found = cluster.options(replicas, nodes)
    needs = found["ray_actor_options"]
    assert 1 <= needs["num_cpus"] <= max(cores)
    assert needs["num_gpus"] == (1 if gpus else 0)
    scaling = found.get("autoscaling_config", {})
    least = scaling.get("min_replicas", found.get("num_replicas"))
    most = scaling.get("max_replicas", found.get("num_replicas"))
    assert (least, most) == (replicas or (max(1, gpus), max(1, gpus)))
    share = needs["num_cpus"]
    if gpus:
        assert share == max(1, cores[0] // gpus)
    elif sum(cores) >= most:
        assert sum(one // share for one in cores) >= most
        assert share == max(cores) or sum(one // (share + 1) for one in cores) < most
    assert cluster.options(replicas, nodes, "cpu")["ray_actor_options"]["num_gpus"] == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        *((words, "expected a number") for words in ("", "-1", "two", "1-2-3")),
        *((words, "there is at least one") for words in ("0", "0-3")),
        ("2-1", "the fewest come first"),
    ],
)
def test_a_number_of_replicas_that_is_none(words: str, why: str) -> None:
    with pytest.raises(InputError, match=f"{words}: {why}.*1-4"):
        _ray.replicas_of(words)


def test_more_replicas_than_cores_are_not_begun_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cores, before = os.cpu_count() or 1, dict(os.environ)
    with pytest.raises(InputError, match=f"{cores} cores.*--replicas {cores}"):
        _ray.started("looksay describe --ray", (1, max(2, cores) + 1))
    assert dict(os.environ) == before


def test_a_replica_whose_queue_has_stopped_is_not_well() -> None:
    from looksay.serve.api import create_app

    replica = cluster.Replica(lambda: Shelf({"echo": "echo"}), create_app)
    place = replica.shelf.models["echo"]
    assert place.it is not None, "the first model is loaded before requests come"
    replica.check_health()

    class Stops:
        threads = 1

        def check(self, ticket: Any) -> None: ...

        def work(self, engine: Any) -> None:
            """A thread that ends at once, as one does in which something is raised that nobody expected."""

    from looksay.backends.engine import Engine

    place.it.engine.close()
    replica.check_health()  # one that was told to close is well
    place.it.engine = Engine("echo", Stops())
    place.it.engine._threads[0].join()
    with pytest.raises(RuntimeError, match="echo answers no more"):
        replica.check_health()


def test_metrics_of_all_replicas_are_one_text() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    one = b"# HELP words_total Said.\n# TYPE words_total counter\nwords_total 3.0\n"
    two = b'# HELP words_total Said.\n# TYPE words_total counter\nwords_total{model="m"} 4.0\n'
    text = cluster.merged({"b": two, "a": one}).decode()
    (family,) = text_string_to_metric_families(text)
    assert family.type == "counter"
    assert [(s.labels, s.value) for s in family.samples] == [
        ({"replica": "a"}, 3.0),
        ({"model": "m", "replica": "b"}, 4.0),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ray"], 'pip install ".[ray]"'),
        (["--replicas", "2"], "--replicas is for --ray"),
        (["--ray", "--replicas", "none"], "--replicas none"),
    ],
)
def test_what_is_missing_or_wrong_is_told_first(words: list[str], said: str) -> None:
    code = "import sys; sys.modules['ray'] = None; from looksay.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--model", "echo", "--port", "0", *words],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
