"""RefCOCO, RefCOCO+ and RefCOCOg as REFER has them: phrases for single objects of COCO's photographs, and their boxes.

One reference of refs(unc).p, a pickle of a list (the same list in JSON is read too): {"ref_id": 0, "ann_id":
1719310, "image_id": 581857, "file_name": "COCO_train2014_000000581857_16.jpg", "category_id": 1, "split": "testA",
"sent_ids": [0, 1, 2], "sentences": [{"sent_id": 0, "sent": "lady with blue shirt", "raw": …, "tokens": […]}, …]}.
instances.json beside it is COCO's: images, annotations, categories; its boxes are [x, y, width, height] in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from looksay.data import pickles
from looksay.data.grounding import TURNS, WAYS, Grounded, Way, shares, talk, turn, ways
from looksay.data.reading import Place, entries, fingerprint, load_json
from looksay.errors import InputError, UnknownName
from looksay.experts.boxes import Box
from looksay.types import Example

INSTANCES = "instances.json"
Tables = Mapping[str, Mapping[int, Any]]


class Reference(NamedTuple):
    """One object: where it is, and what people said of it.

    Example: Reference("COCO_train2014_000000581857.jpg", (0.1, 0.1, 0.4, 0.9), "person", ((0, "lady in blue"),)).
    """

    file: str
    box: Box
    category: str
    phrases: tuple[tuple[int, str], ...]
    """(sent_id, words)."""


class RefCoco:
    """Conversations of one split, each about several objects of one picture.

    A phrase stands for its object once in each of the `ways`: an example asks for no object twice, or the second
    answer would stand in the first.
    """

    def __init__(
        self, path: Path, images: Path | None, split: str, chosen: Sequence[Way], turns: int
    ) -> None:
        self._path, self._images = path, path.parent if images is None else images
        self._ways = ways(chosen)
        instances = path.with_name(INSTANCES)
        if not instances.is_file():
            raise InputError(
                f"{path} holds phrases; the boxes were looked for in {instances}, which is not there."
            )
        rows, tables = references(path), instance_tables(instances)
        splits: set[str] = set()
        self._found: list[tuple[Place, Reference]] = []
        of_image: dict[str, list[int]] = {}
        seen: set[int] = set()
        for number, row in enumerate(rows):
            place = Place(path, number, len(rows), row, "ref_id")
            splits.add(place.words(row, "split"))
            if row["split"] != split:
                continue
            one = reference(place, row, tables, seen)
            of_image.setdefault(one.file, []).append(len(self._found))
            self._found.append((place, one))
        if not self._found:
            raise UnknownName("split of these references", split, splits)
        self._examples = [
            (part, told, flip)
            for numbers in of_image.values()
            for part, told in self._parts(numbers, turns)
            for flip in range(len(self._ways))
        ]
        self.size: int | None = len(self._examples)
        also = (str(self._images), split, self._ways, turns)
        self.fingerprint = fingerprint(path, instances, also=also)

    def example(self, index: int) -> Example:
        """Conversation number `index`. `truth`: boxes (left, top, right, bottom; 0 to 1), ways, sent_ids, image."""
        numbers, told, flip = self._examples[index]
        pairs, boxes, asked, names = [], [], [], []
        for position, number in enumerate(numbers):
            _, one = self._found[number]
            name, words = one.phrases[told]
            # Objects are asked for in turn one way and the other; the next example turns them round.
            way = self._ways[(position + flip) % len(self._ways)]
            pairs.append(turn(Grounded(words, one.box), way))
            boxes.append(one.box)
            asked.append(way)
            names.append(name)
        place, one = self._found[numbers[0]]
        image = place.image(self._images, one.file)
        truth = {"boxes": boxes, "ways": asked, "sent_ids": names, "image": one.file}
        stem = one.file.rpartition(".")[0]
        return Example(f"{stem}-{names[0]}-{asked[0]}", talk(image, pairs), truth)

    def _parts(self, numbers: Sequence[int], turns: int) -> Iterator[tuple[Sequence[int], int]]:
        """The objects of a picture with their first phrase, those that have one with their second, and so on: at most
        `turns` together, and which phrase it is."""
        phrases = {number: len(self._found[number][1].phrases) for number in numbers}
        for told in range(max(phrases.values())):
            having = [number for number in numbers if phrases[number] > told]
            for start in range(0, len(having), turns):
                yield having[start : start + turns], told


def read(
    path: Path,
    images: Path | None = None,
    split: str = "train",
    chosen: Sequence[Way] = WAYS,
    turns: int = TURNS,
) -> RefCoco:
    """The references of a split, from refs(unc).p or the same list as JSON, with instances.json beside it.

    `images` is the folder of COCO's train2014 (the file's own, where none is given); `chosen` says which ways
    phrases and boxes are asked for, and `turns` how many questions a conversation has at most. Raises InputError,
    UnknownName for a split that the file has not.
    """
    return RefCoco(path, images, split, chosen, turns)


def references(path: Path) -> list[Any]:
    """The entries of a file of references. Nothing in a pickle is run. Raises InputError."""
    found = load_json(path) if path.suffix == ".json" else pickles.load(path, "references")
    return entries(path, found)


def instance_tables(path: Path) -> Tables:
    """annotations, images and categories of instances.json by their ids. Raises InputError."""
    content = load_json(path)
    return {key: _by_id(path, content, key) for key in ("annotations", "images", "categories")}


def reference(place: Place, row: Any, tables: Tables, seen: set[int]) -> Reference:
    """An entry with what instances.json says of it. Fails at its place; `seen` holds the sentences of others."""
    note, picture, category = (
        _entry(place, row, key, tables[table], table)
        for key, table in (
            ("ann_id", "annotations"),
            ("image_id", "images"),
            ("category_id", "categories"),
        )
    )
    size = tuple(place.get(picture, key, int, "pixels") for key in ("width", "height"))
    box = shares(place, place.get(note, "bbox", list, "[x, y, width, height]"), (size[0], size[1]))
    phrases = []
    for sentence in place.get(row, "sentences", list, "a list"):
        words = place.words(sentence, "sent")
        number = place.get(sentence, "sent_id", int, "a number")
        place.once(number, seen, f"sentence ({number})")
        phrases.append((number, words))
    if not phrases:
        place.fail("'sentences' is empty; expected at least one.")
    file, name = place.words(picture, "file_name"), place.words(category, "name")
    return Reference(file, box, name, tuple(phrases))


def _by_id(path: Path, content: Any, key: str) -> dict[int, Any]:
    rows = entries(path, content, key)
    places = [Place(path, n, len(rows), row) for n, row in enumerate(rows)]
    return {
        place.get(row, "id", int, "a number"): row for place, row in zip(places, rows, strict=True)
    }


def _entry(place: Place, row: Any, key: str, table: Mapping[int, Any], name: str) -> Any:
    number = place.get(row, key, int, "a number")
    if number not in table:
        place.fail(f"{key!r} is {number}, which is not among the {name} of {INSTANCES}.")
    return table[number]
