"""`ollama:` against a scripted Ollama: its own API, with its habits and its faults."""

from __future__ import annotations

import io
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, Received, Reply, hurry, too_many
from PIL import Image as Pillow

from looksay.backends import LoadOptions, load, ollama
from looksay.errors import BackendError, InputError, RemoteNotAllowed
from looksay.types import Completion, Conversation, Image, Options

SEES = ["completion", "vision"]
MODELS: dict[str, dict[str, Any]] = {
    "llava:13b": {"capabilities": SEES},
    "qwen3-vl:8b": {"capabilities": [*SEES, "thinking"]},
    "llama3:latest": {"capabilities": ["completion", "tools"]},
    "qwen3-vl:235b-cloud": {"capabilities": SEES, "remote_host": "https://ollama.com:443"},
}


def tags(models: dict[str, dict[str, Any]], *, with_capabilities: bool = True) -> dict[str, Reply]:
    rows = [
        {"name": name, "model": name, "size": 1000, "digest": f"digest-of-{name}"}
        | (about if with_capabilities else {})
        for name, about in models.items()
    ]
    return {"/api/tags": Reply({"models": rows})}


def said(text: str, **more: Any) -> Reply:
    message = {"role": "assistant", "content": text}
    counts = {"prompt_eval_count": 700, "eval_count": 9, "done": True, "done_reason": "stop"}
    return Reply({"model": "llava:13b", "message": message} | counts | more)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    Pillow.effect_noise((64, 48), 60).convert("RGB").save(path)
    return path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Point OLLAMA_HOST at a scripted server."""

    def point(server: Faulty) -> Faulty:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.port}")
        return server

    return point


def run(photo: Path, n: int = 1, name: str = "ollama:llava:13b", **asked: Any) -> list[Completion]:
    backend = load(name, LoadOptions(retries=3))
    hurry(backend)
    conversation = Conversation.ask("Describe it.", Image(photo), system="Be brief.")
    return list(backend.complete([conversation] * n, Options(**asked)))


def test_a_photo_is_described(photo: Path, here: Any) -> None:
    with here(Faulty([said("A dog.")], pages=tags(MODELS))) as server:
        [done] = run(photo, max_tokens=55, seed=4, stop=("\n",))
    assert (done.text, done.error) == ("A dog.", None)
    assert (done.prompt_tokens, done.completion_tokens, done.cost_usd) == (700, 9, 0.0)
    body = server.posts[0].body
    assert server.posts[0].path == "/api/chat"
    assert body["stream"] is False
    assert body["options"] == {
        "temperature": 0.0, "top_p": 1.0, "num_predict": 55, "seed": 4, "stop": ["\n"]
    }  # fmt: skip
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Describe it."),
    ]
    with Pillow.open(io.BytesIO(server.posts[0].images[0])) as sent:
        assert (sent.format, sent.size) == ("JPEG", (64, 48))
    assert "think" not in body


def test_the_digest_is_the_fingerprint(here: Any) -> None:
    with here(Faulty(pages=tags(MODELS))):
        backend = load("ollama:llava:13b")
        assert backend.fingerprint == "digest-of-llava:13b"
        assert not backend.profile.remote
        assert backend.profile.concurrency == 1
        assert load("ollama:llava:13b", LoadOptions(concurrency=3)).profile.concurrency == 3


def test_a_model_that_thinks_is_told_not_to(photo: Path, here: Any) -> None:
    with here(Faulty([said("A dog.")], pages=tags(MODELS))) as server:
        run(photo, name="ollama:qwen3-vl:8b")
    assert server.posts[0].body["think"] is False


def test_older_servers_say_what_a_model_can_only_one_by_one(here: Any) -> None:
    about = {
        "new:1b": Reply({"capabilities": SEES}),
        "old:1b": Reply({"projector_info": {"clip": 1}}),
        "blind:1b": Reply({"details": {}}),
        "broken:1b": Reply({"error": "no"}, 500),
    }

    def script(received: Received) -> Reply:
        assert received.path == "/api/show"
        return about[received.body["model"]]

    pages = tags({name: {} for name in about})
    with here(Faulty(script, pages=pages)):
        assert sorted(ollama.discover()) == ["ollama:new:1b", "ollama:old:1b"]


def test_a_model_that_reads_text_only_is_refused(here: Any) -> None:
    with (
        here(Faulty(pages=tags(MODELS))),
        pytest.raises(BackendError, match=r"cannot see.*completion, tools.*llava:13b"),
    ):
        load("ollama:llama3")


def test_an_unknown_model_lists_those_that_see(here: Any) -> None:
    with here(Faulty(pages=tags(MODELS))), pytest.raises(BackendError) as raised:
        load("ollama:gemma3:4b")
    assert "Vision models at" in str(raised.value)
    assert "llava:13b" in str(raised.value)
    assert "llama3" not in str(raised.value)
    assert "ollama pull gemma3:4b" in str(raised.value)


def test_without_a_name_the_only_one_is_taken(here: Any) -> None:
    one = {"llava:13b": MODELS["llava:13b"], "llama3:latest": MODELS["llama3:latest"]}
    with here(Faulty(pages=tags(one))):
        assert load("ollama:").name == "ollama:llava:13b"
    with here(Faulty(pages=tags(MODELS))), pytest.raises(BackendError, match=r"Type: ollama:llava"):
        load("ollama")
    with here(Faulty(pages=tags({}))), pytest.raises(BackendError, match=r"none.*ollama pull"):
        load("ollama:")


def test_latest_may_be_left_out(here: Any) -> None:
    with here(Faulty(pages=tags({"llava:latest": {"capabilities": SEES}}))):
        assert load("ollama:llava").name == "ollama:llava:latest"


def test_a_cloud_model_of_a_local_server_counts_as_remote(here: Any) -> None:
    """The server is on loopback, the photos would not stay there."""
    with here(Faulty(pages=tags(MODELS))) as server:
        with pytest.raises(RemoteNotAllowed, match=r"ollama\.com"):
            load("ollama:qwen3-vl:235b-cloud")
        backend = load("ollama:qwen3-vl:235b-cloud", LoadOptions(allow_remote=True))
        assert backend.profile.remote
        assert "ollama:qwen3-vl:235b-cloud" not in ollama.discover()
        assert server.posts == []


def test_a_server_elsewhere_is_asked_nothing_without_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "192.0.2.7:11434")
    monkeypatch.setattr(ollama, "connect", lambda *_: pytest.fail("it connected"))
    with pytest.raises(RemoteNotAllowed):
        load("ollama:llava")
    assert ollama.discover() == []


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("box:1234", "http://box:1234"),
        ("http://box", "http://box:80"),
        ("https://box", "https://box:443"),
        ("[::1]:99", "http://[::1]:99"),
        ("::1", "http://127.0.0.1:11434"),
    ],
)
def test_hosts(value: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", value)
    if value == "::1":  # ambiguous without brackets: refused rather than guessed
        with pytest.raises(InputError, match="Expected host:port"):
            ollama.host()
    else:
        assert ollama.host() == url


def test_no_server_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{free.getsockname()[1]}")
    started = time.monotonic()
    assert ollama.discover() == []
    with pytest.raises(BackendError, match=r"nothing answers there.*Type: ollama serve"):
        load("ollama:llava")
    assert time.monotonic() - started < 2.5


def test_another_program_on_the_port_is_not_ollama(here: Any) -> None:
    for page in (Reply("<html>"), Reply({"hello": 1}), Reply({"models": [{}]}), Reply([1])):
        with here(Faulty(pages={"/api/tags": page})):
            assert ollama.discover() == []
            with pytest.raises(BackendError, match="Is Ollama running"):
                load("ollama:llava")


@pytest.mark.parametrize(
    "fault",
    [
        too_many(1),
        Reply({"error": "loading"}, 503),
        Reply(fault="reset"),
        Reply(said("A dog.").body, fault="half"),
        said("", done_reason="load"),
        Reply({"message": "odd"}),
    ],
    ids=["429", "503", "reset", "half", "load", "odd"],
)
def test_passing_faults_are_tried_again(photo: Path, here: Any, fault: Reply) -> None:
    with here(Faulty([fault, said("A dog.")], pages=tags(MODELS))) as server:
        [done] = run(photo)
    assert (done.text, done.error) == ("A dog.", None)
    assert len(server.posts) == 2


def test_faults_that_stay(photo: Path, here: Any) -> None:
    with here(Faulty(rest=Reply({"error": "model is broken"}, 500), pages=tags(MODELS))) as server:
        [done] = run(photo)
    assert "HTTP 500: model is broken" in (done.error or "")
    assert len(server.posts) == 4
    with (
        here(Faulty(rest=Reply({"error": "model not found"}, 404), pages=tags(MODELS))),
        pytest.raises(BackendError, match=r"not found.*ollama pull llava:13b"),
    ):
        run(photo, 5)


def test_endings(photo: Path, here: Any) -> None:
    script = [
        said("A dog on", done_reason="length"),
        said("I'm sorry, I can't help with that."),
        said("A dog.", prompt_eval_count=None, eval_count=None),
        said(""),
        said(""),
    ]
    with here(Faulty(script, pages=tags(MODELS))):
        done = run(photo, 4)
    assert [c.finish_reason for c in done] == ["length", "refusal", "stop", "stop"]
    assert [c.error for c in done][2:] == [None, "empty answer"]
    assert (done[2].prompt_tokens, done[2].completion_tokens) == (None, None)


def test_redirects_are_not_followed(photo: Path, here: Any) -> None:
    with Faulty(rest=said("A dog.")) as elsewhere:
        to = Reply(None, 308, {"location": f"{elsewhere.url}/api/chat"})
        with (
            here(Faulty(rest=to, pages=tags(MODELS))),
            pytest.raises(BackendError, match="redirects"),
        ):
            run(photo)
        assert elsewhere.received == []


def test_streaming(photo: Path, here: Any) -> None:
    pieces = [{"message": {"content": text}, "done": False} for text in ("A dog", " runs.")]
    lines = "".join(
        json.dumps(p) + "\n" for p in [*pieces, {"message": {"content": ""}, "done": True}]
    )
    broken = lines[: lines.index("\n") + 1] + json.dumps({"error": "out of memory"}) + "\n"
    asked = Conversation.ask("What?", Image(photo))
    with here(Faulty([too_many(), Reply(lines), Reply(broken)], pages=tags(MODELS))):
        backend = load("ollama:llava:13b")
        hurry(backend)
        assert list(backend.stream(asked, Options())) == ["A dog", " runs."]
        with pytest.raises(BackendError, match="out of memory"):
            list(backend.stream(asked, Options()))
