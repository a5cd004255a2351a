"""`openai:` and `http://…` against a real server that fails in every way a server can."""

from __future__ import annotations

import email.utils
import io
import logging
import socket
import time
import traceback
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, Received, Reply, hurry, openai_models, openai_text, too_many
from PIL import Image as Pillow

from looksay.backends import LoadOptions, http, load, openai
from looksay.errors import BackendError, InputError, RemoteNotAllowed
from looksay.types import Completion, Conversation, Image, Options, Price

KEY = "sk-test-0123456789abcdefghijklmnop"
DOG = openai_text("A dog on a beach.")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo with a camera, a place and a thumbnail's worth of EXIF."""
    path = tmp_path / "dog.jpg"
    exif = Pillow.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 14.0)
    Pillow.effect_noise((640, 480), 60).convert("RGB").save(path, exif=exif)
    return path


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "LOOKSAY_API_KEY", "GEMINI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def ask(photo: Path, words: str = "Describe it.") -> Conversation:
    return Conversation.ask(words, Image(photo), system="Be brief.")


def run(
    server: Faulty, photo: Path, n: int = 1, options: Options | None = None, **load_options: Any
) -> list[Completion]:
    backend = load(f"{server.url}/v1#m", LoadOptions(**load_options))
    hurry(backend)
    done = backend.complete([ask(photo, f"photo {i}") for i in range(n)], options or Options())
    return sorted(done, key=lambda c: c.index)


def test_a_photo_is_described(photo: Path) -> None:
    with Faulty([DOG], pages=openai_models("m")) as server:
        [done] = run(server, photo, options=Options(max_tokens=77, temperature=0.5, seed=3))
    assert (done.text, done.error, done.finish_reason) == ("A dog on a beach.", None, "stop")
    assert (done.prompt_tokens, done.completion_tokens, done.cost_usd) == (100, 10, 0.0)
    body = server.posts[0].body
    assert body["model"] == "m"
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (77, 0.5, 3)
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"][0] == {"type": "text", "text": "photo 0"}


def test_what_leaves_is_a_small_jpeg_without_metadata(photo: Path) -> None:
    with Faulty([DOG], pages=openai_models("m")) as server:
        run(server, photo, max_side_px=320)
    [sent] = server.posts[0].images
    with Pillow.open(io.BytesIO(sent)) as image:
        assert image.format == "JPEG"
        assert max(image.size) == 320
        assert not image.getexif()
    assert b"SecretCamera" not in sent
    assert b"SecretCamera" in photo.read_bytes()


