"""Benchmark of a large library: what each command takes with 100,000 photos in the catalogue and with 1,000,000.

The catalogue is generated: rows of photos, digests, near-duplicates, pages, texts and decisions, written through the
project's own schema, over a tree of files that are really there (links to a few tiny ones, for what is measured are the
walk and the catalogue; `library.py` scans real photos). Every command runs as a process of its own, with its own peak
memory. Growth is the time per photo at the largest size over that at the one before; memory the peak of one over that of
the other. Usage: python benchmarks/million.py [--all] [PHOTOS …] (default: 100000 1000000; with --all also what differs
little from the rest)
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random

import httpx
from measured import explain, tell

FOLDER, LINKS = 1000, 30_000
"""Photos in a folder; names that one file has (ext4 allows 65,000)."""
MTIME_NS = 1_700_000_000_000_000_000
NEXT = 50
"""Times that the next photo is asked for."""
LATE = 1000
"""Photos that the catalogue does not know yet."""
COUNTS = ("two", "five", "nine")
AT = "2026-01-01T00:00:00+00:00"
Cost = tuple[float, float, float]
"""Seconds, seconds of a processor, and peak memory in MB."""


# --- the library ----------------------------------------------------------------------------------


def named(number: int) -> str:
    return f"{number // FOLDER:04d}/{number:07d}.jpg"


def grow(folder: Path, photos: int) -> None:
    """The files: photos as links to a few tiny ones, the last as files of their own, and in each folder a page that
    shows ten of them."""
    from PIL import Image

    rng, source = Random(3), folder / ".source"
    source.mkdir()
    for number in range(photos):
        path = folder / named(number)
        if number % FOLDER == 0:
            path.parent.mkdir()
            shown = range(number, min(number + 10, photos))
            page = "\n\n".join(f"![]({named(n).partition('/')[2]})" for n in shown)
            (path.parent / "page.md").write_text(page)
        if number >= photos - LATE:
            Image.frombytes("RGB", (16, 16), rng.randbytes(768)).save(path)
            continue
        own = source / f"{number // LINKS}.jpg"
        if number % LINKS == 0:
            Image.new("RGB", (16, 16), "teal").save(own)
            os.utime(own, ns=(MTIME_NS, MTIME_NS))
        os.link(own, path)


def fill(folder: Path, photos: int) -> None:
    """The catalogue of all but the last: of ten photos one is like the one before, of five one is decided on, and each
    has a text."""
    from looksay.api import Library
    from looksay.backends.echo import Echo
    from looksay.library.records import Target

    rng, size = Random(5), (folder / named(0)).stat().st_size
    with Library(folder) as library:
        catalog, describer = library.catalog, library.describer(Echo())
        key = describer.key(Target(1, named(0)), "en")
        db, numbers = catalog.db, range(1, photos - LATE + 1)
        with catalog.transaction():
            db.executemany(
                "INSERT INTO photo VALUES (?, 'JPEG', 640, 480, ?, ?)",
                (
                    (n, rng.getrandbits(64) - 2**63, (n - 1) // 10 * 10 + 9 if n % 10 in (9, 0) else None)
                    for n in numbers
                ),
            )  # fmt: skip
            db.executemany(
                "INSERT INTO place (path, photo_id, sha256, size_bytes, mtime_ns) VALUES (?, ?, ?, ?, ?)",
                ((named(n - 1), n, _digest(n), size, MTIME_NS) for n in numbers),
            )
            db.executemany(
                "INSERT INTO digest VALUES (?, ?)", sorted((_digest(n), n) for n in numbers)
            )
            db.execute(
                "INSERT INTO band SELECT b.number, (dhash >> 16 * b.number) & 65535, id FROM photo, "
                "(SELECT 0 AS number UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) b ORDER BY 1, 2, 3"
            )
            db.executemany(
                "INSERT INTO generation (photo_id, model_id, prompt_hash, settings_hash, language, context_hash, attempt, "
                "raw, alt, extended, decorative, notes, cost_usd, milliseconds, at) VALUES "
                f"(?, ?, ?, ?, 'en', '', 0, '', ?, '', 0, '[]', 0, 900, '{AT}')",
                (
                    (n, key.model_id, key.prompt_hash, key.settings_hash, f"Photo {n} shows {rng.choice(COUNTS)} boats.")
                    for n in numbers
                ),
            )  # fmt: skip
            db.executemany(
                "INSERT INTO decision (photo_id, page, path, occurrence, language, state, text, extended, generation_id, "
                f"who, at, seconds) VALUES (?, '', '', 0, 'en', 'reviewed', ?, '', ?, 'bench', '{AT}', 2)",
                ((n, f"Photo {n} shows boats.", n) for n in numbers if n % 5 == 1),
            )
        last = (photos - LATE) // FOLDER
        library.scan(p for p in sorted(folder.glob("*/page.md")) if int(p.parent.name) < last)
        with catalog.transaction():
            db.execute(
                "INSERT INTO generation (photo_id, model_id, prompt_hash, settings_hash, language, context_hash, attempt, "
                "raw, alt, extended, decorative, notes, cost_usd, milliseconds, at) SELECT DISTINCT l.photo_id, ?, ?, ?, "
                f"'en', m.context_hash, 0, '', 'Boats on a page.', '', 0, '[]', 0, 900, '{AT}' FROM placement m JOIN place l "
                "ON l.path = m.path",
                (key.model_id, key.prompt_hash, key.settings_hash),
            )


def _digest(number: int) -> bytes:
    return sha256(number.to_bytes(8)).digest()


# --- what is measured -----------------------------------------------------------------------------


def ran(*command: str) -> Cost:
    """A command of looksay, to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "looksay", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.read().decode()
    busy, peak = _ended(process)
    if process.returncode != 0:
        raise SystemExit(f"looksay {' '.join(command)} ended with {process.returncode}:\n{said}")
    return time.perf_counter() - started, busy, peak


