"""Writing files so that at every instant either the old bytes or the new ones are there, whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from looksay.errors import InputError, PageError, plainly


@dataclass(frozen=True, slots=True)
class Patch:
    """What turns one version of a file into the other, and back: `before` at `offset` was replaced by
    `after_length` bytes."""

    offset: int
    before: bytes
    after_length: int

    @classmethod
    def between(cls, old: bytes, new: bytes) -> Patch:
        longest = min(len(old), len(new))
        start = _agreeing(longest, lambda n: old[:n] == new[:n])
        end = _agreeing(longest - start, lambda n: old[len(old) - n :] == new[len(new) - n :])
        return cls(start, old[start : len(old) - end], len(new) - start - end)

    def revert(self, new: bytes) -> bytes:
        """The old version, from the new one."""
        return new[: self.offset] + self.before + new[self.offset + self.after_length :]


def _agreeing(longest: int, agree: Callable[[int], bool]) -> int:
    """The largest n up to `longest` for which `agree(n)`; it agrees for all smaller ones."""
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if agree(middle):
            low = middle
        else:
            high = middle - 1
    return low


def temporary(path: Path) -> Path:
    """The name of a file being written; the same for each try, so that a killed one leaves one at most."""
    name = path.name
    if len(os.fsencode(name)) > 200:  # file systems allow 255 bytes
        name = sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(f".{name}.looksay-tmp")


def write(path: Path, data: bytes) -> None:
    """Replace a file's bytes in one step, keeping its permissions; on a fault the old file stays."""
    with writing(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """As `write`, for bytes that come piece by piece: they stand beside the file until the last has come."""
    path = path.resolve()  # a link stays a link
    partial = temporary(path)
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, partial)
            if not os.access(path, os.W_OK):
                raise PermissionError(13, "the file is read-only", str(path))
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        reason = plainly(error)
        raise PageError(f"cannot be written ({reason}); it is as it was") from error
    _sync_folder(path.parent)


def save(path: Path, data: bytes) -> None:
    """Replace a file in one step, making its folder where there is none. Raises InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, data)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {plainly(error)}.") from error
    except PageError as error:
        raise InputError(f"{path} {error}") from error


def lock(path: Path, wait_s: float = 0.0) -> sqlite3.Connection:
    """What keeps other processes from a file until it is closed: a lock of SQLite's beside it, which the system
    lifts however a process ends. Raises BlockingIOError where another holds it for so long, OSError where there
    can be none."""
    held = None
    try:
        held = sqlite3.connect(path.with_suffix(".lock"), timeout=wait_s, isolation_level=None)
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if held is not None:
            held.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise BlockingIOError(f"{path} is being written by another run") from error
        raise OSError(str(error)) from error
    return held


def _sync_folder(folder: Path) -> None:
    """Make the new name outlast a power cut, where the system has a way to (Windows has none)."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def digest(path: Path) -> bytes | None:
    """SHA-256 of a file, or None where there is none."""
    try:
        return sha256(path.read_bytes()).digest()
    except OSError:
        return None
