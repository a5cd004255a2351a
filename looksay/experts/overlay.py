"""Findings drawn onto the picture, to be looked at: each with a number and its name, so that none is told by colour alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from looksay.errors import InputError
from looksay.experts.base import Findings, check_size
from looksay.experts.boxes import Box
from looksay.experts.maps import colours, palette
from looksay.experts.verbalise import plain
from looksay.texts.quoting import quoted

MIN_SIDE_PX = 800
"""Smaller pictures are enlarged, so that names can be read."""
TINT = 0.45
LINE_PX, TEXT_PX = 3, 15
RGB = tuple[int, int, int]
DARK: RGB = (20, 20, 20)
LIGHT: RGB = (255, 255, 255)
BOX: RGB = (255, 200, 0)
TEXT: RGB = (0, 170, 255)


def drawn(picture: Image.Image, findings: Findings) -> Image.Image:
    """The RGB picture with its segments tinted and outlined, objects and lines of text in boxes. Numbers run over
    segments, detections and lines in this order. Raises InputError where they are not of this picture."""
    check_size(findings, picture.size, "What the experts found")
    scale = max(1.0, MIN_SIDE_PX / max(picture.size))
    size = (round(picture.width * scale), round(picture.height * scale))
    canvas = picture.resize(size, Image.Resampling.LANCZOS) if scale > 1 else picture.copy()
    if findings.segments:
        canvas = _tinted(canvas, findings)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(TEXT_PX)
    tags: list[tuple[Box, str, RGB]] = []
    for one in findings.segments:
        red, green, blue = palette(np.array(one.id)).tolist()
        tags.append(
            (_middle(findings, one.id), f"{plain(one.name)} #{one.number}", (red, green, blue))
        )
    for thing in findings.detections:
        _frame(pen, _px(thing.box, size), BOX)
        tags.append((thing.box, f"{plain(thing.name)} {thing.score:.2f}", BOX))
    for line in findings.lines:
        _frame(pen, _px(line.box, size), TEXT)
        # Pillow's own font has Latin letters only.
        told = quoted(line.text[:40]) if line.text.isascii() else "text"
        tags.append((line.box, told, TEXT))
    taken: list[tuple[int, int, int, int]] = []
    for number, (box, words, colour) in enumerate(tags, 1):
        _tag(pen, font, _px(box, size)[:2], f"{number} {words}", colour, size, taken)
    return canvas


def save(picture: Image.Image, path: str) -> None:
    """Write the picture in the format of the path's suffix. Raises InputError."""
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be written: {error}. Expected a path that ends in .png, .jpg or .webp."
        ) from None


def _tinted(canvas: Image.Image, findings: Findings) -> Image.Image:
    """Segments in their colours, with a dark and a light line along their borders."""
    flat = Image.fromarray(colours(findings)).resize(canvas.size, Image.Resampling.NEAREST)
    ids = np.asarray(flat, np.int32) @ np.array([1, 256, 65536], np.int32)
    values = np.asarray(canvas, np.float32)
    seen = (ids > 0)[..., None]
    values = np.where(seen, values * (1 - TINT) + np.asarray(flat, np.float32) * TINT, values)
    return outlined(values, ids)


def outlined(values: NDArray[np.float32], ids: NDArray[Any]) -> Image.Image:
    """A picture of these colours (height, width, 3), with a dark and a light line wherever two ids (height, width)
    meet."""
    borders = np.zeros(ids.shape, bool)
    borders[1:] |= ids[1:] != ids[:-1]
    borders[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    beside = np.zeros_like(borders)
    beside[:-1] |= borders[1:]
    beside[:, :-1] |= borders[:, 1:]
    values = values.copy()
    values[beside] = LIGHT
    values[borders] = DARK
    return Image.fromarray(values.astype(np.uint8))


def _middle(findings: Findings, one: int) -> Box:
    """A point inside a segment: the pixel of it that lies nearest to the mean of all its pixels."""
    rows, columns = np.nonzero(findings.ids == one)
    nearest = int(((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin())
    x, y = columns[nearest] / findings.size_px[0], rows[nearest] / findings.size_px[1]
    return float(x), float(y), float(x), float(y)


def _px(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size[0] - 1, size[1] - 1
    return (
        round(box[0] * width),
        round(box[1] * height),
        round(box[2] * width),
        round(box[3] * height),
    )


def _frame(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: RGB) -> None:
    """A coloured line within a dark one, which is seen on any ground."""
    pen.rectangle(box, outline=DARK, width=LINE_PX + 2)
    left, top, right, bottom = box
    if right - left > 2 and bottom - top > 2:
        pen.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=LINE_PX)


def _tag(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    at: tuple[int, int],
    words: str,
    colour: RGB,
    size: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
) -> None:
    """Light words on a dark ground with a stripe of the colour: inside the picture, and below whatever tags stand
    there already (`taken`), as long as there is room."""
    left, top, right, bottom = pen.textbbox((0, 0), words, font=font)
    wide, high = round(right - left) + 12, round(bottom - top) + 8
    x = max(0, min(at[0], size[0] - wide))
    y = max(0, min(at[1], size[1] - high))
    while y + 2 * high <= size[1] and any(
        x < one[2] and x + wide > one[0] and y < one[3] and y + high > one[1] for one in taken
    ):
        y += high
    taken.append((x, y, x + wide, y + high))
    pen.rectangle((x, y, x + wide, y + high), fill=DARK)
    pen.rectangle((x, y, x + 4, y + high), fill=colour)
    pen.text((x + 8 - left, y + 4 - top), words, fill=LIGHT, font=font)
