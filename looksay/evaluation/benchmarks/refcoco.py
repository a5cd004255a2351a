"""RefCOCO, RefCOCO+ and RefCOCOg: where in the picture is what a sentence describes?

One reference of refs(unc).p: {"ref_id": 0, "ann_id": 1719310, "image_id": 581857, "split": "testA",
"category_id": 1, "sentences": [{"sent_id": 0, "sent": "lady with blue shirt", …}], …}; instances.json is COCO's,
its boxes are [x, y, width, height] in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from looksay.data.grounding import FIND, FORM
from looksay.data.reading import Place
from looksay.data.sources.refcoco import (
    INSTANCES,
    Reference,
    instance_tables,
    reference,
    references,
)
from looksay.errors import InputError, UnknownName
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.measures import Measure, of_samples, of_verdicts
from looksay.evaluation.metrics import boxes
from looksay.types import Conversation, Image

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

QUESTION = f"{FORM} {FIND}"
"""As `looksay.data.sources.refcoco` teaches it."""
_TOKENS = 64


def read(folder: Path, variant: str = "refcoco-val") -> list[Item]:
    """Every sentence of a split. `truth`: box (left, top, right, bottom; 0 to 1). kind: the thing's class."""
    name, _, split = variant.rpartition("-")
    if name not in _SPLITS or split not in _SPLITS[name][1]:
        raise UnknownName("variant of refcoco", variant, CARD.variants)
    path = folder / name / _SPLITS[name][0]
    refs = references(path)
    tables = instance_tables(folder / name / INSTANCES)
    found: list[Item] = []
    seen: set[int] = set()
    for number, ref in enumerate(refs):
        place = Place(path, number, len(refs), ref, "ref_id")
        if place.words(ref, "split") == split:
            one = reference(place, ref, tables, seen)
            found += _items(one, place.image(folder / "train2014", one.file))
    if not found:
        raise InputError(f"{path} has no reference of the split {split!r}.")
    return found


def _items(one: Reference, image: Image) -> Iterator[Item]:
    for number, words in one.phrases:
        yield Item(
            str(number),
            Conversation.ask(image, QUESTION.format(words=words)),
            {"box": list(one.box)},
            image=one.file,
            kind=one.category,
            max_tokens=_TOKENS,
        )


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
