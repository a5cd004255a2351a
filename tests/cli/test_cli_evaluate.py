"""`looksay evaluate` as it is typed: people as judges from the first empty sheet to the last grade, and --limit."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forking import looksay
from pictures import jpeg, put

pytest.importorskip("numpy", reason="no numpy: no intervals")
pytest.importorskip("matplotlib", reason="no matplotlib: no report")

pytestmark = pytest.mark.slow


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return looksay("evaluate", *words, cwd=folder)


def a_minigpt4(folder: Path) -> None:
    from looksay.evaluation.benchmarks.minigpt4 import REQUESTS

    for number, task in enumerate(REQUESTS):
        put(folder / "benchmarks" / "minigpt4" / task / "monday.jpg", jpeg(number))


def grade(sheet: Path, answer: Callable[[dict[str, str]], str]) -> None:
    found = list(csv.DictReader(io.StringIO(sheet.read_bytes().decode("utf-8-sig"), newline="")))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(found[0]))
    writer.writeheader()
    writer.writerows(row | {"answer": answer(row)} for row in found)
    sheet.write_text(out.getvalue(), "utf-8", newline="")


def test_people_grade_in_a_sheet(tmp_path: Path) -> None:
    a_minigpt4(tmp_path)
    words = ("echo:0.001", "--on", "minigpt4", "--judge", "sheet:grades.csv")
    sheet = tmp_path / "grades.csv"

    def result() -> dict[str, Any]:
        record = json.loads((tmp_path / "evaluation" / "report.json").read_text("utf-8"))
        (found,) = record["results"]
        return dict(found)

    first = run(tmp_path, *words)
    assert first.returncode == 1, first.stderr
    assert "not scored: 4 of 4 wait for a person's answer." in first.stdout
    assert "\n4 rows wait in grades.csv. Answer in the column 'answer'" in first.stdout
    assert "failed" not in first.stdout
    page = (tmp_path / "evaluation" / "report.html").read_text("utf-8")
    assert "4 rows wait in grades.csv" in page
    assert "echo:" not in sheet.read_text("utf-8-sig")  # whose answers they are stands nowhere
    grade(sheet, lambda row: "Perhaps." if "poem" in row["question"] else "yes")
    second = run(tmp_path, *words)
    assert second.returncode == 1
    assert "1 of 4 calls failed" in second.stdout
    assert "poem/monday.jpg: judge: grades.csv, row " in second.stdout
    assert "The judge wrote 'Perhaps.'; expected yes or no" in " ".join(second.stdout.split())
    grade(sheet, lambda row: "no" if "poem" in row["question"] else "yes")
    third = run(tmp_path, *words)
    assert third.returncode == 0, third.stdout
    graded = result()
    assert graded["figures"][0] | {"low": 0, "high": 0} == {
        "name": "done", "kind": "", "value": 75.0, "low": 0, "high": 0, "of": 4, "clusters": 4, "better": 1
    }  # fmt: skip
    assert graded["judge"] == "sheet:grades.csv"
    assert graded["reused"] == 4
    # A grade that is put right counts, and says in the report that another judge gave it.
    grade(sheet, lambda row: "yes")
    assert run(tmp_path, *words).returncode == 0
    assert result()["figures"][0]["value"] == 100
    assert result()["judge_fingerprint"] != graded["judge_fingerprint"]


def test_a_limit_opens_only_the_pictures_that_it_leaves(tmp_path: Path) -> None:
    a_minigpt4(tmp_path)
    put(tmp_path / "benchmarks" / "minigpt4" / "poem" / "sunday.jpg", "no picture")
    words = ("echo", "--on", "minigpt4", "--judge", "sheet:grades.csv")
    whole = run(tmp_path, *words)
    assert whole.returncode == 2
    assert "sunday.jpg cannot be read" in " ".join(whole.stderr.split())
    part = run(tmp_path, *words, "--limit", "2")
    assert part.returncode == 1
    assert "2 rows wait in grades.csv" in part.stdout
