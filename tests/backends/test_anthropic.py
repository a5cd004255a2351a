"""`anthropic:` through the official SDK, against a scripted server in Anthropic's place."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from faulty import Faulty, Received, Reply, hurry, too_many
from PIL import Image as Pillow

from looksay.backends import LoadOptions, load
from looksay.errors import BackendError, MissingDependency, RemoteNotAllowed
from looksay.types import Completion, Conversation, Image, Message, Options

NAME = "anthropic:claude-haiku-5-5"
KEY = "sk-ant-0123456789abcdefghij"
MODEL = {"/v1/models/claude-haiku-5-5": Reply({"id": "claude-haiku-5-5-20261007", "type": "model"})}


def said(text: str | None, stop: str = "end_turn", usage: Any = None) -> Reply:
    content = [] if text is None else [{"type": "text", "text": text}]
    counts = usage or {"input_tokens": 1000, "output_tokens": 100}
    return Reply(
        {
            "id": "1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-5-5",
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": counts,
        }
    )


def failed(status: int, message: str, **headers: str) -> Reply:
    body = {"type": "error", "error": {"type": "some_error", "message": message}}
    return Reply(body, status, headers)


@pytest.fixture(autouse=True)
def sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    need(importlib.util.find_spec("anthropic"), 'pip install ".[anthropic]"')
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    Pillow.effect_noise((64, 48), 60).convert("RGB").save(path)
    return path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    def point(server: Faulty) -> Faulty:
        from looksay.backends import anthropic

        server.pages = MODEL | server.pages
        monkeypatch.setattr(anthropic, "ANTHROPIC_URL", server.url)
        return server

    return point


def run(photo: Path, n: int = 1, **asked: Any) -> list[Completion]:
    backend = load(NAME, LoadOptions(retries=3))
    hurry(backend)
    conversation = Conversation.ask("Describe it.", Image(photo), system="Be brief.")
    return list(backend.complete([conversation] * n, Options(**asked)))


def test_a_photo_is_described(photo: Path, here: Any) -> None:
    with here(Faulty([said("A dog.")])) as server:
        [done] = run(photo, max_tokens=55, stop=("END",))
    assert (done.text, done.error) == ("A dog.", None)
    assert (done.prompt_tokens, done.completion_tokens) == (1000, 100)
    assert done.cost_usd == pytest.approx((1000 * 0.10 + 100 * 0.50) / 1e6)
    body = server.posts[0].body
    assert (body["system"], body["max_tokens"], body["temperature"]) == ("Be brief.", 55, 0.0)
    assert body["stop_sequences"] == ["END"]
    assert body["thinking"] == {"type": "disabled"}
    assert [part["type"] for part in body["messages"][0]["content"]] == ["text", "image"]
    with Pillow.open(io.BytesIO(server.posts[0].images[0])) as sent:
        assert (sent.format, sent.size) == ("JPEG", (64, 48))


def test_the_fingerprint_is_the_dated_model(here: Any) -> None:
    with here(Faulty()) as server:
        backend = load(NAME)
        assert backend.fingerprint == f"claude-haiku-5-5-20261007@{server.url}"
        assert backend.name == NAME


def test_turns_keep_their_order(here: Any) -> None:
    talk = Conversation(
        (
            Message("system", ("One.",)),
            Message("user", ("Hello",)),
            Message("assistant", ("Hi",)),
            Message("user", ("Again",)),
            Message("system", ("Two.",)),
        )
    )
    with here(Faulty([said("Yes.")])) as server:
        list(load(NAME).complete([talk], Options()))
    body = server.posts[0].body
    assert body["system"] == "One.\n\nTwo."
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]


def test_what_went_through_the_cache_is_counted(photo: Path, here: Any) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 90}
    with here(Faulty([said("A dog.", usage=usage)])):
        [done] = run(photo)
    assert done.prompt_tokens == 100


@pytest.mark.parametrize(
    "fault",
    [
        too_many(1),
        failed(529, "overloaded"),
        failed(500, "oops"),
        Reply(fault="reset"),
        Reply(said("A dog.").body, fault="half"),
        Reply("<html>"),
    ],
    ids=["429", "529", "500", "reset", "half", "html"],
)
def test_passing_faults_are_tried_again(photo: Path, here: Any, fault: Reply) -> None:
    with here(Faulty([fault, said("A dog.")])) as server:
        [done] = run(photo)
    assert (done.text, done.error) == ("A dog.", None)
    assert len(server.posts) == 2


def test_models_that_refuse_sampling_parameters_do_without(photo: Path, here: Any) -> None:
    def script(received: Received) -> Reply:
        if "temperature" in received.body:
            return failed(400, "`temperature` is deprecated for this model.")
        return said("A dog.")

    with here(Faulty(script)) as server:
        done = run(photo, 2)
    assert [c.error for c in done] == [None, None]
    assert done[0].details["left_out"] == ["temperature"]
    assert len(server.posts) == 3


def test_endings(photo: Path, here: Any) -> None:
    script = [
        said("A dog on", "max_tokens"),
        said(None, "refusal"),
        said("I'm sorry, but I can't identify people."),
        said(None),
        said(None),
    ]
    with here(Faulty(script)):
        done = run(photo, 4)
    assert [c.finish_reason for c in done] == ["length", "refusal", "refusal", "stop"]
    assert done[3].error == "empty answer"
    assert all(c.text == "" for c in done[1:])


@pytest.mark.parametrize(
    ("status", "expected"), [(401, "ANTHROPIC_API_KEY=KEY"), (404, "looksay models")]
)
def test_load_finds_a_wrong_key_and_a_wrong_model(here: Any, status: int, expected: str) -> None:
    page = failed(status, f"no: {KEY}")
    server = here(Faulty())
    server.pages = dict.fromkeys(MODEL, page)
    with server, pytest.raises(BackendError, match=expected) as raised:
        load(NAME)
    assert KEY not in str(raised.value)


def test_a_model_that_was_withdrawn_says_when(here: Any) -> None:
    with here(Faulty()), pytest.raises(BackendError, match="withdrawn on 2025-10-28"):
        load("anthropic:claude-3-5-sonnet-latest")


def test_nothing_is_asked_without_leave_or_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from looksay.backends import anthropic

    with pytest.raises(RemoteNotAllowed):
        load(NAME)
    monkeypatch.setattr(anthropic.keys, "key_for", lambda *_: None)
    with pytest.raises(BackendError, match="ANTHROPIC_API_KEY"):
        load(NAME, LoadOptions(allow_remote=True))


def test_without_the_sdk_the_error_says_what_to_install(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with here(Faulty()), pytest.raises(MissingDependency, match=r"\.\[anthropic\]"):
        load(NAME)


def test_the_key_is_never_shown(photo: Path, here: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with here(Faulty([failed(400, f"bad key {KEY}")])) as server:
        backend = load(NAME)
        [done] = backend.complete([Conversation.ask("?", Image(photo))], Options())
    assert KEY in str(server.posts[0].headers), "the test is about a key that is really sent"
    assert "bad key ***" in (done.error or "")
    for place in (caplog.text, repr(backend), str(done)):
        assert KEY not in place


def test_redirects_are_not_followed(photo: Path, here: Any) -> None:
    with Faulty(rest=said("A dog.")) as elsewhere:
        to = Reply(None, 307, {"location": f"{elsewhere.url}/v1/messages"})
        with here(Faulty(rest=to)), pytest.raises(BackendError, match="redirects"):
            run(photo)
        assert elsewhere.received == []


def test_streaming(photo: Path, here: Any) -> None:
    start = {"type": "message_start", "message": said(None).body}
    pieces = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in ("A dog", " runs.")
    ]
    events = [start, *pieces, {"type": "message_stop"}]
    text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    stream = Reply(text, headers={"content-type": "text/event-stream"})
    with here(Faulty([too_many(), stream])):
        backend = load(NAME)
        hurry(backend)
        asked = Conversation.ask("What?", Image(photo))
        assert list(backend.stream(asked, Options())) == ["A dog", " runs."]
