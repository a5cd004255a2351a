"""presets.toml: complete, consistent, strict; and what is there on this machine, found fast."""

from __future__ import annotations

import datetime
import threading
import time
from typing import Any

import pytest
from faulty import Faulty, Reply, openai_models

from looksay.backends import auto, base, keys, presets
from looksay.errors import InputError, UnknownName

GOOD = """
["some-model"]
title = "Some model"
licence = "MIT"
released = 2025-01-01
"""


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A machine with no key, no server and no cache, whatever the real one has."""
    for preset in presets.all():
        if preset.key_env:
            monkeypatch.delenv(preset.key_env, raising=False)
    monkeypatch.setattr(auto.keys, "key_for", lambda _, env: keys.os.environ.get(env))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with Faulty() as closed:
        pass
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{closed.port}")
    monkeypatch.setattr(auto, "PORTS", {closed.port: "nobody"})


def test_the_twelve_of_the_comparison_are_there() -> None:
    assert [p.name for p in presets.all() if p.compared] == [
        "vit-gpt2",
        "git-large-coco",
        "blip-large",
        "blip2-opt-2.7b",
        "blip2-flan-t5-xl",
        "minicpm-v-2.6",
        "llava-13b",
        "llava-34b",
        "llama3.2-vision-11b",
        "llama3.2-vision-90b",
        "gpt-4o",
        "claude-3.5-sonnet",
    ]


def test_names_are_unique_and_lead_back() -> None:
    names = [n for p in presets.all() for n in [p.name, *p.backends]]
    assert len(names) == len(set(names))
    for preset in presets.all():
        for name in [preset.name, *preset.backends]:
            assert presets.find(name) is preset


@pytest.mark.parametrize("preset", presets.all(), ids=lambda p: p.name)
def test_every_preset_is_complete(preset: presets.Preset) -> None:
    assert preset.backends, "it can be had nowhere"
    assert preset.released <= datetime.date.today()
    if preset.cloud:
        provider, model = base.parse_name(preset.cloud)
        assert presets.of(provider, model) is preset
        assert preset.key_env.endswith("_API_KEY")
        assert preset.price is not None
        assert preset.price_date is not None
        assert preset.price_source.startswith("https://")
        assert preset.price.prompt_usd < preset.price.completion_usd
    else:
        assert preset.parameters_b is not None
        assert preset.memory_gb is not None
        assert preset.memory_gb[0] > preset.memory_gb[1] > 0
        assert preset.price is None
    if preset.base_url:
        assert not base.is_loopback(preset.base_url)


def test_find_lists_what_there_is() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'llava-13b'.*vit-gpt2"):
        presets.find("llava-13")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('licens = "MIT"', "licens: probably a typo.*licence"),
        ("parameters_b = '7'", "parameters_b = '7'. Expected float"),
        ("unconfirmed = 1", "unconfirmed = 1. Expected bool"),
        ("image_tokens = true", "image_tokens = True. Expected int"),
        ('ends = "2027-01-01"', "ends = '2027-01-01'. Expected datetime.date"),
        ("extra = 3", "extra = 3. Expected Mapping"),
        ('name = "other"', "has name: probably a typo"),
    ],
)
def test_mistakes_are_errors(line: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        presets.parse(GOOD + line)


def test_what_is_missing_is_an_error() -> None:
    with pytest.raises(InputError, match="lacks licence"):
        presets.parse(GOOD.replace('licence = "MIT"', ""))
    with pytest.raises(InputError, match="stands alone"):
        presets.parse('title = "x"')
    [good] = presets.parse(GOOD + "parameters_b = 7")
    assert good.memory_gb == (14, 4.2)


def test_nothing_there_says_how_to_get_it() -> None:
    found = {s.preset.name: s for s in auto.available()}
    assert not any(s.ready for s in found.values())
    assert found["llava-13b"].get == "ollama pull llava:13b"
    assert found["vit-gpt2"].get == "hf download nlpconnect/vit-gpt2-image-captioning"
    assert "GEMINI_API_KEY" in found["gemini-3.8-flash"].get
    assert "withdrawn by its provider on 2025-10-28" in found["claude-3.5-sonnet"].get


def test_what_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    row = {"name": "llava:13b", "digest": "d", "size": 1, "capabilities": ["vision"]}
    model = "Qwen/Qwen3-VL-8B-Instruct"
    with (
        Faulty(pages={"/api/tags": Reply({"models": [row]})}) as ollama,
        Faulty(pages=openai_models(model)) as server,
    ):
        monkeypatch.setenv("OLLAMA_HOST", ollama.url)
        monkeypatch.setattr(auto, "PORTS", {server.port: "vLLM"})
        found = {s.preset.name: s for s in auto.available(within_s=10)}
    ready = {name: s.ready for name, s in found.items() if s.ready}
    assert ready == {
        "llava-13b": ("ollama:llava:13b",),
        "qwen3-vl-8b": (f"{server.url}/v1#{model}",),
        "claude-haiku-5.5": ("anthropic:claude-haiku-5-5",),
        "claude-sonnet-5.5": ("anthropic:claude-sonnet-5-5",),
        "claude-opus-5.5": ("anthropic:claude-opus-5-5",),
    }
    assert all(s.get == "" for s in found.values() if s.ready)


def test_servers_that_hang_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = Reply(fault="hang")
    pages = {"/api/tags": hang, "/v1/models": hang}
    with Faulty(pages=pages) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setattr(auto, "PORTS", {server.port: "vLLM"})
        started = time.monotonic()
        found = auto.available()
        assert time.monotonic() - started < 2
    assert len(found) == len(presets.all())


def test_a_keyring_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(auto.keys, "key_for", lambda *_: over.wait(20) and None)
    started = time.monotonic()
    auto.available(within_s=0.5)
    assert time.monotonic() - started < 1.5
    over.set()
