"""What other texts, experts and the file say of a claim, and what it comes to."""

from __future__ import annotations

import datetime as dt
import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.data import readers
from looksay.describing import checking, evidence
from looksay.describing.claims import Checked, Claim, Evidence, as_records, from_records
from looksay.describing.evidence import SILENT, WEIGHTS, Look, weighed
from looksay.experts.base import Detection, Findings, Relation, TextLine
from looksay.experts.exif import Exif

ENGLISH, SCENES = readers.load("english"), readers.load("scenes")
BOX = (0.1, 0.1, 0.5, 0.5)
DOG = Claim("object", "dog")


def told(claim: Claim, text: str) -> float | None:
    found = evidence.agreement(claim, {"other": ENGLISH.read(text)}, ENGLISH)
    return found[0].support if found else None


@pytest.mark.parametrize(
    ("claim", "text", "support"),
    [
        (DOG, "A dog.", 1.0),
        (DOG, "A puppy.", 1.0),
        (Claim("object", "puppy"), "A dog.", 1.0),
        (DOG, "A cat.", SILENT),
        (Claim("object", "boy"), "A man.", evidence.KIN),
        (Claim("count", "dog", "2"), "Two dogs.", 1.0),
        (Claim("count", "dog", "2"), "Three dogs.", 0.0),
        (Claim("count", "dog", "2"), "Dogs.", None),
        (Claim("count", "dog", "2"), "A cat.", None),
        (Claim("attribute", "dog", "brown"), "A brown dog.", 1.0),
        (Claim("attribute", "dog", "brown"), "A black dog.", 0.0),
        (Claim("attribute", "dog", "brown"), "A small dog.", None),
        (Claim("attribute", "dog", "white"), "A black and white dog.", 1.0),
        (Claim("relation", "dog", "left of", "cat"), "A dog left of a cat.", 1.0),
        (Claim("relation", "dog", "left of", "cat"), "A cat to the right of a dog.", 1.0),
        (Claim("relation", "dog", "left of", "cat"), "A cat to the left of a dog.", 0.0),
        (Claim("relation", "dog", "left of", "cat"), "A dog behind a cat.", None),
        (Claim("text", "sign", "OPEN"), 'A sign reads "Open".', 1.0),
        (Claim("text", "sign", "OPEN"), 'A sign reads "CLOSED".', 0.0),
        (Claim("text", "sign", "OPEN"), "A sign.", None),
    ],
)
def test_another_text_agrees_or_not(claim: Claim, text: str, support: float | None) -> None:
    assert told(claim, text) == support


def test_in_scenes_every_noun_is_a_thing_of_its_own() -> None:
    found = evidence.agreement(Claim("object", "poodle"), {"b": SCENES.read("A dog.")}, SCENES)
    assert [one.support for one in found] == [SILENT]


FOUND = Findings(
    (100, 100),
    detections=(Detection("dog", BOX, 0.8), Detection("dog", BOX, 0.6)),
    relations=(Relation("dog", 1, "left of", "person", 1),),
    lines=(TextLine("NO SMOKING", BOX),),
)
LOOK = Look("detector", FOUND, frozenset({"dog", "cat", "person"}), reads=True)


@pytest.mark.parametrize(
    ("claim", "support"),
    [
        (DOG, 0.9),
        (Claim("object", "puppy"), 0.9),
        (Claim("object", "cat"), evidence.VAIN),
        (Claim("object", "lighthouse"), None),  # nobody looked for it
        (Claim("count", "dog", "2"), 0.85),
        (Claim("count", "dog", "1"), 0.15),
        (Claim("count", "dog", "4"), 0.3),
        (Claim("count", "cat", "1"), None),
        (Claim("attribute", "dog", "brown"), None),
        (Claim("relation", "dog", "left of", "man"), 1.0),
        (Claim("relation", "man", "right of", "dog"), 1.0),
        (Claim("relation", "dog", "right of", "man"), 0.0),
        (Claim("relation", "dog", "on", "man"), None),
        (Claim("text", "sign", "no smoking"), 1.0),
        (Claim("text", "sign", "SMOKING"), 1.0),
        (Claim("text", "sign", "ENTRANCE"), 0.0),
    ],
)
def test_experts_find_it_or_look_in_vain(claim: Claim, support: float | None) -> None:
    found = evidence.found(claim, LOOK, ENGLISH)
    assert (found and found.support) == (support if support is None else pytest.approx(support))


def test_letters_that_were_read_a_little_differently_count_by_their_share() -> None:
    found = evidence.found(Claim("text", "sign", "SMOKlNG"), LOOK, ENGLISH)
    assert found is not None
    assert evidence.ALIKE <= found.support < 1


