"""Questions about scenes: each answer is found again, without the asker's help, in pixels and boxes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest

pytest.importorskip("numpy", reason="no numpy: scenes cannot be drawn")

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.data.scenes import TYPES, Question, Scene, Scenes, choices, questions
from looksay.data.scenes.atlas import BOARDS, COLOURS, NOUNS
from looksay.data.scenes.world import sign_words

INDEX = st.integers(0, 10**9)
SPLIT = st.sampled_from(["train", "test", "pairs", "words"])
NUMBERS = ["zero", "one", "two", "three", "four", "five"]
KIND_OF = {word: noun.kind for noun in NOUNS for word in (noun.name, noun.plural)}
SINGULAR = {noun.plural: noun.name for noun in NOUNS} | {noun.name: noun.name for noun in NOUNS}


def centres(scene: Scene) -> dict[str, list[tuple[float, float]]]:
    """Middles of the things by noun, in px, from the picture of each thing alone."""
    empty = replace(scene, things=(), sign=None).pixels().astype(int)
    found: dict[str, list[tuple[float, float]]] = {}
    for thing in scene.things:
        alone = replace(scene, things=(thing,), sign=None).pixels().astype(int)
        rows, columns = np.nonzero(np.abs(alone - empty).max(axis=2) > 8)
        middle = ((columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2)
        found.setdefault(NOUNS[thing.noun].name, []).append(middle)
    return found


def nearest(rgb: np.ndarray, named: Iterable[tuple[str, tuple[int, int, int]]]) -> str:
    return min(named, key=lambda item: int(np.abs(rgb.astype(int) - item[1]).sum()))[0]


def sides(a: list[tuple[float, float]], b: list[tuple[float, float]], slack: float) -> set[str]:
    """On which sides of all of `b` all of `a` lie, by more than `slack` px."""
    found = set()
    for axis, less, more in ((0, "left of", "right of"), (1, "above", "below")):
        if min(p[axis] for p in b) - max(p[axis] for p in a) > slack:
            found.add(less)
        if min(p[axis] for p in a) - max(p[axis] for p in b) > slack:
            found.add(more)
    return found


def check(scene: Scene, question: Question) -> None:
    text, answer = question.text, question.answer
    seen = centres(scene)
    counts = {noun: len(places) for noun, places in seen.items()}
    if found := re.fullmatch(r"What (animal|food|vehicle|thing) is in the picture\?", text):
        assert [noun for noun in seen if KIND_OF[noun] == found[1]] == [answer]
    elif text == "How many objects are there in all?":
        assert NUMBERS.index(answer) == sum(counts.values())
    elif found := re.fullmatch(
        r"How many (pieces of food|animals|vehicles|things) are there\?", text
    ):
        kind = "food" if "food" in found[1] else found[1][:-1]
        assert NUMBERS.index(answer) == sum(
            n for noun, n in counts.items() if KIND_OF[noun] == kind
        )
    elif found := re.fullmatch(r"How many (.+) are there\?", text):
        assert NUMBERS.index(answer) == counts[SINGULAR[found[1]]]
    elif found := re.fullmatch(r"Is there an? (.+) in the picture\?", text):
        assert answer == ("yes" if found[1] in seen else "no")
    elif found := re.fullmatch(r"Where is the (.+)\?", text):
        ((x, y),) = seen[found[1]]
        words = answer.split()
        third = scene.size_px / 3
        across = "left" if x < third else "right" if x > 2 * third else ""
        down = "top" if y < third else "bottom" if y > 2 * third else ""
        assert words == ([w for w in (down, across) if w] or ["centre"])
    elif text == "What colour is the background?":
        empty = replace(scene, things=(), sign=None).pixels().reshape(-1, 3)
        lightest = empty[empty.sum(axis=1).argmax()]  # patterns are darker marks on the colour
        assert answer == nearest(lightest, COLOURS.items())
    elif text == "What colour is the sign?":
        assert scene.sign
        edge = scene.pixels()[scene.sign.box.y + 1, scene.sign.box.x + 1]
        assert answer == nearest(edge, [(name, board) for name, (board, _) in BOARDS.items()])
    elif text == "Which word is on the sign?":
        assert scene.sign
        assert answer == " ".join(scene.sign.word)
        assert scene.sign.word in sign_words()[scene.id.split("-")[1] == "words"]
    elif found := re.fullmatch(r"What size (is|are) the (.+)\?", text):
        noun = SINGULAR[found[2]]
        longest = max(
            max(t.box.width, t.box.height) for t in scene.things if NOUNS[t.noun].name == noun
        )
        assert answer == ("large" if longest > scene.size_px * 7 / 32 else "small")
        assert (found[1] == "is") == (counts[noun] == 1)
    elif found := re.fullmatch(r"Are there more (.+) than (.+)\?", text):
        more = counts[SINGULAR[found[1]]] > counts[SINGULAR[found[2]]]
        assert answer == ("yes" if more else "no")
    elif found := re.fullmatch(r"Which is larger, the (.+) or the (.+)\?", text):
        sizes = {
            noun: max(
                max(t.box.width, t.box.height) for t in scene.things if NOUNS[t.noun].name == noun
            )
            for noun in (found[1], found[2])
        }
        assert answer == max(sizes, key=lambda noun: sizes[noun])
    elif found := re.fullmatch(r"What is (left of|right of|above|below|on) the (.+)\?", text):
        if found[1] != "on":
            assert found[1] in sides(seen[answer], seen[SINGULAR[found[2]]], 3)
    elif found := re.fullmatch(
        r"(Is|Are) the (.+) (left of|right of|above|below|on) the (.+)\?", text
    ):
        a, side, b = SINGULAR[found[2]], found[3], SINGULAR[found[4]]
        assert (found[1] == "Is") == (counts[a] == 1)
        if side != "on":  # what stands on what is checked in test_scenes.py
            margin = scene.size_px / 12
            surely = side in sides(seen[a], seen[b], margin + 2)
            perhaps = side in sides(seen[a], seen[b], margin - 2)
            assert surely <= (answer == "yes") <= perhaps, (text, answer)
    else:
        raise AssertionError(f"a question that nobody checks: {text}")


@settings(max_examples=250, deadline=None)
@given(INDEX, SPLIT)
def test_answers_are_found_again(index: int, split: str) -> None:
    scene = Scenes(21, split).scene(index)
    asked = questions(scene)
    assert [q.type for q in asked] == [t for t in TYPES if t in {q.type for q in asked}]
    assert {"how many", "is there", "colour", "size", "reasoning"} <= {q.type for q in asked}
    for question in asked:
        check(scene, question)


@settings(max_examples=150, deadline=None)
@given(INDEX, SPLIT)
def test_choices_hold_the_answer_once(index: int, split: str) -> None:
    scene = Scenes(22, split).scene(index)
    for question in questions(scene):
        text, letter = choices(scene, question)
        first, *lines = text.split("\n")
        options = dict(line.split(". ", 1) for line in lines)
        assert first == question.text
        assert options[letter] == question.answer
        assert len(set(options.values())) == len(options) >= 2
        assert list(options) == list("ABCD"[: len(options)])


def test_no_answer_is_favoured() -> None:
    asked = [q for index in range(4000) for q in questions(Scenes(23).scene(index))]
    said = Counter((q.type, q.answer) for q in asked)
    for kind in ("is there", "relation", "reasoning"):
        yes, no = said[kind, "yes"], said[kind, "no"]
        assert abs(yes - no) < 4 * (yes + no) ** 0.5, kind
    letters = Counter(
        choices(Scenes(23).scene(index), q)[1]
        for index in range(1500)
        for q in questions(Scenes(23).scene(index))
        if q.type == "what"
    )
    assert all(
        letters[letter] / letters.total() == pytest.approx(0.25, abs=0.05) for letter in "ABCD"
    )
    for kind in ("how many", "where", "colour", "size"):
        answers = [count for (of, _), count in said.items() if of == kind]
        assert max(answers) / sum(answers) < 0.55, kind
