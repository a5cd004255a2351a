"""How long the exact search of a library takes, up to a million photos.

    python benchmarks/search.py [--photos 1000000] [--width 512] [--top 10] [--seed 0]

Vectors are random and of length 1. They go through a real catalogue, a batch in a transaction as `looksay search`
appends them, and are searched with random queries: cosines with all of them, and the best, and (the first time)
laying them out in the file that is mapped into memory. A plain full sort of the same cosines stands beside it.
The bar is 0.5 s for a search of a million; figures that compare two things are measured in one run. Seconds of the
core are printed too, because on a busy machine the wall clock measures the others as well.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measured import tell

from looksay import searching
from looksay.api import Library
from looksay.searching import Searcher, Vectors

BAR_S = 0.5
QUERIES = 7
BATCH = 1000


class Drawn:
    """An encoder of random directions, for queries."""

    name, fingerprint = "drawn", "1"

    def __init__(self, width: int, seed: int) -> None:
        self.width, self.chance = width, np.random.default_rng(seed)

    def embed_images(self, images: Any) -> Vectors:
        return self.unit(len(list(images)))

    def embed_texts(self, texts: Any) -> Vectors:
        return self.unit(len(texts))

    def unit(self, count: int) -> Vectors:
        rows = self.chance.standard_normal((count, self.width), dtype=np.float32)
        found: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return found


def timed(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    work()
    return clock() - started


def fill(library: Library, searcher: Searcher, photos: int, encoder: Drawn) -> None:
    """Photos without files, as a scan would have recorded them, and a vector of each."""
    store = library.catalog
    with store.transaction():
        store.db.executemany(
            "INSERT INTO photo (id, format, width_px, height_px) VALUES (?, 'JPEG', 640, 480)",
            ((n,) for n in range(1, photos + 1)),
        )
        store.db.executemany(
            "INSERT INTO place (path, photo_id, size_bytes, mtime_ns) VALUES (?, ?, 1, 1)",
            ((f"{n // 1000:04d}/{n:07d}.jpg", n) for n in range(1, photos + 1)),
        )
    for first in range(1, photos + 1, BATCH):
        rows = encoder.unit(min(BATCH, photos + 1 - first))
        searcher.embeddings.add({first + n: row.tobytes() for n, row in enumerate(rows)})


def main(photos: int, width: int, top: int, seed: int) -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    encoder = Drawn(width, seed)
    with tempfile.TemporaryDirectory() as folder, Library(Path(folder)) as library:
        searcher = Searcher(library.catalog, encoder)
        seconds = timed(lambda: fill(library, searcher, photos, encoder))
        print(f"{photos:,} vectors of {width} into the catalogue: {seconds:.1f} s")
        print(f"what is still to be embedded: {timed(searcher.lacking):.2f} s")
        print(f"laid out in a file, once: {timed(searcher.vectors):.2f} s")
        found = sorted(timed(lambda: searcher.by_words("a", top)) for _ in range(QUERIES))
        core = statistics.median(
            timed(lambda: searcher.by_words("a", top), time.process_time) for _ in range(QUERIES)
        )
        vectors = searcher.vectors()

        def plain() -> list[int]:
            (query,) = encoder.unit(1)
            return np.argsort(-(vectors @ query), kind="stable")[:top].tolist()

        sorting = sorted(timed(plain) for _ in range(QUERIES))
        middle, full = statistics.median(found), statistics.median(sorting)
        aim = f"< {BAR_S}" if photos <= 1_000_000 else ""
        tell(f"search of {photos:,} vectors for the best {top}", found, "s", aim)
        tell("plain full sort of the same beside it", [one / middle for one in sorting])
        print(f"  {core:.3f} s of the core; plain full sort {full:.3f} s")
        (query,) = encoder.unit(1)
        cosines = vectors @ query
        best = timed(lambda: searching.nearest(cosines, top))
        order = timed(lambda: np.argsort(-cosines, kind="stable"))
        same = (
            searching.nearest(cosines, top).tolist()
            == np.argsort(-cosines, kind="stable")[:top].tolist()
        )
        print(
            f"of it, choosing the best: {best * 1000:.1f} ms; sorting all: {order * 1000:.1f} ms, "
            f"ratio {order / best:.1f}; the same photos: {same}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.photos, given.width, given.top, given.seed)