def test_an_image_over_the_limit_is_sent_with_less_quality(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(http.jpeg_base64(Image(photo), 640))
    monkeypatch.setattr(http, "MAX_IMAGE_BYTES", whole * 2 // 3)
    assert len(http.jpeg_base64(Image(photo), 640)) <= whole * 2 // 3
    monkeypatch.setattr(http, "MAX_IMAGE_BYTES", whole // 20)  # no quality is low enough: shrink
    assert len(http.jpeg_base64(Image(photo), 640)) <= whole // 20


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


def test_an_empty_text_is_asked_for_once_more(photo: Path) -> None:
    with Faulty([openai_text(""), DOG], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.prompt_tokens) == ("A dog on a beach.", 200)
    with Faulty(rest=openai_text("  \n"), pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.finish_reason, done.error) == ("", "error", "empty answer")
    assert len(server.posts) == 2


def test_thinking_that_leaves_no_room_says_so(photo: Path) -> None:
    with Faulty(rest=openai_text("", finish="length"), pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert "raise max_tokens" in (done.error or "")
    assert len(server.posts) == 1


def test_a_text_that_was_cut_says_so(photo: Path) -> None:
    with Faulty([openai_text("A dog on", finish="length")], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.finish_reason, done.error) == ("A dog on", "length", None)


@pytest.mark.parametrize(
    "reply",
    [
        openai_text(None, refusal="I can't help with that."),
        openai_text("", finish="content_filter"),
        openai_text("I'm sorry, but I can't assist with that request."),
    ],
)
def test_a_refusal_is_no_text(photo: Path, reply: Reply) -> None:
    with Faulty([reply], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.finish_reason) == ("", "refusal")
    assert (done.error or "").startswith("the model refused: ")
    assert done.prompt_tokens == 100, "a refusal is paid for"
    assert len(server.posts) == 1


@pytest.mark.parametrize(
    "text",
    [
        "I cannot identify people in images.",
        "I’m sorry, I can’t help with identifying people.",
        "As an AI language model, I am unable to view images.",
        "Sorry, but as an AI assistant I cannot describe this.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Lo siento, pero no puedo ayudar con eso.",
        "죄송하지만 이 이미지는 설명할 수 없습니다.",
        "抱歉，我无法描述这张图片。",
    ],
)
def test_refusals_are_known(text: str) -> None:
    assert http.is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "A handwritten note that reads “Sorry, I can't come”.",
        "Sorry, we are closed: a sign on a shop door.",
        "I ♥ NY printed on a white mug.",
        "A man who cannot help laughing holds his belly.",
        "Unfortunately placed lamp post behind a smiling woman.",
        "I can see a dog.",
        "I'm sorry, but I can't " + "describe a very long text of many words " * 20,
    ],
)
def test_descriptions_are_no_refusals(text: str) -> None:
    assert not http.is_refusal(text)


def test_usage_that_is_not_reported_is_unknown(photo: Path) -> None:
    with Faulty([openai_text("A dog.", usage=None)], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.prompt_tokens, done.completion_tokens) == (None, None)


def test_a_bad_photo_does_not_stop_the_run(photo: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    photos = [empty, tmp_path / "gone.jpg", photo]
    with Faulty(rest=DOG, pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m")
        done = sorted(backend.complete(map(ask, photos), Options()), key=lambda c: c.index)
    assert "0 bytes" in (done[0].error or "")
    assert done[1].error
    assert done[2].text
    assert len(server.posts) == 1


def test_redirects_are_not_followed(photo: Path) -> None:
    with Faulty(rest=DOG) as elsewhere:
        to = Reply(None, 307, {"location": f"{elsewhere.url}/v1/chat/completions"})
        with (
            Faulty(rest=to, pages=openai_models("m")) as server,
            pytest.raises(BackendError, match=r"redirects to 127\.0\.0\.1, which is not followed"),
        ):
            run(server, photo, 3)
        assert elsewhere.received == []


def test_no_proxy_of_the_environment_sees_what_stays_here(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Faulty(rest=DOG) as proxy, Faulty(rest=DOG, pages=openai_models("m")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        [done] = run(server, photo)
        assert done.text
        assert proxy.received == []


def test_the_only_model_is_taken_and_more_than_one_are_listed() -> None:
    with Faulty(pages=openai_models("org/solo")) as server:
        backend = load(f"{server.url}/v1")
        assert backend.name == f"{server.url}/v1#org/solo"
    with (
        Faulty(pages=openai_models("b", "a")) as server,
        pytest.raises(BackendError, match=r"lists 2 models.*a, b.*Type: http\S+/v1#a"),
    ):
        load(f"{server.url}/v1")


def test_a_server_without_a_list_of_models_is_used_by_name(photo: Path) -> None:
    with Faulty([DOG]) as server:
        [done] = run(server, photo)
    assert done.text


def test_fingerprints_tell_models_and_servers_apart() -> None:
    def fingerprint(model: str, **row: Any) -> tuple[str, str]:
        with Faulty(pages=openai_models(model, **row)) as server:
            return load(f"{server.url}/v1#{model}").fingerprint, server.url

    print_, url = fingerprint("m", root="/models/one")
    assert print_.startswith(f"m@{url}/v1#")
    digests = {
        fingerprint("m", **row)[0].partition("#")[2]
        for row in ({"root": "/models/one"}, {"root": "/models/two"}, {"meta": {"n_params": 7}})
    }
    assert len(digests) == 3
    now, later = fingerprint("m", created=1)[0], fingerprint("m", created=2)[0]
    assert now.partition("#")[2] == later.partition("#")[2], "vLLM puts the present time there"


def test_a_url_with_a_secret_is_refused() -> None:
    for url in ("http://me:pw@127.0.0.1:1/v1#m", "http://127.0.0.1:1/v1?key=abc#m"):
        with pytest.raises(InputError, match="would be stored"):
            load(url)


def test_another_machine_is_asked_nothing_without_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "connect", lambda *_: pytest.fail("it connected"))
    for name in ("openai:gpt-4o", "http://192.0.2.1/v1#m", "openai:gemini-3.8-flash"):
        with pytest.raises(RemoteNotAllowed, match="--allow-remote"):
            load(name)


def test_a_key_that_is_missing_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai.keys, "key_for", lambda *_: None)
    for name, env in (("openai:gpt-4o", "OPENAI"), ("openai:gemini-3.8-flash", "GEMINI")):
        with pytest.raises(BackendError, match=rf"{env}_API_KEY=KEY.*keyring set looksay"):
            load(name, LoadOptions(allow_remote=True))


def test_openai_itself(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's own path, with its URL pointed here: key sent, price from the presets."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    answer = openai_text("A dog.", usage=(1000, 100))
    with Faulty([answer], pages=openai_models("gpt-4o")) as server:
        monkeypatch.setattr(openai, "OPENAI_URL", f"{server.url}/v1")
        backend = load("openai:gpt-4o")
        [done] = backend.complete([ask(photo)], Options())
    assert backend.name == "openai:gpt-4o"
    assert backend.profile.price == Price(2.5, 10.0)
    assert done.cost_usd == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)
    assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.posts[0].headers["openai-organization"] == "org-mine"
    assert server.posts[0].body["max_completion_tokens"] == 300


def test_other_servers_get_neither_the_key_nor_the_account(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    with Faulty([DOG], pages=openai_models("m")) as server:
        run(server, photo)
    sent = str([r.headers for r in server.received])
    assert KEY not in sent
    assert "org-mine" not in sent
    assert "proj-mine" not in sent


def test_a_server_of_ones_own_gets_its_key(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKSAY_API_KEY", "my-own-key-123")
    with Faulty([DOG], pages=openai_models("m")) as server:
        run(server, photo)
    assert server.posts[0].headers["authorization"] == "Bearer my-own-key-123"


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_is_never_shown(
    photo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    secret = "plain+secret/key=42"
    monkeypatch.setenv("LOOKSAY_API_KEY", secret)
    caplog.set_level(logging.DEBUG)
    echo = Reply(
        {"error": {"message": f"the key {secret} (Bearer {secret}, {KEY}) is bad"}}, status
    )
    with Faulty(rest=echo, pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m", LoadOptions(retries=1))
        hurry(backend)
        shown = repr(backend) + str(backend.profile) + backend.name + backend.fingerprint
        if status == 401:
            with pytest.raises(BackendError) as raised:
                list(backend.complete([ask(photo)], Options()))
            shown += "".join(traceback.format_exception(raised.value))
        else:
            shown += str(list(backend.complete([ask(photo)], Options())))
    assert "is bad" in shown
    assert server.posts[0].headers["authorization"] == f"Bearer {secret}"
    for place in (shown, caplog.text):
        assert secret not in place
        assert KEY not in place


def test_streaming(photo: Path) -> None:
    def chunk(text: str) -> str:
        delta = '{"index": 0, "delta": {"content": "%s"}, "finish_reason": null}' % text  # noqa: UP031
        return (
            'data: {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", '
            f'"choices": [{delta}]}}\n\n'
        )

    events = chunk("A dog") + chunk(" runs.") + "data: [DONE]\n\n"
    stream = Reply(events, headers={"content-type": "text/event-stream"})
    with Faulty([too_many(), stream], pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m")
        hurry(backend)
        assert list(backend.stream(ask(photo), Options())) == ["A dog", " runs."]
        assert server.posts[-1].body["stream"] is True
        server.script = iter([Reply({"error": {"message": "bad key"}}, 401)])
        with pytest.raises(BackendError, match="bad key"):
            list(backend.stream(ask(photo), Options()))
