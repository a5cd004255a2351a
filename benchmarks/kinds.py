"""How often `looksay.experts.kind` names the right kind of picture, the wrong one, or none.

    python benchmarks/kinds.py DATA [EVERY]

DATA holds `coco/images`, `site/assets` and `textbook/images`. `labels.csv` says what each picture of the
last two is, judged by eye; COCO is photographs. (The textbooks' own `kind` field has no word for art,
and calls eleven photographs charts or diagrams.) EVERY 5 takes every fifth picture. The rules were set
while looking at these pictures, so expect a little less on others.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from pathlib import Path

import rates
from measured import explain

from looksay.backends.base import LoadOptions
from looksay.backends.facts import load
from looksay.types import Image

RIGHT = {
    "photo": {"photo"},
    "screenshot": {"screenshot"},
    "chart": {"chart"},
    "logo": {"logo"},
    # A screenshot that is nearly all text is an image of text too.
    "text page": {"text page", "screenshot"},
    "graphic": {"screenshot", "chart", "logo", "text page", "diagram", "map", "drawing", "other"},
}


def main(data: Path, every: int = 1) -> None:
    with (Path(__file__).parent / "labels.csv").open(encoding="utf-8") as file:
        truth = {data / row["image"]: row["kind"] for row in csv.DictReader(file)}
    truth |= dict.fromkeys(sorted((data / "coco/images").glob("*.jpg")), "photo")
    facts = load("", LoadOptions(concurrency=1))
    said: Counter[tuple[str, str]] = Counter()
    seconds, wrong = [], []
    for path, kind in list(truth.items())[::every]:
        started = time.perf_counter()
        name = str(facts.measure(Image(path))["kind"]["name"])
        seconds.append(time.perf_counter() - started)
        said[kind, name] += 1
        if name and kind not in RIGHT[name]:
            wrong.append((name, kind, path))
    names = [*RIGHT, ""]
    print(f"{'what it is':>12} " + "".join(f"{name or '(none)':>12}" for name in names))
    for kind in sorted({kind for kind, _ in said}):
        print(f"{kind:>12} " + "".join(f"{said[kind, name] or '.':>12}" for name in names))
    print("right, where a kind was named")
    for name, kinds in RIGHT.items():
        n = sum(count for (_, other), count in said.items() if other == name)
        print(f"{name:>12}  {rates.words(sum(said[kind, name] for kind in kinds), n)}")
    for name, kind, path in sorted(wrong):
        print(f"  called {name}, is {kind}: {path.relative_to(data).as_posix()}")
    seconds.sort()
    print(
        f"{len(seconds)} pictures; seconds: median {seconds[len(seconds) // 2]:.2f}, longest {seconds[-1]:.2f}"
    )


if __name__ == "__main__":
    explain(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
