"""Benchmarks of the library half: the scan of new photos beside what it cannot do without, a second scan, and describing
beside its backend.

A scan must read each file, digest it and decode it: a bare loop does that and no more, on the same files, in as many
threads. Both run in turns, each in a process of its own. What a large catalogue costs, `million.py` measures.
Usage: python benchmarks/library.py [scan|describe]
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path

from measured import explain, tell
from PIL import Image

from looksay.api import Library
from looksay.backends.echo import Echo
from looksay.types import Conversation, Options
from looksay.types import Image as Picture

PHOTOS = int(os.environ.get("LOOKSAY_BENCH_PHOTOS", "2000"))
ROUNDS = int(os.environ.get("LOOKSAY_BENCH_ROUNDS", "3"))


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


def digested(path: Path) -> None:
    """What no scan can do without: the file's bytes, their SHA-256, and the picture as small as libjpeg decodes it."""
    data = path.read_bytes()
    sha256(data).digest()
    with Image.open(path) as image:
        image.draft("RGB", (72, 72))
        image.load()


def bare(folder: Path) -> float:
    """Seconds of the bare loop."""
    paths = sorted(folder.glob("*/*.jpg"))
    started = time.perf_counter()
    with ThreadPoolExecutor(max(2, (os.cpu_count() or 2) + 1)) as pool:
        for _ in pool.map(digested, paths):
            pass
    return time.perf_counter() - started


def scanned(folder: Path) -> float:
    """Seconds of a scan."""
    with Library(folder) as library:
        started = time.perf_counter()
        report = library.scan()
        seconds = time.perf_counter() - started
    assert report.files == PHOTOS
    return seconds


def apart(what: str, folder: Path) -> tuple[float, float]:
    """(seconds that it says it took, peak memory in MB) of an arm in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, what, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, state, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(state)
    if process.returncode:
        raise SystemExit(f"{what} ended with {process.returncode}")
    return float(said), used.ru_maxrss / 1024


def bench_scan(folder: Path) -> None:
    make_photos(folder, PHOTOS, (1224, 816))
    rates, ratios, again, peaks = [], [], [], []
    for _ in range(ROUNDS):
        for file in folder.glob("looksay.db*"):
            file.unlink()
        limit, _ = apart("bare", folder)
        seconds, peak = apart("scanned", folder)
        second, _ = apart("scanned", folder)
        rates.append(PHOTOS / seconds)
        ratios.append(limit / seconds)
        again.append(PHOTOS / second)
        peaks.append(peak)
    tell("scan of new photos beside SHA-256 and decoding alone", ratios, aim="≥ 0.7")
    tell("scan of new photos", rates, "photos/s", "≥ 300")
    tell("second scan", again, "photos/s", "≥ 10,000")
    tell("scan, peak memory", peaks, "MB", "< 300")


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
    alone = time.perf_counter() - started
    overhead = (whole - alone) / report.described * 1000
    tell("describe, a photo beside the backend alone", [overhead], "ms", "≤ 2")


def main() -> None:
    arms = {"bare": bare, "scanned": scanned}
    if sys.argv[1:] and sys.argv[1] in arms:
        print(arms[sys.argv[1]](Path(sys.argv[2])))
        return
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for name in sys.argv[1:] or ["scan", "describe"]:
        with tempfile.TemporaryDirectory() as folder:
            {"scan": bench_scan, "describe": bench_describe}[name](Path(folder))


if __name__ == "__main__":
    explain(__doc__)
    main()
