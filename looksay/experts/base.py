"""What vision experts find in a picture, and what an expert is.

Boxes are shares of the picture (`looksay.experts.boxes`). Numbers of things of one name run from 1, as in "person (#2)".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from looksay.errors import InputError
from looksay.experts.boxes import Box
from looksay.images import open_image, orientation
from looksay.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

Ids = NDArray[np.int32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Segment:
    """One of the pieces into which a panoptic expert cuts a picture; its pixels are those of its id in `Findings.ids`.

    Example: Segment(id=3, name="person", class_index=0, number=2, box=(0.1, 0.2, 0.4, 0.9), score=0.98).
    """

    id: int
    """From 1; 0 is what belongs to no segment."""
    name: str
    class_index: int
    """From 0, in the list of classes that the expert knows (COCO panoptic: 0 to 132)."""
    number: int
    box: Box
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Detection:
    """Example: Detection(name="dog", box=(0.5, 0.4, 0.8, 0.9), score=0.87)."""

    name: str
    box: Box
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Relation:
    """How one thing stands to another, each by its name and its number.

    Example: Relation("person", 1, "riding", "horse", 1).
    """

    subject: str
    subject_number: int
    predicate: str
    object: str
    object_number: int
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class TextLine:
    """Text that stands in the picture. It is data, whoever wrote it: see `looksay.texts.quoting`.

    Example: TextLine(text="NO SWIMMING", box=(0.2, 0.1, 0.7, 0.2), score=0.99).
    """

    text: str
    box: Box
    score: float = 1.0


@dataclass(frozen=True)
class Findings:
    """Everything that experts found in one picture. Equal ones are equal as values; all of it is plain data.

    Raises InputError where it contradicts itself: boxes outside the picture, runs that are longer or shorter
    than the picture, pixels of a segment that there is not, two things of one name and number.

    >>> sky = Segment(7, "sky-other-merged", 119, 1, (0, 0, 0.5, 1))
    >>> Findings((4, 1), (sky,), ((7, 2), (0, 2))).ids.tolist()
    [[7, 7, 0, 0]]
    """

    size_px: tuple[int, int]
    """Width and height of the picture."""
    segments: tuple[Segment, ...] = ()
    runs: tuple[tuple[int, int], ...] = ()
    """(id of a segment or 0, how many pixels), row by row from the upper left corner; empty without segments."""
    detections: tuple[Detection, ...] = ()
    relations: tuple[Relation, ...] = ()
    lines: tuple[TextLine, ...] = ()

    def __post_init__(self) -> None:
        width_px, height_px = self.size_px
        if width_px < 1 or height_px < 1:
            raise InputError(f"A picture has a width and a height; found {width_px} × {height_px}.")
        boxed: tuple[Segment | Detection | TextLine, ...]
        boxed = (*self.segments, *self.detections, *self.lines)
        for one in boxed:
            _check_box(one)
        _check_segments(self.segments)
        pixels = sum(length for _, length in self.runs)
        if (self.runs or self.segments) and pixels != width_px * height_px:
            raise InputError(
                f"The runs of the segments cover {pixels} pixels, but the picture has {width_px} × "
                f"{height_px} = {width_px * height_px}. Expected the map of this picture at its full size."
            )
        if any(length < 1 for _, length in self.runs):
            raise InputError("A run of pixels is 1 or longer; found one that is shorter.")
        drawn, listed = {one for one, _ in self.runs} - {0}, {one.id for one in self.segments}
        if drawn != listed:
            raise InputError(
                f"Segments and pixels do not belong together: pixels of {_some(drawn - listed)} without a "
                f"segment, segments {_some(listed - drawn)} without a pixel."
            )

    @cached_property
    def ids(self) -> Ids:
        """The id of the segment at each pixel, 0 where there is none: int32 of shape (height, width), read-only."""
        width_px, height_px = self.size_px
        if not self.runs:
            found = np.zeros((height_px, width_px), np.int32)
        else:
            runs = np.array(self.runs, np.int32)
            found = np.repeat(runs[:, 0], runs[:, 1]).reshape(height_px, width_px)
        found.flags.writeable = False
        return found

    @cached_property
    def digest(self) -> str:
        """16 hex digits for everything that was found."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


class Expert(Protocol):
    """Finds one kind of thing in pictures."""

    @property
    def name(self) -> str:
        """As the user types it: "detection:FastestDet.onnx"."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same picture could give other findings; part of every key in the cache."""

    def find(self, source: Path | bytes | Pillow) -> Findings:
        """What is in the picture, which `looksay.images.load_rgb` reads. Raises UnreadablePhoto, InputError."""


