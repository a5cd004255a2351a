"""Vectors in the catalogue: missing is what has none, positions have no gaps, a kill loses a batch at most."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pictures import jpeg, put

pytest.importorskip("numpy", reason="no numpy: nothing to search with")

import numpy as np

import looksay
from looksay.errors import InputError
from looksay.library.embeddings import Embeddings, last_encoder

SLOW = '''
import sys, time, numpy as np, looksay, looksay.searching as searching
from looksay.images import load_rgb

searching.CHUNK = 4


class Slow:
    """Colours as vectors; writes how many photos it was asked for into a file."""

    name, fingerprint = "slow", "1"

    def embed_images(self, images):
        rows = [np.asarray(load_rgb(one.source).resize((2, 2)), np.float32).ravel() + 1 for one in images]
        with open(sys.argv[2], "a") as notes:
            notes.write(f"{len(rows)}\\n")
        time.sleep(0.002 * len(rows))
        return np.stack([row / np.linalg.norm(row) for row in rows])


with looksay.Library(sys.argv[1]) as library:
    print("ready", flush=True)
    print(searching.Searcher(library.catalog, Slow()).embed(), flush=True)
'''


def rows(count: int, width: int = 8, seed: int = 0) -> list[bytes]:
    found = np.random.default_rng(seed).standard_normal((count, width)).astype("<f4")
    return [row.tobytes() for row in found / np.linalg.norm(found, axis=1, keepdims=True)]


def library_of(folder: Path, count: int) -> looksay.Library:
    for n in range(count):
        put(folder / ("a" if n % 2 else "b") / f"{n}.jpg", jpeg(n, (40, 30)))
    library = looksay.Library(folder)
    library.scan()
    return library


def test_what_has_no_vector_is_missing_and_positions_have_no_gaps(tmp_path: Path) -> None:
    with library_of(tmp_path, 6) as library:
        one, other = (Embeddings(library.catalog, name, f"hub:{name}") for name in ("x", "y"))
        assert last_encoder(library.catalog) is None
        assert (one.lacking(), one.lacking("a"), len(one), one.width) == (6, 3, 0, 0)
        photos = [photo for photo, _ in one.missing("a")]
        assert all(path.startswith("a/") for _, path in one.missing("a"))
        first = rows(4)
        assert one.add(dict(zip(photos[:2], first, strict=False))) == 2
        assert other.add({photos[1]: rows(1, 4)[0]}) == 1
        assert one.add({photos[1]: first[3], photos[2]: first[2]}) == 1  # the key is there: kept
        assert list(one.read()) == first[:3]
        assert (one.lacking("a"), one.lacking(), other.lacking(), other.width) == (0, 3, 5, 4)
        assert [one.position_of(photo) for photo in photos] == [0, 1, 2]
        assert sorted(one.found([0, 2, 9])) == [0, 2]
        assert one.found(None, "b") == {}
        assert last_encoder(library.catalog) == "hub:y"
        with pytest.raises(InputError, match="a vector of 4 numbers; its others have 8"):
            one.add({next(one.missing())[0]: rows(1, 4)[0]})
        assert len(one) == 3


def test_a_photo_keeps_its_vector_where_its_file_moves_or_gets_words(tmp_path: Path) -> None:
    with library_of(tmp_path, 2) as library:
        kept = Embeddings(library.catalog, "x", "hub:x")
        kept.add(dict(zip([photo for photo, _ in kept.missing()], rows(2), strict=True)))
        (tmp_path / "a" / "1.jpg").rename(tmp_path / "moved.jpg")
        put(tmp_path / "b" / "copy.jpg", (tmp_path / "b" / "0.jpg").read_bytes())
        library.scan()
        assert kept.lacking() == 0
        assert {one.paths for one in kept.found(None).values()} == {
            ("moved.jpg",),
            ("b/0.jpg", "b/copy.jpg"),
        }
        (tmp_path / "moved.jpg").unlink()
        library.scan()
        assert len(kept.found(None)) == 1


def test_the_file_holds_what_the_catalogue_holds_whatever_becomes_of_it(tmp_path: Path) -> None:
    with library_of(tmp_path, 9) as library:
        kept = Embeddings(library.catalog, "x", "hub:x")
        photos, wanted = [photo for photo, _ in kept.missing()], rows(9)
        for until in (3, 6):
            kept.add(dict(zip(photos[until - 3 : until], wanted[until - 3 : until], strict=True)))
            path, count = kept.file()
            assert (path.read_bytes(), count) == (b"".join(wanted[:until]), until)
        put(path, path.read_bytes()[:-7])  # a kill while it was written
        assert kept.file()[0].read_bytes() == b"".join(wanted[:6])
        put(path, b"".join(rows(8, seed=1)))  # of a catalogue that was put back to an earlier copy
        assert kept.file()[0].read_bytes() == b"".join(wanted[:6])
        path.unlink()
        kept.add(dict(zip(photos[6:], wanted[6:], strict=True)))
        assert kept.file()[0].read_bytes() == b"".join(wanted)
        stamp = path.stat().st_mtime_ns
        assert kept.file() == (path, 9)
        assert path.stat().st_mtime_ns == stamp  # what is there is not written again


@pytest.mark.slow
def test_kills_at_random_moments_lose_one_batch_each_at_most(tmp_path: Path) -> None:
    folder, notes = tmp_path / "photos", tmp_path / "notes"
    library_of(folder, 60).close()
    command = [sys.executable, "-c", SLOW, str(folder), str(notes)]
    generator, killed = random.Random(4), 0
    for _ in range(6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(generator.uniform(0.01, 0.09))
            process.kill()
        killed += process.returncode != 0
    assert killed >= 3
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "ready\n[]\n"
    asked = sum(map(int, notes.read_text().split()))
    assert 60 <= asked <= 60 + 4 * killed
    with looksay.Library(folder) as library:
        kept = Embeddings(library.catalog, "1-1024px", "slow")
        assert (len(kept), kept.lacking()) == (60, 0)
        assert library.catalog.one("SELECT count(DISTINCT position) FROM embedding") == 60
        assert library.catalog.one("PRAGMA integrity_check") == "ok"
