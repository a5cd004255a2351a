"""OpenVINO in a model's blocks: with wide weights what torch says, in 8 and 4 bits nearly so; where it is not, torch."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from hub_asking import PROMPTS, ask, build, extra_is_there, hub
from test_engine_hub import talks

from looksay.backends import load
from looksay.backends.base import LoadOptions
from looksay.backends.opening import open_engine
from looksay.backends.tickets import Done, Piece, Ticket
from looksay.errors import BackendError, MissingDependency, UnknownName
from looksay.models import narrow
from looksay.types import Options

__all__ = ["build", "extra_is_there", "hub"]
pytestmark = pytest.mark.local

WHOLE = ["llava", "llava_onevision", "smolvlm", "aya_vision"]
"""Types all of whose blocks are OpenVINO's."""
SHORT = Options(max_tokens=10)


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where graphs are kept: one folder for the tests, not the user's."""
    need(importlib.util.find_spec("openvino"), 'pip install ".[openvino]"')
    from looksay.backends import _openvino

    folder = tmp_path_factory.getbasetemp() / "graphs"
    monkeypatch.setattr(_openvino, "folder", lambda: folder)
    return folder


def wide(folder: Path) -> Any:
    """A checkpoint whose blocks are OpenVINO's with weights as they were."""
    from looksay.backends import _hub_loading, _openvino

    backend: Any = load(f"hub:{folder}", LoadOptions(batch_size=4, device="cpu", max_side_px=4000))
    model, asking = backend._model, backend._asking
    _openvino.hold(
        "it",
        [model],
        None,
        lambda: _hub_loading.try_out(model, asking.processor, asking.captioner),
    )
    return backend


def made(model: Any) -> list[bool]:
    """Of each block, whether OpenVINO computes it."""
    from looksay.models.openvino_blocks import blocks_of

    return [hasattr(block, "made_of") for block in blocks_of(model)]


def through(backend: Any, asked: list[Any], options: Options) -> list[str]:
    """Answers of an engine: rows join and leave."""
    engine = open_engine(backend)
    try:
        tickets = [
            engine.submit(Ticket(one, options, client=str(n))) for n, one in enumerate(asked)
        ]
        found = []
        for ticket in tickets:
            *pieces, end = ticket
            assert isinstance(end, Done), end
            found.append("".join(one.text for one in pieces if isinstance(one, Piece)).strip())
        return found
    finally:
        assert engine.close()


@pytest.mark.parametrize("kind", WHOLE)
def test_with_wide_weights_a_model_says_what_torch_says(kind: str, build: Any, hub: Any) -> None:
    torchs, openvinos = hub(kind), wide(build(kind))
    assert made(openvinos._model)
    assert all(made(openvinos._model))
    assert not any(made(torchs._model))
    asked = talks(6)
    alone = [next(iter(torchs.complete([one], SHORT))).text for one in asked]
    assert [next(iter(openvinos.complete([one], SHORT))).text for one in asked] == alone
    together = sorted(openvinos.complete(asked, SHORT), key=lambda c: c.index)
    assert [one.text for one in together] == alone
    words = ["yes", "a red dog"]
    assert openvinos.rank(asked[0], words) == pytest.approx(torchs.rank(asked[0], words), abs=2e-4)
    if torchs.steps is not None:
        for _ in range(2):  # the second time from what was kept of the first
            assert through(openvinos, asked, SHORT) == alone


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_narrow_weights_say_nearly_what_torch_says(
    quantize: str, dtype: str, build: Any, hub: Any
) -> None:
    options = LoadOptions(
        quantize=quantize, dtype=dtype, device="cpu", max_side_px=4000, runtime="openvino"
    )
    backend: Any = load(f"hub:{build('llava')}", options)
    assert all(made(backend._model.get_decoder()))
    pictures = made(backend._model.model.vision_tower)
    assert not any(pictures) if narrow.supported() else all(pictures)
    choices = [" ".join(PROMPTS), "yes", "a red dog"]
    question = ask(0, PROMPTS[0])
    found, wanted = (one.rank(question, choices) for one in (backend, hub("llava")))
    assert found != pytest.approx(wanted, rel=1e-7), "they were rounded"
    assert found == pytest.approx(wanted, rel=0.05 if quantize == "int8" else 0.2)
    full = hub("llava").fingerprint.replace("float32", dtype)
    inputs = "-inputs" if narrow.supported() else ""
    assert backend.fingerprint == f"{full}-{quantize}-openvino{inputs}"


