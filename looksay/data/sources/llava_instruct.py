"""LLaVA's conversation JSON, as released: images and turns of `human` and `gpt`.

One entry: {"id": "000000033471", "image": "coco/train2017/000000033471.jpg", "conversations": [
{"from": "human", "value": "<image>\\nWhat are the colors of the bus?"}, {"from": "gpt", "value":
"White and red."}]}. Without "image" it is text alone; "image" may be a list, one name per <image>.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from looksay.data.reading import (
    Place,
    entries,
    fingerprint,
    load_json,
    safe,
    save_json,
    write_image,
)
from looksay.errors import InputError
from looksay.types import Conversation, Example, Image, Message, Role

IMAGE = "<image>"
ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant", "system": "system"}
FROM: dict[str, str] = {role: name for name, role in ROLES.items()}


class LlavaInstruct:
    """Entries of one file, each checked when it is drawn."""

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self._path, self._images = path, path.parent if images is None else images
        self._entries = entries(path, load_json(path))
        self.size: int | None = len(self._entries)
        self.fingerprint = fingerprint(path, also=str(self._images))

    def example(self, index: int) -> Example:
        """Entry number `index`, from 0. Raises InputError, naming file, entry and fault."""
        entry = self._entries[index]
        place = Place(self._path, index, len(self._entries), entry)
        return parse(entry, place, self._images, f"{self._path.stem}-{index}")


def read(path: Path, images: Path | None = None) -> LlavaInstruct:
    """The conversations of a file; `images` is the folder that image names start from (the file's own
    folder, where none is given). A `.jsonl` file holds one entry per line."""
    return LlavaInstruct(path, images)


def parse(entry: Any, place: Place, images: Path, fallback_id: str) -> Example:
    """One entry as an example."""
    place.get(entry, "conversations", list, "a list of turns")
    pictures = [place.image(images, name) for name in _names(entry, place)]
    return talk(entry, pictures, place, fallback_id)


def talk(entry: dict[str, Any], pictures: list[Image], place: Place, fallback_id: str) -> Example:
    """The turns of an entry whose images are there already."""
    turns: list[Any] = place.get(entry, "conversations", list, "a list of turns")
    spoken = [(_role(turn, place, n), _text(turn, place, n)) for n, turn in enumerate(turns, 1)]
    while spoken and spoken[0][0] == "assistant":
        spoken.pop(0)  # ShareGPT entries may begin so; LLaVA's train.py leaves them out too
    _check_order([role for role, _ in spoken], place)
    found = sum(text.count(IMAGE) for role, text in spoken if role == "user")
    if any(IMAGE in text for role, text in spoken if role != "user"):
        place.fail(f"{IMAGE} stands in a turn that is not human; only the human shows images.")
    if found != len(pictures):
        hint = f" Write {IMAGE} where the image belongs." if found < len(pictures) else ""
        place.fail(
            f"{len(pictures)} images in 'image', but {found} times {IMAGE} in the turns.{hint}"
        )
    remaining = iter(pictures)
    messages = tuple(Message(role, _parts(text, remaining)) for role, text in spoken)
    name = entry.get("id", fallback_id)
    return Example(str(name), Conversation(messages))


def write(examples: Iterable[Example], path: Path, images: Path | None = None) -> int:
    """Write examples in this format and their images (PNG, or JPEG files as they are) beside them.

    `images` is the folder that the names start from (the file's own, where none is given); the images
    go into `images/` of it. The JSON comes last, in one step. Returns the number of entries.
    """
    base = path.parent if images is None else images
    written: list[dict[str, Any]] = []
    for example in examples:
        names = [
            write_image(base / "images", f"{safe(example.id)}{f'-{n}' if n else ''}", image)
            for n, image in enumerate(example.conversation.images)
        ]
        entry: dict[str, Any] = {"id": example.id}
        if names:
            paths = [f"images/{name}" for name in names]
            entry["image"] = paths[0] if len(paths) == 1 else paths
        entry["conversations"] = turns(example)
        written.append(entry)
    if not written:
        raise InputError(f"There is nothing to write to {path}: no examples.")
    save_json(path, written)
    return len(written)


def turns(example: Example) -> list[dict[str, str]]:
    """The turns of an example as this format writes them."""
    return [
        {
            "from": FROM[message.role],
            "value": "\n".join(IMAGE if isinstance(p, Image) else p for p in message.parts),
        }
        for message in example.conversation.messages
    ]


def _names(entry: dict[str, Any], place: Place) -> list[str]:
    found = entry.get("image")
    if found is None:
        return []
    names = found if isinstance(found, list) else [found]
    if not all(isinstance(name, str) and name for name in names):
        place.fail(f"'image' should be a file name or a list of them; found {found!r}.")
    return names


def _role(turn: Any, place: Place, number: int) -> Role:
    name = place.get(turn, "from", str, "'human' or 'gpt'")
    if name not in ROLES:
        place.fail(f"turn {number} is from {name!r}; expected {', '.join(map(repr, ROLES))}.")
    return ROLES[name]


def _text(turn: Any, place: Place, number: int) -> str:
    text: str = place.get(turn, "value", str, "text")
    if not text.strip():
        place.fail(f"turn {number} (from {turn['from']!r}) has an empty 'value'.")
    return text.strip()


def _check_order(roles: list[Role], place: Place) -> None:
    said = roles[1:] if roles[:1] == ["system"] else roles
    for number, role in enumerate(said):
        expected = "assistant" if number % 2 else "user"
        if role != expected:
            place.fail(
                f"the turns do not alternate: {FROM[role]!r} where {FROM[expected]!r} is expected "
                f"({', '.join(FROM[r] for r in roles)})."
            )
    if "assistant" not in said or said[-1] != "assistant":
        found = ", ".join(FROM[r] for r in roles) or "no turns"
        place.fail(f"there is no answer: the last turn should be from 'gpt'; found {found}.")


def _parts(text: str, pictures: Iterable[Image]) -> tuple[str | Image, ...]:
    found = iter(pictures)
    parts: list[str | Image] = []
    for number, words in enumerate(text.split(IMAGE)):
        if number:
            parts.append(next(found))
        if words.strip():
            parts.append(words.strip())
    return tuple(parts)
