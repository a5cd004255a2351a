"""A judge behind a real HTTP server grades alt texts of photographs, end to end: files → answers → verdicts → report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("numpy", reason="no numpy: no intervals")

from conftest import need
from faulty import Faulty, Received, Reply, openai_models, openai_text
from pictures import jpeg, put

import looksay
from looksay.backends.echo import Echo
from looksay.evaluation import report
from looksay.evaluation.benchmark import Item
from looksay.evaluation.benchmarks import rubric
from looksay.evaluation.run import Result, evaluate, limited
from looksay.types import Options

GOOD = {
    "named": 3, "objects": 3, "mood": True, "repetition": False, "grammar": False, "hallucinations": 0
}  # fmt: skip


def graded(request: Received) -> Reply:
    """A judge who finds invented details in alt texts that end in an odd digit."""
    text = json.dumps(request.body).partition("---\\n")[2].partition("\\n---")[0]
    odd = int(text.rstrip(". ")[-1]) % 2
    return openai_text(json.dumps({**GOOD, "hallucinations": 2 * odd}))


def measure(server: Faulty, items: list[Item], out: Path) -> Result:
    judge = looksay.load(f"{server.url}/v1#judge")
    return evaluate(
        Echo(), "rubric", rubric, items, out, options=Options(), judge=judge, samples=100
    )


def test_alt_texts_of_textbooks_are_graded_by_a_judge_who_sees_them(
    shared_data: Path, tmp_path: Path
) -> None:
    need((shared_data / "textbook").is_dir(), "no textbook images")
    items = limited(rubric.read(shared_data / "textbook", "section"), 12)
    with Faulty(graded, pages=openai_models("judge")) as server:
        found = measure(server, items, tmp_path)
        asked = [one for one in server.received if one.method == "POST"]
        assert len(asked) == 12
        assert all(len(one.images) == 1 for one in asked)
        again = measure(server, items, tmp_path)
        assert len([one for one in server.received if one.method == "POST"]) == 12
    assert (
        report.record([found])["results"][0]["figures"]
        == (report.record([again])["results"][0]["figures"])
    )
    odd = sum(int(answer.text.rstrip(".")[-1]) % 2 for answer in found.asked.answers)
    figures = {one.measure.name: one for one in found.figures if not one.measure.kind}
    assert figures["points"].interval.value == pytest.approx(5 - 2 * odd / 12)
    assert figures["invented details"].interval.value == pytest.approx(2 * odd / 12)
    assert figures["points"].interval.samples == 12


def test_a_judge_that_fails_gives_no_score_and_one_that_talks_is_named(tmp_path: Path) -> None:
    for number in range(2):
        put(tmp_path / "images" / f"{number}.jpg", jpeg(number))
    items = rubric.read(tmp_path)
    refused = Reply({"error": {"message": "no"}}, status=400)
    with Faulty([openai_text(json.dumps(GOOD))], rest=refused, pages=openai_models("judge")) as one:
        found = measure(one, items, tmp_path / "out")
    assert not found.figures
    assert [item for item, _ in found.failures] == ["images/1.jpg"]
    talk = openai_text(f"Here you are: {json.dumps(GOOD)}")
    with Faulty(rest=talk, pages=openai_models("judge")) as other:
        found = measure(other, items, tmp_path / "out")
    assert not found.figures
    assert [item for item, _ in found.failures] == ["images/0.jpg", "images/1.jpg"]
    assert all(
        fault.startswith("judge: The judge wrote 'Here you are") for _, fault in found.failures
    )
