"""Pickles of plain things, as some data sets are released: read without running anything that stands in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

from looksay.errors import InputError, plainly


class _Plain(pickle.Unpickler):
    """Reads lists, dictionaries, texts and numbers: a pickle from elsewhere can name any function for its reader to
    call, and here none is found."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants {module}.{name} to be run")


def load(path: Path, what: str) -> Any:
    """The content of a pickle, of any protocol and of Python 2 as well (its texts are bytes). `what` says in an error
    what it should hold: "references". Raises InputError, also for one that holds more than plain containers."""
    try:
        with path.open("rb") as stream:
            return _Plain(stream, encoding="utf-8", errors="replace").load()
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
    except Exception as error:  # a damaged pickle raises anything
        fault = str(error) or "it breaks off"
        raise InputError(
            f"{path} is no pickle of {what}: {fault}. Nothing of it was run."
        ) from error
