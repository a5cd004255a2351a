"""Texts are taken apart into claims, and claims put into words that say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from describing.test_run import Scripted
from hypothesis import given
from hypothesis import strategies as st

from looksay import plugins
from looksay.data import readers
from looksay.data.readers.asked import AskedReader
from looksay.data.readers.english import English
from looksay.data.readers.scenes import Scenes as SceneReader
from looksay.data.scenes import captions, description
from looksay.data.scenes.told import read as told
from looksay.data.scenes.world import Scenes
from looksay.errors import BackendError, InputError, UnknownName
from looksay.texts.claims import Claim, Reader
from looksay.texts.coco_objects import COCO
from looksay.texts.english import number, plural, singular, spelled
from looksay.types import Completion, Conversation

WORLD = Scenes(7, "test")
ENGLISH = English()


def claims(reader: Reader, text: str) -> list[Claim]:
    return [one.claim for one in reader.read(text)]


def said(text: str, reader: Reader = ENGLISH) -> list[str]:
    return [reader.words(claim) for claim in claims(reader, text)]


@pytest.mark.parametrize("name", [n for n in plugins.names("looksay.data.readers") if n != "asked"])
def test_every_reader_keeps_its_promises(name: str) -> None:
    """Each claim once, places inside the text, words and a question for each, the right answer first."""
    reader = readers.load(name)
    text = 'Two small dogs left of a cat on a red background. A red sign says "STOP".'
    found = reader.read(text)
    assert found
    assert len({one.claim for one in found}) == len(found)
    for one in found:
        assert one.spans
        assert all(0 <= start < end <= len(text) for start, end in one.spans)
        assert reader.words(one.claim).strip()
        assert reader.question(one.claim).endswith("?")
        answers = reader.answers(one.claim)
        assert len(answers) == len(set(answers)) >= 2
    assert reader.read("") == []
    assert reader.compose([]) == ""
    with pytest.raises(InputError, match="no model"):
        readers.load(f"{name}:some")


def test_an_unknown_reader_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="english"):
        readers.load("klingon")


# --- scenes -----------------------------------------------------------------------------------------


@given(st.integers(0, 3000), st.randoms(use_true_random=False))
def test_what_scenes_claim_is_said_again(index: int, random: Any) -> None:
    """Also of any part of it: the sentences say these claims, no more and no fewer."""
    reader, scene = SceneReader(), WORLD.scene(index)
    for text in [description(scene), *captions(scene)]:
        found = claims(reader, text)
        assert set(claims(reader, reader.compose(found))) == set(found)
    found = claims(reader, description(scene))
    things = {c.subject for c in found if c.kind == "object" and random.random() < 0.7}
    kept = [
        c
        for c in found
        if {c.subject, c.other or c.subject} <= things | {"background"}
        and (c.kind in ("object", "relation") or random.random() < 0.7)
    ]
    assert set(claims(reader, reader.compose(kept))) == set(kept)


@given(st.integers(0, 3000))
def test_claims_of_scenes_are_what_the_metric_reads(index: int) -> None:
    text = description(WORLD.scene(index))
    found, read = claims(SceneReader(), text), told(text)
    groups = {(g.noun, str(g.count)) for g in read.groups}
    assert {(c.subject, c.value) for c in found if c.kind == "count"} == groups
    assert {(c.subject, c.value, c.other) for c in found if c.kind == "relation"} == set(
        read.relations
    )


def test_places_are_those_of_the_words() -> None:
    text = "A  picture of\ntwo small DOGS left of a cat, and a red sign that says H I."
    where = {
        SceneReader().words(one.claim): [text[start:end] for start, end in one.spans]
        for one in SceneReader().read(text)
    }
    assert where == {
        "a dog": ["DOGS"],
        "two dogs": ["two"],
        "a small dog": ["small"],
        "a cat": ["cat"],
        "one cat": ["a"],
        "a dog left of a cat": ["DOGS left of a cat"],
        "a sign": ["red sign that says H I"],
        "a red sign": ["red sign that says H I"],
        "a sign that says HI": ["red sign that says H I"],
    }


@pytest.mark.parametrize(
    ("claim", "question", "answers"),
    [
        (Claim("object", "dog"), "Is there a dog in the picture?", ("yes", "no")),
        (Claim("count", "dog", "3"), "How many dogs are there?", ("three", "one", "two", "four", "five")),
        (Claim("count", "dog", "9"), "How many dogs are there?", ("9", "one", "two", "three", "four", "five")),
        (Claim("attribute", "dog", "large"), "What size is the dog?", ("large", "small")),
        (Claim("attribute", "background", "striped"), "Is the background striped?", ("yes", "no")),
        (Claim("relation", "dog", "above", "cat"), "Is the dog above the cat?", ("yes", "no")),
    ],
)  # fmt: skip
def test_questions_about_scenes(claim: Claim, question: str, answers: tuple[str, ...]) -> None:
    assert SceneReader().question(claim) == question
    assert SceneReader().answers(claim) == answers


# --- English ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Two small dogs on a wooden bench.", "a dog|two dogs|a small dog|a bench|one bench|a wooden bench|a dog on a bench"),
        ("a man riding a wave", "a man|one man|a wave|a man riding a wave"),
        ("A man rides a wave", "a man|one man|a wave|a man riding a wave"),
        ("The dogs are to the left of the cat.", "a dog|a cat|one cat|a dog left of a cat"),
        ("A woman in a red dress is walking her dogs", "a woman|one woman|a dress|a red dress|a dog|a woman in a dress|a woman walking a dog"),
        ("a parked car and a smiling child", "a car|one car|a child|one child"),
        ("Five hot dogs on white paper plates.", "a hot dog|five hot dogs|a plate|a white plate|a hot dog on a plate"),
        ("No people, and a dog without a leash.", "a dog|one dog"),
        ("A photo of a bus taken in 2019", "a photograph|a bus|one bus|taken in 2019"),
        ("An oil painting of grass.", "a painting|grass"),
        ("A sign that reads “No swimming”.", 'a sign|a sign that says "No swimming"'),
        ("The bus says STOP on its side", 'a bus|one bus|a bus that says "STOP"'),
        ("12 gray elephants.", "an elephant|twelve elephants|a grey elephant"),
        ("", ""),
        ("!!! ... ???", ""),
    ],
)  # fmt: skip
def test_captions_are_taken_apart(text: str, found: str) -> None:
    assert "|".join(said(text)) == found


def test_things_of_coco_alone_by_the_names_of_their_classes() -> None:
    reader = readers.load("coco")
    assert said("A puppy and a lighthouse on two sofas.", reader) == [
        "a dog",
        "one dog",
        "a couch",
        "two couches",
    ]


NOUNS = [*sorted({*COCO.classes.values()} - {"skis", "scissors"}), "lighthouse", "beach", "tree"]


@st.composite
def worlds(draw: st.DrawFn) -> list[Claim]:
    nouns = draw(st.lists(st.sampled_from(NOUNS), min_size=1, max_size=4, unique=True))
    found = []
    for noun in nouns:
        found.append(Claim("object", noun))
        counts = [None, *range(1 if noun in COCO.classes else 2, 8)]
        count = draw(st.sampled_from(counts))
        if count:
            found.append(Claim("count", noun, str(count)))
        if value := draw(st.sampled_from(["", "red", "small", "wooden"])):
            found.append(Claim("attribute", noun, value))
    for a, b in pairwise(nouns):
        if side := draw(st.sampled_from(["", "on", "left of", "behind", "holding"])):
            found.append(Claim("relation", a, side, b))
    return found


@given(worlds())
def test_sentences_by_rules_say_their_claims_and_nothing_else(wanted: list[Claim]) -> None:
    text = ENGLISH.compose(wanted)
    assert set(claims(ENGLISH, text)) == set(wanted), text


def test_everything_that_a_sign_reads_is_said_again() -> None:
    reader = readers.load("english")
    claims = [one.claim for one in reader.read('A sign that says "open" and "fresh fish".')]
    assert reader.compose(claims) == 'A sign. The sign reads "open" and "fresh fish".'


@given(st.text(max_size=80))
def test_no_text_is_too_odd(text: str) -> None:
    for reader in (ENGLISH, SceneReader(), readers.load("coco")):
        for one in reader.read(text):
            assert all(0 <= start < end <= len(text) for start, end in one.spans)
            assert reader.words(one.claim)


@pytest.mark.parametrize("noun", sorted(COCO.classes))
def test_plurals_of_what_coco_names(noun: str) -> None:
    if singular(noun) == noun:
        assert singular(plural(noun)) == noun


@given(st.integers(0, 9999))
def test_numbers_in_words(value: int) -> None:
    assert number(spelled(value)) == value


# --- asked ------------------------------------------------------------------------------------------

KOREAN = "해변의 개 두 마리."
ROWS = [
    {"kind": "count", "subject": "Dog", "value": "2", "other": "", "quote": "개 두 마리"},
    {"kind": "relation", "subject": "dog", "value": "on", "other": "beach", "quote": "해변의 개"},
]


def answering(*answers: str) -> Scripted:
    given: Iterator[str] = iter(answers)

    def answer(conversation: Conversation) -> Completion:
        return Completion(0, next(given))

    return Scripted(answer)


def test_a_model_takes_texts_of_other_languages_apart() -> None:
    model = answering(json.dumps({"claims": ROWS}))
    reader = AskedReader(model)
    found = reader.read(KOREAN)
    assert [reader.words(one.claim) for one in found] == [
        "a dog",
        "a beach",
        "a dog on a beach",
        "two dogs",
    ]
    assert {KOREAN[start:end] for one in found for start, end in one.spans} == {
        "해변의 개",
        "개 두 마리",
    }
    assert reader.read(KOREAN) == found
    assert len(model.asked) == 1
    assert not any(message.images for message in model.asked[0].messages)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("Two dogs, it says.", "no JSON"),
        (json.dumps({"claims": 3}), "should be a list"),
        (json.dumps({"claims": [{**ROWS[0], "quote": "고양이"}]}), "does not say '고양이'"),
        (json.dumps({"claims": [{**ROWS[0], "quote": " "}]}), "does not say"),
        (json.dumps({"claims": [{**ROWS[0], "kind": "mood"}]}), "'kind' should be one of"),
        (json.dumps({"claims": [{**ROWS[0], "value": "several"}]}), "should be digits"),
        (json.dumps({"claims": [{**ROWS[1], "other": ""}]}), "lacks its subject, value or other"),
        (json.dumps({"claims": ["two dogs"]}), "should be an object"),
    ],
)
def test_another_form_is_asked_for_again_and_then_given_up(fault: str, reason: str) -> None:
    model = answering(fault, json.dumps({"claims": ROWS}))
    assert len(AskedReader(model).read(KOREAN)) == 4
    assert reason in model.asked[1].messages[-1].text
    with pytest.raises(BackendError, match="did not take the text apart"):
        AskedReader(answering(fault, fault, fault)).read(KOREAN)


def test_a_reader_that_is_not_there() -> None:
    def broken(conversation: Conversation) -> Completion:
        return Completion(0, error="the server is gone", finish_reason="error")

    with pytest.raises(BackendError, match="the server is gone"):
        AskedReader(Scripted(broken)).read("A dog.")
    with pytest.raises(InputError, match="Which model"):
        readers.load("asked")
