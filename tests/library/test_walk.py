"""A walk holds no more than a folder's names, and yet finds everything that has come, changed or gone."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from conftest import need
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import jpeg, put

import looksay
from looksay.library import catalog as catalog_file
from looksay.library.catalog import Catalog
from looksay.library.walk import Walker

# Names around "/" (0x2F) in the order of bytes, where a folder's files do not lie together with its name's neighbours.
FOLDERS = ("", "a", "a-b", "a/b", "a/b/c", "a.jpg", "a0", "å", "\U0001f30a")
FILES = ("0.jpg", "a-b.jpg", "z.jpg", "a.md", "~.html")
NAMES = tuple(f"{folder}/{file}" if folder else file for folder in FOLDERS for file in FILES)
TREE = st.sets(st.sampled_from(NAMES), max_size=14)


def standing(db: Path) -> set[str]:
    """The files that a catalogue has for there."""
    with closing(Catalog(db)) as catalog:
        rows = catalog.rows("SELECT path FROM place WHERE gone = 0 UNION ALL SELECT path FROM page")
        return {row["path"] for row in rows}


def make(folder: Path, names: set[str], data: bytes) -> None:
    for name in names:
        put(folder / name, data if name.endswith(".jpg") else "Words")


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(TREE, TREE, TREE, st.sampled_from(["", "a", "a/b", "a-b"]))
def test_what_has_come_and_gone(
    first: set[str], second: set[str], third: set[str], part: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name), jpeg(1, (16, 12))
        db = folder / "looksay.db"
        make(folder, first, data)
        with looksay.Library(folder) as library:
            report = library.scan()
        assert (report.new, report.gone, standing(db)) == (photos(first), 0, first)
        for gone in first - second:
            (folder / gone).unlink()
        for empty in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
            if not any(empty.iterdir()):
                empty.rmdir()
        make(folder, second - first, data)
        with looksay.Library(folder) as library:
            report = library.scan()
            assert report.new == photos(second - first)
            assert (report.changed, report.gone, standing(db)) == (0, len(first - second), second)
            again = library.scan()
            assert (again.new, again.changed, again.gone) == (0, 0, 0)
        # A scan of a part of the library says nothing of the rest.
        for gone in second - third:
            (folder / gone).unlink()
        if (folder / part).is_dir():
            inside = {one for one in second if not part or one.startswith(part + "/")}
            with looksay.Library(folder) as library:
                report = library.scan([folder / part])
            assert report.gone == len(inside - third)
            assert standing(db) == second - (inside - third)


def photos(names: set[str]) -> int:
    return sum(name.endswith(".jpg") for name in names)


@given(TREE, st.sampled_from(FOLDERS), st.integers(0, 1))
def test_the_known_files_of_a_folder_come_in_order_and_those_below_once(
    names: set[str], folder: str, gone: int
) -> None:
    with tempfile.TemporaryDirectory() as name, closing(Catalog(Path(name) / "db")) as catalog:
        with catalog.transaction():
            catalog.db.executemany(
                "INSERT INTO place (path, size_bytes, mtime_ns, gone) VALUES (?, 1, 1, ?)",
                [(name, gone * (number % 3 == 0)) for number, name in enumerate(sorted(names))],
            )
        there = [n for k, n in enumerate(sorted(names)) if not (gone and k % 3 == 0)]
        prefix = folder + "/" if folder else ""
        below = [n[len(prefix) :] for n in there if n.startswith(prefix)]
        found = [r["path"][len(prefix) :] for r in catalog.known_in("place", folder or ".")]
        assert [n for n in found if "/" not in n] == [n for n in below if "/" not in n]
        inner = [n.partition("/")[0] for n in found if "/" in n]
        assert inner == sorted(
            {n.partition("/")[0] for n in below if "/" in n}, key=lambda n: n + "/"
        )


def test_a_folder_of_known_files_is_read_in_pieces_and_what_lies_below_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_file, "PIECE", 8)
    with closing(Catalog(tmp_path / "db")) as catalog:
        with catalog.transaction():
            catalog.db.executemany(
                "INSERT INTO place (path, size_bytes, mtime_ns) VALUES (?, 1, 1)",
                [(f"{n:03d}.jpg",) for n in range(100)]
                + [(f"0/{n:03d}.jpg",) for n in range(1000)],
            )
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        catalog.db.set_progress_handler(step, 1)
        rows = catalog.known_in("place", ".")
        assert next(rows)["path"] == "0/000.jpg"
        assert next(rows)["path"] == "000.jpg"
        few = steps
        assert sum(1 for _ in rows) == 99
        catalog.db.set_progress_handler(None, 1)
    assert few < steps / 10, "the first rows come without the others"
    assert steps < 100 * 60, "those of the folder below are passed over"


def test_links_and_excluded_folders(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    put(folder / "real" / "a.jpg", jpeg(1))
    put(folder / "old" / "b.jpg", jpeg(2))
    need(hasattr(os, "symlink"), "links")
    with looksay.Library(folder) as library:
        assert library.scan().new == 2
        (folder / "linked").symlink_to(folder / "real")
        assert library.scan().new == 0, "the folder has a name already"
        put(folder / "looksay.toml", 'exclude = ["old"]')
    with looksay.Library(folder) as library:
        assert library.scan().gone == 1
        assert standing(folder / "looksay.db") == {"real/a.jpg"}
        # Asked for by name, it counts, and stays though the folder is passed over.
        report = library.scan([folder, folder / "old" / "b.jpg"])
        assert (report.gone, standing(folder / "looksay.db")) == (0, {"real/a.jpg", "old/b.jpg"})


def test_a_folder_that_cannot_be_listed_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "shut" / "in" / "a.jpg", jpeg(1))
    put(tmp_path / "b.jpg", jpeg(2))
    with looksay.Library(tmp_path) as library:
        library.scan()
        (tmp_path / "b.jpg").unlink()
        scandir = os.scandir

        def refused(
            folder: Path,
        ) -> object:  # permissions do not stop root, who runs tests in containers
            if folder.name == "shut":
                raise PermissionError(13, "Permission denied", str(folder))
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", refused)
        report = library.scan()
    assert report.gone == 1
    assert standing(tmp_path / "looksay.db") == {"shut/in/a.jpg"}


def test_a_walk_keeps_no_names_of_files(tmp_path: Path) -> None:
    for n in range(60):
        put(tmp_path / f"{n % 3}" / f"{n}.jpg", jpeg(1, (16, 12)))
    with looksay.Library(tmp_path) as library:
        library.scan()
        walker = Walker(library.catalog, ())
        assert list(walker.photos([tmp_path])) == []
        kept = [
            name
            for value in vars(walker).values()
            if isinstance(value, set | list | dict)
            for name in value
        ]
        assert not [name for name in kept if str(name).endswith(".jpg")]
        assert library.catalog.one("SELECT count(*) FROM missing") == 0
        (tmp_path / "1" / "1.jpg").unlink()
        list(Walker(library.catalog, ()).photos([tmp_path]))
        assert library.catalog.is_missing("1/1.jpg")
