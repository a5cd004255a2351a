"""What is held against a text, and how plainly it is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.describing.calibration import Scale
from looksay.describing.claims import Checked, Claim, Evidence, Said
from looksay.describing.risk import REASONS, Features, features, level
from looksay.library.pages import Context


def checked(noun: str, support: float | None) -> Checked:
    evidence = () if support is None else (Evidence("b", "asked", support),)
    return Checked(Said(Claim("object", noun), ((0, 1),)), f"a {noun}", evidence, support)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Barack Obama stands before the Eiffel Tower.", ("Barack Obama", "Eiffel Tower")),
        ("A woman named Anna holds a cat. Mr. Smith's dog waits.", ("Anna", "Smith")),
        ("Two dogs run on a beach in July. I see a German shepherd.", ()),
        ("Dogs run. Cats sleep.", ()),
        ('A sign that says "Grand Hotel".', ()),
        ("강아지 두 마리", ()),
    ],
)
def test_names_that_nobody_can_see(text: str, names: tuple[str, ...]) -> None:
    assert features(text).named == names


def test_a_name_that_the_page_gives_is_no_risk() -> None:
    page = Context(before="Anna came to Lisbon by train.")
    assert features("A woman named Anna in Lisbon.", context=page).named == ()
    assert features("A woman named Anna in Porto.", context=page).named == ("Porto",)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("Five dogs and 12 cats, four birds and 3 mice.", ("Five", "12")),
        ("A photo of 1998, taken at 10:30, 2.50 EUR, no 7-8.", ()),
        ("Dozens of boats", ("Dozens",)),
        ("강아지 여섯 마리와 고양이 두 마리", ("여섯",)),
        ("열린 문", ()),
    ],
)
def test_counts_above_four(text: str, counted: tuple[str, ...]) -> None:
    assert features(text).counted == counted


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('A shop with "OPEN" on its door, and „Bäckerei“.', ("OPEN", "Bäckerei")),
        ("A yellow sign says F U S E.", ("F U S E",)),
        ("A sign reading EXIT, and a girl reading a book.", ("EXIT",)),
    ],
)
def test_text_in_the_picture(text: str, read: tuple[str, ...]) -> None:
    assert features(text).read == read


def test_a_text_that_doubts_itself() -> None:
    assert features("Probably a dog, which seems asleep.").hedges == ("probably", "seems")
    assert features("아마 강아지가 자고 있는 것 같다").hedges == ("아마", "것 같")
    assert features("A dog asleep.").hedges == ()


@pytest.mark.parametrize(
    ("text", "page", "miss"),
    [
        ("Two boats in the harbour of Oslo", "Three boats in the harbour of Oslo", True),
        ("The red lighthouse at the harbour", "The white lighthouse at the harbour", True),
        ("Two boats in the harbour of Oslo", "2 boats in the harbour of Oslo", False),
        ("Two boats in the harbour of Oslo", "Two boats in the harbour of Oslo at night", False),
        ("A dog on a beach", "Three boats in the harbour of Oslo", False),
        ("A dog", "", False),
    ],
)
def test_nearly_what_the_page_says(text: str, page: str, miss: bool) -> None:
    assert bool(features(text, context=Context(caption=page)).near_miss) is miss
    assert bool(features(text, context=Context(heading=page)).near_miss) is miss
    assert not features(text, context=Context(before=page)).near_miss, (
        "what stands around may differ"
    )


def test_claims_become_shares_weights_and_reasons() -> None:
    said = [checked("dog", 0.9), checked("cat", 0.1), checked("hat", 0.5), checked("tie", None)]
    found = features("A dog, a cat, a hat and a tie.", said, confidence=-0.5)
    assert (found.claims, found.checked) == (4, 3)
    assert (found.rejected, found.contested, found.weakest) == (("a cat",), ("a hat",), "a cat")
    assert found.doubt == pytest.approx(0.1 + 0.9 + 0.5)
    assert found.least == pytest.approx(0.1)
    assert found.numbers()["rejected"] == found.numbers()["contested"] == pytest.approx(1 / 3)
    reasons = Scale().risk(found).reasons
    assert any("the evidence is against “a cat”" in one for one in reasons)
    assert any("do not agree on “a hat”" in one for one in reasons)
    assert not any("“a dog”" in one for one in reasons)


def test_of_many_things_some_are_named_and_the_others_counted() -> None:
    found = features("x", [checked(f"thing{n}", 0.1) for n in range(5)])
    (against,) = [one for one in Scale().risk(found).reasons if "against" in one]
    assert against.count("“") == 3
    assert "and 2 more" in against


@given(
    st.text(max_size=200),
    st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8),
    st.one_of(st.none(), st.floats(-50, 0)),
    st.text(max_size=80),
)
def test_every_text_has_a_risk_with_reasons_in_words(
    text: str, supports: list[float | None], confidence: float | None, page: str
) -> None:
    said = [checked(f"thing{n}", support) for n, support in enumerate(supports)]
    found = features(text, said, confidence=confidence, context=Context(caption=page))
    assert Features.from_record(json.loads(json.dumps(found.as_record()))) == found
    risk = Scale().risk(found)
    assert 0 <= risk.value <= 1
    assert risk.level == level(risk.value)
    assert {name for name, _ in risk.why} <= set(REASONS)
    assert all("{}" not in reason and "“”" not in reason for reason in risk.reasons)
    assert "confiden" not in " ".join(REASONS.values())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 5), st.floats(0, 1))
def test_more_doubt_is_never_less_risk(supports: list[float], at: int, lower: float) -> None:
    before = [checked(f"t{n}", p) for n, p in enumerate(supports)]
    at %= len(supports)
    after = [*before]
    after[at] = checked(f"t{at}", min(lower, supports[at]))
    scale = Scale()
    assert scale.risk(features("x", after)).value >= scale.risk(features("x", before)).value - 1e-12


def test_a_record_of_tomorrow_is_read_today() -> None:
    assert Features.from_record({"claims": 2, "sparkle": 1}) == Features(claims=2)
