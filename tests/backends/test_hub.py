"""The transformers backend, on tiny random checkpoints in the released layout of every type we claim."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import pkgutil
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import checkpoints
import pytest
from conftest import need
from PIL import Image as Pillow

from looksay.backends.base import LoadOptions, load
from looksay.images import load_rgb
from looksay.types import Completion, Conversation, Image, Options

pytestmark = pytest.mark.local

TYPES = sorted(
    m.name
    for m in pkgutil.iter_modules(checkpoints.__path__)
    if not m.name.startswith(("common", "conftest"))
)
SIZES_PX = [(64, 48), (90, 200), (300, 60), (128, 128)]
PROMPTS = [
    "Describe the image.",
    "What is on the table near the window, in one sentence?",
    "a red dog",
    "Describe the photo in two words of text",
]
SHORT = Options(max_tokens=8)


@pytest.fixture(autouse=True)
def _extra_is_there() -> None:
    for package in ("torch", "transformers"):
        need(
            importlib.util.find_spec(package), f'{package} is missing: pip install "looksay[local]"'
        )


@functools.cache
def photo(index: int) -> bytes:
    """A PNG of coloured blocks, another one for each index."""
    width_px, height_px = SIZES_PX[index % len(SIZES_PX)]
    blocks = (width_px // 8 + 1, height_px // 8 + 1)
    noise = random.Random(index).randbytes(3 * blocks[0] * blocks[1])
    out = io.BytesIO()
    Pillow.frombytes("RGB", blocks, noise).resize((width_px, height_px)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folder of the tiny checkpoint of a type; each is made once."""

    @functools.cache
    def make(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        builder(kind).build(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def hub(build: Any) -> Any:
    @functools.cache
    def make(kind: str) -> Any:
        return load(f"hub:{build(kind)}", LoadOptions(batch_size=4, device="cpu", max_side_px=4000))

    return make


def builder(kind: str) -> ModuleType:
    return importlib.import_module(f"checkpoints.{kind}")


def prompts(kind: str, backend: Any) -> list[str]:
    """What each photo is asked: different words for models that follow them, none for captioners."""
    if backend.profile.instructable:
        return PROMPTS
    return [getattr(builder(kind), "PROMPT", "")] * len(PROMPTS)


def ask(index: int, words: str) -> Conversation:
    return Conversation.ask(Image(photo(index)), *([words] if words else []))


def only(backend: Any, conversation: Conversation, options: Options = SHORT) -> Completion:
    [completion] = backend.complete([conversation], options)
    return completion


def directly(folder: Path, image: Pillow.Image, prompt: str, max_new_tokens: int) -> str:
    """transformers as its documentation shows it: AutoProcessor, chat template, generate."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    new = ids[0, inputs["input_ids"].shape[1] :]
    return str(processor.decode(new, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("kind", TYPES)
def test_a_batch_of_photos_gets_the_single_answers_and_those_of_transformers(
    kind: str, hub: Any, build: Any
) -> None:
    backend = hub(kind)
    words = prompts(kind, backend)
    conversations = [ask(i, words[i]) for i in range(4)]
    batch = sorted(backend.complete(conversations, SHORT), key=lambda c: c.index)
    assert [c.error for c in batch] == [None] * 4
    assert [c.index for c in batch] == [0, 1, 2, 3]
    texts = [c.text for c in batch]
    assert len(set(texts)) > 1, f"the weights are blind, this proves nothing: {texts}"
    assert all(0 < (c.completion_tokens or 0) <= 8 for c in batch), batch
    if backend.profile.instructable:
        assert all((c.prompt_tokens or 0) > 3 for c in batch), batch

    assert [only(backend, c).text for c in conversations] == texts

    reference = getattr(builder(kind), "reference", directly)
    images = [load_rgb(photo(i)) for i in range(4)]
    expected = [reference(build(kind), image, words[i], 8) for i, image in enumerate(images)]
    assert texts == expected
