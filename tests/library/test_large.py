"""What goes over a whole library never holds all of it: rows are drawn as they are written, and memory stays flat."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import looksay
from looksay.backends.echo import Echo
from looksay.errors import PageError
from looksay.library import files
from looksay.library.catalog import Catalog
from looksay.library.export import Row
from looksay.library.export import csv as csv_export
from looksay.library.export import html as html_export
from looksay.library.export import jsonl as jsonl_export
from looksay.library.queue import Filter, Queue

AT = "2026-01-01T00:00:00+00:00"
SHARED = 3
"""Of so many photos the last shares the words of the one before it."""


def grown(folder: Path, photos: int) -> looksay.Library:
    """A library of photos that are in the catalogue alone, all but each seventh with a text of `echo`."""
    library = looksay.Library(folder)
    catalog, numbers = library.catalog, range(1, photos + 1)
    model = catalog.ledger.model_id("echo", "said before", False)
    with catalog.transaction():
        catalog.db.executemany(
            "INSERT INTO photo (id, format, width_px, height_px, lead_id) VALUES (?, 'JPEG', 640, 480, ?)",
            ((n, n - 1 if n % SHARED == 0 else n if n % SHARED == 2 else None) for n in numbers),
        )
        catalog.db.executemany(
            "INSERT INTO place (path, photo_id, size_bytes, mtime_ns) VALUES (?, ?, 1, 1)",
            ((f"{n // 100:04d}/{n:06d}.jpg", n) for n in numbers),
        )
        catalog.db.executemany(
            "INSERT INTO generation (photo_id, model_id, prompt_hash, settings_hash, language, context_hash, attempt, raw, "
            "alt, extended, decorative, notes, cost_usd, milliseconds, at) VALUES (?, ?, 'p', 's', 'en', '', 0, '', "
            f"'A text of usual length.', '', 0, '[]', 0, 900, '{AT}')",
            ((n, model) for n in numbers if n % 7),
        )
    return library


def peak(work: Any) -> int:
    """Bytes of Python's that work takes at its peak."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


FEW, MANY = 1000, 3000
"""More than a piece of targets, so that both are read in pieces."""


@pytest.mark.parametrize("job", ["csv", "jsonl", "targets", "estimate", "tasks", "queue", "count"])
def test_three_times_the_photos_take_no_more_memory(job: str, tmp_path: Path) -> None:
    peaks = []
    for photos in (FEW, MANY):
        folder = tmp_path / f"{photos}"
        folder.mkdir()
        with grown(folder, photos) as library:
            peaks.append(peak(lambda: done(library, job, folder)))  # noqa: B023
    assert peaks[1] < 1.3 * peaks[0] + 50_000


def done(library: looksay.Library, job: str, folder: Path) -> None:
    if job in ("csv", "jsonl"):
        assert library.export(job, folder / "out") == int(folder.name)
    elif job == "targets":
        assert any(words.state == "ai" for _, words in library.targets())
        sum(1 for _ in library.targets())
    elif job == "estimate":
        assert library.estimate(Echo()).requests
    elif job == "tasks":
        assert sum(1 for _ in library.describer(Echo()).tasks())
    elif job == "queue":
        queue = Queue(library.catalog, "en", lambda target, words: (0.5, "high"))
        while queue.refresh():
            pass
        assert queue.next(Filter())
    else:
        assert library.status().scan.files


def test_a_look_at_one_photo_takes_no_longer_where_there_are_many(tmp_path: Path) -> None:
    took = []
    for photos in (FEW, MANY):
        folder = tmp_path / f"{photos}"
        folder.mkdir()
        with grown(folder, photos) as library:
            catalog, steps = library.catalog, 0
            with catalog.transaction():
                catalog.db.executemany(
                    "INSERT INTO placement VALUES (?, ?, 'a.jpg', ?, 0, NULL, 'missing', NULL, '{}', 'c')",
                    ((f"{n // 10}.md", n, f"{n // 100:04d}/{n:06d}.jpg") for n in range(1, photos)),
                )
                catalog.mark_shown()
            queue = Queue(catalog, "en", lambda target, words: (0.5, "high"))
            queue.renew([1, 2, 3])

            def step() -> int:
                nonlocal steps
                steps += 1
                return 0

            catalog.db.set_progress_handler(step, 1)
            queue.renew([500, 501, 503])
            (target,) = catalog.targets.of_photo(500)
            catalog.ledger.words(target)
            queue.next(Filter())
            catalog.db.set_progress_handler(None, 1)
            took.append(steps)
    assert took[1] < 1.3 * took[0]