def test_nothing_found_says_something_of_what_was_looked_for_only() -> None:
    empty = Findings((10, 10))
    assert evidence.found(Claim("text", "sign", "A"), Look("x", empty), ENGLISH) is None
    assert evidence.found(DOG, Look("x", empty), ENGLISH) is None
    read = evidence.found(Claim("text", "sign", "A"), Look("ocr", empty, reads=True), ENGLISH)
    assert read is not None
    assert read.support == evidence.VAIN


@pytest.mark.parametrize(
    ("text", "exif", "support"),
    [
        ("A photo of a dog.", Exif(from_camera=True, camera="Canon"), 1.0),
        ("A painting of a dog.", Exif(from_camera=True, camera="Canon"), 0.0),
        ("A painting of a dog.", Exif(), None),
        ("A dog in 2019.", Exif(taken=dt.date(2019, 5, 12)), 1.0),
        ("A dog in 2018.", Exif(taken=dt.date(2019, 5, 12)), 0.0),
        ("A dog in May.", Exif(taken=dt.date(2019, 5, 12)), 1.0),
        ("A dog in June.", Exif(taken=dt.date(2019, 5, 12)), 0.0),
        ("A dog in May.", Exif(), None),
        ("A dog.", Exif(taken=dt.date(2019, 5, 12), from_camera=True), None),
    ],
)
def test_the_file_says_when_and_with_what(text: str, exif: Exif, support: float | None) -> None:
    found = [evidence.recorded(one.claim, exif) for one in ENGLISH.read(text)]
    supports = [one.support for one in found if one]
    assert supports == ([] if support is None else [support])


KINDS = st.sampled_from(sorted(WEIGHTS))
PIECES = st.lists(st.builds(Evidence, st.just("x"), KINDS, st.floats(0, 1)), max_size=6)


@given(PIECES, st.builds(Evidence, st.just("y"), KINDS, st.floats(0, 1)))
def test_what_evidence_comes_to(pieces: list[Evidence], more: Evidence) -> None:
    """A product of odds, whatever the order; what speaks for a claim raises it, what speaks against lowers it."""
    before = weighed(pieces)
    if not pieces:
        assert before is None
        before = 0.5
    assert before is not None
    odds = math.prod(
        (p / (1 - p)) ** WEIGHTS[one.how]
        for one in pieces
        for p in [min(max(one.support, 0.05), 0.95)]
    )
    assert before == pytest.approx(odds / (1 + odds), abs=1e-9)
    after = weighed([*pieces, more])
    assert after is not None
    assert (after >= before - 1e-12) if more.support >= 0.5 else (after <= before + 1e-12)
    for order in list(permutations(pieces))[:6]:
        assert weighed(order) == weighed(pieces)


def test_what_is_said_of_a_thing_is_no_surer_than_the_thing() -> None:
    others = {"b": "A cat.", "c": "A cat."}
    found = {c.words: c for c in checking.check("Two brown dogs.", ENGLISH, texts=others)}
    assert found["a dog"].verdict == "rejected"
    assert found["a brown dog"].support == found["two dogs"].support == found["a dog"].support


def test_claims_without_evidence_are_unchecked_and_may_be_said() -> None:
    found = checking.check("Two dogs.", ENGLISH)
    assert {one.verdict for one in found} == {"unchecked"}
    assert checking.surviving(found, ENGLISH) == [one.claim for one in found]


def test_what_goes_takes_along_what_is_said_of_it() -> None:
    found = checking.check(
        "Two brown dogs left of a cat.",
        ENGLISH,
        texts={"b": "A cat.", "c": "A black cat.", "d": "One cat."},
    )
    assert [ENGLISH.words(c) for c in checking.surviving(found, ENGLISH)] == ["a cat", "one cat"]


def test_of_two_counts_the_better_supported_is_said() -> None:
    others = {"a": "Two dogs.", "b": "Three dogs.", "c": "Two dogs."}
    said = [one for text in others.values() for one in ENGLISH.read(text)]
    read = {who: ENGLISH.read(text) for who, text in others.items()}
    kept = checking.surviving(checking.gathered(said, ENGLISH, read), ENGLISH)
    assert {c.value for c in kept if c.kind == "count"} == {"2"}


@given(PIECES)
def test_records_read_back(pieces: list[Evidence]) -> None:
    said = ENGLISH.read("Two dogs left of a cat.")
    found = [Checked(one, ENGLISH.words(one.claim), tuple(pieces), weighed(pieces)) for one in said]
    assert from_records(as_records(found)) == found
