"""kill -9 at any moment: nothing finished is lost, no file is ever half written."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import need
from pictures import jpeg, put

import looksay

SCRIPT = Path(__file__).with_name("killed.py")
IN_FLIGHT = 2


def start(folder: Path, job: str, last: int, notes: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(folder), job, str(last), str(notes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, job: str, last: int, notes: Path) -> bool:
    """Whether the job came to its end."""
    with start(folder, job, last, notes) as process:
        _, said = process.communicate(timeout=120)
    assert "Traceback" not in said, said
    return process.returncode == 0


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("looksay.db"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def check_generations(folder: Path, photos: int) -> None:
    with looksay.Library(folder) as library:
        rows = library.catalog.rows("SELECT photo_id, count(*) FROM generation GROUP BY photo_id")
        assert [r[1] for r in rows] == [1] * photos
        assert library.catalog.one("SELECT sum(generations) FROM tally") == photos
        assert library.catalog.one("PRAGMA integrity_check") == "ok"


@pytest.mark.slow
def test_twenty_kills_at_random_moments_of_a_description(tmp_path: Path) -> None:
    folder, notes = tmp_path / "photos", tmp_path / "requests"
    for n in range(300):
        put(folder / f"{n}.jpg", jpeg(n, (40, 30)))
    with looksay.Library(folder) as library:
        assert library.scan().near_duplicates == 0
    generator, killed = random.Random(20), 0
    for _ in range(20):
        with start(folder, "describe", 0, notes) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(generator.uniform(0, 0.06))
            process.kill()
        killed += process.returncode != 0
    assert killed >= 15
    assert run(folder, "describe", 0, notes)
    check_generations(folder, 300)
    asked = Counter(notes.read_text().split())
    assert len(asked) == 300
    assert sum(asked.values()) - 300 <= killed * IN_FLIGHT


@pytest.mark.slow
def test_a_kill_between_any_two_writes_of_a_description(tmp_path: Path) -> None:
    base = tmp_path / "base"
    for n in range(3):
        put(base / f"{n}.jpg", jpeg(n, (40, 30)))
    with looksay.Library(base) as library:
        library.scan()
    for last in range(1, 1000):
        folder, notes = tmp_path / f"{last}", tmp_path / f"{last}.notes"
        shutil.copytree(base, folder)
        ended = run(folder, "describe", last, notes)
        assert run(folder, "describe", 0, notes)
        check_generations(folder, 3)
        asked = notes.read_text().split()
        assert len(asked) - 3 <= (0 if ended else IN_FLIGHT)
        if ended:
            break
        shutil.rmtree(folder)
    assert last > 12  # three steps for each of at least four writes


@pytest.mark.slow
def test_a_kill_between_any_two_writes_of_a_scan(tmp_path: Path) -> None:
    for last in range(1, 1000):
        folder = tmp_path / f"{last}"
        for n in range(3):
            put(folder / f"{n}.jpg", jpeg(n, (40, 30)))
        put(folder / "page.md", "![](0.jpg) ![x](1.jpg)")
        ended = run(folder, "scan", last, tmp_path / "notes")
        with looksay.Library(folder) as library:
            report = library.scan()
        assert (report.files, report.placements, report.missing, report.described) == (
            3,
            2,
            1,
            1,
        ) or (report.empty == 1 and report.files == 3)
        if ended:
            break
        shutil.rmtree(folder)
    assert last > 6


def site(folder: Path, *, with_pages: bool) -> None:
    """A photo with words for itself and, if asked for, a page with words for another."""
    put(folder / "0.jpg", jpeg(0))
    if with_pages:
        put(folder / "1.jpg", jpeg(1))
        put(folder / "a.md", "Harbour ![](1.jpg) at night\r\n")
    with looksay.Library(folder) as library:
        library.scan()
        library.decide(folder / "0.jpg", "edit", "Words for itself")
        if with_pages:
            library.decide(folder / "1.jpg", "edit", "Words on the page", page="a.md")


@pytest.mark.slow
@pytest.mark.parametrize("job", ["apply", "embed", "undo", "undo embed"])
def test_a_kill_between_any_two_writes_of_apply_and_undo(job: str, tmp_path: Path) -> None:
    if "embed" in job:
        need(shutil.which("exiftool"), "ExifTool")
    base, notes = tmp_path / "base", tmp_path / "notes"
    site(base, with_pages="embed" not in job)
    old = snapshot(base)
    embed = "embed" in job
    with looksay.Library(base) as library:
        if job.startswith("undo"):
            library.apply(into_photos=embed)
    new = snapshot(base)
    if not job.startswith("undo"):
        copy = tmp_path / "copy"
        shutil.copytree(base, copy)
        with looksay.Library(copy) as library:
            library.apply(into_photos=embed)
        new = snapshot(copy)
    assert len({n for n in new if new[n] != old.get(n)}) == (1 if embed else 2)
    for last in range(1, 1000):
        folder = tmp_path / f"{last}"
        shutil.copytree(base, folder)
        ended = run(folder, job.split()[0], last, notes)
        found = snapshot(folder)
        for name in old.keys() | new.keys():
            assert found.get(name) in (old.get(name), new.get(name)), name
        assert all(name in new or name.endswith(".looksay-tmp") for name in found)
        with looksay.Library(folder) as library:
            if job.startswith("undo"):
                if not ended and snapshot(folder) != old:
                    library.undo()
                assert snapshot(folder) == old
                library.apply(into_photos=embed)
                assert snapshot(folder) == new
            else:
                library.apply(into_photos=embed)
                assert snapshot(folder) == new
                while True:  # what was written before the kill and what was written after it
                    library.undo()
                    if snapshot(folder) == old:
                        break
            report = library.scan()
            assert (report.new, report.changed, report.gone, report.cleared) == (0, 0, 0, 0)
            assert library.catalog.one("PRAGMA integrity_check") == "ok"
        if ended:
            break
        shutil.rmtree(folder)
    assert last > (8 if embed else 16)
