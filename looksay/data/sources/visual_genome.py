"""Visual Genome as released: regions, objects and relations with their boxes, and questions.

One entry of each file, by picture: region_descriptions.json {"id": 1, "regions": [{"region_id": 1382, "image_id": 1,
"x": 421, "y": 57, "width": 82, "height": 139, "phrase": "the clock is green in colour"}, …]}; objects.json
{"image_id": 1, "objects": [{"object_id": 1058549, "names": ["trees"], "x": 0, "y": 0, "w": 799, "h": 557, …}, …]};
relationships.json {"image_id": 1, "relationships": [{"relationship_id": 15927, "predicate": "ON", "subject":
{"object_id": 5045, "name": "shade", "x": 119, …}, "object": {…}, …}, …]}; question_answers.json {"id": 1,
"qas": [{"qa_id": 986768, "image_id": 1, "question": "What color is the clock?", "answer": "Green.", …}, …]}. The sizes
of pictures are in image_data.json: [{"image_id": 1, "width": 800, "height": 600, …}, …].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from looksay.data.grounding import TURNS, WAYS, Grounded, Way, talk, told, turn, ways, within
from looksay.data.reading import Place, entries, fingerprint, kind, load_json
from looksay.data.sources.vqa import SUFFIX
from looksay.errors import InputError
from looksay.experts.boxes import Box
from looksay.types import Example

SIZES = "image_data.json"
FOLDERS = ("", "VG_100K/", "VG_100K_2/")
"""Where a picture may lie in the folder of pictures: the release has two of them."""
KEYS = {
    "regions": "region_id",
    "objects": "object_id",
    "relationships": "relationship_id",
    "qas": "qa_id",
}
"""The list that an entry holds, which tells the four files apart, and what numbers the things in it."""
RELATE = (
    "How does the {subject} at {at} relate to the {object} at {to}? "
    "Answer with the two and what is between them."
)
Pair = tuple[str, str]


class _Relation(NamedTuple):
    """Example: _Relation(Grounded("shade", …), "on", Grounded("sidewalk", …))."""

    subject: Grounded
    predicate: str
    object: Grounded

    @property
    def pair(self) -> Pair:
        one, other = self.subject, self.object
        at, to = told(one.box), told(other.box)
        asked = RELATE.format(subject=one.words, at=at, object=other.words, to=to)
        return asked, f"{one.words} {self.predicate} {other.words}"


class VisualGenome:
    """Conversations of one file, each about several things of one picture.

    A region or an object stands once in each of the ways, but one of whose words there are several in the picture is
    never to be found by them. `left_out` counts what is asked about nowhere, because its box has no part in its
    picture: the release has such boxes.
    """

    def __init__(
        self,
        path: Path,
        images: Path | None,
        chosen: Sequence[Way],
        suffix: str,
        turns: int,
    ) -> None:
        self._path, self._images = path, path.parent if images is None else images
        self._ways, self._suffix, self._turns = ways(chosen), suffix, turns
        self._rows = entries(path, load_json(path))
        self._kind = _kind(path, self._rows[0])
        files = [path]
        self._sizes: dict[int, tuple[int, int]] = {}
        if self._kind != "qas":
            files.append(path.with_name(SIZES))
            self._sizes = _sizes(path, files[1])
        self.left_out = 0
        flips = range(len(self._ways) if self._kind in ("regions", "objects") else 1)
        self._examples = [
            (number, start, flip)
            for number in range(len(self._rows))
            for start in range(0, self._count(number), turns)
            for flip in flips
        ]
        if not self._examples:
            raise InputError(f"{path}: its {len(self._rows)} entries hold nothing to ask about.")
        self.size: int | None = len(self._examples)
        also = (str(self._images), self._ways, suffix, turns)
        self.fingerprint = fingerprint(*files, also=also)

    def example(self, index: int) -> Example:
        """Conversation number `index`. `truth`: image_id, ids (of the regions, objects, relations or questions)."""
        number, start, flip = self._examples[index]
        things = self._things(number)
        words = Counter(thing.words for _, thing in things if isinstance(thing, Grounded))
        part = things[start : start + self._turns]
        pairs = [
            self._pair(thing, position + flip, words) for position, (_, thing) in enumerate(part)
        ]
        place = self._place(number)
        image_id = _image_id(place, self._rows[number])
        image = place.image(self._images, *(f"{folder}{image_id}.jpg" for folder in FOLDERS))
        ids = [name for name, _ in part]
        name = f"{image_id}-{KEYS[self._kind].removesuffix('_id')}-{ids[0]}-{flip}"
        form = self._kind != "qas"
        return Example(name, talk(image, pairs, form), {"image_id": image_id, "ids": ids})

    def _pair(self, thing: Grounded | _Relation | Pair, turned: int, words: Counter[str]) -> Pair:
        if isinstance(thing, Grounded):
            way = self._ways[turned % len(self._ways)]
            return turn(thing, "name" if words[thing.words] > 1 else way)
        return thing.pair if isinstance(thing, _Relation) else thing

    def _count(self, number: int) -> int:
        """How many things of an entry can be asked about; what cannot is counted as left out."""
        row = self._rows[number]
        found = len(self._things(number))
        self.left_out += len(row[self._kind]) - found
        return found

    def _things(self, number: int) -> list[tuple[int, Grounded | _Relation | Pair]]:
        """What an entry holds, with its numbers, without what lies outside of the picture."""
        row, place = self._rows[number], self._place(number)
        listed = place.get(row, self._kind, list, "a list")
        if self._kind == "qas":
            return [(name, self._asked(one, row)) for one, name, row in self._each(number, listed)]
        image_id = _image_id(place, row)
        if image_id not in self._sizes:
            place.fail(f"picture {image_id} is not among the {len(self._sizes)} of {SIZES}.")
        size = self._sizes[image_id]
        read = _relation if self._kind == "relationships" else _grounded
        found = ((name, read(one, row, size)) for one, name, row in self._each(number, listed))
        return [(name, thing) for name, thing in found if thing is not None]

    def _each(self, number: int, listed: Sequence[Any]) -> Iterator[tuple[Place, int, Any]]:
        key = KEYS[self._kind]
        for thing in listed:
            place = Place(self._path, number, len(self._rows), thing, key)
            yield place, place.get(thing, key, int, "a number"), thing

    def _asked(self, place: Place, row: Any) -> Pair:
        question, answer = place.words(row, "question"), place.words(row, "answer")
        return f"{question}\n{self._suffix}" if self._suffix else question, answer

    def _place(self, number: int) -> Place:
        row = self._rows[number]
        key = "image_id" if isinstance(row, dict) and "image_id" in row else "id"
        return Place(self._path, number, len(self._rows), row, key)


def read(
    path: Path,
    images: Path | None = None,
    chosen: Sequence[Way] = WAYS,
    suffix: str = SUFFIX,
    turns: int = TURNS,
) -> VisualGenome:
    """The regions, objects, relations or questions of a file of the release, which its first entry tells apart.

    `images` is the folder of the pictures or of VG_100K and VG_100K_2 (the file's own, where none is given). `chosen`
    says which ways words and boxes are asked for, `suffix` follows each question of people on a line of its own, and
    `turns` is how many questions a conversation has at most. All but questions need image_data.json beside the file.
    Raises InputError, that names file and entry.
    """
    return VisualGenome(path, images, chosen, suffix, turns)


def _kind(path: Path, first: Any) -> str:
    found = [key for key in KEYS if isinstance(first, dict) and key in first]
    if len(found) == 1:
        return found[0]
    has = ", ".join(first) if isinstance(first, dict) else kind(first)
    raise InputError(
        f"{path}: expected entries with one of {', '.join(KEYS)}; the first one has {has or 'nothing'}."
    )


def _image_id(place: Place, row: Any) -> int:
    key = "image_id" if isinstance(row, dict) and "image_id" in row else "id"
    found: int = place.get(row, key, int, "the picture's number")
    return found


def _sizes(path: Path, sizes: Path) -> dict[int, tuple[int, int]]:
    """Picture's number → width and height in px."""
    if not sizes.is_file():
        raise InputError(
            f"{path} holds boxes in pixels; the sizes of the pictures were looked for in {sizes}, which is not there. "
            "It is to be had where the file itself is."
        )
    rows = entries(sizes, load_json(sizes))
    found = {}
    for number, row in enumerate(rows):
        place = Place(sizes, number, len(rows), row, "image_id")
        wide, high = (place.get(row, key, int, "pixels") for key in ("width", "height"))
        found[_image_id(place, row)] = wide, high
    return found


def _grounded(place: Place, row: Any, size_px: tuple[int, int]) -> Grounded | None:
    """A region or an object; None where no part of its box lies in the picture."""
    words = place.words(row, "phrase") if "phrase" in row else _name(place, row)
    box = _box(place, row, size_px)
    return Grounded(words, box) if box else None


def _relation(place: Place, row: Any, size_px: tuple[int, int]) -> _Relation | None:
    ends = [place.get(row, key, dict, "an object with a box") for key in ("subject", "object")]
    predicate = place.words(row, "predicate").lower()
    one, other = (_grounded(place, end, size_px) for end in ends)
    return _Relation(one, predicate, other) if one and other else None


def _name(place: Place, row: Any) -> str:
    """Of an object: the first of "names", or "name" where it has one alone."""
    if "names" not in row:
        return place.words(row, "name")
    names = place.get(row, "names", list, "a list of texts")
    if not names or not isinstance(names[0], str) or not names[0].strip():
        place.fail(f"'names' should be a list of texts, at least one; found {names}.")
    return str(names[0]).strip()


def _box(place: Place, row: Any, size_px: tuple[int, int]) -> Box | None:
    keys = ("x", "y", "w", "h") if "w" in row else ("x", "y", "width", "height")
    return within(place, [place.get(row, key, (int, float), "pixels") for key in keys], size_px)
