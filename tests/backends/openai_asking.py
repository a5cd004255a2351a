"""What the tests of OpenAI-compatible servers share: a photo, a question, and a backend in a hurry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, hurry, openai_text
from PIL import Image as Pillow

from looksay.backends import LoadOptions, load
from looksay.types import Completion, Conversation, Image, Options

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
