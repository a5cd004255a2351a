"""What the readers of results share: finding files by what they hold, and pairing answers with questions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, kind, load_json
from looksay.errors import InputError, plainly
from looksay.evaluation.benchmark import Answer, Item
from looksay.types import Conversation

_LOOKED_AT = 50
"""Entries by which a file is known: one that is at fault must not hide what the others are."""
_NOBODY_ASKED = Conversation(())


@dataclass(frozen=True, slots=True)
class File:
    """A file of JSON, or of a JSON value per line, and what it holds."""

    path: Path
    content: Any

    @property
    def rows(self) -> list[Any]:
        """Its entries, where it is a list."""
        return self.content if isinstance(self.content, list) else []

    def has(self, *keys: str) -> bool:
        """Whether it is a list in which some of the first entries have these keys."""
        return _have(self.rows, keys)

    def maps(self, *keys: str) -> bool:
        """Whether it is an object in which some of the first values have these keys."""
        return isinstance(self.content, dict) and _have([*self.content.values()], keys)

    def under(self, key: str, *keys: str) -> bool:
        """Whether it is an object with a list under `key`, in which some of the first entries have `keys`."""
        found = self.content.get(key) if isinstance(self.content, dict) else None
        return isinstance(found, list) and _have(found, keys)


def _have(entries: Sequence[Any], keys: Sequence[str]) -> bool:
    first = entries[:_LOOKED_AT]
    return any(isinstance(one, dict) and all(key in one for key in keys) for one in first)


def listed(paths: Sequence[Path], *suffixes: str) -> list[Path]:
    """The files named, and those of these suffixes in the folders named. Raises InputError."""
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.is_file())
        elif path.is_file():
            inside = [path]
        else:
            raise InputError(
                f"There is no file or folder {path}. Expected the results to score, or their folder."
            )
        found |= {one.resolve(): one for one in inside if one.suffix in suffixes or one == path}
    if not found:
        told = ", ".join(map(str, paths))
        raise InputError(f"{told} holds no file ending in {' or '.join(suffixes)}.")
    return list(found.values())


def gathered(paths: Sequence[Path]) -> list[File]:
    """Every file of JSON or JSON lines. Raises InputError with file and line where one is cut short."""
    return [File(path, content(path)) for path in listed(paths, ".json", ".jsonl")]


def content(path: Path) -> Any:
    """What a file holds. POPE's and LLaVA's files have JSON by lines under the name .json as well."""
    return load_json(path, lines=_by_lines(path))


def _by_lines(path: Path) -> bool:
    if path.suffix != ".json":
        return False  # .jsonl is read by lines anyway
    try:
        with path.open(encoding="utf-8-sig") as stream:
            first, second = stream.readline(), stream.readline()
        json.loads(first)
    except (OSError, ValueError):
        return False
    return bool(second.strip())


def lines(path: Path) -> list[str]:
    """The lines of a text file, empty ones left out at the end. Raises InputError."""
    try:
        found = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        told = plainly(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read: {told}.") from error
    while found and not found[-1].strip():
        found.pop()
    return found


def unknown(files: Sequence[File], name: str, lacking: str, expects: Sequence[str]) -> InputError:
    """The error for files among which something is lacking: what there is, and what is expected."""
    there = "\n".join(f"  {file.path}: {described(file.content)}" for file in files)
    wanted = "\n".join(f"  {one}" for one in expects)
    return InputError(f"{lacking} Found:\n{there}\nlooksay score {name} reads:\n{wanted}")


def described(value: Any) -> str:
    """What a file holds, in words."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value)} entries with {', '.join(map(repr, value[0]))}"
    if isinstance(value, list):
        return f"a list of {len(value)} entries"
    if isinstance(value, dict):
        more = ", …" if len(value) > 6 else ""
        return f"an object with {', '.join(map(repr, list(value)[:6]))}{more}"
    return kind(value)


def placed(file: File, rows: Sequence[Any], key: str) -> Iterator[tuple[Place, Any]]:
    """Every entry with its place, for errors."""
    for number, row in enumerate(rows):
        yield Place(file.path, number, len(rows), row, key), row


def name_of(place: Place, row: Any, key: str) -> str:
    """An entry's id as text: files differ in whether it is a number."""
    return str(place.get(row, key, (int, str), "a number or text"))


Entry = tuple[Place, Any]


def by_id(file: File, rows: Sequence[Any], key: str) -> dict[str, Entry]:
    """Entries by their id. Raises InputError where one comes twice."""
    found: dict[str, Entry] = {}
    numbers: dict[str, int] = {}
    for number, (place, row) in enumerate(placed(file, rows, key), 1):
        name = name_of(place, row, key)
        if name in found:
            place.fail(
                f"{key} {name} was there before, in entry {numbers[name]}; expected it once."
            )
        found[name], numbers[name] = (place, row), number
    return found


def keyed(file: File, values: Mapping[str, Any]) -> dict[str, Entry]:
    """Entries of an object by id."""
    return {
        name: (Place(file.path, number, len(values), {"id": name}), value)
        for number, (name, value) in enumerate(values.items())
    }


def by_image(file: File) -> dict[str, Entry]:
    """Entries of an object from images to captions. Raises InputError where it is none, or empty."""
    if not isinstance(file.content, dict) or not file.content:
        raise InputError(f"{file.path}: expected an object by image; found {kind(file.content)}.")
    return keyed(file, file.content)


def caption(place: Place, value: Any) -> str:
    """A caption; it may be empty."""
    if not isinstance(value, str):
        place.fail(f"expected a caption; found {kind(value)}.")
    return value


def references(place: Place, value: Any) -> list[str]:
    """Reference captions, at least one, none of them empty."""
    if not isinstance(value, list) or not value:
        place.fail(f"expected a list of reference captions; found {kind(value)}.")
    for text in value:
        if not isinstance(text, str) or not text.strip():
            place.fail(f"a reference caption is empty or no text: {text!r}.")
    return value


def paired(
    answers: Mapping[str, Entry],
    wanted: Collection[str],
    where: Path,
    path: Path,
    partial: bool,
    what: str = "question",
) -> tuple[list[str], tuple[str, ...]]:
    """Ids that are answered, in the order of `wanted` (of the file `where`), and a note on what is left out.

    Raises InputError for an answer to none of `wanted`, and, unless `partial`, for one without an answer.
    """
    for name, (place, _) in answers.items():
        if name not in wanted:
            none = not any(one in wanted for one in answers)
            hint = " No answer's is: are these files of one benchmark?" if none else ""
            place.fail(f"{what} {name} is not in {where}, which has {len(wanted)}.{hint}")
    found = [name for name in wanted if name in answers]
    missing = [name for name in wanted if name not in answers]
    if missing and not partial:
        raise InputError(
            f"{path}: {len(missing)} of {len(wanted)} {what}s in {where} have no answer, the first of them "
            f"{missing[0]}. To score only what is answered: --partial"
        )
    left = (f"{len(found)} of {len(wanted)} {what}s scored; the others have no answer.",)
    return found, left if missing else ()


def answer(
    name: str, text: str, truth: Mapping[str, Any], image: str = "", kind: str = ""
) -> Answer:
    """What was said to a question, as a benchmark's scorer takes it; nobody is asked any more."""
    return Answer(Item(name, _NOBODY_ASKED, truth, image, kind), text)
