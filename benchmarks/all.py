"""Runs the benchmarks one after the other, and writes what they found into docs/performance.md.

    python benchmarks/all.py [--only growth,search] [--out docs/performance.md]

What `make bench` does: under half an hour on two cores. Each script prints ratios that were measured in one run; the
rows between the marks of the page are replaced by those of the scripts that ran, the others stay. Longer runs of single
scripts are named on the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measured import RESULTS, spoken

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- make bench: -->", "<!-- :make bench -->"
SCRIPTS = {
    "describing": [],
    "lanes": [],
    "spread": [],
    "serving": ["engine", "--geometry", "mini", "--rounds", "3"],
    "library": [],
    "million": ["20000", "200000"],
    "review": [],
    "search": [],
    "training": [],
    "objectives": ["--steps", "2", "--rounds", "3", "--families", "albef"],
    "growth": [],
}
"""By name, what they are given."""


def measured(name: str, given: list[str]) -> list[dict[str, object]]:
    """The rows of one script. Raises SystemExit where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        command = [sys.executable, str(HERE / f"{name}.py"), *given]
        done = subprocess.run(command, env=os.environ | {RESULTS: str(file)}, check=False)
        if done.returncode:
            raise SystemExit(
                f"benchmarks/{name}.py failed (exit {done.returncode}); nothing of it is written."
            )
        lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    if not lines:
        raise SystemExit(f"benchmarks/{name}.py told no figure.")
    return [json.loads(line) for line in lines]


def machine() -> str:
    """What the figures were measured on, in a line."""
    import torch

    kind = next(
        (
            line.partition(":")[2].strip()
            for line in _lines(Path("/proc/cpuinfo"))
            if line.startswith("model name")
        ),
        platform.processor() or platform.machine(),
    )
    return (
        f"{kind}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__.partition('+')[0]}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    )


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8", "replace").splitlines() if file.is_file() else []


def lines_of(name: str, rows: list[dict[str, object]]) -> list[str]:
    """A script's rows as lines of the table."""
    given = " ".join([f"benchmarks/{name}.py", *SCRIPTS[name]])
    return [
        f"| {row['what']} | {spoken(row).strip()} | {row['aim']} | `python {given}` |"
        for row in rows
    ]


def earlier(page: str) -> dict[str, list[str]]:
    """Rows that stand in the page, by script."""
    found: dict[str, list[str]] = {}
    for line in inside(page).splitlines():
        name = line.rpartition("`python benchmarks/")[2].partition(".py")[0]
        if line.startswith("| ") and name in SCRIPTS:
            found.setdefault(name, []).append(line)
    return found


def inside(page: str) -> str:
    if BEGIN not in page or END not in page:
        raise SystemExit(f"The page has no {BEGIN} … {END} to write between.")
    return page.partition(BEGIN)[2].partition(END)[0]


def written(page: str, rows: dict[str, list[dict[str, object]]], on: str) -> str:
    """The page with these rows in place of the same scripts' earlier ones."""
    lines = earlier(page) | {name: lines_of(name, several) for name, several in rows.items()}
    head = [f"Measured on: {on}.", "", "| what | measured | aim | by |", "|---|---|---|---|"]
    body = [line for name in SCRIPTS for line in lines.get(name, [])]
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return before + BEGIN + "\n" + "\n".join([*head, *body]) + "\n" + END + after


def main(args: argparse.Namespace) -> None:
    wanted = args.only.split(",") if args.only else list(SCRIPTS)
    if unknown := [name for name in wanted if name not in SCRIPTS]:
        raise SystemExit(f"No benchmark is called {unknown[0]}. There are: {', '.join(SCRIPTS)}.")
    inside(args.out.read_text("utf-8"))
    for at, name in enumerate(wanted):
        print(f"\n[{at + 1} of {len(wanted)}] {name}", flush=True)
        began = time.monotonic()
        rows = measured(name, SCRIPTS[name])
        print(f"[{name} took {time.monotonic() - began:.0f} s]", flush=True)
        page = args.out.read_text("utf-8")
        args.out.write_text(written(page, {name: rows}, machine()), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", default="", help=f"some of: {', '.join(SCRIPTS)}")
    parser.add_argument("--out", type=Path, default=PAGE)
    main(parser.parse_args())
