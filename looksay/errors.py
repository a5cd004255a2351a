"""Errors that a user can act on: what was found, what was expected, what to type next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LooksayError(Exception):
    """Base of every error that is the user's to mend; the CLI prints it without a traceback."""


class UnknownName(LooksayError):
    """A name that no plug-in, model or setting has; the message lists the valid ones."""

    def __init__(self, kind: str, name: str, valid: Iterable[str]) -> None:
        names = sorted(valid)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"There is no {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


class MissingDependency(LooksayError):
    """A package of an extra that is not installed; the message says which command installs it."""

    def __init__(self, what: str, extra: str, missing: str) -> None:
        super().__init__(
            f"{what} needs the package {missing!r}, which is not installed. "
            f'In the folder of looksay type: pip install ".[{extra}]"'
        )


class RemoteNotAllowed(LooksayError):
    """Images would leave this machine, and the user has not said so."""


class BackendError(LooksayError):
    """A backend cannot be used at all: not there, no such model, no key."""


class CatalogError(LooksayError):
    """The catalogue cannot be used: newer than this program, held by another process, disk full."""


class UnreadablePhoto(LooksayError):
    """A file that should be a photo and cannot be read as one."""


class PageError(LooksayError):
    """A page, sidecar or template call that cannot be read or cannot take this text."""


class InputError(LooksayError):
    """An argument, setting or input file that does not hold what it should."""


def plainly(error: OSError) -> str:
    """A fault of the file system in plain words, without number and path."""
    if isinstance(error, PermissionError):
        return "permission denied"
    return error.strerror or str(error)
