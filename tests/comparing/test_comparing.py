"""The same photos through several models: what is asked, what stays empty, what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from comparing.compared import compared, grade, library, says
from describing.test_run import Scripted

import looksay
from looksay.comparing import asking, figures, report
from looksay.comparing.board import Board, begin, open_newest
from looksay.comparing.conclusions import conclusions
from looksay.errors import InputError
from looksay.types import Price


def good() -> Scripted:
    return says(lambda stem: f"A good text about photo {stem}.", "good")


def weak() -> Scripted:
    return says(lambda stem: f"Something else near {stem}.", "weak")


def states(found: looksay.Library) -> list[tuple[str, str, str]]:
    return [(t.name, w.state, w.text) for t, w in found.targets()]


def test_every_model_sees_the_same_photos_in_both_ways_and_nothing_in_the_library_changes(
    tmp_path: Path,
) -> None:
    models = [good(), weak()]
    with library(tmp_path) as found:
        before, described = states(found), found.status().described_photos
        board = compared(found, models, prompts=("own", "common"))
        assert [one.name for one in board.entrants] == [
            *("good", "weak", "good, common prompt", "weak, common prompt")
        ]
        assert len(board.places) == 7
        assert len(board.cells) == 4 * 7
        for model in models:
            assert len(model.asked) == 2 * 7
            own, common = model.asked[:7], model.asked[7:]
            assert [q.images[0].source for q in own] == [q.images[0].source for q in common]
            assert all(
                "Sand" in q.messages[-1].text for q in own if q.images[0].source.stem == "shown"
            )
            assert not any("Sand" in q.messages[-1].text for q in common)
            assert len({q.messages[-1].text for q in common}) == 1, "it is one prompt for all"
        assert states(found) == before
        assert found.status().described_photos == described == 0
        # The same text to both prompts is one text, graded once.
        assert len(board.texts) == 2 * 7
        assert found.describe(good()).described == 6, "a trial is no words, so describing asks"


def test_bare_leaves_the_page_out(tmp_path: Path) -> None:
    model = good()
    with library(tmp_path) as found:
        compared(found, [model], prompts=("own", "bare"))
        told = [
            "Sand" in q.messages[-1].text for q in model.asked if q.images[0].source.stem == "shown"
        ]
        assert told == [True, False]


def test_typed_again_nothing_is_asked_again_and_what_describe_asked_is_used(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        used = good()
        found.describe(used)
        assert len(used.asked) == 6
        again = [good(), weak()]
        board = compared(found, again)
        assert [len(model.asked) for model in again] == [1, 7], "six of good's answers were there"
        once_more = [good(), weak()]
        other = compared(found, once_more)
        assert [len(model.asked) for model in once_more] == [0, 0]
        assert other.comparison.id == board.comparison.id
        assert other.texts == board.texts


def test_another_sample_keeps_what_was_said_and_graded(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        board = compared(found, [good(), weak()], size=3)
        grade(board, "Kim", lambda place, entrant: 3 - entrant)
        more = [good(), weak()]
        larger = compared(found, more, size=7)
        assert larger.comparison.id != board.comparison.id
        assert [len(model.asked) for model in more] == [4, 4]
        assert len(larger.ratings) == len(board.ratings) == 6


def test_a_model_that_fails_on_some_photos_leaves_those_cells_empty_and_it_is_said(
    tmp_path: Path,
) -> None:
    broken = says(
        lambda stem: "!The picture is too large." if stem in "13" else f"It is {stem} here.",
        "broken",
    )
    absent = says("", "absent")
    with library(tmp_path) as found:
        board = compared(found, [good(), broken, absent])
        spent = [figures.spent(board, n) for n in range(3)]
        assert [one.answers for one in spent] == [7, 5, 0]
        assert spent[1].empty == {"The picture is too large.": 2}
        told = "\n".join(conclusions(board))
        assert (
            "broken has no text for 2 of 7 photos: The picture is too large. Those cells are"
            in told
        )
        assert "absent has no text for 7 of 7 photos: it could not be loaded" in told
        html = report.html(board, report.record(board))
        assert html.count("No text: The picture is too large.") == 2
        again = says(lambda stem: f"It is {stem} here.", "broken")
        assert len(compared(found, [good(), again, absent]).cells) == 3 * 7
        assert len(again.asked) == 2, "only what failed is asked again"


def test_one_text_for_all_photos_is_told(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        board = compared(found, [good(), says("A photo of a thing.", "parrot")])
        assert any(
            "parrot said the same of all 7 photos: “A photo of a thing.”" in s
            for s in conclusions(board)
        )
        assert not any("good said the same" in s for s in conclusions(board))


def test_a_model_that_follows_no_prompt_is_there_once(tmp_path: Path) -> None:
    captioner = says(lambda stem: f"a caption of {stem}", "captioner", instructable=False)
    with library(tmp_path) as found:
        board = compared(found, [good(), captioner], prompts=("own", "common"))
        assert len(captioner.asked) == 7
        assert [e.name for e in board.entrants] == ["good", "captioner", "good, common prompt"]
        assert any("captioner, common prompt is not shown" in s for s in conclusions(board))


def test_a_photo_that_went_is_told_and_what_was_said_of_it_stays(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        board = compared(found, [good()])
        (tmp_path / "2.jpg").unlink()
        found.scan()
        board = compared(found, [good(), weak()][:1])
        assert figures.spent(board, 0).answers == 7
        html = report.html(board, report.record(board))
        assert "The photo is gone or cannot be read." in html
        late = compared(found, [weak()])
        assert len(late.places) == 6, "a new comparison draws from what is there"


def test_a_photo_that_went_before_a_model_was_asked(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        plan = asking.plan(found.catalog, ["good"], prompts=("own",))
        found.catalog.ratings.begin(plan.token, plan.as_record())
        (tmp_path / "2.jpg").unlink()
        found.scan()
        board = compared(found, [good()])
        assert figures.spent(board, 0).empty == {asking.GONE: 1}


def test_an_empty_catalogue_says_what_to_type(tmp_path: Path) -> None:
    with looksay.Library(tmp_path) as found:
        assert open_newest(found.catalog) is None
        with pytest.raises(
            InputError, match=r"There is no photo to compare models on.*looksay scan"
        ):
            asking.plan(found.catalog, ["good"])


def test_a_second_answer_after_one_too_long_is_one_answer_with_both_costs(tmp_path: Path) -> None:
    long = ["very long " * 40, "Short enough for a text."]
    model = says("", "wordy")
    model.answer = lambda q: looksay.types.Completion(
        0, long[len(q.messages) > 2], 100, 10, seconds=1.0, cost_usd=0.01
    )
    with library(tmp_path) as found:
        board = compared(found, [model], size=1)
        (text,) = board.texts
        assert text.words == "Short enough for a text."
        spent = figures.spent(board, 0)
        assert spent.seconds == pytest.approx(2.0)
        assert spent.cost_usd == pytest.approx(20.0), "per 1,000 photos"


def test_two_models_with_one_name_are_one_entrant(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        plan = asking.plan(found.catalog, ["good", "good"], prompts=("own",))
        assert len(plan.entrants) == 1


def test_the_record_is_json_and_the_newest_comparison_opens(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        board = compared(found, [good(), weak()])
        grade(board, "Kim", lambda place, entrant: 3 - 2 * entrant if place != 1 else None)
        record = report.record(board)
        assert json.loads(json.dumps(record))["entrants"] == ["good", "weak"]
        newest = open_newest(found.catalog)
        assert isinstance(newest, Board)
        assert report.record(newest) == record
        (people,) = record["panels"]
        assert [(row["entrant"], row["letter"]) for row in people["rows"]] == [
            ("good", "A"),
            ("weak", "D"),
        ]
        assert people["rows"][0]["mean"]["photos"] == 6
        assert record["likeness"][0]["of"] == 1, "a person wrote of one photo"


def test_a_budget_is_for_all_models_together(tmp_path: Path) -> None:
    models = {m.name: m for m in (good(), weak(), says("A third text.", "third"))}
    for model in models.values():
        model.profile = replace(model.profile, price=Price(0.0, 33.0))  # 0.002 for sixty tokens
    with library(tmp_path) as found:
        board = begin(found.catalog, asking.plan(found.catalog, list(models), prompts=("own",)))
        reports = asking.run(board, lambda name: models[name], max_cost_usd=0.020)
        assert sum(report.cost_usd for report in reports) <= 0.020
        assert len(models["good"].asked) == 7
        assert 0 < len(models["weak"].asked) < 7
        assert not models["third"].asked
        assert any("weak was not asked about" in sentence for sentence in conclusions(board))
