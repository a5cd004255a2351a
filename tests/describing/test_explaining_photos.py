"""What is told of a photo's words: all that the catalogue has, and what it has not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from describing.test_run import Scripted
from hypothesis import given
from hypothesis import strategies as st
from pictures import jpeg, put

import looksay
from looksay.describing import explaining
from looksay.describing.calibration import ENOUGH, Scale
from looksay.describing.claims import Checked, Claim, Evidence, Said, as_records, from_records
from looksay.describing.explaining import Explanation, Saying
from looksay.describing.risk import Risk, features
from looksay.errors import InputError
from looksay.library.assessments import Assessments
from looksay.types import CONFIDENCE, Completion

TEXT = "Three dogs run along the beach."
DOGS = (
    Checked(
        Said(Claim("object", "dog"), ((6, 10),)),
        "a dog",
        (
            Evidence("b", "said", 1.0, "Two dogs on the sand."),
            Evidence("detection:x", "found", 0.9),
        ),
        0.95,
    ),
    Checked(
        Said(Claim("count", "dog", "3"), ((0, 10),)),
        "three dogs",
        (Evidence("b", "said", 0.0, "two dogs"), Evidence("c", "asked", 0.125)),
        0.05,
    ),
    Checked(Said(Claim("object", "kite"), ()), "a kite", (), None),
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    put(tmp_path / "Trip to Lisbon" / "1.jpg", jpeg(1))
    put(tmp_path / "page.md", "# The beach\n\nIn May.\n\n![](<Trip to Lisbon/1.jpg>)\n")
    with looksay.Library(tmp_path) as library:
        library.scan()
    return tmp_path


def explained(folder: Path, **choices: Any) -> Explanation:
    with looksay.Library(folder) as library:
        return library.explain(folder / "Trip to Lisbon" / "1.jpg", **choices)


def described(folder: Path, text: Any = TEXT, name: str = "a", **choices: Any) -> None:
    with looksay.Library(folder) as library:
        library.describe(Scripted(text, name), **choices)


def assess(folder: Path, checked: tuple[Checked, ...] = DOGS, method: str = "m") -> None:
    """As a check writes it, for every text that there is."""
    with looksay.Library(folder) as library:
        for row in list(library.catalog.rows("SELECT id FROM generation")):
            Assessments(library.catalog).add(row["id"], method, as_records(checked), {})


def test_nothing_is_known_of_a_photo_that_was_only_scanned(site: Path) -> None:
    made = explained(site)
    assert [(s.page, s.words.state, s.saying) for s in made.spots] == [("page.md", "none", None)]
    assert made.spots[0].context["title"] == "The beach"
    assert not made.sayings
    assert not made.history
    assert made.about.album == "Trip to Lisbon"
    assert any("No model has said anything" in one for one in made.lacking)
    assert any("No person has decided" in one for one in made.lacking)


def test_text_claims_evidence_risk_and_who_said_it(site: Path) -> None:
    described(site)
    described(site, "Two dogs on the sand.", "b", which="all")
    assess(site)
    made = explained(site)
    (spot,) = made.spots
    assert spot.saying is not None
    assert (spot.words.text, spot.saying.model) == ("Two dogs on the sand.", "b")
    assert spot.saying.counts_for == ("on page.md",)
    assert [saying.model for saying in made.sayings] == ["b", "a"], "the newest first"
    assert made.sayings[1].checked == DOGS
    assert made.sayings[1].risk == Scale().risk(features(TEXT, DOGS[:2])), "but what it left out"
    assert made.sayings[1].risk.level == "high"
    assert "three dogs" in explaining.risk_in_words(made.sayings[1])
    assert not any("checked" in one or "Only one model" in one for one in made.lacking)


def test_of_several_looks_at_a_text_the_newest_counts(site: Path) -> None:
    described(site)
    assess(site)
    assess(site, DOGS[:1], "better")
    assert explained(site).sayings[0].checked == DOGS[:1]


def test_a_text_that_nobody_checked_has_its_risk_by_rules_and_says_so(site: Path) -> None:
    unsure = Completion(0, "Probably nine dogs.", 10, 10, details={CONFIDENCE: -3.0})
    described(site, lambda _: unsure)
    made = explained(site)
    (saying,) = made.sayings
    assert saying.checked is None
    assert saying.risk == Scale().risk(features("Probably nine dogs.", confidence=-3.0))
    told = explaining.risk_in_words(saying)
    assert told.startswith(f"{saying.risk.level} by rules alone: ")
    for part in ("probably", "nine", "unsure"):
        assert part in told
    assert any("looksay check" in one for one in made.lacking)
    assert any(f"0 reviews of yours, and {ENOUGH}" in one for one in made.lacking)


def test_words_that_a_person_changed_are_no_models_words(site: Path) -> None:
    described(site)
    photo = site / "Trip to Lisbon" / "1.jpg"
    with looksay.Library(site) as library:
        library.decide(photo, "accept")
        assert library.explain(photo).spots[0].saying is not None
        library.decide(photo, "edit", "Two dogs run.")
        (spot,) = library.explain(photo).spots
    assert (spot.words.state, spot.saying) == ("human", None)
    assert spot.decided is not None
    assert spot.decided["text"] == "Two dogs run."
    made = explained(site)
    assert made.sayings[0].counts_for == ()
    assert not any("No person" in one for one in made.lacking)


def test_of_a_model_the_newest_is_shown_and_the_rest_counted(site: Path) -> None:
    described(site)
    described(site, "A dog.", again=True)
    described(site, "Dogs.", context=())
    made = explained(site)
    assert [(s.text, s.told) for s in made.sayings] == [("Dogs.", ""), ("A dog.", "page")]
    assert made.earlier == 1
    assert len(made.history) == 3
    assert made.spots[0].words.text == "A dog.", "with the page's words"
    assert "The page around it" in made.sayings[1].request
    assert "The page around it" not in made.sayings[0].request


def test_a_model_that_failed_last_is_told_with_its_reason(site: Path) -> None:
    described(site)
    described(site, "", "b", which="all")
    assert explained(site).failed == (("b", "the answer is empty"),)
    described(site, TEXT, "b", which="all")
    assert explained(site).failed == ()


def test_a_photo_that_went_away_keeps_its_history(site: Path) -> None:
    described(site)
    put(site / "page.md", "# The beach\n")
    (site / "Trip to Lisbon" / "1.jpg").unlink()
    with looksay.Library(site) as library:
        library.scan()
    made = explained(site)
    assert made.history
    assert any("did not find the file" in one for one in made.lacking)
    with looksay.Library(site) as library, pytest.raises(InputError, match="looksay scan"):
        library.explain(site / "other.jpg")


def test_the_record_is_json_and_has_everything(site: Path) -> None:
    described(site)
    assess(site)
    made = explained(site)
    record = json.loads(json.dumps(explaining.as_record(made)))
    assert tuple(from_records(record["sayings"][0]["claims"])) == DOGS
    assert record["sayings"][0]["risk"]["reasons"] == list(made.sayings[0].risk.reasons)
    assert record["spots"][0]["saying"] == made.sayings[0].id
    assert record["spots"][0]["words"]["text"] == TEXT
    assert record["history"][0]["event"] == "generation"


# --- words ------------------------------------------------------------------------------------------


def saying(text: str, checked: tuple[Checked, ...] | None) -> Saying:
    return Saying(
        1, "a", "1", "en", text, "", False, (), "", 0, 0, "", "", checked, Risk(0.1, "low")
    )


VERDICTS = {None: "unchecked", 0.0: "rejected", 0.5: "contested", 1.0: "supported"}
SPANS = st.lists(
    st.tuples(st.integers(-2, 40), st.integers(-2, 40), st.sampled_from(list(VERDICTS))), max_size=6
)


@given(st.text(max_size=30), SPANS)
def test_marked_pieces_are_the_text_and_every_character_has_its_claims(
    text: str, spans: list[tuple[int, int, float | None]]
) -> None:
    checked = tuple(
        Checked(Said(Claim("object", str(n)), ((a, b),)), "", (), support)
        for n, (a, b, support) in enumerate(spans)
    )
    pieces = explaining.marked(saying(text, checked))
    assert "".join(piece for piece, _, _ in pieces) == text
    told = [(verdict, numbers) for piece, verdict, numbers in pieces for _ in piece]
    order = ["rejected", "contested", "unchecked", "supported"]
    for place, (verdict, numbers) in enumerate(told):
        here = {
            n: VERDICTS[support]
            for n, (a, b, support) in enumerate(spans, 1)
            if 0 <= a <= place < b <= len(text)
        }
        assert set(numbers) == set(here)
        assert verdict == min(here.values(), key=order.index, default="")


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (Evidence("b", "said", 1.0, "a dog"), "b says so too: a dog"),
        (Evidence("b", "said", 0.0), "b says otherwise"),
        (Evidence("detection:x", "found", 0.9), "detection:x found it (90%)"),
        (Evidence("detection:x", "found", 0.0), "detection:x did not find it"),
        (Evidence("EXIF", "recorded", 0.0, "2019"), "EXIF has it otherwise: 2019"),
        (Evidence("v", "asked", 0.5), "v is not sure (50%)"),
        (Evidence("v", "asked", 0.125), "v says no (12%)"),
    ],
)
def test_evidence_is_told_as_a_sentence(evidence: Evidence, sentence: str) -> None:
    assert explaining.told(evidence) == sentence
