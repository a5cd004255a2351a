"""Tables of tab-separated values with pictures as base64, as VLMEvalKit and MMBench publish them.

One row: index 241, question "Which …?", A "Cat", B "Dog", C and D empty, answer "B", category
"object_localization", image "/9j/4AAQSkZJRg…".
Source: open-compass/VLMEvalKit, vlmeval/dataset/image_base.py; a row's image may be the index of another
row that has it.
"""

from __future__ import annotations

import base64
import binascii
import csv
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from looksay import images
from looksay.data.reading import Place
from looksay.errors import InputError, UnreadablePhoto, plainly
from looksay.types import Image

_LONGEST_INDEX = 64
"""VLMEvalKit takes an image field of at most so many characters for the index of another row."""
_CELL_BYTES = 2**31 - 1
"""A picture is one cell, and the csv module refuses cells of more than 128 KiB unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its cells by column, empty where there is nothing, its picture, and its place for errors."""

    cells: Mapping[str, str]
    image: Image
    shown: str
    """Index of the first row with the same picture."""
    place: Place

    def number(self, column: str) -> int:
        """A cell that is a whole number."""
        text = self.place.words(self.cells, column)
        if not text.isascii() or not text.isdecimal():
            self.place.fail(f"{column!r} should be a whole number; found {text[:40]!r}.")
        return int(text)

    def options(self) -> dict[str, str]:
        """Letter → text of the columns A, B, …, empty ones left out. Raises InputError for fewer than two."""
        found = {
            name: self.cells[name]
            for name in string.ascii_uppercase
            if self.cells.get(name, "") not in ("", "nan")
        }
        if len(found) < 2:
            self.place.fail(f"expected at least two of the options A, B, …; found {len(found)}.")
        return found


def read(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a table that has at least these columns, besides index and image. Raises InputError."""
    header, lines = table(path)
    wanted = ("index", "image", *columns)
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}; columns: {', '.join(header)}.")
    cells = [dict(zip(header, line, strict=False)) for line in lines]
    places = [Place(path, n, len(cells), row, "index") for n, row in enumerate(cells)]
    for place, line in zip(places, lines, strict=True):
        if len(line) != len(header):
            place.fail(f"expected {len(header)} fields; found {len(line)}: is the file cut short?")
    pictures = _Pictures(cells, places)
    return [Row(row, *pictures.of(number), places[number]) for number, row in enumerate(cells)]


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of columns, and the fields of every row as they stand there. Raises InputError."""
    csv.field_size_limit(_CELL_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, *lines = [line for line in csv.reader(stream, delimiter="\t") if line]
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
    except csv.Error as error:
        raise InputError(f"{path} is no table: {error}.") from error
    except ValueError as error:
        raise InputError(f"{path} is empty; expected a line with the names of columns.") from error
    if not lines:
        raise InputError(f"{path} has columns and no rows.")
    return header, lines


class _Pictures:
    """Pictures of a table's rows; rows of one picture share its bytes."""

    def __init__(self, table: Sequence[Mapping[str, str]], places: Sequence[Place]) -> None:
        self._table, self._places = table, places
        self._numbers: dict[str, int] = {}
        for number, cells in enumerate(table):
            if cells["index"] in self._numbers:
                before = self._numbers[cells["index"]] + 1
                places[number].fail(f"entry {before} has the same index.")
            self._numbers[cells["index"]] = number
        self._read: dict[str, tuple[Image, str]] = {}

    def of(self, number: int) -> tuple[Image, str]:
        """The row's picture, and the index of the row that had it first."""
        cell, place = self._table[number]["image"], self._places[number]
        if not cell:
            place.fail("'image' is empty; expected a picture as base64.")
        if len(cell) <= _LONGEST_INDEX:
            other = self._numbers.get(cell)
            if other is None or len(self._table[other]["image"]) <= _LONGEST_INDEX:
                place.fail(
                    f"'image' is {cell!r}: neither a picture nor the index of a row with one."
                )
            cell, place = self._table[other]["image"], self._places[other]
        if cell not in self._read:
            self._read[cell] = _decoded(cell, place), self._table[number]["index"]
        return self._read[cell]


def _decoded(cell: str, place: Place) -> Image:
    try:
        data = base64.b64decode(cell, validate=True)
        images.open_image(data).close()
    except binascii.Error as error:
        place.fail(f"'image' is not base64: {error}.", error)
    except UnreadablePhoto as error:
        place.fail(f"'image' cannot be read: {error}", error)
    return Image(data)
