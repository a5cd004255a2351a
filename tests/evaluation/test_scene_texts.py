"""Reading texts about scenes: true ones score full marks, and each kind of error costs what it should."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numpy", reason="no numpy: scenes cannot be drawn")

from looksay.data.scenes import Scene, Scenes, captions, description
from looksay.data.scenes.atlas import BY_NAME
from looksay.data.scenes.finding import findings
from looksay.data.scenes.told import ToldGroup, ToldRelation, ToldSign
from looksay.evaluation.metrics import scenes
from looksay.experts.verbalise import crayon_list

SPLIT = st.sampled_from(["train", "test", "pairs", "words"])
INDEX = st.integers(0, 10**9)


def find(**wanted: object) -> Scene:
    """The first test scene with so many groups, a sign or none, so many relations told."""
    for index in range(5000):
        scene = Scenes(0, "test").scene(index)
        told = len(scenes.read(description(scene)).relations)
        if all(
            {"groups": len(scene.groups), "sign": scene.sign is not None, "told": told}[key]
            == value
            for key, value in wanted.items()
        ):
            return scene
    raise AssertionError(wanted)


@settings(max_examples=300, deadline=None)
@given(INDEX, SPLIT)
def test_the_true_description_scores_full_marks(index: int, split: str) -> None:
    scene = Scenes(11, split).scene(index)
    told = scenes.read(description(scene))
    assert told.groups == tuple(
        ToldGroup(group.noun.name, group.count, group.size) for group in scene.groups
    )
    assert (told.pattern, told.colour) == (scene.pattern, scene.colour)
    assert told.sign == (ToldSign(scene.sign.colour, scene.sign.word) if scene.sign else None)
    for name, (top, bottom) in scenes.score(description(scene), scene).items():
        assert top == (0 if name.startswith("CHAIR") else bottom), name


@settings(max_examples=300, deadline=None)
@given(INDEX, SPLIT)
def test_captions_are_true(index: int, split: str) -> None:
    scene = Scenes(12, split).scene(index)
    said = captions(scene)
    assert len(said) == len(set(said)) == 5
    for caption in said:
        found = scenes.score(caption, scene)
        told = scenes.read(caption)
        assert found["CHAIRi"][0] == 0, caption
        assert found["object precision"][0] == found["object precision"][1] > 0, caption
        assert found["counts"][0] == found["counts"][1], caption
        assert found["relations"][0] == found["relations"][1], caption
        assert all(
            g.size in (None, s.size)
            for g in told.groups
            for s in scene.groups
            if s.noun.name == g.noun
        )
        assert told.colour in ("", scene.colour)
        assert told.sign is None or told.sign == ToldSign(scene.sign.colour, scene.sign.word)  # type: ignore[union-attr]


def test_a_wrong_count_costs_counts_and_strictness_only() -> None:
    scene = find(groups=2, sign=False)
    wrong = tuple(replace(group, count=group.count % 5 + 1) for group in scene.groups)
    lying = description(replace(scene, groups=wrong))
    found = scenes.score(lying, scene)
    assert found["counts"] == (0, 2)
    assert found["strictly correct"] == (0, 1)
    assert found["object recall"] == found["sizes"] == (2, 2)
    assert found["CHAIRi"][0] == 0


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("A dog and a dog.", [("dog", 1, None), ("dog", 1, None)]),
        ("Two hot dogs and a dog", [("hot dog", 2, None), ("dog", 1, None)]),
        ("I see 3 big fish!", [("fish", 3, "large")]),
        ("There are no dogs, only some cats.", [("cat", None, None)]),
        ("a small red fire engine; the fire engine shines", [("fire engine", 1, "small")]),
        ("five fluffy brown dogs", [("dog", 5, None)]),
        ("Dogs", [("dog", None, None)]),
        ("a red sign that says K I T E", []),
        ("A blue sign says ROSE.", []),
        ("", []),
    ],
)
def test_groups_are_read(text: str, groups: list[tuple[str, int | None, str | None]]) -> None:
    assert [astuple(group) for group in scenes.read(text).groups] == groups


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("The dogs are left of the pizza.", ("dog", "left of", "pizza")),
        ("The dog is to the right of the two cats.", ("dog", "right of", "cat")),
        ("a cat sitting on top of a bus", ("cat", "on", "bus")),
        ("A bus on a bed", ("bus", "on", "bed")),
        ("A bus under the bed", ("bus", "below", "bed")),
        ("the bus and the bed", None),
        ("A bus. Above the bed is nothing.", None),
    ],
)
def test_relations_are_read(text: str, relation: tuple[str, str, str] | None) -> None:
    assert scenes.read(text).relations == ((ToldRelation(*relation),) if relation else ())


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("A red sign says H E L L O.", ToldSign("red", "HELLO")),
        ("a sign that reads “Stop” and a dog", ToldSign("", "STOP")),
        ("one dog and a black sign that says A X E.", ToldSign("black", "AXE")),
        ("two dogs, no sign.", None),
        ("There is a green sign.", ToldSign("green", "")),
        ("a dog", None),
    ],
)
def test_signs_are_read(text: str, sign: ToldSign | None) -> None:
    assert scenes.read(text).sign == sign


def world() -> Scene:
    """Two dogs left of one cat, with a sign: found, not built, so that it is a scene that occurs."""
    return find(groups=2, sign=True, told=1)


def test_each_error_costs_its_measure() -> None:
    scene = world()
    a, b = scene.groups
    full = description(scene)
    (relation,) = scenes.read(full).relations
    other = next(name for name in BY_NAME if name not in (a.noun.name, b.noun.name))
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    swapped = full.replace(f" {relation.side} ", f" {opposite.get(relation.side, 'below')} ")
    assert scenes.score(swapped, scene)["relations"] == (0, 1)
    assert scenes.score(swapped, scene)["relation coverage"] == (0, 1)
    assert scenes.score(swapped, scene)["strictly correct"] == (1, 1)
    resized = full.replace("small", "SMALL").replace("large", "small").replace("SMALL", "large")
    assert scenes.score(resized, scene)["sizes"] == (0, 2)
    assert scenes.score(resized, scene)["strictly correct"] == (1, 1)
    lied = scenes.score(f"{full} There is a {other}.", scene)
    assert lied["CHAIRs"] == (1, 1)
    assert lied["CHAIRi"] == (1, 5)
    assert lied["strictly correct"] == (0, 1)
    assert lied["object recall"] == (2, 2)
    twice = scenes.score(f"{full} There is a {a.noun.name}.", scene)
    assert twice["CHAIRs"] == (0, 1)
    assert twice["strictly correct"] == (0, 1)
    half = scenes.score(f"One {a.noun.name}.", scene)
    assert half["object recall"] == (1, 2)
    assert half["counts"] == (a.count == 1, 1)
    assert half["sizes"] == (0, 1)
    assert half["relations"] == (0, 0)
    assert half["relation coverage"] == (0, 1)
    assert half["covered"] == (0, 1)
    assert half["sign words"] == (0, 1)
    assert half["sign noticed"] == (0, 1)
    # All is named, and nothing is said of how it lies.
    listed = scenes.score(f"There is a {a.noun.name} and a {b.noun.name}.", scene)
    assert listed["object recall"] == (2, 2)
    assert listed["covered"] == (0, 1)
    assert scenes.score(full, scene)["covered"] == (1, 1)
    empty = scenes.score("", scene)
    assert set(empty) == set(scenes.MEASURES)
    assert empty["object recall"] == (0, 2)
    assert empty["strictly correct"] == (0, 1)


def test_sign_characters() -> None:
    assert scenes.characters("H E L P", "HELLO") == pytest.approx(0.6)
    assert scenes.characters("hello.", "HELLO") == 1
    assert scenes.characters("", "HELLO") == 0
    assert scenes.characters("ABCDEFGHIJKLMNOP", "XYZ") == 0


@settings(max_examples=100, deadline=None)
@given(INDEX)
def test_the_true_description_fails_by_no_rule_and_worse_ones_by_theirs(index: int) -> None:
    scene = Scenes(13, "test").scene(index)
    full = description(scene)
    assert scenes.failures(full, scene) == ()
    assert scenes.failures(" ", scene) == ("empty",)
    assert "repeated" in scenes.failures(f"{full} {full}", scene)
    assert "fragmentary" in scenes.failures(f"{full} There is", scene)
    there = {word for g in scene.groups for word in f"{g.noun.name} {g.noun.plural}".split()}
    noun = next(one for one in BY_NAME if not {*one.split()} & there and not one.endswith("s"))
    assert scenes.failures(f"There is one small {noun} here.", scene) == ("off topic",)


@settings(max_examples=60, deadline=None)
@given(INDEX, st.integers(0, 9))
def test_lists_of_things_are_held_to_what_is_there(index: int, lost: int) -> None:
    segments = findings(Scenes(14, "test").scene(index)).segments
    whole = f"Sure, it is {crayon_list(segments)}."
    count = len(segments)
    assert scenes.listed(whole, segments) == {"named": (count, count), "placed": (count, count)}
    bare = f"Sure, it is {crayon_list(segments, boxes=False)}."
    assert scenes.listed(bare, segments) == {"named": (count, count), "placed": (0, count)}
    left = segments[: lost % count]
    some = scenes.listed(f"{crayon_list(left)}, (#9 unicorn) [0.00, 0.00, 1.00, 1.00]", segments)
    assert some == {"named": (len(left), count), "placed": (len(left), count)}
    # One that is listed twice counts as it was first listed.
    one = segments[0]
    twice = f"(#{one.number} {one.name}) [0.99, 0.99, 1.00, 1.00], {crayon_list(segments)}"
    assert scenes.listed(twice, segments) == {"named": (count, count), "placed": (count - 1, count)}
    assert scenes.listed("a dog", segments)["named"] == (0, count)


WORD = st.text("abc", max_size=6)


@given(WORD, WORD, WORD)
def test_edit_distance_is_a_distance(a: str, b: str, c: str) -> None:
    distance = scenes.edit_distance
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_read(text: str) -> None:
    scene = Scenes(0, "test").scene(0)
    assert scenes.failures(text, scene) is not None
    assert scenes.listed(text, findings(scene).segments)["placed"][1] > 0
    for top, bottom in scenes.score(text, scene).values():
        assert 0 <= top <= bottom
