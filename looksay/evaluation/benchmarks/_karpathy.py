"""Karpathy's split of COCO, from his dataset_coco.json or the lists that BLIP and LAVIS made of it.

His entry: {"filepath": "val2014", "filename": "COCO_val2014_000000391895.jpg", "cocoid": 391895, "split":
"test", "sentences": [{"raw": "A man with a red helmet on a small moped.", "tokens": […]}, …]}, in {"images":
[…], "dataset": "coco"}. BLIP's entry in coco_karpathy_test.json: {"image":
"val2014/COCO_val2014_000000391895.jpg", "caption": ["A man with a red helmet on a small moped.", …]}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries, kind, load_json
from looksay.errors import InputError
from looksay.types import Image

WHERE = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
SPLITS = ("train", "restval", "val", "test")


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph of the split and all its captions."""

    number: int
    """Its id in COCO."""
    name: str
    """Its file below the folder of COCO."""
    image: Image
    captions: tuple[str, ...]


def photos(folder: Path, split: str) -> list[Photo]:
    """The photographs of val or test, in the order of the file. Raises InputError."""
    whole, part = folder / "dataset_coco.json", folder / f"coco_karpathy_{split}.json"
    if whole.is_file():
        found = list(_whole(whole, folder, split))
    elif part.is_file():
        found = list(_part(part, folder))
    else:
        raise InputError(
            f"There is neither {whole.name} nor {part.name} in {folder}. The first is in {WHERE}"
        )
    if not found:
        raise InputError(f"{whole} has no image of the split {split!r}.")
    return found


def _whole(path: Path, folder: Path, split: str) -> Iterator[Photo]:
    rows = entries(path, load_json(path), "images")
    seen: set[int] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "cocoid")
        if place.one_of(row, "split", SPLITS) != split:
            continue
        number = place.get(row, "cocoid", int, "a number")
        name = f"{place.words(row, 'filepath')}/{place.words(row, 'filename')}"
        said = [
            place.words(one, "raw")
            for one in place.get(row, "sentences", list, "a list of captions")
        ]
        yield _photo(place, folder, number, name, said, seen)


def _part(path: Path, folder: Path) -> Iterator[Photo]:
    rows = entries(path, load_json(path))
    seen: set[int] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "image")
        name = place.words(row, "image")
        digits = Path(name).stem.rpartition("_")[2]  # as BLIP's loader has it
        if not digits.isdecimal():
            place.fail("the name of the image does not end in its number in COCO.")
        said = place.get(row, "caption", list, "a list of captions")
        yield _photo(place, folder, int(digits), name, said, seen)


def _photo(
    place: Place, folder: Path, number: int, name: str, said: list[Any], seen: set[int]
) -> Photo:
    if number in seen:
        place.fail(f"the image {number} was there before.")
    seen.add(number)
    if not said:
        place.fail("there is no caption.")
    for one in said:
        if not isinstance(one, str) or not one.strip():
            place.fail(f"a caption should be text that is not empty; found {kind(one)}.")
    return Photo(number, name, place.image(folder, name), tuple(one.strip() for one in said))