def test_torch_can_be_chosen_and_has_another_fingerprint(build: Any) -> None:
    options = LoadOptions(quantize="int8", device="cpu", runtime="torch")
    backend: Any = load(f"hub:{build('llava')}", options)
    assert not any(made(backend._model))
    assert backend.fingerprint.endswith("-int8-inputs" if narrow.supported() else "-int8")


def test_8_bits_are_torchs_where_the_processor_multiplies_them_and_4_are_not(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for quantize, there, others in [("int8", True, 0), ("int8", False, 1), ("int4", True, 1)]:
        monkeypatch.setattr(narrow, "supported", lambda there=there: there)
        options = LoadOptions(quantize=quantize, device="cpu")
        backend: Any = load(f"hub:{build('llava')}", options)
        assert any(made(backend._model)) == bool(others)
        assert ("openvino" in backend.fingerprint) == bool(others)


def test_without_openvino_it_is_torch(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "openvino" else there(name, *a),
    )
    backend: Any = load(f"hub:{build('llava')}", LoadOptions(quantize="int8", device="cpu"))
    assert not any(made(backend._model))
    with pytest.raises(MissingDependency, match=r"\[openvino\]"):
        load("mini", LoadOptions(quantize="int8", device="cpu", runtime="openvino"))


def test_what_a_runtime_cannot_do_is_refused() -> None:
    with pytest.raises(UnknownName, match="openvino"):
        load("mini", LoadOptions(quantize="int8", device="cpu", runtime="vino"))
    with pytest.raises(BackendError, match="int8 and int4 on a CPU"):
        load("mini", LoadOptions(quantize="nf4", device="cpu", runtime="openvino"))


def test_blocks_that_cannot_be_cut_are_torchs_and_that_is_said(
    build: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "looksay"):
        backend: Any = load(
            f"hub:{build('blip')}",
            LoadOptions(quantize="int8", device="cpu", runtime="openvino"),
        )
    assert not any(made(backend._model))
    assert [one.error for one in backend.complete([ask(0, "")], SHORT)] == [None]
    (said,) = [one.getMessage() for one in caplog.records]
    assert "torch holds them, in 8 bits" in said


def test_it_is_made_once_and_said_once(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from looksay.backends import _openvino

    monkeypatch.setattr(_openvino, "folder", lambda: tmp_path / "anew")
    options = LoadOptions(quantize="int8", device="cpu", runtime="openvino")
    said = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "looksay"):
            load(f"hub:{build('llava')}", options)
        said.append([one.getMessage() for one in caplog.records])
    assert said[1] == []
    assert len(said[0]) == 1
    assert "once" in said[0][0]


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
def test_models_of_looksay_s_own_too(quantize: str | None, tmp_path: Path) -> None:
    need(importlib.util.find_spec("accelerate"), "accelerate is missing")
    from models.tiny import tiny_llava, word_tokenizer

    from looksay.backends import _openvino, _quantized
    from looksay.models import checkpoint

    checkpoint.save(tiny_llava(tokenizer=word_tokenizer()), tmp_path / "run")
    torchs: Any = load(f"local:{tmp_path / 'run'}", LoadOptions(device="cpu"))
    openvinos: Any = load(
        f"local:{tmp_path / 'run'}",
        LoadOptions(device="cpu", quantize=quantize, runtime="openvino" if quantize else "auto"),
    )
    if quantize is None:
        for part in (openvinos._model.tower, openvinos._model.language):
            _openvino.hold("it", [part], None, lambda part=part: _quantized._tried(part))
    assert all(made(openvinos._model.language if quantize else openvinos._model))
    asked = [ask(n, "what is this ?") for n in range(5)]
    found, wanted = (through(one, asked, SHORT) for one in (openvinos, torchs))
    if quantize is None:
        assert found == wanted
        assert found == through(openvinos, asked, SHORT)
    else:
        assert openvinos.fingerprint.startswith(f"{torchs.fingerprint}-{quantize}-openvino")
    words = ["yes", "no"]
    near = openvinos.rank(asked[0], words) == pytest.approx(
        torchs.rank(asked[0], words), abs=1e-4 if quantize is None else 1
    )
    assert near
    # Pictures are kept by what looked at them.
    assert openvinos._model.tower.fingerprint != torchs._model.tower.fingerprint


def test_the_package_is_not_loaded_by_who_does_not_need_it() -> None:
    code = (
        "import sys\nfrom looksay.backends import load\nfrom looksay.backends.base import LoadOptions\n"
        "load('mini', LoadOptions(device='cpu'))\nprint('openvino' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
