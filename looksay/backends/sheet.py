"""People answer: a question waits as a row of a CSV until somebody has written into its column `answer`.

`sheet:grades.csv` is a judge made of people. A row is key,pictures,question,answer; pictures are copies in the folder
grades-pictures beside it. Nothing there says whose answers are judged: keys and the copies' names are digests, and
rows that wait stand in the order of their keys, in which models are mixed. Columns of one's own stay as they are.
Example record: q1f00c9e2a7b35d84,grades-pictures/5d3c1a90b7e24f68.jpg,"Does the answer …? yes or no.",yes
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from looksay import images
from looksay.backends.base import WAITING, LoadOptions, Profile, spelled
from looksay.errors import BackendError, InputError, UnreadablePhoto, plainly
from looksay.library import files, tables
from looksay.types import Completion, Conversation, Image, Options

COLUMNS = ("key", "pictures", "question", "answer")
_KEY = re.compile(r"q[0-9a-f]{16}")
"""The letter keeps spreadsheets from taking digits for a number, which they would round."""
_WAIT_S = 60.0
"""For another run that writes rows at this moment."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A row of the sheet."""

    where: str
    key: str
    question: str
    answer: str
    """Empty: it waits."""
    cells: list[str]


class Sheet:
    """The answers that stood in the file when this was made, and the questions that are added to it.

    A person who corrects an answer is another judge: the fingerprint is that of the file's name and of all its
    answers, so that what was kept of the earlier ones is not used again.
    """

    profile = Profile(converses=False, draft=True, image_tokens=0)

    def __init__(self, path: Path, max_side_px: int) -> None:
        self._path, self._max_side_px = path, max_side_px
        self.name = f"sheet:{path}"
        _, rows = self._read()
        self._answered = {row.key: row for row in rows if row.answer}
        said = sorted((row.key, row.answer) for row in self._answered.values())
        self.fingerprint = f"sheet-{_digest([path.name, said])}"

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        """What has an answer comes first; the rest is added to the file in one step once all is drawn, and is an
        error of which `details` say that it waits."""
        waiting: dict[int, tuple[str, Conversation]] = {}
        for index, conversation in enumerate(conversations):
            try:
                key = f"q{_digest(spelled(conversation))}"
            except OSError as error:
                yield _failed(index, str(error))
                continue
            row = self._answered.get(key)
            if row is None:
                waiting[index] = key, conversation
            elif _folded(row.question) != _folded(_words(conversation)):
                yield _failed(
                    index,
                    f"{row.where}: the question there is another than the one of its key. Sort whole rows, never "
                    "some of their columns; put it right, then type the same again.",
                )
            else:
                yield Completion(index, row.answer, details={"where": row.where})
        added: dict[str, list[str]] = {}
        for index, (key, conversation) in list(waiting.items()):
            try:
                shown = [self._copied(image) for image in conversation.images]
            except (UnreadablePhoto, OSError) as error:
                del waiting[index]
                yield _failed(index, f"a picture cannot be shown: {error}")
                continue
            added[key] = [key, "\n".join(dict.fromkeys(shown)), _words(conversation), ""]
        if waiting:
            told = self._add(added)
            for index in waiting:
                yield Completion(
                    index,
                    error=f"not answered yet: {told}",
                    finish_reason="error",
                    details={WAITING: told},
                )

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        (said,) = self.complete([conversation], options)
        if said.error:
            raise BackendError(f"{self.name}: {said.error}")
        yield said.text

    def _add(self, added: Mapping[str, Sequence[str]]) -> str:
        """Add those rows that the file lacks; returns what a person has to do. What stands in the file now
        counts, whoever wrote it since it was read."""
        try:
            held = files.lock(self._path, _WAIT_S)
        except BlockingIOError as error:
            raise BackendError(f"{error}. Wait for it, then type the same again.") from error
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {plainly(error)}.") from error
        with closing(held):
            table, rows = self._read()
            there = {row.key for row in rows}
            waits = [(row.key, row.cells) for row in rows if not row.answer]
            new = [key for key in added if key not in there]
            for key in new:
                values = dict(zip(COLUMNS, added[key], strict=True))
                waits.append((key, [values.get(column, "") for column in table.columns]))
            if new:
                answered = [row.cells for row in rows if row.answer]
                whole = [*answered, *(cells for _, cells in sorted(waits))]
                files.save(self._path, tables.encoded(table.columns, whole, table.delimiter))
        many = len({key for key, _ in waits})
        if not many:
            return f"{self._path} was answered while this ran. Type the same again."
        return (
            f"{many} {'rows wait' if many > 1 else 'row waits'} in {self._path}. Answer in the column 'answer', "
            "save it as CSV (UTF-8), close it, and type the same again."
        )

    def _copied(self, image: Image) -> str:
        """The path from the sheet to a copy of what a model would be shown, without EXIF data."""
        name = f"{self._path.stem}-pictures/{images.digest(image.source)[:16]}.jpg"
        path = self._path.parent / name
        if not path.exists():
            files.save(path, images.encode_jpeg(image.source, max_side_px=self._max_side_px))
        return name

    def _read(self) -> tuple[tables.Table, list[_Asked]]:
        """The file as it is, and its rows. Raises InputError that names the row at fault: what a person wrote
        there must not get lost."""
        if not self._path.exists():
            return tables.Table(list(COLUMNS), [], ","), []
        table = tables.read(self._path)
        if lacking := [name for name in COLUMNS if table.columns.count(name) != 1]:
            raise InputError(
                f"{self._path} should have the column {lacking[0]!r} once. Expected {','.join(COLUMNS)}, and others "
                f"as you like; found {','.join(table.columns) or 'nothing'}. Mend it, or name another sheet."
            )
        rows = [self._row(table, row) for row in table.rows if any(map(str.strip, row.cells))]
        known: dict[str, _Asked] = {}
        for row in rows:
            before = known.get(row.key, row)
            if before.answer and row.answer and before.answer != row.answer:
                raise InputError(
                    f"{row.where} and {before.where} answer one question with {row.answer[:40]!r} and "
                    f"{before.answer[:40]!r}. Leave one of them, then type the same again."
                )
            known[row.key] = row if row.answer else before
        return table, rows

    def _row(self, table: tables.Table, row: tables.Row) -> _Asked:
        where, cells, width = (
            f"{self._path.name}, {row.where}",
            table.named(row),
            len(table.columns),
        )
        if any(map(str.strip, row.cells[width:])):
            raise InputError(
                f"{where} has {len(row.cells)} cells, and there are {width} columns. Text with "
                f"{table.delimiter!r} in it needs quotation marks around; notes need a column with a name."
            )
        key = cells["key"].strip()
        if not _KEY.fullmatch(key):
            raise InputError(
                f"{where} has the key {key[:40]!r}; expected q and 16 digits from 0 to f, as looksay wrote it. Put it "
                "back, or delete the row: its question is then added again."
            )
        whole = [*row.cells, *[""] * width][:width]
        return _Asked(where, key, cells["question"], cells["answer"].strip(), whole)


def _failed(index: int, fault: str) -> Completion:
    return Completion(index, error=fault, finish_reason="error")


def _words(conversation: Conversation) -> str:
    """The conversation as a person reads it, several pictures by their numbers."""
    number, several = count(1), len(conversation.images) > 1
    told = []
    for message in conversation.messages:
        parts = [
            p if isinstance(p, str) else f"[picture {next(number)}]"
            for p in message.parts
            if isinstance(p, str) or several
        ]
        who = "" if message.role == "user" else f"{message.role}: "
        told.append(who + "\n".join(parts))
    return "\n\n".join(told)


def _folded(question: str) -> list[str]:
    """Its words: spreadsheets change white space, and characters that no file can hold."""
    return question.encode("utf-8", "replace").decode().split()


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def load(model: str, options: LoadOptions) -> Sheet:
    """The sheet of that path, which need not be there yet. Raises InputError for one that is no such file."""
    path = Path(model)
    if not model or path.is_dir() or not path.parent.is_dir():
        found = f"the folder {model}" if path.is_dir() and model else f"{model!r}"
        raise InputError(
            f"sheet: needs the path of a CSV file in a folder that is there; found {found}. For example: "
            "sheet:grades.csv"
        )
    return Sheet(path, options.max_side_px)
