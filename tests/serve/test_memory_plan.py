"""The plan of memory: equal to what models really hold, made without a weight."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from looksay.backends import load
from looksay.backends.base import LoadOptions
from looksay.errors import BackendError, InputError
from looksay.serve.plan import GEOMETRIES, plan, told
from looksay.types import Conversation, Image, Options

pytestmark = pytest.mark.local

CARD = 16_000_000_000


def test_a_llava_of_13_b_in_4_bit_fits_a_card_of_16_gb() -> None:
    wanted: dict[str, Any] = {"context": 4096, "running": 1, "device": "cuda", "device_bytes": CARD}
    for quantize in ("nf4", "int4"):
        narrow = plan("llava-1.5-13b", quantize=quantize, **wanted)
        assert narrow.fits
        assert "It fits in the 16.00 GB" in told(narrow)
    for quantize in (None, "int8"):
        wide = plan("llava-1.5-13b", quantize=quantize, **wanted)
        assert wide.fits is False
        assert "does not fit" in told(wide)
        assert wide.weight_bytes > 2 * narrow.weight_bytes * (0.85 if quantize else 1.5)


@pytest.mark.parametrize(
    ("name", "parameters_b"),
    [("llava-1.5-7b", 7.06), ("llava-1.5-13b", 13.35), ("llava-onevision-0.5b", 0.894)],
)
def test_published_sizes_have_the_parameters_of_their_releases(
    name: str, parameters_b: float
) -> None:
    found = plan(name, dtype="bfloat16", device="cpu")
    assert found.parameters / 1e9 == pytest.approx(parameters_b, rel=0.001)
    assert found.weight_bytes == pytest.approx(2 * found.parameters, rel=1e-4)


def held(model: Any) -> int:
    """Bytes of a loaded model's weights and buffers, scales of 4-bit weights included."""
    tensors = {t.data_ptr(): t for t in (*model.parameters(), *model.buffers()) if t.numel()}
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        if state is not None:
            tensors[state.absmax.data_ptr()] = state.absmax
    own = sum(getattr(module, "held_bytes", 0) for module in model.modules())
    return int(own) + sum(t.numel() * t.element_size() for t in tensors.values())


