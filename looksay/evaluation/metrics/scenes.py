"""How much of what a text says of a scene is true: exact, because a scene knows its truth.

What a text says is read by `looksay.data.scenes.told`; figures of models that were not trained on scenes are lower
bounds of what they see.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from looksay.data.scenes import Scene, description
from looksay.data.scenes.told import ToldGroup, ToldRelation, read
from looksay.evaluation.metrics import boxes, minigpt4
from looksay.evaluation.metrics.boxes import Box
from looksay.evaluation.metrics.chair import hallucination
from looksay.experts.base import Segment

_LISTED = re.compile(r"\(#(\d{1,3}) ([^()]+)\)(?:\s*(\[[^\]]*\]))?")
Score = tuple[float, float]
"""Numerator and denominator: over many scenes the sums are divided, not the shares averaged."""

MEASURES = (
    "object recall",
    "object precision",
    "CHAIRi",
    "CHAIRs",
    "strictly correct",
    "counts",
    "sizes",
    "relations",
    "relation coverage",
    "covered",
    "sign words",
    "sign characters",
    "sign noticed",
    "background colour",
    "background pattern",
)


def score(text: str, scene: Scene) -> dict[str, Score]:
    """How a text fares against a scene, by measure (all of MEASURES).

    object recall, precision: nouns named of those there, nouns there of those named. CHAIRi: mentions
    of what is not there, of all mentions; CHAIRs: 1 where there is any. counts, sizes: right ones of the
    groups that are there and introduced (the first time counts; not told is wrong). relations: true ones
    of those stated. relation coverage: pairs of groups of which the text says something true, of those
    of which the full description says something. covered: all of both, objects and such pairs. sign words: read exactly; sign characters: 1 less the
    edit distance over the word's length, at least 0; both over scenes with a sign. sign noticed: a sign
    is told where and only where there is one. strictly correct: exactly the groups that are there, each
    introduced once and with its count, and nothing else named.
    """
    told = read(text)
    truth = {group.noun.name: group for group in scene.groups}
    found = hallucination(told.nouns, truth)
    first: dict[str, ToldGroup] = {}
    for group in told.groups:
        first.setdefault(group.noun, group)
    matched = [group for noun, group in first.items() if noun in truth]
    numbers = {group.noun.name: number for number, group in enumerate(scene.groups)}
    true = {(r.a, r.side, r.b) for r in scene.relations}
    stated = set(told.relations)
    right = {r for r in stated if (numbers.get(r.a), r.side, numbers.get(r.b)) in true}
    expected = {frozenset((r.a, r.b)) for r in _full(scene)}
    covered = expected & {frozenset((r.a, r.b)) for r in right}
    named, word = set(told.nouns), told.sign.word if told.sign else ""
    sign = scene.sign
    strict = (
        Counter((g.noun, g.count) for g in told.groups)
        == Counter((g.noun.name, g.count) for g in scene.groups)
    ) and not found.hallucinated
    return {
        "object recall": (found.found, found.present),
        "object precision": (found.found, len(named)),
        "CHAIRi": (len(found.hallucinated), found.mentions),
        "CHAIRs": (bool(found.hallucinated), 1),
        "strictly correct": (strict, 1),
        "counts": (sum(g.count == truth[g.noun].count for g in matched), len(matched)),
        "sizes": (sum(g.size == truth[g.noun].size for g in matched), len(matched)),
        "relations": (len(right), len(stated)),
        "relation coverage": (len(covered), len(expected)),
        "covered": (found.found == found.present and covered == expected, 1),
        "sign words": (word == sign.word, 1) if sign else (0, 0),
        "sign characters": (_alike(word, sign.word), 1) if sign else (0, 0),
        "sign noticed": ((told.sign is not None) == (sign is not None), 1),
        "background colour": (told.colour == scene.colour, 1),
        "background pattern": (told.pattern == scene.pattern, 1),
    }


def _full(scene: Scene) -> tuple[ToldRelation, ...]:
    return read(description(scene)).relations


def failures(text: str, scene: Scene) -> tuple[str, ...]:
    """The rules of MiniGPT-4's failures that a text breaks: it is off topic where it names nothing that is there."""
    names = (name for group in scene.groups for name in (group.noun.name, group.noun.plural))
    return minigpt4.failures(text, {name.split()[-1] for name in names})


def listed(text: str, segments: Sequence[Segment]) -> dict[str, Score]:
    """How an answer to a crayon instruction ("(#1 dog) [0.12, 0.40, 0.37, 0.71], …") fares against what is there.

    named: things that are listed by name and number; placed: those whose box, where they are first listed, overlaps
    theirs by half (intersection over union). Of all that are there.
    """
    told: dict[tuple[str, int], Box | None] = {}
    for number, name, box in _LISTED.findall(text):
        told.setdefault((name, int(number)), boxes.parse(box) if box else None)
    kept = [(one, told[one.name, one.number]) for one in segments if (one.name, one.number) in told]
    placed = [box for one, box in kept if box is not None and boxes.overlap(box, one.box) >= 0.5]
    return {"named": (len(kept), len(segments)), "placed": (len(placed), len(segments))}


def characters(said: str, word: str) -> float:
    """How much of a sign's word an answer has right, 0 to 1, whatever stands between its letters."""
    return _alike(letters(said), word)


def letters(said: str) -> str:
    """The letters of an answer in capitals: "H e l l o." is HELLO."""
    return "".join(letter for letter in said.upper() if letter.isalpha())


def _alike(said: str, word: str) -> float:
    return max(0.0, 1 - edit_distance(said, word) / len(word))


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance: insertions, deletions and replacements of one character."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            change = before + (left != right)
            before = row[j]
            row[j] = min(change, row[j] + 1, row[j - 1] + 1)
    return row[-1]
