"""The catalogue's file: newer, foreign, damaged, in use, on a full disk, in a folder that cannot be written."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import need
from pictures import jpeg, put

import looksay
from looksay.errors import CatalogError
from looksay.library.catalog import Catalog
from looksay.library.migrations import STEPS


def library(folder: Path, photos: int = 5) -> Path:
    for n in range(photos):
        put(folder / f"{n}.jpg", jpeg(n))
    put(folder / "page.md", "".join(f"![]({n}.jpg)\n" for n in range(photos)))
    with looksay.Library(folder) as opened:
        opened.scan()
    return folder / "looksay.db"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "looksay", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_catalogue_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    db = library(tmp_path)
    with sqlite3.connect(db) as raw:
        raw.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    raw.close()
    before = db.read_bytes()
    with pytest.raises(CatalogError, match=r"newer looksay .*in its folder type: pip install \."):
        looksay.Library(tmp_path)
    assert db.read_bytes() == before


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    db = tmp_path / "looksay.db"
    with sqlite3.connect(db) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    raw.close()
    before = db.read_bytes()
    with pytest.raises(CatalogError, match="another program"):
        looksay.Library(tmp_path)
    assert db.read_bytes() == before
    assert not (tmp_path / "looksay.db-wal").exists()


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" + bytes(5000), b"x"]
)
def test_a_file_that_is_no_database_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    put(tmp_path / "looksay.db", content)
    with pytest.raises(CatalogError, match="damaged or no database"):
        looksay.Library(tmp_path)
    assert (tmp_path / "looksay.db").read_bytes() == content


def faults(folder: Path) -> list[str]:
    """What is said when each of these is tried."""
    told = []
    for use in (
        lambda library: list(library.targets()),
        lambda library: library.status(),
        lambda library: library.scan(),
        lambda library: library.describe("echo"),
    ):
        try:
            with looksay.Library(folder) as opened:
                use(opened)
        except CatalogError as error:
            told.append(str(error))
    return told


def test_a_damaged_catalogue_is_told_whatever_is_asked(tmp_path: Path) -> None:
    db = library(tmp_path, 40)
    whole = db.read_bytes()
    assert not db.with_name("looksay.db-wal").exists()
    generator = random.Random(1)
    told: list[str] = []
    for _ in range(12):
        data = bytearray(whole)
        start = generator.randrange(4096, len(data) - 6000)
        data[start : start + 5000] = generator.randbytes(5000)
        db.write_bytes(bytes(data))
        put(tmp_path / "new.jpg", jpeg(generator.randrange(10**6)))
        told += faults(tmp_path)
        for left in tmp_path.glob("looksay.db-*"):
            left.unlink()
    assert len(told) >= 6
    assert all("damaged" in text for text in told)


def test_an_empty_file_becomes_a_catalogue(tmp_path: Path) -> None:
    put(tmp_path / "looksay.db", b"")
    put(tmp_path / "a.jpg", jpeg(1))
    with looksay.Library(tmp_path) as opened:
        assert opened.scan().files == 1


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "looksay.db").mkdir()
    with pytest.raises(CatalogError, match="cannot be opened"):
        looksay.Library(tmp_path)


# --- in use -----------------------------------------------------------------------------------------


@contextmanager
def writing(db: Path) -> Iterator[None]:
    """Another process that holds the catalogue's write lock."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield
        finally:
            other.communicate("")


def test_in_use_by_another_process_reading_goes_on_and_writing_says_so(tmp_path: Path) -> None:
    db = library(tmp_path)
    put(tmp_path / "new.jpg", jpeg(9))
    with writing(db):
        with looksay.Library(tmp_path) as opened:
            assert opened.status().scan.files == 5
            assert len(list(opened.targets())) == 5
            opened.catalog.db.execute("PRAGMA busy_timeout = 200")
            for attempt in (
                opened.scan,
                lambda: opened.describe("echo"),
                lambda: opened.decide("0.jpg", "edit", "x"),
            ):
                with pytest.raises(
                    CatalogError, match=r"another process is writing.*type the same again"
                ):
                    attempt()
        done = run("scan", tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert "another process is writing to it" in " ".join(done.stderr.split())
    with looksay.Library(tmp_path) as opened:
        assert opened.scan().files == 6


def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    db = library(tmp_path)

    def write() -> None:
        with Catalog(db) as other:
            other.ledger.model_id("m", "f", False)

    with looksay.Library(tmp_path) as holder:
        holder.catalog.db.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.5)
        assert holder.catalog.one("SELECT count(*) FROM model") == 0
        holder.catalog.db.execute("COMMIT")
        thread.join(10)
        assert not thread.is_alive()
        assert holder.catalog.one("SELECT count(*) FROM model") == 1


