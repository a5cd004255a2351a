"""Boxes: (left, top, right, bottom) in shares of the picture's width and height, 0 to 1, from its upper left corner."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]


def overlap(first: Box, second: Box) -> float:
    """Intersection over union, 0 to 1; 0 where neither has an area.

    >>> overlap((0, 0, 1, 0.5), (0, 0, 0.5, 1))
    0.3333333333333333
    """
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    shared = width * height
    whole = area(first) + area(second) - shared
    return shared / whole if whole > 0 else 0.0


def area(box: Box) -> float:
    """Share of the picture that the box covers, 0 to 1."""
    return (box[2] - box[0]) * (box[3] - box[1])


def clipped(box: Sequence[float]) -> Box | None:
    """The part of a box that lies in the picture; None where none does.

    >>> clipped((-0.1, 0.2, 0.5, 1.5)), clipped((1.1, 0, 1.2, 1))
    ((0.0, 0.2, 0.5, 1.0), None)
    """
    left, top, right, bottom = (min(1.0, max(0.0, float(value))) for value in box)
    return (left, top, right, bottom) if left < right and top < bottom else None


def readable(box: Box, step: float = 0.01) -> Box:
    """The box as few decimals hold it: its sides on multiples of `step`, as near as they can be, none shorter than one.

    >>> readable((0.104, 0.2, 0.106, 0.8999)), readable((0.998, 0.5, 1.0, 0.504))
    ((0.1, 0.2, 0.11, 0.9), (0.99, 0.5, 1.0, 0.51))
    """
    steps = round(1 / step)
    left, right = _apart(box[0], box[2], steps)
    top, bottom = _apart(box[1], box[3], steps)
    return left, top, right, bottom


def _apart(low: float, high: float, steps: int) -> tuple[float, float]:
    start, end = round(low * steps), round(high * steps)
    if start == end:
        start = min(int((low + high) / 2 * steps), steps - 1)
        end = start + 1
    return start / steps, end / steps