ROW = Row("a.jpg", "", 0, "en", "Two boats.", "", False, "ai", "echo", "", ("long",))


@pytest.mark.parametrize("export", [csv_export, jsonl_export])
def test_rows_are_written_as_they_come(export: Any, tmp_path: Path) -> None:
    partial = files.temporary(tmp_path / "out")

    def rows() -> Iterator[Row]:
        for number in range(20_000):
            if number == 15_000:
                assert partial.stat().st_size > 300_000
                assert not (tmp_path / "out").exists()
            yield ROW

    assert export.write(rows(), tmp_path / "out", tmp_path) == 20_000
    assert not partial.exists()
    text = (tmp_path / "out").read_text("utf-8-sig")
    if export is csv_export:
        assert sum(1 for _ in csv.reader(text.splitlines())) == 20_001
    else:
        assert [json.loads(line)["text"] for line in text.splitlines()] == ["Two boats."] * 20_000


@pytest.mark.parametrize("export", [csv_export, jsonl_export, html_export])
def test_an_export_that_fails_midway_leaves_what_was_there(export: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("before")

    def rows() -> Iterator[Row]:
        yield ROW
        raise RuntimeError("the catalogue is gone")

    with pytest.raises(RuntimeError, match="the catalogue is gone"):
        export.write(rows(), out, tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out", "before")]


def test_a_file_that_cannot_be_written_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    with pytest.raises(PageError, match="as it was"), files.writing(tmp_path / "out") as stream:  # noqa: PT012
        stream.write(b"half")
        raise OSError(28, "No space left on device")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out", "before")]


def test_a_gallery_counts_before_it_shows(tmp_path: Path) -> None:
    rows = [ROW] * 3 + [Row("b.jpg", "", 0, "en", "", "", False, "none", "", "", ())] * 5
    assert html_export.write(iter(rows), tmp_path / "g.html", tmp_path) == 8
    page = (tmp_path / "g.html").read_text()
    assert "<li>5 no words yet</li><li>3 by a model, not reviewed</li>" in page
    assert page.count("<h2") == 8


def test_an_estimate_reads_some_photos_for_all(tmp_path: Path, monkeypatch: Any) -> None:
    photos = 2400
    many, few = tmp_path / "many", tmp_path / "few"
    many.mkdir()
    few.mkdir()
    with grown(many, photos) as library:
        describer, asked = library.describer(Echo()), []
        question = describer.question

        def noted(*given: Any) -> Any:
            asked.append(given)
            return question(*given)

        monkeypatch.setattr(describer, "question", noted)
        found = describer.estimate()
        wanted = photos - photos // SHARED  # the others follow the first of their group
        assert (found.requests, found.waiting) == (wanted, photos // SHARED)
        assert len(asked) == 1000 + (wanted - 1000) // 100
        # Requests are alike here, so that some can stand for all exactly.
        tasks = list(library.describer(Echo()).tasks())
        assert len(tasks) == wanted
    with grown(few, 40) as library:
        one = library.estimate(Echo())
    assert found.prompt_tokens / found.requests == one.prompt_tokens / one.requests


def test_photos_that_are_asked_about_while_a_piece_is_gone_over_are_asked_once(
    tmp_path: Path,
) -> None:
    with grown(tmp_path, 30) as library:
        describer = library.describer(Echo())
        tasks = describer.tasks()
        first = next(tasks)
        # Another run answers all the others of the piece meanwhile.
        others = [task.key for task in library.describer(Echo()).tasks() if task.key != first.key]
        for key in others:
            library.catalog.ledger.add_generation(
                key, raw="", alt="Boats.", extended="", decorative=False, notes=[], prompt_tokens=None,
                completion_tokens=None, cost_usd=0, seconds=0, details={},
            )  # fmt: skip
        assert list(tasks) == []
        assert describer.report.present == len(others)


def test_the_desk_says_how_much_is_left(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    from looksay.web.desk import Desk

    with grown(tmp_path, 450) as library:
        path, settings = library.catalog.path, library.settings
    with closing(Desk(path, settings)) as desk, closing(Catalog(path)) as other:
        left = [desk.keep_up() for _ in range(4)]
        assert left == [350, 250, 150, 50]
        with other.transaction():
            other.db.execute(
                "INSERT OR IGNORE INTO queue_stale SELECT id FROM photo WHERE id <= 200"
            )
        assert desk.keep_up() > 0, "what has come meanwhile counts"
        while desk.keep_up():
            pass
        assert desk.queue.stale() == 0
