"""Preference data: two answers to one conversation, of which the first is the better one, in trl's columns.

One line: {"id": "17", "images": ["images/17.png"], "prompt": [{"role": "user", "content": [{"type": "image"},
{"type": "text", "text": "Describe the picture in detail."}]}], "chosen": [{"role": "assistant", "content": [{"type":
"text", "text": "There is one dog."}]}], "rejected": [{"role": "assistant", "content": [{"type": "text", "text":
"There are two dogs and a cat."}]}]}. Plain text may stand for a list of turns, and for a list of parts; pictures that
no part shows come first. Other columns are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from looksay import images
from looksay.data.reading import (
    Place,
    entries,
    fingerprint,
    kind,
    load_json,
    safe,
    write_image,
)
from looksay.data.reading import write as save
from looksay.errors import InputError
from looksay.types import Conversation, Example, Image, Message, Role

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
COLUMNS = ("prompt", "chosen", "rejected")
Part = str | None
"""Text; None: a picture."""


class Preferences:
    """Entries of one file, each checked when it is drawn. The conversation of an example ends with the chosen answer;
    its truth has the other one as "rejected"."""

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self._path, self._images = path, path.parent if images is None else images
        self._entries = entries(path, load_json(path))
        self.size: int | None = len(self._entries)
        self.fingerprint = fingerprint(path, also=str(self._images))

    def example(self, index: int) -> Example:
        """Entry number `index`, from 0. Raises InputError, naming file, entry and fault."""
        entry = self._entries[index]
        place = Place(self._path, index, len(self._entries), entry)
        answers = [_answer(place, entry, side) for side in ("chosen", "rejected")]
        if answers[0] == answers[1]:
            place.fail(f"'chosen' and 'rejected' are the same: {answers[0][:40]!r}.")
        asked = _asked(place, entry)
        pictures = [place.image(self._images, name) for name in _names(place, entry)]
        turns = [*_shown(place, asked, pictures), Message("assistant", (answers[0],))]
        name = entry.get("id", f"{self._path.stem}-{index}")
        return Example(str(name), Conversation(tuple(turns)), {"rejected": answers[1]})


def read(path: Path, images: Path | None = None) -> Preferences:
    """The pairs of a file, JSON or JSON Lines (.jsonl); `images` is the folder that image names start from (the file's
    own, where none is given)."""
    return Preferences(path, images)


def write(examples: Iterable[Example], path: Path) -> int:
    """Write pairs as JSON Lines, and their pictures, each once (PNG, or JPEG files as they are), into images/ beside
    them; the lines come last, in one step. Returns how many. Raises InputError where there are none."""
    lines = []
    written: dict[str, str] = {}
    for example in examples:
        names = []
        for n, image in enumerate(example.conversation.images):
            key, stem = images.digest(image.source), f"{safe(example.id)}{f'-{n}' if n else ''}"
            if key not in written:
                written[key] = write_image(path.parent / "images", stem, image)
            names.append(written[key])
        *before, last = example.conversation.messages
        entry = {
            "id": example.id,
            "images": [f"images/{name}" for name in names],
            "prompt": [_turn(message) for message in before],
            "chosen": [_turn(last)],
            "rejected": [_turn(Message("assistant", (example.truth["rejected"],)))],
        }
        lines.append(json.dumps(entry, ensure_ascii=False))
    if not lines:
        raise InputError(f"There is nothing to write to {path}: no pairs.")
    save(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
    return len(lines)


def _turn(message: Message) -> dict[str, Any]:
    parts = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
        for part in message.parts
    ]
    return {"role": message.role, "content": parts}


def _answer(place: Place, entry: Any, side: str) -> str:
    found = place.get(entry, side, (str, list), "an answer: text, or a list of one turn")
    if isinstance(found, list):
        if len(found) != 1:
            place.fail(
                f"{side!r} should be one turn of the assistant; found {len(found)}. What both answers follow belongs "
                "into 'prompt'."
            )
        role, parts = _read(place, found[0], side)
        if role != "assistant" or None in parts:
            place.fail(f"{side!r} should be words of the assistant; found {kind(found[0])}.")
        found = "\n".join(part for part in parts if part is not None)
    if not found.strip():
        place.fail(f"{side!r} is empty.")
    return str(found).strip()


def _asked(place: Place, entry: Any) -> list[tuple[Role, list[Part]]]:
    found = place.get(entry, "prompt", (str, list), "a question: text, or a list of turns")
    turns: list[tuple[Role, list[Part]]] = (
        [("user", [found])]
        if isinstance(found, str)
        else [_read(place, turn, "prompt") for turn in found]
    )
    roles = [role for role, _ in turns]
    said = roles[1:] if roles[:1] == ["system"] else roles
    expected = [ROLES[1 + number % 2] for number in range(len(said))]
    if said != expected or said[-1:] != ["user"]:
        place.fail(
            "the turns of 'prompt' should alternate, and the last one be the user's; found "
            f"{', '.join(roles) or 'none'}."
        )
    return turns


def _read(place: Place, turn: Any, where: str) -> tuple[Role, list[Part]]:
    name = place.get(turn, "role", str, "'user' or 'assistant'")
    role = next((known for known in ROLES if known == name), None)
    if role is None:
        place.fail(f"a turn of {where!r} is from {name!r}; expected {', '.join(ROLES)}.")
    content = place.get(turn, "content", (str, list), "text, or a list of parts")
    return role, [content] if isinstance(content, str) else [_part(place, p) for p in content]


def _part(place: Place, part: Any) -> Part:
    what = place.get(part, "type", str, "'text' or 'image'")
    if what not in ("text", "image"):
        place.fail(f"a part is of the type {what!r}; expected 'text' or 'image'.")
    return None if what == "image" else str(place.get(part, "text", str, "text"))


def _names(place: Place, entry: Any) -> list[str]:
    if "images" not in entry and "image" in entry:
        place.fail("there is 'image'; expected 'images', a list of file names.")
    names = entry.get("images") or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        place.fail(f"'images' should be a list of file names; found {kind(entry['images'])}.")
    return names


def _shown(
    place: Place, turns: list[tuple[Role, list[Part]]], pictures: Sequence[Image]
) -> Iterator[Message]:
    """The turns with pictures in place; where no part shows one, all before the user's first words, as trl does."""
    shown = sum(part is None for _, parts in turns for part in parts)
    if pictures and not shown:
        first = next(parts for role, parts in turns if role == "user")
        first[:0] = [None] * len(pictures)
        shown = len(pictures)
    if shown != len(pictures):
        place.fail(
            f"'images' names {len(pictures)} pictures, but the parts of 'prompt' show {shown}."
        )
    remaining = iter(pictures)
    for role, parts in turns:
        found = [next(remaining) if part is None else part.strip() for part in parts]
        if None in parts and role != "user":
            place.fail(f"a turn of the {role} shows a picture; only the user does.")
        if not any(found):
            place.fail(f"a turn of 'prompt' (the {role}'s) is empty.")
        yield Message(role, tuple(part for part in found if part))
