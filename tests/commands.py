"""The command line as a user types it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def looksay(
    *words: str | Path, typed: str = "", timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `looksay WORDS…`; `typed` is what stands at its input."""
    return subprocess.run(
        [sys.executable, "-m", "looksay", *map(str, words)],
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
    )
