"""Reading pictures: one door for every format, every limit and every fault.

Pillow reads JPEG, PNG, WebP, GIF, AVIF, TIFF and BMP, pillow-heif reads HEIC, and resvg draws SVG
(`looksay.svg`). Whatever comes in, what comes out is upright 8-bit RGB of the first frame.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from functools import lru_cache
from pathlib import Path
from typing import cast

from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as Pillow

from looksay import svg
from looksay.errors import UnreadablePhoto

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before decoding: 100 megapixels are 300 MB of RGB."""
SPARE = 2
"""Finer detail than so many pixels for one that a model sees would be lost in resizing anyway."""

PHOTO_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".webp",
        ".gif",
        ".avif",
        ".heic",
        ".heif",
        ".tif",
        ".tiff",
        ".bmp",
        ".svg",
    ]
)

_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_heif_registered = False


class _Hush:
    """Pillow's warnings (damaged EXIF) and its own size limit are off while any thread reads a picture:
    our limit decides. Both are the process's, so they are saved by the first to come in and put back
    by the last to leave."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
                self._limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Pillow.MAX_IMAGE_PIXELS = self._limit
                self._caught.__exit__(None, None, None)


_hushed = _Hush()


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Pillow.Image:
    """The picture, opened but not yet decoded. Raises UnreadablePhoto with the reason in plain words.

    `.format`, `.size` and `.info` are valid; pixels are read on first use, and `upright_rgb` is the
    safe way to use them. The caller closes it.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            head = stream.read(512)
            if not head:
                raise UnreadablePhoto("the file is empty (0 bytes)")
            if svg.is_svg(head):
                return svg.rasterise(head + stream.read(), max_pixels)
        _register_heif(head)
        with _hushed:  # given a path, Pillow closes the file with the picture
            opened = Pillow.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        image = cast(Pillow.Image, opened)
    except UnreadablePhoto:
        raise
    except Exception as error:  # decoders raise anything on damaged input: ValueError, struct.error
        raise UnreadablePhoto(_reason(error)) from error
    width_px, height_px = image.size
    if width_px * height_px > max_pixels:
        image.close()
        raise UnreadablePhoto(
            f"{width_px} × {height_px} px is {width_px * height_px / 1e6:.0f} megapixels, over the "
            f"limit of {max_pixels / 1e6:.0f} (setting: max_megapixels)"
        )
    return image


def upright_rgb(
    image: Pillow.Image,
    *,
    max_side_px: int | None = None,
    rough: bool = False,
    seen_px: int | None = None,
) -> Pillow.Image:
    """Decode: first frame, EXIF orientation applied, transparency over white, 8-bit RGB.

    With `max_side_px` the longest side is at most that (JPEGs are shrunk while decoding); with `rough`
    it may be up to three times as long, which saves a resize. `seen_px` is the side of the square
    that a model sees of it: JPEGs are shrunk while decoding to no less than `SPARE` times that.
    Raises UnreadablePhoto where the pixel data is damaged or cut off.
    """
    try:
        with _hushed:
            spare_px = SPARE * seen_px if seen_px else None
            if least := min(filter(None, (max_side_px, spare_px)), default=None):
                image.draft("RGB", (least, least))
            image.load()  # Pillow turns a TIFF while decoding, and then reports it as upright
            turn = _TURNS.get(orientation(image))
            if image.mode.startswith(("I;16", "I", "F")):
                image = _to_8_bit(image)
            if max_side_px and max(image.size) > max_side_px * (3 if rough else 1):
                image = _flatten(image) if image.mode == "P" else image
                info, size = image.info, _fit(image.size, max_side_px)
                image = image.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=2.0)
                image.info.update(info)  # transparency may stand there
            return _flatten(image if turn is None else image.transpose(turn))
    except UnreadablePhoto:
        raise
    except Exception as error:
        raise UnreadablePhoto(_reason(error)) from error


def orientation(image: Pillow.Image) -> int:
    """The EXIF orientation of a decoded picture, 1 to 8; 1 (upright) where there is none or the EXIF
    data are damaged."""
    try:
        with _hushed:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as above: damaged EXIF raises anything, and the pixels may be fine
        return 1


def load_rgb(
    source: Path | bytes | Pillow.Image,
    *,
    max_side_px: int | None = None,
    seen_px: int | None = None,
) -> Pillow.Image:
    """Open and decode in one step; see `open_image` and `upright_rgb`. A picture that is decoded
    already is not changed; where there is nothing to do to it, it is returned itself."""
    if isinstance(source, Pillow.Image):
        fits = not max_side_px or max(source.size) <= max_side_px
        if fits and source.mode == "RGB" and orientation(source) == 1:
            return source
        return upright_rgb(source.copy(), max_side_px=max_side_px)
    with open_image(source) as image:
        return upright_rgb(image, max_side_px=max_side_px, seen_px=seen_px)


def digest(source: Path | bytes | Pillow.Image) -> str:
    """SHA-256 of the picture's bytes: a moved file is the same picture, a changed one is not. Raises OSError."""
    if isinstance(source, Path):
        return _of_file(source, source.stat().st_mtime_ns, source.stat().st_size)
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    head = f"{source.mode} {source.size} ".encode()
    return hashlib.sha256(head + source.tobytes()).hexdigest()


@lru_cache(maxsize=200_000)
def _of_file(path: Path, changed_ns: int, size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def encode_jpeg(
    source: Path | bytes | Pillow.Image, *, max_side_px: int = 1536, quality: int = 88
) -> bytes:
    """A fresh JPEG to send away: upright, shrunk, without EXIF, GPS, XMP, profile or thumbnail."""
    rgb = load_rgb(source, max_side_px=max_side_px)
    clean = Pillow.new("RGB", rgb.size)
    clean.paste(rgb)
    out = io.BytesIO()
    clean.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _register_heif(head: bytes) -> None:
    global _heif_registered
    if not _heif_registered and head[4:8] == b"ftyp" and b"avif" not in head[8:40]:
        import pillow_heif

        pillow_heif.register_heif_opener()
        _heif_registered = True


def _to_8_bit(image: Pillow.Image) -> Pillow.Image:
    """16-bit and float greys: Pillow clips them to white when converted, so scale by their own range."""
    info = dict(image.info)
    _low, high = cast(tuple[float, float], image.getextrema())
    top = 65535.0 if image.mode.startswith("I") and high > 255 else max(float(high), 1.0)
    wide = image.convert("F" if image.mode == "F" else "I")
    scaled = wide.point(lambda value: value * (255.0 / top) + 0.0).convert("L")
    scaled.info.update(info)
    return scaled


def _flatten(image: Pillow.Image) -> Pillow.Image:
    if image.mode == "RGB":
        return image
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        flat = Pillow.new("RGB", rgba.size, "white")
        flat.paste(rgba, mask=rgba.getchannel("A"))
    else:
        flat = image.convert("RGB")
    return flat


def _fit(size: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    scale = max_side_px / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _reason(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, FileNotFoundError):
        return "the file is gone"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in any format that looksay reads"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error) or type(error).__name__
    if "truncated" in text.lower():
        return "the file is cut off (truncated)"
    return f"damaged: {text}"