@pytest.mark.parametrize("quantize", [None, "int8", "nf4"])
@pytest.mark.parametrize("kind", ["llava", "llava_onevision", "smolvlm", "qwen2_vl", "paligemma"])
def test_the_weights_of_a_hub_model_are_those_that_it_holds(
    kind: str, quantize: str | None, tmp_path: Path
) -> None:
    from hub_asking import builder

    if quantize == "nf4":
        need(importlib.util.find_spec("bitsandbytes"), 'pip install ".[quantized]"')
    folder = tmp_path / kind
    folder.mkdir()
    builder(kind).build(folder)
    loaded: Any = load(
        f"hub:{folder}", LoadOptions(quantize=quantize, device="cpu", runtime="torch")
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(folder / "config.json", bare)  # not a weight in reach
    planned = plan(f"hub:{bare}", quantize=quantize, device="cpu")
    # In 4 bit the scales have 8 or 16 bits: bitsandbytes lays weights out anew where the processor has bf16.
    room = 0.05 if quantize == "nf4" else 0.001
    assert planned.weight_bytes == pytest.approx(held(loaded._model), rel=room)


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_the_weights_of_mini_are_those_that_it_holds(quantize: str | None) -> None:
    loaded: Any = load("mini", LoadOptions(quantize=quantize, device="cpu", runtime="torch"))
    planned = plan("mini", quantize=quantize, device="cpu", dtype="float32")
    assert planned.weight_bytes == pytest.approx(held(loaded._model), rel=0.002)
    assert {part.name for part in planned.parts} == {"tower", "connector", "language"}
    assert planned.image_tokens == loaded.profile.image_tokens


def test_keys_and_values_cost_what_a_real_cache_holds() -> None:
    from transformers import DynamicCache

    loaded: Any = load("mini", LoadOptions(device="cpu"))
    language = loaded._model.language
    cache = DynamicCache(config=language.config)
    language.read(language.embed(torch.arange(7)[None]), cache)
    real = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert 7 * plan("mini", device="cpu").place_bytes == real


@settings(max_examples=20)
@given(st.integers(1, 200), st.integers(1, 8192), st.sampled_from([None, "int8", "nf4"]))
def test_more_requests_and_places_need_more(
    running: int, context: int, quantize: str | None
) -> None:
    small = plan("mini", running=running, context=context, quantize=quantize, device="cpu")
    more = plan("mini", running=running + 1, context=context, quantize=quantize, device="cpu")
    longer = plan("mini", running=running, context=context + 1, quantize=quantize, device="cpu")
    assert small.total_bytes < min(more.total_bytes, longer.total_bytes)
    assert more.kv_bytes - small.kv_bytes == context * small.place_bytes
    assert more.weight_bytes == small.weight_bytes


def test_the_table_tells_every_part_and_the_sum() -> None:
    found = plan("llava-1.5-7b", device="cuda", device_bytes=None, dtype="float16", running=2)
    lines = told(found).splitlines()
    assert lines[0] == "llava-1.5-7b on cuda: float16"
    assert [line.split("  ")[1] for line in lines[1:5]] == [
        f"weights: {name}"
        for name in ("vision_tower", "multi_modal_projector", "language_model", "lm_head")
    ]
    assert "2 × 4,096 × 524.3 kB" in told(found)
    assert "576 places each" in told(found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt-4o", "No plan can be made for 'gpt-4o'.*llava-1.5-13b"),
        ("hub:nobody/nothing", "a plan fetches nothing.*hf download nobody/nothing"),
        ("echo", "No plan can be made"),
        ("local:nowhere", "nowhere is no folder"),
    ],
)
def test_a_name_that_cannot_be_planned_says_what_can(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(name, device="cpu")


def test_what_cannot_be_run_cannot_be_planned(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="int8, int4, nf4"):
        plan("mini", quantize="int3")
    with pytest.raises(BackendError, match="no int4 on mps"):
        plan("mini", quantize="int4", device="mps")
    with pytest.raises(InputError, match="at least 1"):
        plan("mini", running=0)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="image-text-to-text"):
        plan(f"hub:{tmp_path}", device="cpu")
    assert len(GEOMETRIES) == 3


@pytest.mark.parametrize("kind", ["llava", "llava_next", "llava_onevision", "smolvlm", "qwen2_vl"])
def test_a_large_picture_takes_the_places_that_the_model_gives_it(
    kind: str, tmp_path: Path
) -> None:
    from hub_asking import builder

    builder(kind).build(tmp_path)
    size_px = (300, 200)
    loaded: Any = load(f"hub:{tmp_path}", LoadOptions(device="cpu"))
    words = "What?"

    def read(*parts: Any) -> int:
        """Prompt tokens of a question, as the loaded model counts them."""
        asked = Conversation.ask(*parts, words)
        (answer,) = loaded.complete([asked], Options(max_tokens=1))
        return int(answer.prompt_tokens or 0)

    picture = read(Image(Pillow.new("RGB", size_px, "red"))) - read()
    planned = plan(f"hub:{tmp_path}", device="cpu", image_px=size_px)
    assert abs(planned.image_tokens - picture) <= 3, "marks and line ends of the template"
    assert planned.image_bytes >= plan(f"hub:{tmp_path}", device="cpu").image_bytes


def test_sizes_that_mean_nothing_and_models_that_cannot_tell_are_refused(tmp_path: Path) -> None:
    assert plan("llava-1.5-7b", device="cpu", image_px=(4000, 3000)).image_tokens == 576
    with pytest.raises(InputError, match="preprocessor_config"):
        plan("llava-onevision-0.5b", device="cpu", image_px=(4000, 3000))
