"""`openai:` and `http://…` against a real server that fails in every way a server can."""

from __future__ import annotations

import email.utils
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from faulty import Faulty, Received, Reply, hurry, openai_models, openai_text, too_many
from openai_asking import DOG, ask, no_keys, photo, run

from looksay.backends import LoadOptions, http, load
from looksay.errors import BackendError
from looksay.types import CONFIDENCE, Completion, Conversation, Options

__all__ = ["no_keys", "photo"]  # fixtures


@pytest.mark.parametrize(
    "fault",
    [
        too_many(),
        too_many(2),
        too_many(status=500),
        too_many(status=502),
        too_many(status=503),
        too_many(status=504),
        too_many(status=529),
        Reply(fault="reset"),
        Reply(DOG.body, fault="half"),
        Reply("<html>proxy's page</html>"),
        Reply({"nothing": "of use"}),
        Reply({"choices": []}),
    ],
    ids=lambda r: (
        f"{r.status}{r.fault}{r.headers or ''}{str(r.body)[:10] if r.status == 200 else ''}"
    ),
)
def test_passing_faults_are_tried_again(photo: Path, fault: Reply) -> None:
    with Faulty([fault, fault, DOG], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.error) == ("A dog on a beach.", None)
    assert len(server.posts) == 3


def test_a_hanging_server_is_left_after_the_time_limit(photo: Path) -> None:
    with Faulty([Reply(fault="hang"), DOG], pages=openai_models("m")) as server:
        started = time.monotonic()
        [done] = run(server, photo, options=Options(timeout_s=0.5))
    assert done.text == "A dog on a beach."
    assert time.monotonic() - started < 5


def test_attempts_end(photo: Path) -> None:
    with Faulty(rest=too_many(status=500), pages=openai_models("m")) as server:
        [done] = run(server, photo, retries=3)
    assert len(server.posts) == 4
    assert done.finish_reason == "error"
    assert "HTTP 500: slow down" in (done.error or "")


