"""The truth of a scene on a grid of cells, for towers that learn to recognise before they learn to speak."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from looksay.data.scenes.atlas import BOARDS, COLOURS, LETTERS, NOUNS, PATTERNS
from looksay.data.scenes.world import Scene

CELL_PX = 8
CLASSES = {
    "noun": len(NOUNS),
    "letter": len(LETTERS),
    "order": 6,
    "board": len(BOARDS),
    "colour": len(COLOURS),
    "pattern": len(PATTERNS),
}
"""How many classes each grid has. In `noun` and `letter` one more number stands for "nothing here"."""
_COLOURS, _BOARDS = list(COLOURS), list(BOARDS)


def grids(scene: Scene, cells: int) -> dict[str, NDArray[Any]]:
    """Arrays by name, C = `cells` to a side.

    noun_CC: number of the noun whose centre lies in the cell, else len(NOUNS).
    box_CC4: centre within the cell (0 to 1, x then y), width and height over the picture's side.
    letter_CC: letter whose centre lies in the cell, else 26; order_CC: its place in the word, else -100;
    board_CC: colour of its sign, else -100. colour, pattern: of the background, numbers. Where two things
    or letters share a cell the later one stays: never at 128 px and 16 cells, but in pictures of 96 px the
    letters of some signs stand closer than 8 px.
    """
    noun = np.full((cells, cells), CLASSES["noun"], np.int64)
    box = np.zeros((cells, cells, 4), np.float32)
    letter = np.full((cells, cells), CLASSES["letter"], np.int64)
    order = np.full((cells, cells), -100, np.int64)
    board = np.full((cells, cells), -100, np.int64)
    cell = scene.size_px / cells
    for thing in scene.things:
        x, y = (value / cell for value in thing.box.centre)
        column, row = int(x), int(y)
        noun[row, column] = thing.noun
        wide, high = thing.box.width / scene.size_px, thing.box.height / scene.size_px
        box[row, column] = (x - column, y - row, wide, high)
    if scene.sign:
        for place, (character, where) in enumerate(
            zip(scene.sign.word, scene.sign.letter_boxes(), strict=True)
        ):
            column, row = (int(value / cell) for value in where.centre)
            letter[row, column] = LETTERS.index(character)
            order[row, column] = place
            board[row, column] = _BOARDS.index(scene.sign.colour)
    return {
        "noun": noun,
        "box": box,
        "letter": letter,
        "order": order,
        "board": board,
        "colour": np.array(_COLOURS.index(scene.colour)),
        "pattern": np.array(PATTERNS.index(scene.pattern)),
    }