def _ended(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """(seconds of a processor, peak memory in MB)."""
    _, state, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(state)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def killed_scan(folder: Path, photos: int) -> Cost:
    """A scan that goes on after one that was killed while it read the photos that are new."""
    late = named(photos - LATE)
    process = subprocess.Popen(
        [sys.executable, "-m", "looksay", "scan", str(folder)], stdout=subprocess.DEVNULL
    )
    with closing(sqlite3.connect(folder / "looksay.db")) as db:
        while process.poll() is None:
            if db.execute(
                "SELECT EXISTS (SELECT 1 FROM place WHERE path >= ?)", (late,)
            ).fetchone()[0]:
                process.kill()
                break
            time.sleep(0.01)
    process.wait()
    return ran("scan", str(folder))


def reviewed(folder: Path, operations: dict[str, Cost], name: str) -> None:
    """The review page, from the command to the first text, and then from text to text."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "looksay", "review", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        line = next(one for one in process.stderr if b"http://" in one).decode()
        address = "http://" + line.partition("http://")[2].partition("/")[0]
        with httpx.Client(base_url=address, timeout=60) as client:
            client.get("/").raise_for_status()
            item = (
                client.get("/api/next", params={"reader": "b"})
                .raise_for_status()
                .json()["items"][0]
            )
            client.get("/api/progress").raise_for_status()
            opened, began = time.perf_counter() - started, time.perf_counter()
            for n in range(NEXT):
                body = {k: item[k] for k in ("page", "path", "occurrence", "saw")}
                body |= {
                    "token": f"million-{os.getpid()}-{n:04d}",
                    "verb": "accept",
                    "who": "bench",
                }
                body |= {"generation": item["words"]["generation"], "seconds": 1.0}
                client.post("/api/decide", json=body).raise_for_status()
                item = (
                    client.get("/api/next", params={"reader": "b"})
                    .raise_for_status()
                    .json()["items"][0]
                )
                client.get("/api/progress").raise_for_status()
            following = (time.perf_counter() - began) / NEXT
    finally:
        process.kill()
        busy, peak = _ended(process)
    operations[name] = opened, busy, peak
    operations["decide, next photo, progress"] = following, busy / NEXT, peak


def measure(folder: Path, photos: int, everything: bool = True) -> dict[str, Cost]:
    """Every operation on a library of so many photos, or those that differ."""
    here, out = str(folder), folder / ".out"
    found: dict[str, Cost] = {}
    found[f"scan with {LATE:,} new photos, after kill -9"] = killed_scan(folder, photos)
    found["scan, nothing changed"] = ran("scan", here)
    found["status"] = ran("status", here)
    found[f"estimate, all described but {LATE:,}"] = ran("estimate", here, "--model", "echo")
    if everything:
        found["estimate, nothing described"] = ran(
            "estimate", here, "--model", "echo", "--language", "ko"
        )
    found["describe, the first that is left"] = ran(
        "describe", here, "--model", "echo", "--limit", "1"
    )
    for form in ("csv", "jsonl") if everything else ("csv",):
        found[f"export to {form}"] = ran("export", f"{out}.{form}", here)
        (folder / f".out.{form}").unlink()
    reviewed(folder, found, "review, the queue made the first time")
    following = found.pop("decide, next photo, progress")
    reviewed(folder, found, "review, the queue kept ready")
    found["decide, next photo, progress"] = following
    for name, (seconds, busy, peak) in found.items():
        print(
            f"  {photos:>9,}  {name}: {seconds:.3g} s ({busy:.3g} s of a processor), {peak:.0f} MB",
            flush=True,
        )
    return found


def main() -> None:
    if sys.argv[1:2] == ["make"]:
        folder, photos = Path(sys.argv[2]), int(sys.argv[3])
        grow(folder, photos)
        fill(folder, photos)
        return
    sizes = [int(one) for one in sys.argv[1:] if one != "--all"] or [100_000, 1_000_000]
    found = {}
    for photos in sizes:
        with tempfile.TemporaryDirectory() as name:
            started = time.perf_counter()
            # In a process of its own: a child's peak counts what its parent held when it began.
            subprocess.run([sys.executable, __file__, "make", name, str(photos)], check=True)
            print(f"{photos:,} photos, made in {time.perf_counter() - started:.0f} s", flush=True)
            found[photos] = measure(Path(name), photos, "--all" in sys.argv)
    large, small = max(sizes), sorted(sizes)[-2] if len(sizes) > 1 else max(sizes)
    for what, (seconds, _, peak) in found[large].items():
        tell(f"{large:,} photos: {what}", [seconds], "s")
        if small != large:
            before = found[small][what]
            tell(f"{what}: memory beside {small:,}", [peak / before[2]], aim="≤ 1.1")
            alone = what.startswith("decide")  # on one photo, however many there are
            each = seconds / before[0] * (1 if alone else small / large)
            name = "time" if alone else "time per photo"
            tell(f"{what}: {name} beside {small:,}", [each], aim="≤ 1.5")


if __name__ == "__main__":
    explain(__doc__)
    main()
