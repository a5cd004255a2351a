"""How much of what a text says of a scene is true: exact, because a scene knows its truth.

What a text says is read by `looksay.data.scenes.told`; figures of models that were not trained on scenes are lower
bounds of what they see.
"""

from __future__ import annotations

from collections import Counter

from looksay.data.scenes import Scene, description
from looksay.data.scenes.told import ToldGroup, ToldRelation, read
from looksay.evaluation.metrics.chair import hallucination

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
    of which the full description says something. sign words: read exactly; sign characters: 1 less the
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
        "sign words": (word == sign.word, 1) if sign else (0, 0),
        "sign characters": (_alike(word, sign.word), 1) if sign else (0, 0),
        "sign noticed": ((told.sign is not None) == (sign is not None), 1),
        "background colour": (told.colour == scene.colour, 1),
        "background pattern": (told.pattern == scene.pattern, 1),
    }


def _full(scene: Scene) -> tuple[ToldRelation, ...]:
    return read(description(scene)).relations


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
