"""`looksay check`: what it prints, in words and as JSON, and what it exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import looksay
from describing.test_run import Scripted
from pictures import jpeg, put

from looksay.api import Library


@pytest.fixture
def site(tmp_path: Path) -> Path:
    pytest.importorskip("numpy", reason="experts need it")
    for n in range(3):
        put(tmp_path / f"{n}.jpg", jpeg(n))
    with Library(tmp_path) as library:
        library.scan()
        library.describe(Scripted("Three dogs lie on a sofa.", "b", "b"))
        library.describe(Scripted("One dog sleeps on a sofa.", "c", "c"))
    return tmp_path


def test_in_words(site: Path) -> None:
    done = looksay("check", site, "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert "Checked 2 texts" in done.stdout
    assert "Stopped at --limit" in done.stdout
    done = looksay("check", site)
    assert "Checked 1 text in" in done.stdout
    assert "2 were checked already" in done.stdout
    assert "before there are enough reviews" in done.stdout
    assert "One dog sleeps on a sofa." in done.stdout
    assert "the evidence is against “one dog”" in done.stdout
    assert "Next: looksay review" in done.stdout
    assert "confiden" not in done.stdout


def test_as_json(site: Path) -> None:
    done = looksay("check", site, "--json")
    assert done.returncode == 0, done.stderr
    *events, last = map(json.loads, done.stdout.splitlines())
    assert [event["photo"] for event in events] == ["0.jpg", "1.jpg", "2.jpg"]
    assert all(0 < event["value"] < 1 and event["reasons"] for event in events)
    assert last["summary"]["assessed"] == 3
    assert sum(last["summary"]["levels"].values()) == 3


def test_an_estimate_asks_nothing(site: Path) -> None:
    done = looksay("check", site, "--verifier", "echo", "--estimate")
    assert done.returncode == 0, done.stderr
    assert "echo: " in done.stdout
    assert "requests" in done.stdout
    with Library(site) as library:
        assert not list(library.catalog.rows("SELECT 1 FROM assessment"))


def test_nothing_to_check(tmp_path: Path) -> None:
    put(tmp_path / "0.jpg", jpeg(0))
    with Library(tmp_path) as library:
        library.scan()
    done = looksay("check", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Type: looksay describe" in done.stdout


def test_a_photo_that_is_gone(site: Path) -> None:
    (site / "1.jpg").unlink()
    done = looksay("check", site)
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--reader", "klingon"), "klingon"),
        (("--verifier", "nobody:at-all"), "nobody"),
        (("--expert", "crystal-ball"), "crystal-ball"),
    ],
)
def test_mistakes_are_told(site: Path, words: tuple[str, ...], told: str) -> None:
    done = looksay("check", site, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
