"""Reading pictures: one door for every format, every limit and every fault.

Pillow reads JPEG, PNG, WebP, GIF, AVIF, TIFF and BMP, pillow-heif reads HEIC, and resvg draws SVG. Whatever comes in, what comes out is upright 8-bit RGB of the first frame.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO, cast

from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from looksay.errors import UnreadablePhoto

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before decoding: 100 megapixels are 300 MB of RGB."""

PHOTO_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".svg"]
)

_heif_registered = False


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Pillow.Image:
    """The picture, opened but not yet decoded. Raises UnreadablePhoto with the reason in plain words.

    `.format`, `.size` and `.info` are valid; pixels are read on first use, and `upright_rgb` is the
    safe way to use them. The caller closes it.
    """
    try:
        stream: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise UnreadablePhoto(_reason(error)) from error
    try:
        head = stream.read(512)
        if not head:
            raise UnreadablePhoto("the file is empty (0 bytes)")
        if looks_like_svg(head):
            stream.seek(0)
            return _rasterise(stream.read())
        stream.seek(0)
        _register_heif(head)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF, bomb warnings: the limit below decides
            previous, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
            try:
                image = cast(Pillow.Image, Pillow.open(stream))
            finally:
                Pillow.MAX_IMAGE_PIXELS = previous
        width_px, height_px = image.size
        if width_px * height_px > max_pixels:
            raise UnreadablePhoto(
                f"{width_px} × {height_px} px is {width_px * height_px / 1e6:.0f} megapixels, over the "
                f"limit of {max_pixels / 1e6:.0f} (setting: max_megapixels)"
            )
        return image
    except UnreadablePhoto:
        stream.close()
        raise
    except (
        Exception
    ) as error:  # decoders raise anything on damaged input: OSError, ValueError, struct.error …
        stream.close()
        raise UnreadablePhoto(_reason(error)) from error


def upright_rgb(image: Pillow.Image, *, max_side_px: int | None = None) -> Pillow.Image:
    """Decode: first frame, EXIF orientation applied, transparency over white, 8-bit RGB.

    With `max_side_px` the longest side is at most that (JPEGs are shrunk while decoding).
    Raises UnreadablePhoto where the pixel data is damaged or cut off.
    """
    try:
        if max_side_px:
            image.draft("RGB", (max_side_px, max_side_px))
        if image.mode.startswith(("I;16", "I", "F")):
            image = _to_8_bit(image)
        if max_side_px and max(image.size) > max_side_px:
            filter_ = Pillow.Resampling.LANCZOS if image.mode != "P" else Pillow.Resampling.NEAREST
            image = _flatten(image) if image.mode == "P" else image
            exif_holder = image
            image = image.resize(_fit(image.size, max_side_px), filter_, reducing_gap=2.0)
            image.info.update(exif_holder.info)
        return _flatten(ImageOps.exif_transpose(image))
    except UnreadablePhoto:
        raise
    except Exception as error:
        raise UnreadablePhoto(_reason(error)) from error


def load_rgb(source: Path | bytes, *, max_side_px: int | None = None) -> Pillow.Image:
    """Open and decode in one step; see `open_image` and `upright_rgb`."""
    with open_image(source) as image:
        return upright_rgb(image, max_side_px=max_side_px)


def encode_jpeg(source: Path | bytes, *, max_side_px: int = 1536, quality: int = 88) -> bytes:
    """A fresh JPEG to send away: upright, shrunk, without EXIF, GPS, XMP, profile or thumbnail."""
    rgb = load_rgb(source, max_side_px=max_side_px)
    clean = Pillow.new("RGB", rgb.size)
    clean.paste(rgb)
    out = io.BytesIO()
    clean.save(out, "JPEG", quality=quality)
    return out.getvalue()


def looks_like_svg(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text
    )


def _rasterise(svg: bytes) -> Pillow.Image:
    import resvg_py

    # Local text only: resources_dir is not given, so nothing outside the file is read.
    png = bytes(
        resvg_py.svg_to_bytes(svg_string=svg.decode("utf-8", "replace"), background="white")
    )
    image = cast(Pillow.Image, Pillow.open(io.BytesIO(png)))
    image.format = "SVG"
    return image


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
    flat.info.update({k: v for k, v in image.info.items() if k == "exif"})
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
    text = str(error) or type(error).__name__
    if "truncated" in text.lower():
        return "the file is cut off (truncated)"
    return f"damaged: {text}"
