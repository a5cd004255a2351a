"""Files that can be made again, kept so that nobody ever reads half of one."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path


def caches() -> Path:
    """Where this system keeps what looksay can make again: a folder that may be deleted at any time."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "looksay"


def keep(path: Path, data: bytes) -> None:
    """Write a file in one step, making its folder. Two processes may keep the same: what both write is equal, and one of
    them stays. Raises OSError where it cannot be written."""
    unfinished = path.with_name(f"{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if not path.is_file():  # Windows does not rename onto a file that another process reads
            raise
