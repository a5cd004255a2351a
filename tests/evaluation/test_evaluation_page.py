"""What docs/evaluation.md shows is real: its benchmark runs as it stands there, its outputs are the program's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image as Pillow

pytest.importorskip("numpy", reason="no numpy: no benchmarks")
pytest.importorskip("matplotlib", reason="no matplotlib: no report")

from looksay.evaluation import benchmark
from looksay.evaluation.benchmark import Answer
from looksay.evaluation.measures import interval

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
pytestmark = pytest.mark.slow


def shown(kind: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.M | re.S)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "looksay", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "PYTHONUTF8": "1", "LOOKSAY_PLAIN": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.fixture
def clocks(tmp_path: Path) -> Path:
    """A folder with the page's benchmark, installed as its pyproject.toml says, and two pictures."""
    (code,), (settings,) = shown("python"), shown("toml")
    ((group, points),) = tomllib.loads(settings)["project"]["entry-points"].items()
    ((name, target),) = points.items()
    package, module = target.split(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("", "utf-8")
    (tmp_path / package / f"{module}.py").write_text(code, "utf-8")
    about = tmp_path / f"{package}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n", "utf-8"
    )
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n", "utf-8")
    home = tmp_path / "benchmarks" / name
    (home / "images").mkdir(parents=True)
    records = shown("json")[1]
    (home / f"{name}.json").write_text(records, "utf-8")
    for number, record in enumerate(json.loads(records)):
        Pillow.new("RGB", (8, 8), (number, 9, 9)).save(home / "images" / record["image"])
    return tmp_path


def test_the_benchmark_of_the_page_runs(clocks: Path) -> None:
    done = run(clocks, "evaluate", "echo", "--on", "clocks")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().replace(os.sep, "/") == shown("text")[2].strip()
    assert "clocks  Clocks: Reading the time" in run(clocks, "benchmarks").stdout


def test_it_scores_what_is_said_and_names_the_entry_at_fault(
    clocks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(clocks))
    found, _ = benchmark.load("clocks")
    home = clocks / "benchmarks" / "clocks"
    items = list(found.read(home, "")) * 2
    said = ["It is 10:15.", "09:40", "11:15", "9:40 or 9:45"]
    whole = [
        interval(m, samples=10).value
        for some in (slice(2), slice(2, 4))
        for m in found.score(
            [Answer(item, text) for item, text in zip(items[some], said[some], strict=True)],
            "strict",
            [],
        )
    ]
    assert whole == [100, 0, 0, 50]
    next((home / "images").iterdir()).unlink()
    done = run(clocks, "evaluate", "echo", "--on", "clocks")
    assert done.returncode == 2
    assert re.search(r"clocks\.json, entry \d of 2 \(image '\w+\.jpg'\)", done.stderr)


def test_what_is_missing_is_told_as_the_page_says(tmp_path: Path) -> None:
    done = run(tmp_path, "evaluate", "echo", "--on", "pope")
    assert done.returncode == 2
    assert done.stderr.strip().replace(os.sep, "/") == shown("text")[1].strip()


def test_the_readme_shows_the_real_output_but_for_what_it_leaves_out(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (command,) = re.findall(r"^looksay (evaluate .*)$", readme, re.M)
    (told,) = (text for text in shown("text", readme) if text.startswith("echo on"))
    real = run(tmp_path, *command.split()).stdout.replace(os.sep, "/")
    place = 0
    for piece in re.split(r"^…\n", told, flags=re.M):
        place = real.find(piece, place)
        assert place >= 0, f"not (in this order) in the output:\n{piece}\n{real}"
        place += len(piece)


def test_a_line_of_the_answers_is_the_page_s(tmp_path: Path) -> None:
    done = run(tmp_path, "evaluate", "echo", "--on", "scenes/blind", "--limit", "1")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "evaluation" / "answers").rglob("*.jsonl")
    real = json.loads(path.read_text("utf-8").splitlines()[0])
    assert list(real) == list(json.loads(shown("json")[0]))
    assert {p.name for p in (tmp_path / "evaluation").iterdir()} == {
        "answers",
        "report.html",
        "report.json",
        "report.md",
    }


def test_the_benchmarks_that_rank_are_those_whose_cards_say_so() -> None:
    (sentence,) = re.findall(r"where items name choices \((.*?)\)", PAGE)
    named = {name.partition("/")[0] for name in re.findall(r"`([^`]+)`", sentence)}
    assert named == {n for n in benchmark.names() if benchmark.load(n)[0].CARD.likelihood}
