"""Benchmark of the review page: a queue of many texts, opened and decided on by a client.

Each figure is the median, with the slowest of those measured, beside the bar that it is held to. The server is a process
of its own, as `looksay review` starts it. Usage: python benchmarks/review.py [TEXTS]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from measured import explain, tell
from PIL import Image

from looksay.api import Library
from looksay.library.catalog import Catalog
from looksay.web.desk import Desk

TEXTS = 100_000
FILES = 200
"""Photos that are really there, spread over the queue; the other texts have none, and nothing asks for them."""
DECISIONS = 100
WORDS = [
    "boat",
    "quay",
    "lamp",
    "red",
    "small",
    "dog",
    "two",
    "three",
    "cat",
    "left",
    "right",
    "woman",
    "reads",
    "sign",
    "stone",
    "bridge",
    "snow",
    "probably",
]


def fill(folder: Path, texts: int) -> None:
    """A catalogue of so many photos with a text each, some assessed by rules as risky."""
    rng = random.Random(8)
    for n in range(FILES):
        picture = Image.frombytes("RGB", (40, 30), rng.randbytes(3600))
        picture.resize((1600, 1200)).save(folder / f"{n:06d}.jpg", quality=85)
    with Library(folder) as library:
        library.scan()
        catalog = library.catalog
        model = catalog.ledger.model_id("bench", "1", False)
        known = list(catalog.rows("SELECT path, photo_id FROM place"))
        rest = range(len(known) + 1, texts + 1)
        with catalog.transaction():
            catalog.db.executemany(
                "INSERT INTO photo (id, format, width_px, height_px) VALUES (?, 'JPEG', 640, 480)",
                ((n,) for n in rest),
            )
            catalog.db.executemany(
                "INSERT INTO place (path, photo_id, size_bytes, mtime_ns) VALUES (?, ?, 1, 1)",
                ((f"{n:07d}.jpg", n) for n in rest),
            )
            catalog.db.executemany(
                "INSERT INTO generation (photo_id, model_id, prompt_hash, settings_hash, language, context_hash, attempt, "
                "raw, alt, extended, decorative, notes, cost_usd, milliseconds, at) VALUES "
                "(?, ?, 'p', 's', 'en', '', 0, '', ?, '', 0, '[]', 0, 900, '2026-01-01T00:00:00+00:00')",
                (
                    (n, model, " ".join(rng.choices(WORDS, k=12)).capitalize() + ".")
                    for n in range(1, texts + 1)
                ),
            )


def said(name: str, seconds: list[float], bar_ms: float) -> None:
    tell(f"review: {name}", [1000 * one for one in seconds], "ms", f"< {bar_ms:.0f}")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def opened(client: httpx.Client) -> dict[str, Any]:
    """What a browser asks for when the page is opened: the page, the first text, how far the review is."""
    client.get("/").raise_for_status()
    first = client.get("/api/next", params={"reader": "bench"}).raise_for_status().json()
    client.get("/api/progress").raise_for_status()
    item: dict[str, Any] = first["items"][0]
    return item


def review(client: httpx.Client) -> None:
    said("open the queue", [timed(lambda: opened(client))[0] for _ in range(20)], 300)
    item, times, thumbs = opened(client), [], []
    for n in range(DECISIONS):
        body = {k: item[k] for k in ("page", "path", "occurrence", "saw")} | {
            "token": f"benchmark-{n:06d}", "verb": "accept", "who": "bench", "generation": item["words"]["generation"],
            "seconds": 1.0,
        }  # fmt: skip
        risk, path, page, occurrence = item["cursor"]
        after = {"risk": risk, "path": path, "page": page, "occurrence": occurrence}

        def step(body: dict[str, Any] = body, after: dict[str, Any] = after) -> dict[str, Any]:
            client.post("/api/decide", json=body).raise_for_status()
            found = (
                client.get("/api/next", params={"reader": "bench", **after})
                .raise_for_status()
                .json()
            )
            following: dict[str, Any] = found["items"][0]
            return following

        seconds, item = timed(step)
        times.append(seconds)
    said("decide, and the next photo", times, 100)
    said(
        "progress (the page does not wait for it)",
        [timed(lambda: client.get("/api/progress"))[0] for _ in range(20)],
        100,
    )
    for n in range(FILES):
        photo = client.get("/api/item", params={"path": f"{n:06d}.jpg", "reader": "bench"}).json()[
            "photo"
        ]
        address = f"/api/thumbnail/{photo}/large"
        first = timed(lambda: client.get(address).raise_for_status())[0]  # noqa: B023
        thumbs.append((first, timed(lambda: client.get(address).raise_for_status())[0]))  # noqa: B023
    said("thumbnail of 1600 × 1200 px, made", [made for made, _ in thumbs], 100)
    said("thumbnail, from the cache", [kept for _, kept in thumbs], 100)


def main() -> None:
    texts = int(sys.argv[1]) if len(sys.argv) > 1 else TEXTS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, texts)
        with Library(folder) as library:
            file, settings = library.catalog.path, library.settings
        with closing(Desk(file, settings)) as desk:
            seconds, _ = timed(lambda: [None for _ in iter(desk.keep_up, 0)])
        print(
            f"the queue of {texts:,} texts, made the first time: {seconds:.1f} s, {1000 * seconds / texts:.2f} ms each"
        )
        command = [
            sys.executable,
            "-m",
            "looksay",
            "review",
            str(folder),
            "--port",
            "0",
            "--cache",
            str(folder / ".cache"),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            line = next(one for one in process.stderr if "http://" in one)
            address = "http://" + line.partition("http://")[2].partition("/")[0]
            try:
                with httpx.Client(base_url=address, timeout=60) as client:
                    while client.get("/api/progress").json()["stale"]:
                        time.sleep(0.1)
                    review(client)
            finally:
                process.kill()
        with closing(Catalog(file)) as catalog:
            kept = catalog.one("SELECT count(*) FROM decision")
        print(f"decisions kept after kill -9: {kept} of {DECISIONS}")


if __name__ == "__main__":
    explain(__doc__)
    main()
