"""Benchmarks of the library half: scan, second scan, describing overhead, status.

Prints each figure with the bar that it is held to; figures that compare two things are ratios measured
in one run. Usage: python benchmarks/library.py [scan|describe|status]
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from PIL import Image

from looksay.api import Library
from looksay.backends.echo import Echo
from looksay.types import Conversation, Options
from looksay.types import Image as Picture

PHOTOS = int(os.environ.get("LOOKSAY_BENCH_PHOTOS", "10000"))
GENERATIONS = int(os.environ.get("LOOKSAY_BENCH_GENERATIONS", "1000000"))


@cache
def grain(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 24).convert("RGB")


def make_photo(task: tuple[Path, int, tuple[int, int]]) -> int:
    """One JPEG unlike all others: coloured blotches by its number, and grain, so that decoding is real work."""
    path, number, size = task
    small = Image.frombytes("RGB", (24, 16), random.Random(number).randbytes(24 * 16 * 3))
    picture = small.resize(size, Image.Resampling.BILINEAR)
    Image.blend(picture, grain(size), 0.25).save(path, quality=85)
    return path.stat().st_size


def make_photos(folder: Path, number: int, size: tuple[int, int]) -> None:
    for part in range(0, number, 1000):
        (folder / f"{part // 1000:03d}").mkdir(exist_ok=True)
    tasks = [(folder / f"{n // 1000:03d}" / f"{n:06d}.jpg", n, size) for n in range(number)]
    with ProcessPoolExecutor() as pool:
        total = sum(pool.map(make_photo, tasks, chunksize=50))
    print(f"made {number} JPEGs of {size[0]} × {size[1]} px, {total / number / 1e3:.0f} kB each")


def bench_scan(folder: Path) -> None:
    """Scan and second scan in a process of their own, so that peak memory is theirs alone."""
    make_photos(folder, PHOTOS, (1224, 816))
    code = (
        "import sys, time; from pathlib import Path; from looksay.api import Library\n"
        "library = Library(sys.argv[1]); t = time.perf_counter(); r = library.scan()\n"
        "print(r.files, time.perf_counter() - t)"
    )
    for name, bar in (("scan", 300), ("second scan", 10_000)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
        )
        files, seconds = done.stdout.split()
        rate = int(files) / float(seconds)
        print(f"{name}: {rate:,.0f} photos/s (bar: ≥{bar:,}), {float(seconds):.2f} s for {files}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory: {peak:.0f} MB (bar: <300)")


def bench_describe(folder: Path) -> None:
    """The pipeline's own time per photo: describe with echo, less echo itself on the same photos."""
    rng = random.Random(11)
    for number in range(PHOTOS):
        sub = folder / f"{number // 1000:03d}"
        sub.mkdir(exist_ok=True)
        Image.frombytes("RGB", (24, 24), rng.randbytes(1728)).save(
            sub / f"{number:06d}.png", compress_level=1
        )
    with Library(folder) as library:
        library.scan()
        started = time.perf_counter()
        report = library.describe(Echo())
        whole = time.perf_counter() - started
        paths = [library.root / t.path for t, _ in library.targets()]
    started = time.perf_counter()
    for _ in Echo().complete((Conversation.ask(Picture(p), "alt text") for p in paths), Options()):
        pass
    bare = time.perf_counter() - started
    overhead = (whole - bare) / report.described * 1000
    print(
        f"describe: {overhead:.2f} ms per photo over the bare backend (bar: ≤2), {report.described} photos, "
        f"{whole:.1f} s with, {bare:.1f} s without, ratio {whole / bare:.1f}"
    )


def bench_status(folder: Path) -> None:
    """Status of a catalogue with a million generations."""
    (folder / "a.txt").write_text("")
    with Library(folder) as library:
        library.scan()
        db = library.catalog.db
        model = library.catalog.ledger.model_id("echo", "echo-1", True)
        db.execute("BEGIN")
        photos = GENERATIONS // 4
        db.executemany(
            "INSERT INTO photo (id, format, width_px, height_px) VALUES (?, 'JPEG', 640, 480)",
            ((i,) for i in range(1, photos + 1)),
        )
        db.executemany(
            "INSERT INTO place (path, photo_id, size_bytes, mtime_ns) VALUES (?, ?, 1, 1)",
            ((f"{i:07d}.jpg", i) for i in range(1, photos + 1)),
        )
        db.executemany(
            "INSERT INTO generation (photo_id, model_id, prompt_hash, settings_hash, language, context_hash, attempt, raw, "
            "alt, extended, decorative, notes, cost_usd, milliseconds, at) VALUES (?, ?, 'p', 's', 'en', '', ?, ?, ?, '', 0, "
            "'[]', 0.005, 900, '2026-01-01T00:00:00+00:00')",
            (
                (
                    n % photos + 1,
                    model,
                    n // photos,
                    "A text of usual length about a photo." * 3,
                    "A text of usual length.",
                )
                for n in range(GENERATIONS)
            ),
        )
        db.execute("COMMIT")
    for name in ("first", "second"):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "looksay", "status", str(folder)],
            check=True,
            capture_output=True,
        )
        print(
            f"status of {GENERATIONS:,} generations, {name}: {time.perf_counter() - started:.2f} s, the program's start included (bar: <1)"
        )


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    wanted = sys.argv[1:] or ["scan", "describe", "status"]
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            {"scan": bench_scan, "describe": bench_describe, "status": bench_status}[name](
                Path(folder)
            )


if __name__ == "__main__":
    main()
