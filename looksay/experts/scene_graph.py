"""How things stand to each other, by the geometry of their boxes: no model, and nothing that boxes do not show.

"Riding" or "holding" cannot be seen in boxes. Relations of a model that knows such words come in through
`precomputed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from looksay.errors import InputError
from looksay.experts.base import Expert, Findings, Options, Relation, numbered
from looksay.experts.boxes import Box, area, overlap
from looksay.experts.loading import load as load_expert

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

ABOUT = (
    "Relations by the geometry of the boxes of another expert: left of, right of, above, below, on."
)
MAX_RELATIONS = 10
"""As many as MoAI takes."""
SAME = 0.7
"""Boxes that overlap by more are taken for one thing found twice, or one that fills the other's place."""
MUCH = 0.9
"""A thing is smaller than another where it has less than this share of its area."""
GAP = 1 / 12
"""How far apart two centres must be along an axis, in shares of the picture."""


class SceneGraph:
    """Relations between what another expert finds: its detections, or else its segments."""

    def __init__(self, of: Expert) -> None:
        self._of = of
        self.name = f"scene_graph:{of.name}"

    @property
    def fingerprint(self) -> str:
        return f"geometry-1 of {self._of.fingerprint}"

    def find(self, source: Path | bytes | Pillow) -> Findings:
        found = self._of.find(source)
        if found.detections:
            names = [one.name for one in found.detections]
            things = list(
                zip(names, numbered(names), (d.box for d in found.detections), strict=True)
            )
        else:
            things = [(one.name, one.number, one.box) for one in found.segments]
        return Findings(found.size_px, relations=relate(things))


def relate(things: Sequence[tuple[str, int, Box]]) -> tuple[Relation, ...]:
    """Relations between things, each a name, its number and its box: for each pair the one that is clearest, the
    clearest pairs first, at most MAX_RELATIONS. The score is 1 for "on", else how far apart the centres lie.

    "on": the foot of one at the top of the other, its middle within the other's width. Else the side on
    which the centres lie further apart, if by GAP at least. The smaller thing is told of the larger, and the first of
    the second where they are about equal.

    >>> [one.predicate for one in relate([("cup", 1, (0.4, 0.2, 0.5, 0.4)), ("table", 1, (0.2, 0.38, 0.9, 0.9))])]
    ['on']
    """
    found = []
    for place, first in enumerate(things):
        for second in things[place + 1 :]:
            smaller = area(second[2]) < MUCH * area(first[2])
            small, large = (second, first) if smaller else (first, second)
            predicate, score = _side(small[2], large[2])
            if predicate:
                found.append(Relation(small[0], small[1], predicate, large[0], large[1], score))
    return tuple(sorted(found, key=lambda one: -one.score)[:MAX_RELATIONS])


def _side(ours: Box, theirs: Box) -> tuple[str, float]:
    """(predicate, score), or ("", 0) where nothing is clear."""
    if overlap(ours, theirs) > SAME:
        return "", 0.0
    if _stands_on(ours, theirs):
        return "on", 1.0
    across = (ours[0] + ours[2] - theirs[0] - theirs[2]) / 2
    down = (ours[1] + ours[3] - theirs[1] - theirs[3]) / 2
    if max(abs(across), abs(down)) < GAP:
        return "", 0.0
    if abs(across) >= abs(down):
        return ("left of" if across < 0 else "right of"), abs(across)
    return ("above" if down < 0 else "below"), abs(down)


def _stands_on(upper: Box, lower: Box) -> bool:
    middle = (upper[0] + upper[2]) / 2
    tolerance = 0.15 * (lower[3] - lower[1])
    return (
        lower[0] < middle < lower[2]
        and upper[1] < lower[1]
        and -0.01 <= upper[3] - lower[1] <= tolerance
    )


def lacking() -> str:
    return "the expert whose boxes it relates: --expert scene_graph:detection:MODEL.onnx"


def load(model: str, options: Options) -> SceneGraph:
    """`model` is the name of the expert whose boxes are related. Raises InputError where there is none."""
    if not model:
        raise InputError(
            "scene_graph relates the boxes of another expert, and none is named. Type, for example: "
            "--expert scene_graph:detection:MODEL.onnx"
        )
    return SceneGraph(load_expert(model, options))
