"""What the tests of hub models share: tiny checkpoints of every type, each made once, and photos to ask about."""

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

from looksay.backends import LoadOptions, load
from looksay.types import Conversation, Image

TYPES = sorted(
    m.name
    for m in pkgutil.iter_modules(checkpoints.__path__)
    if not m.name.startswith(("common", "conftest"))
)
SIZES_PX = [(64, 48), (90, 200), (300, 60)]
PROMPTS = [
    "Describe the image.",
    "What is on the table near the window, in one sentence?",
    "a red dog",
]


@pytest.fixture(autouse=True)
def extra_is_there() -> None:
    for package in ("torch", "transformers"):
        need(importlib.util.find_spec(package), f'{package} is missing: pip install ".[local]"')


@functools.cache
def photo(index: int) -> bytes:
    """A PNG of coloured blocks, another one for each index."""
    width_px, height_px = SIZES_PX[index % len(SIZES_PX)]
    blocks = (width_px // 8 + 1, height_px // 8 + 1)
    noise = random.Random(index).randbytes(3 * blocks[0] * blocks[1])
    out = io.BytesIO()
    Pillow.frombytes("RGB", blocks, noise).resize((width_px, height_px)).save(out, "PNG")
    return out.getvalue()


@functools.cache
def made(kind: str, temporary: Path) -> Path:
    import torch

    torch.manual_seed(0)  # some types draw a few of their weights themselves
    folder = temporary / f"hub-{kind}"
    folder.mkdir()
    builder(kind).build(folder)
    return folder


@functools.cache
def loaded(folder: Path) -> Any:
    return load(f"hub:{folder}", LoadOptions(batch_size=4, device="cpu", max_side_px=4000))


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folder of the tiny checkpoint of a type; each is made once."""
    return lambda kind: made(kind, tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def hub(build: Any) -> Any:
    return lambda kind: loaded(build(kind))


def builder(kind: str) -> ModuleType:
    return importlib.import_module(f"checkpoints.{kind}")


def ask(index: int, words: str) -> Conversation:
    return Conversation.ask(Image(photo(index)), *([words] if words else []))
