"""What perfect vision experts would find in a scene, and what worse ones would.

A model that is given findings can be measured with the truth, and again with a known share of it wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

import numpy as np

from looksay.data.scenes.atlas import NOUNS
from looksay.data.scenes.world import Box as Place
from looksay.data.scenes.world import Scene, sign_words
from looksay.errors import InputError, UnknownName
from looksay.experts.base import (
    Detection,
    Findings,
    Relation,
    TextLine,
    numbered,
    segmented,
)
from looksay.experts.boxes import Box

NAMES = (*(noun.name for noun in NOUNS), "sign")
"""The classes of a scene's segments, by their index: the nouns, and then signs."""
EXPERTS: Mapping[str, tuple[str, ...]] = {
    "segments": ("segments", "runs"),
    "detections": ("detections",),
    "relations": ("relations",),
    "text": ("lines",),
}
"""What each of MoAI's four experts finds, as fields of `Findings`."""
SIDES = ("left of", "right of", "above", "below", "on")
T = TypeVar("T")


def findings(scene: Scene) -> Findings:
    """Everything that there is to find in a scene.

    Segments are what is visible of each thing, detections its whole box, both in reading order with the sign
    last. Relations are, for every two groups, the one of the widest gap (or "on", either way round), told of
    each thing of the one and each of the other. The background is no segment, as in no group.
    """
    size = scene.size_px
    names = [NOUNS[thing.noun].name for thing in scene.things]
    ids = np.zeros((size, size), np.int32)
    kinds = {}
    for place, (thing, mask) in enumerate(zip(scene.things, scene.masks(), strict=True), 1):
        ids[mask] = place
        kinds[place] = (names[place - 1], thing.noun, 1.0)
    seen = [
        Detection(name, _shares(thing.box, size))
        for name, thing in zip(names, scene.things, strict=True)
    ]
    lines: tuple[TextLine, ...] = ()
    if scene.sign:
        x, y, width, height = scene.sign.box
        ids[y : y + height, x : x + width] = len(names) + 1
        kinds[len(names) + 1] = ("sign", len(NOUNS), 1.0)
        where = _shares(scene.sign.box, size)
        seen.append(Detection("sign", where))
        lines = (TextLine(scene.sign.word, where),)
    return replace(
        segmented(ids, kinds),
        detections=tuple(seen),
        relations=_relations(scene, names),
        lines=lines,
    )


def spoiled(found: Findings, share: float, seed: int | str = 0) -> Findings:
    """Findings of which a share is wrong, the same for the same seed (give each scene its own, such as its id).

    Each name, box, relation and word is drawn by itself and is wrong with probability `share`: a name becomes
    that of another noun, a box lies elsewhere (a segment's pixels with it, which may hide others), a relation has
    another side, a word another sign's. Segments and detections err apart, as two experts do. Raises InputError
    where `share` is none.
    """
    if not 0 <= share <= 1:
        raise InputError(f"A share is from 0 to 1; found {share:g}. For one in ten type 0.1.")
    draws = Random(f"looksay findings {seed}")

    def wrong() -> bool:
        return draws.random() < share

    ids, kinds = np.zeros_like(found.ids), {}
    for one in found.segments:
        index = NAMES.index(_other(NAMES, one.name, draws)) if wrong() else one.class_index
        kinds[one.id] = (NAMES[index] if index != one.class_index else one.name, index, one.score)
        mask = found.ids == one.id
        if wrong():
            mask = _moved(mask, one.box, _elsewhere(one.box, draws))
        ids[mask] = one.id
    seen = tuple(
        Detection(
            _other(NAMES, one.name, draws) if wrong() else one.name,
            _elsewhere(one.box, draws) if wrong() else one.box,
            one.score,
        )
        for one in found.detections
    )
    related = tuple(
        replace(one, predicate=_other(SIDES, one.predicate, draws)) if wrong() else one
        for one in found.relations
    )
    words = sign_words()[0]
    lines = tuple(
        replace(one, text=_other(words, one.text, draws)) if wrong() else one for one in found.lines
    )
    return replace(segmented(ids, kinds), detections=seen, relations=related, lines=lines)


def without(found: Findings, expert: str) -> Findings:
    """What is left where one of `EXPERTS` did not look. Raises UnknownName."""
    if expert not in EXPERTS:
        raise UnknownName("vision expert", expert, EXPERTS)
    nothing: dict[str, Any] = dict.fromkeys(EXPERTS[expert], ())
    return replace(found, **nothing)


def _relations(scene: Scene, names: Sequence[str]) -> tuple[Relation, ...]:
    numbers = numbered(names)
    told = []
    for a in range(len(scene.groups)):
        for b in range(a + 1, len(scene.groups)):
            ours, back = scene.main_relation(a, b), scene.main_relation(b, a)
            told.append(back if back and back.side == "on" else ours)
    return tuple(
        Relation(names[i], numbers[i], relation.side, names[j], numbers[j])
        for relation in filter(None, told)
        for i, one in enumerate(scene.things)
        for j, other in enumerate(scene.things)
        if (one.group, other.group) == (relation.a, relation.b)
    )


def _shares(box: Place, size_px: int) -> Box:
    x, y, width, height = box
    return x / size_px, y / size_px, (x + width) / size_px, (y + height) / size_px


def _other(choices: Sequence[T], own: T, draws: Random) -> T:
    """One of the choices that is not `own`."""
    others = [one for one in choices if one != own]
    return others[int(draws.random() * len(others))]


def _elsewhere(box: Box, draws: Random) -> Box:
    """A box of that size in another place, at least a tenth of the picture away where it has so much room."""
    wide, high = box[2] - box[0], box[3] - box[1]
    for _ in range(20):
        left, top = draws.random() * (1 - wide), draws.random() * (1 - high)
        if max(abs(left - box[0]), abs(top - box[1])) >= 0.1:
            break
    return left, top, min(1.0, left + wide), min(1.0, top + high)


def _moved(mask: np.ndarray, old: Box, new: Box) -> np.ndarray:
    """The mask with its box in another place; both boxes lie inside the picture, so nothing is lost."""
    height, width = mask.shape
    down, right = round((new[1] - old[1]) * height), round((new[0] - old[0]) * width)
    return np.roll(mask, (down, right), (0, 1))
