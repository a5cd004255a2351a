"""RefCOCO, RefCOCO+ and RefCOCOg: where in the picture is what a sentence describes?

One reference of refs(unc).p: {"ref_id": 0, "ann_id": 1719310, "image_id": 581857, "split": "testA",
"category_id": 1, "sentences": [{"sent_id": 0, "sent": "lady with blue shirt", …}], …}; instances.json is COCO's,
its boxes are [x, y, width, height] in pixels.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from looksay.data.reading import Place, entries, load_json
from looksay.errors import InputError, UnknownName
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.measures import Measure, of_samples, of_verdicts
from looksay.evaluation.metrics import boxes
from looksay.types import Conversation

_SPLITS = {
    "refcoco": ("refs(unc).p", ("val", "testA", "testB")),
    "refcoco+": ("refs(unc).p", ("val", "testA", "testB")),
    "refcocog": ("refs(umd).p", ("val", "test")),
}

CARD = Card(
    title="RefCOCO, RefCOCO+, RefCOCOg",
    measures="Whether a model finds what a sentence describes: boxes that overlap the right one by half.",
    needs={
        "refcoco/refs(unc).p": "sentences of RefCOCO, of UNC's split",
        "refcoco/instances.json": "its boxes",
        "refcoco+/refs(unc).p": "sentences of RefCOCO+",
        "refcoco+/instances.json": "its boxes",
        "refcocog/refs(umd).p": "sentences of RefCOCOg, of UMD's split",
        "refcocog/instances.json": "its boxes",
        "train2014/": "images of COCO 2014",
    },
    where="https://github.com/lichengunc/refer",
    licence="not stated for the sentences; COCO's annotations CC BY 4.0; images: Flickr's terms",
    loader="lichengunc/refer: refer.py; question and reading: lmms-eval, tasks/refcoco/utils_rec.py",
    paper="Yu et al., Modeling Context in Referring Expressions, ECCV 2016; "
    "Mao et al., Generation and Comprehension of Unambiguous Object Descriptions, CVPR 2016",
    variants=tuple(f"{name}-{split}" for name, (_, splits) in _SPLITS.items() for split in splits),
    compat=("strict", "lmms-eval"),
)
"""Boxes are (left, top, right, bottom) in shares of the whole picture, 0 to 1. A model that learned boxes of a
picture padded to a square (LLaVA-1.5) has to convert them. Each variant needs its own files alone."""

QUESTION = (
    "A box is written as [left, top, right, bottom], each a decimal number from 0 to 1: the share of the "
    "picture's width or height, from its upper left corner. Give the box of what this describes, and nothing "
    "else: {sentence}"
)
"""Our words for the convention that lmms-eval states (utils_rec.py)."""
_TOKENS = 64


class _Plain(pickle.Unpickler):
    """Reads lists, dictionaries, texts and numbers, which is all that refer's files hold, and runs nothing:
    a pickle from elsewhere can name any function for the reader to call."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants {module}.{name} to be run")


def read(folder: Path, variant: str = "refcoco-val") -> list[Item]:
    """Every sentence of a split. `truth`: box (left, top, right, bottom; 0 to 1). kind: the thing's class."""
    name, _, split = variant.rpartition("-")
    if name not in _SPLITS or split not in _SPLITS[name][1]:
        raise UnknownName("variant of refcoco", variant, CARD.variants)
    path = folder / name / _SPLITS[name][0]
    refs = _references(path)
    instances = folder / name / "instances.json"
    content = load_json(instances)
    tables = {
        key: _by_id(instances, content, key) for key in ("annotations", "images", "categories")
    }
    found: list[Item] = []
    seen: set[int] = set()
    for number, ref in enumerate(refs):
        place = Place(path, number, len(refs), ref, "ref_id")
        if place.words(ref, "split") == split:
            found += _items(place, ref, tables, folder / "train2014", seen)
    if not found:
        raise InputError(f"{path} has no reference of the split {split!r}.")
    return found


def _references(path: Path) -> list[Any]:
    try:
        with path.open("rb") as stream:
            # Written by Python 2: its texts are bytes.
            found = _Plain(stream, encoding="utf-8", errors="replace").load()
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no pickle of references: {error}.") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is no pickle of plain references: {error}. Nothing of it was run."
        ) from error
    return entries(path, found)


def _by_id(path: Path, content: Any, key: str) -> dict[int, Any]:
    rows = entries(path, content, key)
    places = [Place(path, n, len(rows), row) for n, row in enumerate(rows)]
    return {
        place.get(row, "id", int, "a number"): row for place, row in zip(places, rows, strict=True)
    }


def _items(
    place: Place,
    ref: Any,
    tables: Mapping[str, Mapping[int, Any]],
    images: Path,
    seen: set[int],
) -> Iterator[Item]:
    note, picture, category = (
        _entry(place, ref, key, tables[table], table)
        for key, table in (
            ("ann_id", "annotations"),
            ("image_id", "images"),
            ("category_id", "categories"),
        )
    )
    file = place.words(picture, "file_name")
    image = place.image(images, file)
    width, height = (place.get(picture, key, int, "pixels") for key in ("width", "height"))
    given = place.get(note, "bbox", list, "[x, y, width, height]")
    if len(given) != 4 or not all(isinstance(n, int | float) for n in given):
        place.fail(f"'bbox' should be [x, y, width, height]; found {given}.")
    x, y, wide, high = given
    box = [x / width, y / height, (x + wide) / width, (y + high) / height]
    for sentence in place.get(ref, "sentences", list, "a list"):
        text = place.words(sentence, "sent")
        number = place.get(sentence, "sent_id", int, "a number")
        place.once(number, seen, f"sentence ({number})")
        yield Item(
            str(number),
            Conversation.ask(image, QUESTION.format(sentence=text)),
            {"box": box},
            image=file,
            kind=place.words(category, "name"),
            max_tokens=_TOKENS,
        )


def _entry(place: Place, ref: Any, key: str, table: Mapping[int, Any], name: str) -> Any:
    number = place.get(ref, key, int, "a number")
    if number not in table:
        place.fail(f"{key!r} is {number}, which is not among the {name} of instances.json.")
    return table[number]


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """The share of boxes with an overlap (IoU) of at least 0.5; the mean overlap, 0 for what could not be
    read; the share that could not.

    MiniGPT-v2's script wants more than 0.5, and asks again up to twenty times where it cannot read.
    """
    how: boxes.Compat = "lmms-eval" if compat == "lmms-eval" else "strict"
    said = {a.item.id: boxes.parse(a.text, how) for a in answers}
    truth = {a.item.id: tuple(map(float, a.item.truth["box"])) for a in answers}
    shared = {
        one: None if box is None else boxes.overlap(box, _box(truth[one]))
        for one, box in said.items()
    }
    verdict = {one: None if iou is None else iou >= 0.5 for one, iou in shared.items()}
    right, unreadable = of_verdicts(verdict, "accuracy at IoU 0.5")
    mean = of_samples("mean IoU", {one: iou or 0.0 for one, iou in shared.items()})
    return [right, mean, unreadable]


def _box(numbers: tuple[float, ...]) -> boxes.Box:
    left, top, right, bottom = numbers
    return left, top, right, bottom
