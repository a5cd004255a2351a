"""`quantize`: hub and local models in 8 and 4 bits on a CPU answer nearly as before, and what is not there says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import need

pytest.importorskip("torch")
pytest.importorskip("transformers")

import looksay
from looksay.backends import _quantized, load
from looksay.backends.base import LoadOptions
from looksay.data.scenes import Scenes, questions
from looksay.errors import BackendError, InputError, MissingDependency
from looksay.models import narrow, quantized
from looksay.types import Conversation, Image, Options

pytestmark = pytest.mark.local

FRESH = Scenes(78, "test")


def answers(backend: Any, scenes: int) -> list[str]:
    asked = [
        Conversation.ask(Image(FRESH.scene(number).image()), question.text)
        for number in range(scenes)
        for question in questions(FRESH.scene(number))
    ]
    done = sorted(backend.complete(asked, Options(max_tokens=20)), key=lambda c: c.index)
    assert not [one.error for one in done if one.error]
    return [one.text for one in done]


@pytest.fixture(scope="module")
def wide() -> list[str]:
    return answers(looksay.load("mini"), 12)


@pytest.mark.parametrize(("quantize", "least"), [("int8", 0.95), ("nf4", 0.7), ("int4", 0.6)])
def test_mini_answers_nearly_as_before(wide: list[str], quantize: str, least: float) -> None:
    if quantize != "int8":
        need(importlib.util.find_spec("bitsandbytes"), 'pip install ".[quantized]"')
    backend: Any = load("mini", LoadOptions(quantize=quantize, device="cpu", runtime="torch"))
    found = answers(backend, 12)
    same = sum(map(str.__eq__, found, wide)) / len(wide)
    assert same >= least
    full: Any = load("mini", LoadOptions(device="cpu"))
    inputs_too = quantize == "int8" and narrow.supported()
    assert backend.fingerprint == f"{full.fingerprint}-{quantize}{'-inputs' * inputs_too}"
    assert size(backend._model.language) < 0.6 * size(full._model.language)


def test_mini_answers_nearly_as_before_in_bfloat16(wide: list[str]) -> None:
    """What a GPU takes without being asked, there with narrow weights as well."""
    for quantize in (None, "int8"):
        backend = load(
            "mini", LoadOptions(dtype="bfloat16", quantize=quantize, device="cpu", runtime="torch")
        )
        same = sum(map(str.__eq__, answers(backend, 12), wide)) / len(wide)
        assert same >= 0.9, quantize


def size(part: Any) -> int:
    return sum(t.numel() * t.element_size() for t in (*part.parameters(), *part.buffers()))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA of layers 32 wide."""
    need(importlib.util.find_spec("accelerate"), "accelerate is missing")
    from models.tiny import tiny_llava, word_tokenizer

    from looksay.models import checkpoint

    folder = tmp_path_factory.mktemp("run")
    checkpoint.save(tiny_llava(tokenizer=word_tokenizer()), folder)
    return folder


def test_8_bits_on_a_cpu_want_no_bitsandbytes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    backend: Any = load(
        f"local:{tiny}", LoadOptions(quantize="int8", device="cpu", runtime="torch")
    )
    (done,) = backend.complete(
        [Conversation.ask(Image(FRESH.scene(0).image()), "what is this ?")], Options(max_tokens=3)
    )
    assert done.error is None
    with pytest.raises(MissingDependency, match=r"'nf4' on cpu needs .*\[quantized\]"):
        load(f"local:{tiny}", LoadOptions(quantize="nf4", device="cpu"))


def test_what_would_save_nothing_says_what_to_type(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(importlib.util.find_spec("bitsandbytes"), 'pip install ".[quantized]"')
    monkeypatch.setattr(quantized, "BLOCK", 128)  # wider than any layer of the tiny model
    with pytest.raises(BackendError, match=r"multiples of 64.*Type --quantize int8"):
        load(f"local:{tiny}", LoadOptions(quantize="nf4", device="cpu"))


def test_a_precision_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(InputError, match=r"'int2' is unknown\. Expected one of: int8, int4, nf4"):
        load("mini", LoadOptions(quantize="int2"))
    with pytest.raises(BackendError, match=r"no nf4 on mps.*--quantize int8"):
        _quantized.check("nf4", "mps")
    _quantized.check("int8", "mps")