# --- full disk --------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    library(tmp_path, 5)
    for n in range(5, 120):
        put(tmp_path / f"more/{n}.jpg", jpeg(n))
    with looksay.Library(tmp_path) as opened:
        opened.scan()
        pages = opened.catalog.one("PRAGMA page_count")
        opened.catalog.db.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(CatalogError, match=r"disk is full.*what was finished is kept"):
            opened.describe("echo")
        kept = opened.catalog.one("SELECT count(*) FROM generation")
        opened.catalog.db.execute("PRAGMA max_page_count = 1000000")
        report = opened.describe("echo")
        assert kept > 0
        assert (report.described, report.present) == (120 - kept, kept)
        assert opened.catalog.one("PRAGMA integrity_check") == "ok"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of three megabytes."""
    folder = Path(tempfile.mkdtemp())
    mounted = (
        sys.platform == "linux"
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    if not mounted:
        folder.rmdir()
        pytest.skip("this user may not mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def test_a_really_full_disk(small_disk: Path, tmp_path: Path) -> None:
    for n in range(60):
        put(small_disk / f"{n}.jpg", jpeg(n))
    put(small_disk / "page.md", "![](0.jpg) words\n" * 20)
    with looksay.Library(small_disk) as opened:
        opened.scan()
        opened.describe("echo", limit=3)
        page, catalogue = (small_disk / "page.md").read_bytes(), opened.catalog.path
    filler, table = small_disk / "filler", tmp_path / "texts.csv"
    rows = [f"{n}.jpg,,0,{f'Words of {n}. ' * 40}" for n in range(60)]
    put(table, "\n".join(["photo,page,occurrence,text", *rows]))
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1024))
    os.truncate(filler, filler.stat().st_size - 8192)
    with pytest.raises(CatalogError, match="disk is full"), looksay.Library(small_disk) as opened:
        opened.import_csv(table)
    assert catalogue.exists()
    done = run("describe", small_disk, "--model", "echo")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert (small_disk / "page.md").read_bytes() == page
    filler.unlink()
    with looksay.Library(small_disk) as opened:
        assert opened.status().decisions == {}
        report = opened.describe("echo")
        assert report.failures == []
        assert opened.catalog.one("PRAGMA integrity_check") == "ok"


def test_a_page_that_no_longer_fits_stays_as_it_was(small_disk: Path, tmp_path: Path) -> None:
    put(small_disk / "a.jpg", jpeg(1))
    put(small_disk / "page.md", "![](a.jpg)\n" + "word " * 60_000)
    with looksay.Library(small_disk, db=tmp_path / "looksay.db") as opened:
        opened.scan()
        opened.decide(small_disk / "a.jpg", "edit", "A harbour.")
        before = (small_disk / "page.md").read_bytes()
        put(small_disk / "filler", bytes(2_700_000))
        report = opened.apply()
        assert [(n, "No space" in r) for n, r in report.refused] == [("page.md", True)]
        assert (small_disk / "page.md").read_bytes() == before
        assert sorted(p.name for p in small_disk.iterdir()) == ["a.jpg", "filler", "page.md"]
        (small_disk / "filler").unlink()
        assert opened.apply().files == ["page.md"]
        opened.undo()
        assert (small_disk / "page.md").read_bytes() == before


# --- read-only --------------------------------------------------------------------------------------


@pytest.fixture
def read_only() -> Iterator[Path]:
    need(sys.platform != "win32", "permissions as POSIX has them")
    folder = Path(tempfile.mkdtemp()).resolve()
    put(folder / "library/a.jpg", jpeg(1))
    put(folder / "library/page.md", "![](a.jpg)")
    was = os.geteuid()
    folder.chmod(0o755)
    (folder / "library").chmod(0o555)
    try:
        if was == 0:
            os.seteuid(65534)
        yield folder / "library"
    finally:
        if was == 0:
            os.seteuid(0)
        (folder / "library").chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_folder_wants_the_catalogue_elsewhere(read_only: Path) -> None:
    with pytest.raises(CatalogError, match=r"cannot be opened for writing.*--db"):
        looksay.Library(read_only)
    assert sorted(p.name for p in read_only.iterdir()) == ["a.jpg", "page.md"]
    elsewhere = Path(tempfile.mkdtemp())
    with looksay.Library(read_only, db=elsewhere / "x.db") as opened:
        assert opened.scan().files == 1
        opened.decide(read_only / "a.jpg", "edit", "A harbour.")
        (refused,) = opened.apply().refused
        assert refused[0] == "page.md"
        assert "permission denied" in refused[1]
    shutil.rmtree(elsewhere)
