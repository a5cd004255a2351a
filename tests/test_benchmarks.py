"""What the benchmarks have in common: a figure is told one way, and `make bench` writes it into its page."""

from __future__ import annotations

import doctest
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads a script of the folder as Python would find it there."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def loaded(name: str) -> SimpleNamespace:
        for other in BENCHMARKS.glob("*.py"):
            monkeypatch.delitem(sys.modules, other.stem, raising=False)
        return SimpleNamespace(**runpy.run_path(str(BENCHMARKS / f"{name}.py")))

    return loaded


def test_a_figure_is_its_median_and_the_range_of_its_rounds(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    measured = script("measured")
    file = tmp_path / "rows.jsonl"
    monkeypatch.setenv(measured.RESULTS, str(file))
    measured.tell("one thing beside another", [2.0, 4.0, 2.5], aim="≥ 1.5")
    measured.tell("photos", [12345.0], unit="photos/s")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "one thing beside another: 2.50 times (2.00 to 4.00, 3 rounds)  aim ≥ 1.5"
    assert told[1] == "photos: 12,345 photos/s (1 round)"
    first, second = map(json.loads, file.read_text("utf-8").splitlines())
    assert (first["median"], first["low"], first["high"], first["rounds"]) == (2.5, 2.0, 4.0, 3)
    assert second["unit"] == "photos/s"
    with pytest.raises(ValueError, match="nothing was measured"):
        measured.tell("nothing", [])


def row(what: str) -> dict[str, object]:
    return {
        "what": what,
        "median": 2.0,
        "low": 1.0,
        "high": 3.0,
        "rounds": 3,
        "unit": "times",
        "aim": "",
    }


def test_the_table_takes_new_rows_in_place_of_the_same_scripts_and_keeps_the_others(
    script: Any,
) -> None:
    bench = script("all")
    page = f"# Page\n\nBefore.\n\n{bench.BEGIN}\n{bench.END}\n\nAfter.\n"
    page = bench.written(page, {"search": [row("a search"), row("a sort")]}, "a machine")
    page = bench.written(page, {"growth": [row("a curve")]}, "a machine")
    assert page.startswith("# Page\n\nBefore.\n")
    assert page.endswith("\n\nAfter.\n")
    assert page.index("a search") < page.index("a sort") < page.index("a curve"), "as they run"
    again = bench.written(page, {"search": [row("another search")]}, "another machine")
    assert "a sort" not in again
    assert "a curve" in again
    assert again.count("| what | measured |") == 1
    assert "another machine" in again
    assert bench.written(again, {"search": [row("another search")]}, "another machine") == again


def test_a_page_without_a_place_for_the_table_is_left_alone(script: Any) -> None:
    with pytest.raises(SystemExit, match="no <!-- make bench"):
        script("all").written("# Page\n", {}, "a machine")


def test_make_bench_runs_scripts_that_there_are_and_its_page_has_a_place_for_them(
    script: Any,
) -> None:
    bench = script("all")
    for name in bench.SCRIPTS:
        text = (BENCHMARKS / f"{name}.py").read_text("utf-8")
        assert "tell(" in text, f"{name} tells make bench nothing"
    assert set(bench.earlier(bench.PAGE.read_text("utf-8"))) <= set(bench.SCRIPTS)
    assert "benchmarks/all.py" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.local
def test_the_fit_of_growth_finds_what_was_put_in(script: Any) -> None:
    pytest.importorskip("torch")
    growth = script("growth")
    found = doctest.DocTestFinder().find(growth.fitted, "fitted", globs={"fitted": growth.fitted})
    assert [doctest.DocTestRunner().run(one).failed for one in found] == [0]

    @given(st.floats(0, 5), st.floats(0.1, 3), st.floats(0.5, 2.2))
    def holds(start: float, each: float, c: float) -> None:
        sizes = [1, 2, 4, 8, 16, 32]
        seconds = [start + each * size**c for size in sizes]
        found = growth.fitted(sizes, seconds)
        for size, second in zip(sizes, seconds, strict=True):
            assert abs(found[0] + found[1] * size ** found[2] - second) <= 0.02 * second

    holds()


@pytest.mark.local
def test_flop_of_a_step_are_those_of_its_products(script: Any) -> None:
    torch = pytest.importorskip("torch")
    limits = script("limits")
    layer = torch.nn.Linear(16, 32)
    given_NI = torch.randn(8, 16)
    forward = 2 * 8 * 16 * 32
    assert limits.counted(lambda: layer(given_NI)) == forward
    # Backward: the weights' gradient alone, since nobody asks for the input's.
    assert limits.counted(lambda: layer(given_NI).sum().backward()) == 2 * forward
    q = torch.randn(1, 2, 10, 8)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert limits.counted(lambda: attention(q, q, q)) == 2 * (2 * 2 * 10 * 10 * 8)


@pytest.mark.parametrize("name", ["library", "million", "review", "kinds", "faces"])
def test_scripts_that_take_plain_words_say_what_they_are(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", BENCHMARKS / f"{name}.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert f"python benchmarks/{name}.py" in done.stdout
