"""Grades of people: the points, the order, how far raters agree, and what the data support."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from comparing.compared import PERFECT, compared, grade, library, says
from hypothesis import given
from hypothesis import strategies as st

import looksay
from looksay.comparing import figures, grading, report
from looksay.comparing.board import Text
from looksay.comparing.conclusions import conclusions
from looksay.comparing.grading import Grade
from looksay.errors import InputError

FORM: dict[str, Any] = {
    "named": 2, "objects": 3, "mood": True, "purpose": True, "repetition": False, "grammar": False, "hallucinations": 0,
}  # fmt: skip
TEXT = Text(0, "A small dog runs along the beach with a stick in its mouth.", False, (1,), (0,))


def models(count: int = 2) -> list[Any]:
    return [
        says(lambda stem, n=n: f"Text {n} about photo {stem}.", f"model-{n}") for n in range(count)
    ]


def test_points_follow_from_the_criteria() -> None:
    assert Grade(PERFECT).points == 5
    assert Grade(PERFECT, purpose=False).points == 4
    assert Grade(PERFECT, length=False).points == 4
    assert Grade(PERFECT, language=False).points == 0
    assert Grade(replace(PERFECT, named=0, mood=False, hallucinations=3), purpose=False).points == 0
    assert grading.from_form(FORM, TEXT, "en").points == pytest.approx(8 / 3 + 1)
    assert grading.from_form(FORM, TEXT, "ko").points == 0, "it is not in the language wanted"
    long = replace(TEXT, words=" ".join([TEXT.words] * 5))
    assert grading.from_form(FORM, long, "en").points == pytest.approx(8 / 3)


@given(
    st.integers(1, 12),
    st.data(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 12),
)
def test_a_verdict_reads_back_as_it_was_given(
    objects: int,
    data: st.DataObject,
    mood: bool,
    purpose: bool,
    again: bool,
    fault: bool,
    invented: int,
) -> None:
    form = {
        "objects": objects, "named": data.draw(st.integers(0, objects)), "mood": mood, "purpose": purpose,
        "repetition": again, "grammar": fault, "hallucinations": invented,
    }  # fmt: skip
    seen = grading.from_form(form, TEXT, "en")
    assert grading.of_verdict(seen.as_verdict()) == seen
    assert 0 <= seen.points <= 5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"named": 4}, "4 of 3 key objects"),
        ({"named": -1}, "-1 of 3 key objects"),
        ({"objects": 0, "named": 0}, "at least one key object"),
        ({"hallucinations": 1000}, "above 12"),
        ({"hallucinations": -1}, "-1 hallucinations"),
        ({"mood": 1}, "values of another kind"),
        ({"named": True}, "values of another kind"),
        ({"points": 5}, "points"),
        ({"purpose": None}, "values of another kind"),
    ],
)
def test_a_grade_that_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        grading.from_form(FORM | change, TEXT, "en")


def test_every_rater_has_an_order_of_their_own_with_the_texts_of_a_photo_together(
    tmp_path: Path,
) -> None:
    with library(tmp_path) as found:
        board = compared(found, models(3))
        kim, lee = (grading.order(board, f"person:{name}") for name in ("Kim", "Lee"))
        assert kim == grading.order(board, "person:Kim")
        assert kim != lee
        assert sorted(kim, key=str) == sorted(lee, key=str) == sorted(board.texts, key=str)
        places = [text.place for text in kim]
        assert sum(a != b for a, b in pairwise(places)) == len(board.places) - 1
        first = {text.place: text.entrants for text in reversed(kim)}
        assert len(set(first.values())) > 1, "no model always comes first"


def test_raters_who_agree_and_raters_who_do_not(tmp_path: Path) -> None:
    with library(tmp_path, 11) as found:
        board = compared(found, models())
        grade(board, "Kim", lambda place, entrant: (place + entrant) % 4)
        grade(board, "Lee", lambda place, entrant: (place + entrant) % 4)
        grade(board, "Max", lambda place, entrant: 3 - (place + entrant) % 4)
        grade(board, "Ned", lambda place, entrant: 2)
        found_ = {(a.one[7:], a.other[7:]): a for a in figures.agreements(board)}
        assert found_["Kim", "Lee"].kappa == pytest.approx(1)
        assert found_["Kim", "Max"].kappa is not None
        assert found_["Kim", "Max"].kappa < 0
        # Who gives one grade to all agrees as chance would.
        assert found_["Kim", "Ned"].kappa == pytest.approx(0)
        told = "\n".join(conclusions(board))
        assert "Kim and Lee agree well (weighted kappa 1.00, 1.00 to 1.00, 24 texts)." in told
        assert "Kim and Max disagree (weighted kappa -" in told
        assert "a mean of their grades hides two opinions" in told


def test_two_raters_with_one_grade_for_all_cannot_be_told_to_agree(tmp_path: Path) -> None:
    with library(tmp_path, 2) as found:
        board = compared(found, models())
        for name in ("Kim", "Lee"):
            grade(board, name, lambda place, entrant: 2)
        (only,) = figures.agreements(board)
        assert only.kappa is None
        assert any("how far they agree cannot be told" in s for s in conclusions(board))


def test_the_newest_grade_of_a_text_counts_and_one_sent_twice_is_one(tmp_path: Path) -> None:
    with library(tmp_path, 2) as found:
        board = compared(found, models(1))
        grade(board, "Kim", lambda place, entrant: 0)
        grade(board, "Kim", lambda place, entrant: 3)
        grade(board, "Kim", lambda place, entrant: 0)  # the tokens of the first
        assert [mean.value for mean in figures.means(board, figures.panels(board)[0])] == [5]
        assert found.catalog.one("SELECT count(*) FROM rating") == 2 * len(board.texts)


@pytest.mark.parametrize(
    ("better", "photos", "told"),
    [
        (lambda place: 1, 20, "model-0 is better than model-1 (by 1.33 points"),
        (lambda place: 1 if place % 2 else -1, 20, "The data do not tell model-"),
        (lambda place: 1, 5, "on fewer than 10 photos that says little about others"),
    ],
)
def test_what_the_data_support_is_said_and_no_more(
    tmp_path: Path, better: Any, photos: int, told: str
) -> None:
    with library(tmp_path, photos - 1) as found:
        board = compared(found, models())
        grade(board, "Kim", lambda place, e: 2 if not e else 2 - better(place))
        said = "\n".join(conclusions(board))
        assert told in said
        assert ("is better than" in said) == told.startswith("model-0 is better")
        assert "There is one rater (Kim)" in said


def test_how_many_photos_would_show_a_difference() -> None:
    from looksay.comparing.conclusions import _needed
    from looksay.evaluation.measures import Difference

    # An interval of ± 1 from 20 photos is ± 0.5 from 80: about 80 and a tenth more for a difference of 0.5.
    assert "about 88 photos" in _needed(Difference(0.5, -0.5, 1.5, 0.3, 20, 20), 0.5)
    assert "too small to be found" in _needed(Difference(0.01, -1, 1, 0.9, 20, 20), 0.01)


def test_photos_that_only_one_model_described_are_in_no_difference(tmp_path: Path) -> None:
    half = says(lambda stem: "!no" if stem in "012" else f"Text about {stem}.", "half")
    with library(tmp_path) as found:
        board = compared(found, [*models(1), half])
        grade(board, "Kim", lambda place, entrant: 0 if place < 3 else 2 + entrant)
        (panel,) = figures.panels(board)
        whole, part = figures.means(board, panel)
        assert (whole.clusters, part.clusters) == (7, 4)
        assert figures.differences(board, panel)[0, 1].value == pytest.approx(4 / 3)
        assert figures.wins(board, panel).sum() == 4


def test_invented_objects_by_a_detector_and_by_people(tmp_path: Path) -> None:
    said = {"0": "A dog and a cat.", "1": "A dog.", "shown": "A dog beside a bus."}
    with library(tmp_path, 2) as found:
        board = compared(found, [says(said.__getitem__, "sees")])
        assert [place.path for place in board.places] == ["0.jpg", "1.jpg", "shown.jpg"]
        (by_people,) = figures.invented(board, {})
        assert by_people is not None
        assert (by_people.share, by_people.texts) == (1.0, 1)
        assert by_people.examples == (("shown.jpg on page.md", "bus"),)
        (by_detector,) = figures.invented(board, {0: ["dog"], 1: ["dog"], 2: ["bus"]})
        assert by_detector is not None
        assert by_detector.texts == 3
        assert by_detector.share == pytest.approx(1 / 3)
        assert by_detector.examples == (("0.jpg", "cat"),), (
            "people wrote of the dog, the bus was found"
        )


@pytest.mark.slow
def test_a_real_detector_tells_an_elephant_that_is_not_there(
    tmp_path: Path, shared_data: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="no onnxruntime: no detector")
    from looksay.cli.compared import detector, seen

    shutil.copy(shared_data / "weights" / "FastestDet.onnx", tmp_path / "small.onnx")
    shutil.copy(shared_data / "weights" / "coco.names", tmp_path / "small.names")
    site = tmp_path / "site"
    site.mkdir()
    for photo in sorted((shared_data / "coco" / "images").glob("*.jpg"))[:12]:
        shutil.copy(photo, site)
    with looksay.Library(site) as found:
        found.scan()
        board = compared(found, [says("An elephant.", "elephants"), says("A place.", "careful")])
        classes = seen(board, detector(f"detection:{tmp_path / 'small.onnx'}", "cpu"))
        assert sum(map(bool, classes.values())) >= 8, "it finds something in most photographs"
        assert not any("elephant" in names for names in classes.values())
        elephants, careful = figures.invented(board, classes)
        assert elephants is not None
        assert careful is not None
        assert (elephants.share, careful.share) == (1.0, 0.0)


def test_nothing_to_hold_it_against_is_no_zero(tmp_path: Path) -> None:
    with library(tmp_path, 2) as found:
        board = compared(found, models(1), prefix="0.jpg")
        assert figures.invented(board, {}) == [None]
        assert math.isnan(figures.likeness(board)[0].value)
        html = report.html(board, report.record(board))
        assert "cannot be told" in html
        assert "nobody wrote one" in html


def test_the_criteria_behind_the_points(tmp_path: Path) -> None:
    with library(tmp_path, 3) as found:
        board = compared(found, models())
        grade(board, "Kim", lambda place, entrant: 3 - entrant)
        (people,) = report.record(board)["panels"]
        rows = {row["entrant"]: row["criteria"] for row in people["rows"]}
        assert rows["model-0"]["key objects named"] == 1
        assert rows["model-1"]["key objects named"] == pytest.approx(2 / 3)
        assert rows["model-1"]["purpose"] == 1
        json.dumps(people)
