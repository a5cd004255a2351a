"""`auto` takes the best that is really there, says why, and never waits on what is not."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from faulty import Faulty, Reply, openai_models
from typer.testing import CliRunner

from looksay.backends import auto, encoders, load, mini
from looksay.cli import app
from looksay.errors import BackendError

QWEN3 = "Qwen/Qwen3-VL-8B-Instruct"


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """A machine with no server and no cache; gives a port on which nothing listens."""
    with Faulty() as server:
        pass
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(auto, "PORTS", {server.port: "nobody"})
    monkeypatch.setattr(auto, "_has_facts", lambda: True)
    return server.port


@pytest.fixture
def ollama_has(monkeypatch: pytest.MonkeyPatch) -> Any:
    servers: list[Faulty] = []

    def start(*models: str, **more: Any) -> None:
        rows = [
            {"name": m, "digest": m, "size": 1, "capabilities": ["vision"]} | more for m in models
        ]
        server = Faulty(pages={"/api/tags": Reply({"models": rows})}).__enter__()
        servers.append(server)
        monkeypatch.setenv("OLLAMA_HOST", server.url)

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    servers: list[Faulty] = []

    def start(pages: dict[str, Reply]) -> str:
        server = Faulty(pages=pages).__enter__()
        servers.append(server)
        monkeypatch.setattr(auto, "PORTS", {s.port: "a server" for s in servers})
        return f"{server.url}/v1"

    yield start
    for server in servers:
        server.__exit__()


def cache(tmp_path: Path, name: str, architecture: str) -> None:
    """A checkpoint as the hub's client leaves it on disk."""
    home = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = home / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("a" * 40)
    config = {"architectures": [architecture], "vision_config": {}, "model_type": "blip"}
    (snapshot / "config.json").write_text(json.dumps(config))
    (snapshot / "model.safetensors").write_bytes(b"\0")


def test_nothing_but_facts() -> None:
    choice = auto.choose()
    assert choice.name == "facts"
    assert "only what it can measure" in choice.reason
    assert "ollama pull qwen3-vl:8b" in choice.reason


def test_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "_has_facts", lambda: False)
    with pytest.raises(BackendError, match=r'pip install "\.\[facts\]"'):
        auto.choose()


def test_ollama_comes_first_and_the_newest_of_its_models(
    ollama_has: Any, served: Any, tmp_path: Path
) -> None:
    ollama_has("llava:13b", "qwen3-vl:8b", "gemma3:27b", "my-own:latest")
    served(openai_models(QWEN3))
    choice = auto.choose()
    assert choice.name == "ollama:qwen3-vl:8b"
    assert "Qwen3-VL 8B, released October 2025, the newest of 4" in choice.reason


def test_of_the_same_age_the_larger(ollama_has: Any) -> None:
    ollama_has("gemma3:4b", "gemma3:27b", "gemma3:12b")
    assert auto.choose().name == "ollama:gemma3:27b"


def test_a_model_of_the_old_comparison_says_what_is_better(ollama_has: Any) -> None:
    ollama_has("llava:13b")
    choice = auto.choose()
    assert choice.name == "ollama:llava:13b"
    assert "Probably better: Qwen3-VL 8B (ollama pull qwen3-vl:8b)" in choice.reason


def test_a_cloud_model_is_never_taken(ollama_has: Any) -> None:
    ollama_has("qwen3-vl:235b-cloud", remote_host="https://ollama.com")
    assert auto.choose().name == "facts"


def test_an_ollama_on_another_machine_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.1:11434")
    started = time.monotonic()
    assert auto.choose().name == "facts"
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    "pages",
    [
        openai_models(QWEN3),
        openai_models("some.gguf") | {"/props": Reply({"modalities": {"vision": True}})},
        openai_models("x") | {"/api/v0/models": Reply({"data": [{"id": "x", "type": "vlm"}]})},
    ],
    ids=["known to the presets", "llama.cpp", "LM Studio"],
)
def test_a_server_that_sees(served: Any, pages: dict[str, Reply]) -> None:
    url = served(pages)
    choice = auto.choose()
    assert choice.name.startswith(f"{url}#")
    assert choice.reason.startswith("A server on this machine has")


@pytest.mark.parametrize(
    "pages",
    [
        openai_models("some.gguf") | {"/props": Reply({"modalities": {"vision": False}})},
        openai_models("x") | {"/api/v0/models": Reply({"data": [{"id": "x", "type": "llm"}]})},
        openai_models("mini", "echo", "echo:0.1"),
        {"/v1/models": Reply("<html>somebody's web site</html>")},
        {"/v1/models": Reply({"data": "odd"})},
        {"/v1/models": Reply([1, 2])},
        {"/v1/models": Reply(None, 302, {"location": "http://192.0.2.1/"})},
        {},
    ],
    ids=["llama.cpp blind", "LM Studio blind", "ours", "html", "odd", "list", "redirect", "404"],
)
def test_a_server_that_does_not_help(served: Any, pages: dict[str, Reply]) -> None:
    served(pages)
    choice = auto.choose()
    assert choice.name == "facts"
    assert "may see" not in choice.reason


def test_a_server_that_does_not_say_is_named_not_taken(served: Any) -> None:
    url = served(openai_models("org/unknown"))
    choice = auto.choose()
    assert choice.name == "facts"
    assert f"{url}#org/unknown, which may see: name it with --model" in choice.reason


def listed() -> list[str]:
    done = CliRunner().invoke(app, ["models"])
    assert done.exit_code == 0, done.output
    return [line for line in done.stdout.splitlines() if " here" in line or " to get it: " in line]


def test_what_needs_no_download_is_listed_first_and_then_an_encoder(tmp_path: Path) -> None:
    names = [line.split()[0] for line in listed()]
    apart = ["facts", *mini.discover(), encoders.PUBLISHED]
    assert names[: len(apart)] == apart
    assert f"hf download {encoders.PUBLISHED.removeprefix('hub:')}" in "".join(listed())
    local = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
    need(local, 'pip install ".[local]"')
    cache(tmp_path, "someone/clip", "CLIPModel")
    assert "hub:someone/clip here" in listed()
    assert encoders.PUBLISHED not in "".join(listed())


def test_a_checkpoint_on_disk_comes_before_facts(tmp_path: Path) -> None:
    local = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
    need(local, 'pip install ".[local]"')
    cache(tmp_path, "Salesforce/blip-image-captioning-large", "BlipForConditionalGeneration")
    cache(tmp_path, "someone/words-only", "GPT2LMHeadModel")
    choice = auto.choose()
    assert choice.name == "hub:Salesforce/blip-image-captioning-large"
    assert choice.reason.startswith("The hub's cache on this disk has")


def test_servers_that_hang_are_not_waited_for(served: Any) -> None:
    served({"/v1/models": Reply(fault="hang")})
    started = time.monotonic()
    assert auto.choose().name == "facts"
    assert time.monotonic() - started < 2.5


def test_load_follows_the_choice(ollama_has: Any) -> None:
    ollama_has("llava:13b", "qwen3-vl:8b")
    assert load("auto").name == "ollama:qwen3-vl:8b"
