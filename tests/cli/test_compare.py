"""`looksay compare` and `looksay upgrade --check` as they are typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, Received, Reply, openai_models, openai_text

import looksay

pytest.importorskip("numpy", reason="no numpy: no intervals")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / "site", tmp_path / "site"))


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "looksay", *words],
        cwd=folder,
        env=os.environ | {"PYTHONUTF8": "1", "LOOKSAY_PLAIN": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def answer(received: Received) -> Reply:
    """Judges by the length of what it is shown; describes in one sentence."""
    asked = str(received.body)
    if "Answer FIRST, SECOND or SAME" in asked:
        first, second = (
            len(asked.partition(f"{place}: ")[2].partition("\\n")[0])
            for place in ("First", "Second")
        )
        return openai_text("FIRST" if first > second else "SECOND" if second > first else "SAME")
    if "You grade alternative text" in asked:
        seen = {
            "named": 2,
            "objects": 3,
            "mood": True,
            "repetition": False,
            "grammar": False,
            "hallucinations": 0,
        }
        return openai_text(json.dumps(seen))
    if "Korean" in asked:
        return openai_text("저녁 등대 아래 부두에 배 두 척이 있다.")
    return openai_text("Two boats lie at a quay below a lighthouse in the evening.")


def test_a_comparison_from_the_first_question_to_the_report(site: Path) -> None:
    place = site.parent
    with Faulty(answer, pages=openai_models("eyes", "judge")) as server:
        eyes, judge = (f"{server.url}/v1#{name}" for name in ("eyes", "judge"))
        words = ("compare", "site", "--models", f"echo,{eyes}", "--sample", "4")
        planned = typed(place, *words, "--estimate")
        assert planned.returncode == 0, planned.stderr
        assert planned.stdout.count("4 requests") == 4
        assert not any(one.method == "POST" for one in server.received)
        done = typed(place, *words, "--judge", judge, "--out", "report.html")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "By the grades of the judge" in done.stdout
        assert "said the same of all 4 photos" in done.stdout
        html = (place / "report.html").read_text("utf-8")
        assert "Ranking (Bradley–Terry" in html
        asked = len(server.received)
        again = typed(place, *words, "--judge", judge, "--json")
        assert len([one for one in server.received[asked:] if one.method == "POST"]) == 0
        record = json.loads(again.stdout)
        best = record["panels"][0]["rows"][0]
        assert best["entrant"].startswith(eyes)
        assert best["wins"]["share"] > 0.6
    with looksay.Library(site) as library:
        assert {words.state for _, words in library.targets()} <= {"none", "human", "decorative"}
    assert typed(place, "compare", "site").returncode == 0, (
        "without models: the one that was last worked on"
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ("--models", "echo", "--judge", "echo"),
            "The judge echo is one of the models that it would judge",
        ),
        (("--models", "echo:0.001", "--judge", "echo"), "is one of the models that it would judge"),
        ((), "Nothing was compared here yet. Type: looksay compare"),
        (
            ("--models", "echo", "--prompts", "mine"),
            "There is no prompt 'mine'. Known: bare, common, own",
        ),
        (("--models", "echo", "--import", "a.json"), "type one of them"),
        (("--grade",), "Nothing was compared here yet"),
        (("--models", "nobody:1,echo", "--grade", "--prompts", "nothing"), "There is no prompt"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    site: Path, words: tuple[str, ...], why: str
) -> None:
    done = typed(site.parent, "compare", "site", "--sample", "2", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_there_leaves_its_cells_empty(site: Path) -> None:
    done = typed(
        site.parent,
        "compare",
        "site",
        "--models",
        "echo,nobody:1",
        "--sample",
        "3",
        "--prompts",
        "own",
    )
    assert done.returncode == 1
    assert (
        "nobody:1 has no text for 3 of 3 photos: it could not be loaded: There is no backend 'nobody'"
        in done.stdout
    )
    assert (site.parent / "compare.html").is_file()


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    done = typed(tmp_path, "compare", "site", "--models", "echo")
    assert done.returncode == 2
    assert "There is no photo to compare models on" in done.stderr


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(site: Path) -> None:
    words = ["compare", "site", "--models", "echo:0.4", "--sample", "8", "--prompts", "own"]
    process = subprocess.Popen([sys.executable, "-m", "looksay", *words], cwd=site.parent)

    def stored() -> int:
        with looksay.Library(site) as library:
            found: Any = library.catalog.one("SELECT count(*) FROM generation")
            return int(found)

    try:
        while not (site / "looksay.db").is_file() or stored() < 2:
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    before = stored()
    assert typed(site.parent, *words).returncode == 0
    with looksay.Library(site) as library:
        (record,) = library.catalog.rows(
            "SELECT count(*), count(DISTINCT photo_id) FROM generation"
        )
        assert record[0] == record[1] > before
        assert library.catalog.one("SELECT count(*) FROM comparison") == 1


def test_an_upgrade_is_checked_before_anything_is_rolled_over(site: Path) -> None:
    place = site.parent
    assert typed(place, "describe", "site", "--model", "echo").returncode == 0

    def texts() -> list[str]:
        with looksay.Library(site) as library:
            return [words.text for _, words in library.targets()]

    before = texts()
    with Faulty(answer, pages=openai_models("eyes", "judge")) as server:
        eyes, judge = (f"{server.url}/v1#{name}" for name in ("eyes", "judge"))
        words = ("upgrade", "site", "--to", eyes, "--check", "40")
        alone = typed(place, *words)
        assert alone.returncode == 0, alone.stdout + alone.stderr
        assert "Nobody graded the two blind yet" in alone.stdout
        judged = typed(place, *words, "--judge", judge, "--json")
        verdict = json.loads(judged.stdout)["verdict"]
        assert verdict["better"] is None, "so few photos are not enough"
        assert "too few to go by; at least 10 are needed" in verdict["words"]
        assert texts() == before
        assert (place / "upgrade.html").is_file()
