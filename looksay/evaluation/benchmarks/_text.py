"""Plain text files, line by line."""

from __future__ import annotations

from pathlib import Path

from looksay.errors import InputError, plainly


def lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file that hold anything. Raises InputError that names it."""
    try:
        return [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