def test_waits_grow_are_jittered_and_are_capped(photo: Path) -> None:
    with Faulty(rest=too_many(status=500), pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m", LoadOptions(retries=100))
        clock = hurry(backend)
        list(backend.complete([ask(photo)], Options()))
        naps, total = clock.naps, clock.time
    assert naps[0] < 1.1
    assert all(late > early for early, late in pairwise(naps[:6]))
    bare = [0.5, 1, 2, 4, 8]
    assert [nap - least > 0.001 for nap, least in zip(naps, bare, strict=False)].count(True) >= 3, (
        "without jitter, all workers come back at the same instant"
    )
    assert total <= http.MAX_WAIT_S
    assert len(naps) < 30


def test_retry_after_is_honoured_in_seconds_and_as_a_date(photo: Path) -> None:
    with Faulty(pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m")
        clock = hurry(backend)
        date = email.utils.formatdate(clock.start + 7 + 20, usegmt=True)
        server.script = iter([too_many(7), too_many(date), DOG])
        [done] = backend.complete([ask(photo)], Options())
    assert done.text
    assert clock.naps[0] == 7
    assert 7 + 19 <= clock.time <= 7 + 21


def test_a_wait_of_hours_stops_the_run_with_what_to_type(photo: Path) -> None:
    with Faulty([DOG], rest=too_many(7200), pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m", LoadOptions(concurrency=1))
        hurry(backend)
        done = backend.complete((ask(photo) for _ in range(50)), Options())
        assert next(done).text
        with pytest.raises(BackendError, match=r"120 minutes.*type the same command later"):
            next(done)
    assert len(server.posts) == 2


def test_one_429_slows_every_worker(photo: Path) -> None:
    """Real time: after the 429, nobody asks for a second. (That they do not all come at once then is shown
    below with a clock of its own: arrivals on a busy machine prove nothing.)"""
    refused: list[float] = []

    def script(received: Received) -> Reply:
        if not refused and len(server.posts) > 4:
            refused.append(received.at)
            return too_many(1)
        return openai_text("A dog.", after_s=0.05)

    with Faulty(script, pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m", LoadOptions(concurrency=4))
        done = list(backend.complete([ask(photo)] * 16, Options()))
    assert [c.error for c in done] == [None] * 16
    later = sorted(r.at - refused[0] for r in server.posts if r.at > refused[0] + 0.3)
    assert len(later) >= 8
    assert later[0] >= 0.95


def test_the_gap_grows_with_refusals_and_shrinks_with_answers() -> None:
    import threading

    from faulty import FakeClock

    clock, leaving = FakeClock(), threading.Event()
    gate = http.Gate(clock)
    gate.refused(1)
    gate.refused(1)  # a second worker's refusal of the same moment
    assert gate.gap_s == 0.1
    gate.enter(leaving)
    assert clock.time == 1
    gate.refused(0)
    assert gate.gap_s == 0.2
    for _ in range(20):
        gate.passed()
    assert gate.gap_s == 0
    before = clock.time + 0.2
    gate.enter(leaving)
    gate.enter(leaving)
    assert clock.time <= before


def test_no_more_requests_than_concurrency(photo: Path) -> None:
    slow = openai_text("A dog.", after_s=0.05)
    with Faulty(rest=slow, pages=openai_models("m")) as server:
        done = run(server, photo, 12, concurrency=3)
        assert server.most_in_flight == 3
        assert [c.index for c in done] == list(range(12))
    with Faulty(rest=slow, pages=openai_models("m")) as server:
        run(server, photo, 4)
        assert server.most_in_flight == 1, "a server on this machine gets one at a time by default"


def test_conversations_are_drawn_lazily(photo: Path) -> None:
    drawn: list[int] = []

    def source() -> Iterator[Conversation]:
        for i in range(100):
            drawn.append(i)
            yield ask(photo)

    with Faulty(rest=DOG, pages=openai_models("m")) as server:
        done = load(f"{server.url}/v1#m", LoadOptions(concurrency=2)).complete(source(), Options())
        next(done)
        done.close()  # type: ignore[attr-defined]
    assert len(drawn) <= 4
    assert len(server.posts) <= len(drawn)


def test_leaving_does_not_wait_for_a_sleeping_worker(photo: Path) -> None:
    def script(received: Received) -> Reply:
        return too_many(60) if "photo 1" in str(received.body["messages"]) else DOG

    with Faulty(script, pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m", LoadOptions(concurrency=2))
        done = backend.complete([ask(photo, f"photo {i}") for i in range(2)], Options())
        next(done)
        time.sleep(0.3)
        started = time.monotonic()
        done.close()  # type: ignore[attr-defined]
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, "image too small"), (413, "too large"), (422, "odd"), (418, "teapot")],
)
def test_a_request_that_is_wrong_is_not_repeated(photo: Path, status: int, message: str) -> None:
    wrong = Reply({"error": {"message": message}}, status)
    with Faulty([wrong, DOG], pages=openai_models("m")) as server:
        done = run(server, photo, 2)
    assert f"HTTP {status}: {message}" in (done[0].error or "")
    assert done[1].text
    assert len(server.posts) == 2


def test_a_parameter_that_the_model_refuses_is_left_out_from_then_on(photo: Path) -> None:
    def script(received: Received) -> Reply:
        for name in ("temperature", "max_tokens"):
            if name in received.body:
                return Reply({"error": {"message": f"Unsupported parameter: '{name}'"}}, 400)
        return DOG

    with Faulty(script, pages=openai_models("m")) as server:
        done = run(server, photo, 3)
    assert [c.error for c in done] == [None] * 3
    assert done[0].details["left_out"] == ["max_tokens", "temperature"]
    assert len(server.posts) == 5
    assert server.posts[-1].body["max_completion_tokens"] == 300


def test_how_sure_the_model_was_is_the_mean_of_what_the_server_tells(photo: Path) -> None:
    told = openai_text("A dog.")
    told.body["choices"][0]["logprobs"] = {
        "content": [
            {"token": word, "logprob": log, "bytes": None, "top_logprobs": []}
            for word, log in (("A", -0.1), (" dog", -0.7), (".", -0.1))
        ]
    }
    with Faulty([told, DOG], pages=openai_models("m")) as server:
        done = run(server, photo, 2)
    assert done[0].details[CONFIDENCE] == pytest.approx(-0.3)
    assert CONFIDENCE not in done[1].details
    assert all(post.body["logprobs"] is True for post in server.posts)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Unsupported parameter: 'logprobs'"),
        (400, "local:m gives no log-probabilities: only models that write word by word do"),
        (403, "You are not allowed to request logprobs from this model"),
        (422, "log_probs: extra fields not permitted"),
    ],
)
def test_who_tells_no_log_probabilities_is_not_asked_again(
    photo: Path, status: int, words: str
) -> None:
    def script(received: Received) -> Reply:
        refused = "logprobs" in received.body
        return Reply({"error": {"message": words}}, status) if refused else DOG

    with Faulty(script, pages=openai_models("m")) as server:
        done = run(server, photo, 3)
    assert [c.error for c in done] == [None] * 3
    assert len(server.posts) == 4


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply({"error": {"message": "bad key"}}, 401), "bad key.*LOOKSAY_API_KEY"),
        (Reply({"error": {"message": "pay"}}, 402), "pay.*raise the account's limit"),
        (Reply({"error": {"message": "no access"}}, 403), "no access.*LOOKSAY_API_KEY"),
        (
            Reply({"error": {"message": "no model m"}}, 404),
            "no model m.*It has: a, b.*looksay models",
        ),
        (
            Reply({"error": {"message": "no money", "code": "insufficient_quota"}}, 429),
            "no money.*type the same command later",
        ),
    ],
)
def test_what_dooms_all_stops_the_run(photo: Path, reply: Reply, expected: str) -> None:
    with (
        Faulty(rest=reply, pages=openai_models("a", "b")) as server,
        pytest.raises(BackendError, match=expected),
    ):
        run(server, photo, 20)
    assert len(server.posts) == 1


