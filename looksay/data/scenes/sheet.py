"""A contact sheet: scenes side by side, each with its caption below."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from looksay.data.scenes.telling import description
from looksay.data.scenes.world import Scene

MARGIN_PX, FONT_PX, LINE_PX = 8, 11, 14


def sheet(
    scenes: Sequence[Scene], columns: int = 4, captions: Sequence[str] | None = None
) -> Image.Image:
    """The scenes in rows of `columns`, in reading order, with their descriptions or these `captions`.

    Without captions (an empty sequence) a single scene is its picture alone.
    """
    if captions is None:
        captions = [description(scene) for scene in scenes]
    if not captions and len(scenes) == 1:
        return scenes[0].image()
    font = ImageFont.load_default(FONT_PX)
    side = max(scene.size_px for scene in scenes)
    wide = max(side, 180) if captions else side
    blocks = [wrapped(text, font, wide) for text in captions] or [[] for _ in scenes]
    rows = [
        range(start, min(start + columns, len(scenes))) for start in range(0, len(scenes), columns)
    ]
    below = 3 if captions else 1
    heights = [
        side + max(len(blocks[i]) for i in row) * LINE_PX + below * MARGIN_PX for row in rows
    ]
    size = (columns * (wide + MARGIN_PX) + MARGIN_PX, sum(heights) + MARGIN_PX)
    picture = Image.new("RGB", size, "white")
    pen, top = ImageDraw.Draw(picture), MARGIN_PX
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left = MARGIN_PX + column * (wide + MARGIN_PX)
            picture.paste(scenes[i].image(), (left, top))
            for number, line in enumerate(blocks[i]):
                place = (left, top + side + MARGIN_PX // 2 + number * LINE_PX)
                pen.text(place, line, fill="black", font=font)
        top += height
    return picture


def wrapped(
    text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width_px: int
) -> list[str]:
    """The text in lines of at most `width_px`, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