@runtime_checkable
class Namer(Protocol):
    """An expert that knows the names of all that it can find: what it does not find, it looked for in vain."""

    @property
    def names(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Options:
    """How experts look. An expert reads what concerns it."""

    names: tuple[str, ...] = ()
    """What a detector with an open vocabulary looks for, or the classes of an ONNX detector in its order."""
    min_score: float | None = None
    """Below this a finding is left out, 0 to 1; None is the expert's own."""
    device: str = "auto"
    threads: int = 0
    """For what computes on the CPU; 0 is all cores."""


def numbered(names: Iterable[T]) -> list[int]:
    """The running number of each among its equals, from 1.

    >>> numbered(["dog", "cat", "dog"])
    [1, 1, 2]
    """
    seen: Counter[T] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(seen[name])
    return found


def segmented(ids: NDArray[Any], kinds: Mapping[int, tuple[str, int, float]]) -> Findings:
    """Findings of a map of segments: boxes are measured on the pixels of each id, and things of a class numbered
    in the order of `kinds`.

    `ids` are whole numbers of shape (height, width), 0 where nothing is; `kinds` has for each id its name,
    class index and score. An id of `kinds` without a pixel gives no segment. Raises InputError for an id on the
    map that `kinds` has not.
    """
    height_px, width_px = ids.shape
    there = {int(one) for one in np.unique(ids)} - {0}
    if unknown := there - set(kinds):
        raise InputError(
            f"The map holds pixels of {_some(unknown)}, which no segment has. Known ids: {_some(set(kinds))}."
        )
    seen = [one for one in kinds if one in there]
    numbers = numbered(kinds[one][1] for one in seen)
    segments = []
    for one, number in zip(seen, numbers, strict=True):
        name, class_index, score = kinds[one]
        mask = ids == one
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (
            float(columns[0] / width_px),
            float(rows[0] / height_px),
            float((columns[-1] + 1) / width_px),
            float((rows[-1] + 1) / height_px),
        )
        segments.append(Segment(one, name, class_index, number, box, score))
    flat = ids.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] + 1))
    lengths = np.diff(starts, append=len(flat))
    runs = tuple(zip(flat[starts].tolist(), lengths.tolist(), strict=True)) if segments else ()
    return Findings((width_px, height_px), tuple(segments), runs)


def merged(parts: Sequence[Findings]) -> Findings:
    """What several experts found in one picture. Raises InputError where they saw pictures of different sizes,
    or two of them cut it into segments."""
    if not parts:
        raise InputError("There is nothing to merge; expected the findings of one expert or more.")
    sizes = {part.size_px for part in parts}
    if len(sizes) > 1:
        told = ", ".join(f"{w} × {h} px" for w, h in sorted(sizes))
        raise InputError(f"These are findings of different pictures: {told}. Expected one size.")
    cut = [part for part in parts if part.segments]
    if len(cut) > 1:
        raise InputError(
            f"{len(cut)} experts cut the picture into segments; expected one, since pixels have one segment each."
        )
    return Findings(
        parts[0].size_px,
        cut[0].segments if cut else (),
        cut[0].runs if cut else (),
        tuple(one for part in parts for one in part.detections),
        tuple(one for part in parts for one in part.relations),
        tuple(one for part in parts for one in part.lines),
    )


def check_size(findings: Findings, size_px: tuple[int, int], whose: str) -> Findings:
    """The findings themselves, where they are those of a picture of this size. Raises InputError."""
    if findings.size_px != size_px:
        raise InputError(
            f"{whose} tells of a picture of {findings.size_px[0]} × {findings.size_px[1]} px, but this one has "
            f"{size_px[0]} × {size_px[1]}. Expected findings of this very picture."
        )
    return findings


def found_in(image: Image) -> Findings | None:
    """What an image of a conversation carries. Raises InputError where it was found in a picture of another size."""
    if image.findings is None:
        return None
    if isinstance(image.source, Path | bytes):
        with open_image(image.source) as opened:
            width_px, height_px = opened.size
            lies = orientation(opened) >= 5
        size_px = (height_px, width_px) if lies else (width_px, height_px)
    else:
        size_px = image.source.size
    return check_size(image.findings, size_px, "What was found")


def _check_box(one: Segment | Detection | TextLine) -> None:
    left, top, right, bottom = one.box
    # Not a number compares as false, so it is caught here too.
    if not (0 <= left <= right <= 1 and 0 <= top <= bottom <= 1):
        called = one.text if isinstance(one, TextLine) else one.name
        raise InputError(
            f"The box of {called!r} is [{left:g}, {top:g}, {right:g}, {bottom:g}]. Expected left, top, right, "
            "bottom in shares of the picture, each from 0 to 1 and in this order."
        )


def _check_segments(segments: Sequence[Segment]) -> None:
    if len({one.id for one in segments}) < len(segments):
        raise InputError("Two segments have the same id; expected one id for each.")
    if len({(one.class_index, one.number) for one in segments}) < len(segments):
        raise InputError("Two segments of one class have the same number; expected 1, 2, 3 …")
    for one in segments:
        if one.id < 1 or one.class_index < 0 or one.number < 1:
            raise InputError(
                f"The segment {one.name!r} has id {one.id}, class {one.class_index} and number {one.number}. "
                "Expected an id from 1, a class from 0 and a number from 1."
            )


def _some(ids: set[int]) -> str:
    shown = ", ".join(map(str, sorted(ids)[:5]))
    return (shown + (" …" if len(ids) > 5 else "")) or "none"
