"""Training in another process, to be broken off."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def until_logged(out: Path, lines: int, *victims: subprocess.Popen) -> None:
    """Wait until the log has so many lines, while all victims run."""
    deadline = time.monotonic() + 120
    log = out / "log.jsonl"
    while not log.is_file() or len(log.read_text("utf-8").splitlines()) < lines:
        assert all(v.poll() is None for v in victims), "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
