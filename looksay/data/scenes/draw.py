"""From a scene to its pixels and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from looksay.data.scenes import atlas
from looksay.data.scenes.atlas import BOARDS, Pixels

if TYPE_CHECKING:
    from looksay.data.scenes.world import Scene, Sign

Mask = NDArray[np.bool_]


def pixels(scene: Scene) -> Pixels:
    """uint8 of shape (size_px, size_px, 3): the background, the things in order, then the sign."""
    picture = atlas.background(scene.colour, scene.pattern, scene.size_px).copy()
    for thing in scene.things:
        atlas.sprite(thing.noun, thing.longer_px).over(picture, thing.box.x, thing.box.y)
    if scene.sign:
        put_up(scene.sign, picture)
    return picture


def put_up(sign: Sign, picture: Pixels) -> None:
    """Draw a sign over a picture (height, width, 3), in place. A space is a place without a letter."""
    board, ink = BOARDS[sign.colour]
    x, y, width, height = sign.box
    picture[y : y + height, x : x + width] = ink
    picture[y + 1 : y + height - 1, x + 1 : x + width - 1] = board
    for character, box in zip(sign.word, sign.letter_boxes(), strict=True):
        if character == " ":
            continue
        side = sign.pitch_px + 2
        top = y + (height - side) // 2
        left = max(x, box.x + (box.width - side) // 2)
        atlas.letter(character, side, ink).over(picture, left, top)


def masks(scene: Scene) -> list[Mask]:
    """What is visible of each thing, in the order of `scene.things`."""
    found: list[Mask] = []
    for thing in scene.things:
        mask = np.zeros((scene.size_px, scene.size_px), np.bool_)
        x, y, width, height = thing.box
        mask[y : y + height, x : x + width] = atlas.sprite(thing.noun, thing.longer_px).solid
        for below in found:
            below &= ~mask
        found.append(mask)
    if scene.sign:
        x, y, width, height = scene.sign.box
        for mask in found:
            mask[y : y + height, x : x + width] = False
    return found
