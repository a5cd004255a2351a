"""Maps that models read beside the picture: CoLLaVO's of classes and numbers, MoAI's of colours.

Sources: CoLLaVO (arXiv 2402.11248), section 3: a semantic and a numbering index for each patch; MoAI
(arXiv 2403.07508), section 3: the panoptic map in the colours of PASCAL VOC.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from looksay.errors import InputError
from looksay.experts.base import Findings, Ids

CLASSES = 133
"""Of COCO panoptic."""
NUMBERS = 20
Fit = Literal["pad", "crop", "stretch"]


def crayon(
    findings: Findings,
    rows: int,
    columns: int,
    *,
    classes: int = CLASSES,
    numbers: int = NUMBERS,
    fit: Fit = "stretch",
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(semantic, numbering), each of shape (rows, columns): class index + 1, and number within the class.

    0 means unknown in both: no segment; in `numbering` also a number above `numbers`, since an index shared by
    the 21st and the 22nd would say that they are one thing. Each cell is that of the segment with most of its
    pixels (`cells`), so both maps always speak of the same segment. `fit` is the vision tower's, so that cells
    lie on its patches. Raises InputError for a class that the tables have no row for.
    """
    ids = cells(square(findings.ids, fit), rows, columns)
    beyond = [one for one in findings.segments if one.class_index >= classes]
    if beyond:
        raise InputError(
            f"{beyond[0].name!r} is class {beyond[0].class_index}, but there are {classes} classes (0 to "
            f"{classes - 1}). Expected findings with the classes that the model was built for."
        )
    semantic, numbering = np.zeros_like(ids, np.int64), np.zeros_like(ids, np.int64)
    for one in findings.segments:  # by id, never by its place in a list
        here = ids == one.id
        semantic[here] = one.class_index + 1
        numbering[here] = one.number if one.number <= numbers else 0
    return semantic, numbering


def colours(findings: Findings, fit: Fit | None = None) -> NDArray[np.uint8]:
    """The segments in the colours of their ids, black where there is none: RGB of shape (height, width, 3), of
    the picture's size, or square as `fit` makes pictures."""
    ids = findings.ids if fit is None else square(findings.ids, fit)
    there = np.unique(ids)
    return palette(there)[np.searchsorted(there, ids)]


def palette(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """The colour that PASCAL VOC gives to each number: of shape (…, 3).

    Bits 0, 1, 2 of a number are the highest bits of red, green, blue, bits 3, 4, 5 the next, and so on; so
    all numbers below 2^24 have colours of their own. Source: the VOC development kit's colour map.

    >>> palette(np.array([0, 1, 2, 15])).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128]]
    """
    numbers = ids.astype(np.int64)
    channels = []
    for channel in range(3):
        value = np.zeros_like(numbers)
        for bit in range(8):
            value |= ((numbers >> (3 * bit + channel)) & 1) << (7 - bit)
        channels.append(value)
    return np.stack(channels, axis=-1).astype(np.uint8)


def cells(ids: NDArray[Any], rows: int, columns: int) -> Ids:
    """The id that most pixels of each cell have, of shape (rows, columns); of equals the smallest.

    A pixel belongs to the cell in which its centre lies. A grid finer than the picture repeats pixels.
    """
    if rows < 1 or columns < 1:
        raise InputError(f"A grid has 1 row and column or more; found {rows} × {columns}.")
    ids = _repeated(_repeated(ids, rows, 0), columns, 1)
    height, width = ids.shape
    row = (2 * np.arange(height) + 1) * rows // (2 * height)
    column = (2 * np.arange(width) + 1) * columns // (2 * width)
    there = np.unique(ids)
    place = np.searchsorted(there, ids)
    cell = row[:, None] * columns + column[None, :]
    votes = np.bincount((cell * len(there) + place).ravel(), minlength=rows * columns * len(there))
    winner = votes.reshape(rows * columns, len(there)).argmax(axis=1)
    return np.asarray(there[winner].reshape(rows, columns), np.int32)


def square(ids: NDArray[Any], fit: Fit) -> NDArray[Any]:
    """The map as a vision tower of that fit makes pictures square: padded with 0, its middle, or as it is
    (stretched by `cells`)."""
    height, width = ids.shape
    if fit == "stretch" or height == width:
        return ids
    side = max(height, width) if fit == "pad" else min(height, width)
    top, left = abs(side - height) // 2, abs(side - width) // 2
    if fit == "crop":
        return ids[top : top + side, left : left + side]
    padded = np.zeros((side, side), ids.dtype)
    padded[top : top + height, left : left + width] = ids
    return padded


def _repeated(ids: NDArray[Any], least: int, axis: int) -> NDArray[Any]:
    length = ids.shape[axis]
    if length >= least:
        return ids
    place = (2 * np.arange(least) + 1) * length // (2 * least)
    return ids[place] if axis == 0 else ids[:, place]
