"""What a run says of itself: a line of JSON now and then, words on the screen, and a picture of the curve.

One record: {"stage": "align", "step": 40, "of": 200, "losses": {"lm": 3.1}, "lr": {"connector": 0.002},
"norm": 0.8, "tokens_per_s": 5210.0, "examples": 812, "seconds": 31.2}.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from looksay.training.curve import draw

_TOLD_S = 30.0
"""How often a line is printed where nothing can be redrawn."""


class Log:
    """Writes `log.jsonl` and `curve.svg` in `out`; a context manager. With `offset`, what an earlier
    run wrote beyond it is cut off: those steps come again."""

    def __init__(self, out: Path, *, quiet: bool, offset: int = 0, write: bool = True) -> None:
        self._path, self._quiet, self._write = out / "log.jsonl", quiet, write
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        plain = bool(os.environ.get("LOOKSAY_PLAIN")) or not self._console.is_terminal
        self._redraws = not plain and not quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._redraws,
        )
        self._job: Any = None
        self._told = 0.0
        if write:
            with self._path.open("ab") as file:
                file.truncate(min(offset, self._path.stat().st_size))

    def __enter__(self) -> Log:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def offset(self) -> int:
        return self._path.stat().st_size if self._write else 0

    def say(self, words: str) -> None:
        if not self._quiet:
            self._console.print(escape(words))

    def stage(self, name: str, steps: int, done: int, trains: Mapping[str, int]) -> None:
        """A stage begins, or goes on after a break: what trains, and how many parameters."""
        learning = ", ".join(f"{p} ({n:,})" for p, n in trains.items() if p != "frozen")
        again = f", from step {done}" if done else ""
        self.say(
            f"Stage {name}: {steps} steps{again}; trains {learning}; frozen {trains['frozen']:,}"
        )
        if not done:
            self._line({"stage": name, "event": "start", "steps": steps, "trains": dict(trains)})
        if self._job is not None:
            self._bar.remove_task(self._job)
        self._job = self._bar.add_task(escape(name), total=steps, completed=done, now="")
        self._told = time.monotonic()

    def step(self, record: Mapping[str, Any], left_s: float) -> None:
        """The mean of the steps since the last record."""
        self._line(record)
        losses = "  ".join(f"{key} {value:.4g}" for key, value in record["losses"].items())
        now = f"{losses}  {record['tokens_per_s']:,.0f} tokens/s"
        self._bar.update(self._job, completed=record["step"], now=now)
        last = record["step"] == record["of"]
        if not self._redraws and (last or time.monotonic() - self._told > _TOLD_S):
            self._told = time.monotonic()
            self.say(
                f"{record['stage']} {record['step']}/{record['of']}  {now}  {left_s / 60:.1f} min left"
            )

    def draw(self) -> None:
        """Draw the curve of all stages so far."""
        if self._write:
            lines = self._path.read_text("utf-8", errors="replace").splitlines()
            drawing = draw([r for r in map(_record, lines) if "losses" in r])
            self._path.with_name("curve.svg").write_text(drawing, "utf-8")

    def _line(self, record: Mapping[str, Any]) -> None:
        if self._write:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def _record(line: str) -> dict[str, Any]:
    """A line of the log; nothing where a power cut left half of one."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
