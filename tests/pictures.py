"""Small pictures that differ like photos do: a few soft blobs of colour, the same for the same seed."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

from PIL import Image as Pillow


def picture(seed: int, size: tuple[int, int] = (96, 72)) -> Pillow.Image:
    """An RGB picture; different seeds are no near-duplicates of each other."""
    generator = random.Random(seed)
    small = Pillow.frombytes("RGB", (12, 9), generator.randbytes(12 * 9 * 3))
    return small.resize(size, Pillow.Resampling.BICUBIC)


def encoded(image: Pillow.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def jpeg(seed: int, size: tuple[int, int] = (96, 72), **options: Any) -> bytes:
    return encoded(picture(seed, size), "JPEG", quality=90, **options)


def put(path: Path, data: bytes | str) -> Path:
    """Write a file, folders included, byte for byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
