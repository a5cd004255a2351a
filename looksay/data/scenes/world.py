"""What a scene is and how one is made up: objects in groups, places, a sign, and the truth about them.

`Scenes(seed, split).scene(index)` is a pure function of its arguments and SCENES_VERSION: the same
numbers give the same scene on every machine. Only `random.Random.random` is drawn from, whose
sequence Python guarantees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from PIL import Image

from looksay.data.scenes import draw
from looksay.data.scenes.atlas import BOARDS, COLOURS, LETTERS, NOUNS, PATTERNS, Noun, Pixels
from looksay.errors import InputError

SCENES_VERSION = 1
"""Changes whenever a scene of some seed would look or be described differently."""
SMALLEST_PX = 16
MAX_OBJECTS, MAX_GROUPS = 5, 3
MAX_OVERLAP = 0.2
"""Share of the smaller of two boxes that the other may cover."""
SIGN_SHARE = 0.2
ON_SHARE = 0.25
"""Share of the scenes with two single objects in which one stands on the other, where it fits."""
HELD_OUT = 10
"""One noun pair, and one sign word, of this many is never in a training scene."""
SPLITS = ("train", "test", "pairs", "words")

Size = Literal["small", "large"]
Side = Literal["left of", "right of", "above", "below", "on"]


class Box(NamedTuple):
    """Left, top, width, height in px, from the top left corner (COCO's order)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def overlap(self, other: Box) -> float:
        """Area in common over the area of the smaller one."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if wide <= 0 or high <= 0:
            return 0.0
        return wide * high / min(self.width * self.height, other.width * other.height)


class Thing(NamedTuple):
    """One object: which noun, how long its longer side is in px, where, and in which group."""

    noun: int
    longer_px: int
    box: Box
    group: int


@dataclass(frozen=True, slots=True)
class Group:
    """Equal objects."""

    noun: Noun
    count: int
    size: Size

    @property
    def name(self) -> str:
        """The noun as it stands after the count: "dog", "dogs"."""
        return self.noun.name if self.count == 1 else self.noun.plural


class Relation(NamedTuple):
    """Every object of group `a` is `side` every object of group `b` (numbers of groups)."""

    a: int
    side: Side
    b: int


class Sign(NamedTuple):
    """A board with a word in capitals."""

    word: str
    colour: str
    box: Box
    pitch_px: int
    """From one letter to the next."""

    def letter_boxes(self) -> list[Box]:
        height = self.box.height - 4
        return [
            Box(self.box.x + 3 + i * self.pitch_px, self.box.y + 2, self.pitch_px, height)
            for i in range(len(self.word))
        ]


@dataclass(frozen=True)
class Scene:
    """A picture and everything that is true of it."""

    id: str
    size_px: int
    colour: str
    pattern: str
    things: tuple[Thing, ...]
    """In reading order, in which they are drawn too: a later one may cover part of an earlier one, and
    the sign a part of any."""
    groups: tuple[Group, ...]
    """In reading order of the first object of each."""
    sign: Sign | None

    def pixels(self) -> Pixels:
        """The picture: uint8 of shape (size_px, size_px, 3), RGB."""
        return draw.pixels(self)

    def masks(self) -> list[draw.Mask]:
        """What is visible of each thing, in the order of `things`: bool of shape (size_px, size_px)."""
        return draw.masks(self)

    def image(self) -> Image.Image:
        """The picture for whatever takes decoded pictures."""
        return Image.fromarray(self.pixels())

    def boxes(self, group: int) -> list[Box]:
        return [thing.box for thing in self.things if thing.group == group]

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """Everything that holds between two groups, both ways round."""
        count = len(self.groups)
        return tuple(
            Relation(a, side, b)
            for a in range(count)
            for b in range(count)
            if a != b
            for side in self._sides(a, b)
        )

    def main_relation(self, a: int, b: int) -> Relation | None:
        """The relation of the widest gap between two groups (`on` before all), or None where nothing
        holds."""
        found = [r for r in self.relations if r.a == a and r.b == b]
        if not found:
            return None
        return max(found, key=lambda r: (r.side == "on", self._gap(r)))

    def _sides(self, a: int, b: int) -> Iterator[Side]:
        ours, theirs = self.boxes(a), self.boxes(b)
        if len(ours) == len(theirs) == 1 and stands_on(ours[0], theirs[0]):
            yield "on"
        for side in ("left of", "right of", "above", "below"):
            if self._gap(Relation(a, side, b)) >= margin_px(self.size_px):
                yield side

    def _gap(self, relation: Relation) -> float:
        """Distance in px along the relation's axis from every centre of `a` to every one of `b`."""
        axis = 0 if relation.side in ("left of", "right of") else 1
        ours = [box.centre[axis] for box in self.boxes(relation.a)]
        theirs = [box.centre[axis] for box in self.boxes(relation.b)]
        if relation.side in ("left of", "above", "on"):
            return min(theirs) - max(ours)
        return min(ours) - max(theirs)


def reading_order(box: Box, size_px: int) -> tuple[int, float]:
    """Sorts boxes as a page is read: in eight bands from the top, each from the left."""
    x, y = box.centre
    return int(y * 8 / size_px), x


def margin_px(size_px: int) -> float:
    """How far apart two centres must be for one to be left of (above …) the other."""
    return size_px / 12


def stands_on(upper: Box, lower: Box) -> bool:
    """Whether one object stands on another: its foot at the other's top, its middle within the other."""
    foot = upper.y + upper.height
    middle = upper.centre[0]
    within = lower.x + lower.width * 0.15 <= middle <= lower.x + lower.width * 0.85
    return within and 0 <= foot - lower.y <= max(3, 0.15 * lower.height)


@cache
def sign_words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words of signs: those of training, and those held out. Capitals, 3 to 6 letters."""
    words = Path(__file__).with_name("words.txt").read_text("utf-8").upper().split()
    words = sorted(set(words))
    random = Random("looksay sign words")
    held = {word for word in words if random.random() < 1 / HELD_OUT}
    return tuple(w for w in words if w not in held), tuple(w for w in words if w in held)


@cache
def held_out_pairs() -> frozenset[tuple[int, int]]:
    """Pairs of nouns (numbers, the smaller first) that no training scene shows together."""
    random = Random("looksay noun pairs")
    count = len(NOUNS)
    return frozenset(
        (a, b) for a in range(count) for b in range(a + 1, count) if random.random() < 1 / HELD_OUT
    )


def is_held_out(nouns: list[int]) -> bool:
    """Whether any two of these nouns are a held-out pair."""
    pairs = held_out_pairs()
    return any((min(a, b), max(a, b)) in pairs for i, a in enumerate(nouns) for b in nouns[i + 1 :])


class Scenes:
    """Endless scenes by number.

    Splits: `train`; `test` (fresh scenes of the same kind); `pairs` (each shows at least one held-out
    pair of nouns); `words` (each has a sign with a held-out word). `sign_share` and `invented` (share of
    signs whose word is made-up letters, in training only) are for curricula; figures are given at their
    defaults. So is `alike`: so many scenes in a row have one background, which then tells none of them from
    the others.
    """

    size: int | None = None

    def __init__(
        self,
        seed: int = 0,
        split: str = "train",
        size_px: int = 128,
        *,
        sign_share: float = SIGN_SHARE,
        invented: float = 0.0,
        alike: int = 1,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"There is no split {split!r} of scenes. Known: {', '.join(SPLITS)}.")
        if not 96 <= size_px <= 128:
            raise InputError(f"Scenes are 96 to 128 px wide; {size_px} was asked for.")
        if alike < 1:
            raise InputError(
                f"Scenes share a background in runs of 1 or more; found alike={alike}."
            )
        self.seed, self.split, self.size_px = seed, split, size_px
        self._sign_share = 1.0 if split == "words" else sign_share
        self._invented = invented if split == "train" else 0.0
        self._alike = alike

    @property
    def settings(self) -> str:
        """Everything that the scenes depend on besides SCENES_VERSION."""
        runs = f", runs of {self._alike}" if self._alike > 1 else ""
        return (
            f"{self.split}-{self.seed} {self.size_px} px, {self._sign_share} {self._invented}{runs}"
        )

    def scene(self, index: int) -> Scene:
        """Scene number `index`, from 0."""
        name = f"{SCENES_VERSION}-{self.split}-{self.seed}-{index}"
        random = Random(name)
        while True:  # a layout that does not fit is drawn anew
            scene = self._draft(name, random)
            if scene is not None:
                return scene if self._alike == 1 else self._dressed(scene, index // self._alike)

    def _draft(self, name: str, random: Random) -> Scene | None:
        draws = random.random
        total = 1 + int(draws() * MAX_OBJECTS)
        if self.split == "pairs":
            total = max(total, 2)
        counts = _partition(total, random, at_least=2 if self.split == "pairs" else 1)
        nouns = self._nouns(len(counts), random)
        sizes: list[Size] = ["small" if draws() < 0.5 else "large" for _ in counts]
        taken: list[Box] = []
        sign = self._sign(random) if draws() < self._sign_share else None
        if sign:
            taken.append(sign.box)
        things = self._place(list(zip(nouns, counts, sizes, strict=True)), taken, random)
        if things is None:
            return None
        things.sort(key=lambda thing: reading_order(thing.box, self.size_px))
        order = list(dict.fromkeys(thing.group for thing in things))
        rank = {group: place for place, group in enumerate(order)}
        return Scene(
            id=name,
            size_px=self.size_px,
            colour=_pick(tuple(COLOURS), random),
            pattern=_pick(PATTERNS, random),
            things=tuple(thing._replace(group=rank[thing.group]) for thing in things),
            groups=tuple(Group(NOUNS[nouns[g]], counts[g], sizes[g]) for g in order),
            sign=sign,
        )

    def _dressed(self, scene: Scene, run: int) -> Scene:
        """The scene before the background of its run."""
        random = Random(f"{SCENES_VERSION}-{self.split}-{self.seed}-run {self._alike}-{run}")
        return replace(scene, colour=_pick(tuple(COLOURS), random), pattern=_pick(PATTERNS, random))

    def _nouns(self, count: int, random: Random) -> list[int]:
        while True:
            nouns = [int(random.random() * len(NOUNS)) for _ in range(count)]
            if len(set(nouns)) == count and is_held_out(nouns) == (self.split == "pairs"):
                return nouns

    def _sign(self, random: Random) -> Sign:
        known, held = sign_words()
        word = _pick(held if self.split == "words" else known, random)
        if random.random() < self._invented:
            length = 3 + int(random.random() * 4)
            word = "".join(_pick(LETTERS, random) for _ in range(length))
            if word in held:
                word = known[0]
        colour = _pick(tuple(BOARDS), random)
        pitch = round(self.size_px / 12.8) - int(random.random() * 2)
        width, height = len(word) * pitch + 6, pitch + 6 + int(random.random() * 3)
        x, y = self._corner(width, height, random)
        return Sign(word, colour, Box(x, y, width, height), pitch)

    def _corner(self, width: int, height: int, random: Random) -> tuple[int, int]:
        return (
            int(random.random() * (self.size_px - width + 1)),
            int(random.random() * (self.size_px - height + 1)),
        )

    def _place(
        self, groups: list[tuple[int, int, Size]], taken: list[Box], random: Random
    ) -> list[Thing] | None:
        """A place for every object, or None where one finds none in 20 tries."""
        things: list[Thing] = []
        longer_px = [self._longer_px(size, random) for _, _, size in groups]
        singles = [g for g, (_, count, _) in enumerate(groups) if count == 1]
        # One single object may stand on another, which needs room above it.
        standing = len(singles) > 1 and random.random() < ON_SHARE
        lower, upper = singles[:2] if standing else (None, None)
        for number, (noun, count, _) in enumerate(groups):
            width, height = NOUNS[noun].size_at(longer_px[number])
            for _ in range(count):
                for _ in range(20):
                    x, y = self._corner(width, height, random)
                    if number == lower and upper is not None:
                        y = max(y, NOUNS[groups[upper][0]].size_at(longer_px[upper])[1])
                        y = min(y, self.size_px - height)
                    elif number == upper:
                        below = next(t.box for t in things if t.group == lower)
                        x = below.x + int(random.random() * below.width) - width // 2
                        y = below.y - height + 1 + int(random.random() * 2)
                        if not (0 <= x <= self.size_px - width and y >= 0):
                            continue
                    box = Box(x, y, width, height)
                    if all(box.overlap(other) <= MAX_OVERLAP for other in taken):
                        taken.append(box)
                        things.append(Thing(noun, longer_px[number], box, number))
                        break
                else:
                    return None
        return things

    def _longer_px(self, size: Size, random: Random) -> int:
        least, most = (
            (SMALLEST_PX, self.size_px * 3 // 16)
            if size == "small"
            else (self.size_px // 4, self.size_px * 11 // 32)
        )
        return least + int(random.random() * (most - least + 1)) // 2 * 2


def _pick(options: Any, random: Random) -> Any:
    return options[int(random.random() * len(options))]


def _partition(total: int, random: Random, at_least: int) -> list[int]:
    """`total` objects in 1 to 3 groups; every number of groups that is possible is equally likely."""
    most = min(MAX_GROUPS, total)
    groups = at_least + int(random.random() * (most - at_least + 1))
    counts = [1] * groups
    for _ in range(total - groups):
        counts[int(random.random() * groups)] += 1
    return counts
