"""What a benchmark found, told to people and to `make bench`.

    from measured import tell

    tell("describe beside a plain loop", [2.1, 2.3, 2.2], unit="times", aim="≥ 1.5")

A figure is the median of its rounds. Its interval is the smallest and the largest of them, which hold the true median
of n rounds with probability 1 - 2^(1-n), whatever the distribution: 3 rounds 75 %, 5 rounds 94 %, 6 rounds 97 %.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

RESULTS = "LOOKSAY_BENCH"
"""The environment variable with the file that `make bench` collects rows from."""


def tell(what: str, values: Sequence[float], unit: str = "times", aim: str = "") -> None:
    """Print a figure with its interval, and leave it for the table where that is wanted."""
    if not values:
        raise ValueError(f"{what}: nothing was measured")
    row = {
        "what": what,
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "rounds": len(values),
        "unit": unit,
        "aim": aim,
    }
    print(f"{what}: {spoken(row)}" + (f"  aim {aim}" if aim else ""), flush=True)
    if file := os.environ.get(RESULTS):
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def explain(text: str | None) -> None:
    """For scripts that take plain words: print what they are, and end, where somebody asked for help."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(text)
        raise SystemExit


def spoken(row: dict[str, object]) -> str:
    """A row's figure in words: "2.20 times (2.10 to 2.30, 3 rounds)"."""
    middle, low, high = (_short(float(str(row[name]))) for name in ("median", "low", "high"))
    rounds = row["rounds"]
    many = f" ({low} to {high}, {rounds} rounds)" if rounds != 1 else " (1 round)"
    return f"{middle} {row['unit']}{many}"


def _short(value: float) -> str:
    """Three digits that count, and thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 0.1
        else f"{value:.3g}"
    )