def test_answers_in_flight_are_kept_when_the_run_is_doomed(photo: Path) -> None:
    def script(received: Received) -> Reply:
        if "photo 1" in str(received.body["messages"]):
            return Reply({"error": {"message": "revoked"}}, 401)
        return openai_text("A dog.", after_s=0.4)

    with Faulty(script, pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m", LoadOptions(concurrency=4))
        done = backend.complete([ask(photo, f"photo {i}") for i in range(40)], Options())
        got: list[Completion] = []
        with pytest.raises(BackendError, match="revoked"):
            got.extend(iter(lambda: next(done), None))
    assert {c.index for c in got} >= {0, 2, 3}
    assert len(server.posts) <= 5


def test_a_server_that_goes_away_in_the_middle_is_waited_for(photo: Path) -> None:
    with Faulty([DOG], pages=openai_models("m")) as first:
        backend = load(f"{first.url}/v1#m", LoadOptions(retries=3))
        clock = hurry(backend)
        done = backend.complete((ask(photo) for _ in range(9)), Options())
        assert next(done).text
    with pytest.raises(BackendError, match=r"nothing answers there.*Start the server"):
        next(done)
    assert len(clock.naps) >= 3


def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(
        BackendError, match=rf"127.0.0.1:{port}/v1: nothing answers.*Start the server"
    ):
        load(f"http://127.0.0.1:{port}/v1#m")
    assert time.monotonic() - started < 4


def test_https_to_a_server_that_speaks_http() -> None:
    with (
        Faulty() as server,
        pytest.raises(BackendError, match=r"no secure connection.*https or http"),
    ):
        load(f"https://127.0.0.1:{server.port}/v1#m")


def test_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKSAY_API_KEY", "“pasted-from-a-letter”")
    with Faulty() as server, pytest.raises(BackendError, match="pasted right") as raised:
        load(f"{server.url}/v1#m")
    assert "letter" not in str(raised.value)
    assert server.received == []
