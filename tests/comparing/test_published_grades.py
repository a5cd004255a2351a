"""The published comparison that this project makes repeatable: its letters, its averages, and how far they go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED

import looksay
from looksay.comparing import figures, published, report
from looksay.comparing.board import Board
from looksay.errors import InputError

GOLDEN = SHARED / "golden" / "alttext-grades"
FOLLOW = {
    "GPT-4o": 4.6, "Claude": 4.6, "VIT-GPT2": 0.4, "GIT": 1.6, "BLIP": 1.8, "BLIP-2 with OPT": 2.6, "BLIP-2 with FLAN": 2.2,
    "LLaVA (13B)": 3.2, "LLaVA (34B)": 3.0, "MiniCPM-V": 4.0, "Llama 3.2 Vision (11B)": 4.4, "Llama 3.2 Vision (90B)": 3.8,
}  # fmt: skip
"""Means of the printed letters, F 0 to A 5, worked out by hand."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if not GOLDEN.is_dir():
        pytest.skip("reference data (../shared/golden) is not beside this checkout")
    return Path(shutil.copytree(GOLDEN, tmp_path / "grades"))


def read(found: looksay.Library, folder: Path) -> Board:
    found.scan()
    return published.read(found.catalog, folder / "round1.json")


def test_the_letters_give_the_averages_that_follow_from_them(folder: Path) -> None:
    with looksay.Library(folder) as found:
        board = read(found, folder)
        (people,) = figures.panels(board)
        means = figures.means(board, people)
        assert {
            e.name: round(m.value, 4) for e, m in zip(board.entrants, means, strict=True)
        } == FOLLOW
        assert {m.samples for m in means} == {4, 5}
        ids = [rating.generation_id for rating in board.ratings]
        assert len(ids) == 59, "one of sixty grades is missing, and is no F"
        again = read(found, folder)
        assert [rating.generation_id for rating in again.ratings] == ids
        assert found.catalog.one("SELECT count(*) FROM rating") == 59
        assert {words.state for _, words in found.targets()} == {"none"}


def test_what_was_printed_and_does_not_follow_is_reported(folder: Path) -> None:
    with looksay.Library(folder) as found:
        board = read(found, folder)
        said = report.record(board)["printed"]
        assert said == [
            "GPT-4o: printed 4.8 (A); its 5 grades give 4.6 (A).",
            "Claude: printed 5.0 (A); its 5 grades give 4.6 (A).",
            "LLaVA (34B): printed 3.2 (C); its 5 grades give 3.0 (C).",
            "MiniCPM-V: printed 3.8 (B); its 4 grades give 4.0 (B).",
            "MiniCPM-V on image-2.jpg: no grade is printed; it is in no mean, and not an F.",
        ]


def test_the_report_says_how_wide_the_intervals_of_five_photos_are(folder: Path) -> None:
    with looksay.Library(folder) as found:
        board = read(found, folder)
        record = report.record(board)
        told = "\n".join(record["conclusions"])
        assert "5 photos make intervals that are 0.6 to 2.0 points wide, 1.3 on average" in told
        assert "GPT-4o and Claude share the highest mean: 4.60 of 5 (A)" in told
        assert (
            "The data do not tell GPT-4o from Llama 3.2 Vision (11B): the difference is 0.20 points"
            in told
        )
        assert "There is one rater (round1.json)" in told
        assert "is better than" not in told, "five photos carry nothing over to others"
        spent = record["spent"][0]
        assert (spent["seconds"], spent["cost_usd"]) == (None, None), "nothing was asked here"
        assert told.splitlines()[0] in report.html(board, record).replace("&#39;", "'")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda found: found["rows"][0].pop("grade"),
            "row 0 should have image, model, text and grade",
        ),
        (lambda found: found["rows"][0].update(grade="G"), "expected one of A, B, C, D, E, F"),
        (lambda found: found.pop("rows"), "images and rows"),
        (lambda found: found["images"].update({"9": {}}), "image 9 is not in the library"),
        (lambda found: found["rows"][0].update(image=12), "row 0 is about image 12"),
    ],
)
def test_a_file_of_another_form_is_refused(folder: Path, change: Any, why: str) -> None:
    path = folder / "round1.json"
    found = json.loads(path.read_text("utf-8"))
    change(found)
    path.write_text(json.dumps(found), "utf-8")
    with looksay.Library(folder) as library, pytest.raises(InputError, match=why):
        read(library, folder)
