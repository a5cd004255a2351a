"""The nouns, their sprites, the letters of signs and the backgrounds: everything that a scene is drawn from.

atlas.png holds the sprites (cells of 64 px) and nouns.json one record per noun, for example
{"emoji": "🐕", "kind": "animal", "size": [60, 64], "plural": "dogs", "en": "dog", "ko": "개", …};
`build.py` makes both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELL_PX, COLUMNS = 64, 16
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Pixels = NDArray[np.uint8]

COLOURS = {
    "white": (242, 242, 242),
    "grey": (176, 176, 176),
    "red": (226, 116, 108),
    "yellow": (245, 222, 118),
    "green": (134, 196, 122),
    "blue": (122, 170, 232),
    "purple": (180, 144, 218),
    "brown": (186, 146, 106),
}
"""Backgrounds. Signs use the same names in stronger tones (`BOARDS`)."""
BOARDS = {
    "white": ((250, 250, 250), (0, 0, 0)),
    "yellow": ((250, 210, 20), (0, 0, 0)),
    "red": ((200, 30, 30), (255, 255, 255)),
    "green": ((20, 120, 50), (255, 255, 255)),
    "blue": ((20, 60, 180), (255, 255, 255)),
    "black": ((25, 25, 25), (255, 255, 255)),
}
"""Colour of a sign's board and of its letters."""
PATTERNS = ("plain", "striped", "dotted", "checked")


@dataclass(frozen=True, slots=True)
class Noun:
    """A kind of object that scenes show."""

    number: int
    emoji: str
    kind: str
    """animal, food, vehicle or thing."""
    plural: str
    names: dict[str, str]
    """Unicode's short name by language: en, ko, de, fr, es, ja."""
    aspect: tuple[int, int]
    """Width and height of the sprite, the longer side being CELL_PX."""

    @property
    def name(self) -> str:
        return self.names["en"]

    def size_at(self, longer_px: int) -> tuple[int, int]:
        """Width and height in px of the drawn object when its longer side is `longer_px`."""
        width, height = self.aspect
        scale = longer_px / CELL_PX
        return max(1, round(width * scale)), max(1, round(height * scale))


def _read_nouns() -> tuple[Noun, ...]:
    records = json.loads(Path(__file__).with_name("nouns.json").read_text("utf-8"))
    own = {"emoji", "kind", "size", "plural"}
    return tuple(
        Noun(
            number=number,
            emoji=record["emoji"],
            kind=record["kind"],
            plural=record["plural"],
            names={key: value for key, value in record.items() if key not in own},
            aspect=(record["size"][0], record["size"][1]),
        )
        for number, record in enumerate(records)
    )


NOUNS = _read_nouns()
BY_NAME = {noun.name: noun for noun in NOUNS}


@dataclass(frozen=True, slots=True)
class Sprite:
    """A sprite at one size, ready to be laid over a picture."""

    light: NDArray[np.uint16]
    """(height, width, 3): colour times opacity."""
    shade: NDArray[np.uint16]
    """(height, width, 1): 256 minus opacity."""
    solid: NDArray[np.bool_]
    """(height, width): where the object is more than half opaque."""

    def over(self, picture: Pixels, x: int, y: int) -> None:
        """Lay the sprite over `picture` (height, width, 3) with its top left corner at (x, y), in px."""
        height, width = self.solid.shape
        below = picture[y : y + height, x : x + width]
        below[:] = ((below * self.shade) >> 8) + self.light


@cache
def _sheet() -> Image.Image:
    with Image.open(Path(__file__).with_name("atlas.png")) as image:
        return image.convert("RGBA")


def _sprite(rgba: Image.Image) -> Sprite:
    values = np.asarray(rgba, dtype=np.uint16)
    opacity = values[..., 3:]
    light = values[..., :3] * opacity // 255
    return Sprite(light, 256 - opacity - (opacity > 0), opacity[..., 0] > 127)


@cache
def sprite(noun: int, longer_px: int) -> Sprite:
    """Noun number `noun`, its longer side `longer_px`."""
    x, y = noun % COLUMNS * CELL_PX, noun // COLUMNS * CELL_PX
    cut = _sheet().crop((x, y, x + NOUNS[noun].aspect[0], y + NOUNS[noun].aspect[1]))
    return _sprite(cut.resize(NOUNS[noun].size_at(longer_px), Image.Resampling.LANCZOS))


@cache
def letter(character: str, height_px: int, rgb: tuple[int, int, int]) -> Sprite:
    """One capital letter in a square of `height_px`, drawn in the colour `rgb`."""
    number = LETTERS.index(character)
    row = -(-len(NOUNS) // COLUMNS) + number // COLUMNS
    x, y = number % COLUMNS * CELL_PX, row * CELL_PX
    cut = _sheet().crop((x, y, x + CELL_PX, y + CELL_PX))
    small = cut.resize((height_px, height_px), Image.Resampling.LANCZOS)
    flat = Image.new("RGBA", small.size, rgb)
    flat.putalpha(small.getchannel("A"))
    return _sprite(flat)


@cache
def background(colour: str, pattern: str, size_px: int) -> Pixels:
    """A square of `size_px`; read-only, because it is shared."""
    base = np.array(COLOURS[colour], np.int16)
    x, y = np.meshgrid(np.arange(size_px), np.arange(size_px))
    step = size_px // 8
    marks = {
        "plain": np.zeros_like(x, bool),
        "striped": (x + y) // step % 2 == 0,
        "dotted": ((x % step - step / 2) ** 2 + (y % step - step / 2) ** 2) < (step / 4) ** 2,
        "checked": (x // step + y // step) % 2 == 0,
    }[pattern]
    values = np.where(marks[..., None], base - 26, base)
    pixels = values.clip(0, 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels
