"""What one photo file is: digest, format, size, difference hash, and the alt text inside it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageChops

from looksay import images
from looksay.errors import UnreadablePhoto, plainly
from looksay.library import xmp
from looksay.library.records import Picture

_GIF_XMP = re.compile(rb"<x:xmpmeta.*?</x:xmpmeta>", re.S)
_WHOLE_BYTES = 100_000_000
"""Larger files are hashed in pieces and decoded from disk."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """`picture` is None, and `fault` says why, where the file cannot be used as a photo."""

    sha256: bytes | None
    picture: Picture | None
    fault: str | None = None
    alt: str | None = None
    extended: str | None = None
    reduced: bytes = b""
    """The picture in 32 × 32 px of RGB, to hold against another; empty where it has no hash."""


def inspect(path: Path, max_pixels: int = images.MAX_PIXELS) -> Inspection:
    """Read a photo's file once. Never raises for a bad file."""
    try:
        source: Path | bytes
        if path.stat().st_size > _WHOLE_BYTES:
            with path.open("rb") as stream:
                sha256, source = hashlib.file_digest(stream, "sha256").digest(), path
        else:
            source = path.read_bytes()
            sha256 = hashlib.sha256(source).digest()
    except OSError as error:
        reason = plainly(error)
        return Inspection(None, None, reason)
    try:
        with images.open_image(source, max_pixels=max_pixels) as image:
            form, size = image.format or "?", image.size
            rgb = images.upright_rgb(image, max_side_px=72, rough=True)
            if images.orientation(image) >= 5:
                size = size[1], size[0]
            # A PNG may hold its XMP behind the pixels, so it is looked for after decoding.
            packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
            if form == "GIF" and isinstance(source, bytes):  # Pillow does not look for it there
                packet = packet or b"".join(_GIF_XMP.findall(source)[:1])
    except UnreadablePhoto as error:
        return Inspection(sha256, None, str(error))
    alt, extended = (
        xmp.read(packet.encode() if isinstance(packet, str) else packet) if packet else (None, None)
    )
    dhash = difference_hash(rgb)
    picture = Picture(form, size[0], size[1], dhash)
    reduced = b"" if dhash is None else _reduce(rgb)
    return Inspection(sha256, picture, None, alt, extended, reduced)


def difference_hash(rgb: Pillow.Image) -> int | None:
    """64 bits, one for each neighbouring pair in a 9 × 8 grey reduction: is the right one brighter?

    Returned as a signed integer, as SQLite stores it; None for pictures too plain to tell apart
    (a flat colour, a few thin strokes, a smooth gradient): they would all share one hash.
    """
    grey = rgb.convert("L").resize((9, 8), Pillow.Resampling.BOX)
    values = grey.tobytes()
    steps = [values[r * 9 + c + 1] - values[r * 9 + c] for r in range(8) for c in range(8)]
    bits = sum((step > 0) << n for n, step in enumerate(steps))
    if sum(abs(step) > 3 for step in steps) < 24 or not 8 <= bits.bit_count() <= 56:
        return None
    return bits - 2**64 if bits >= 2**63 else bits


def reduction(path: Path) -> bytes:
    """The picture of a file in 32 × 32 px of RGB; empty where it cannot be read."""
    try:
        with images.open_image(path) as image:
            return _reduce(images.upright_rgb(image, max_side_px=72, rough=True))
    except UnreadablePhoto:
        return b""


def same_picture(one: bytes, other: bytes) -> bool:
    """Whether two reductions are of one picture, resized or recompressed: no value of one differs from
    the other's by more than 40 of 255. It keeps apart screenshots and charts of one template."""
    if not one or not other:
        return False
    a, b = (Pillow.frombytes("RGB", (32, 32), data) for data in (one, other))
    extrema = ImageChops.difference(a, b).getextrema()
    return all(int(high) <= 40 for _, high in extrema)  # type: ignore[misc]


def _reduce(rgb: Pillow.Image) -> bytes:
    return rgb.resize((32, 32), Pillow.Resampling.BOX).tobytes()
