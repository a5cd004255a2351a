"""ImageNet: which of a thousand classes is in the photograph, named without any training on them.

LOC_val_solution.csv: "ILSVRC2012_val_00048981,n03995372 85 1 499 272"; LOC_synset_mapping.txt:
"n01440764 tench, Tinca tinca".
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _text
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.types import Conversation

CARD = Card(
    title="ImageNet (ILSVRC 2012), zero-shot",
    measures="Naming what a photograph shows, out of a thousand classes.",
    needs={
        "LOC_synset_mapping.txt": "names of the classes",
        "LOC_val_solution.csv": "the class of every validation image",
        "ILSVRC/Data/CLS-LOC/val/": "the 50,000 validation images",
    },
    where="https://www.kaggle.com/c/imagenet-object-localization-challenge/data",
    licence="ImageNet's terms: research and teaching, not for profit",
    loader="the challenge's own files; a class's names are WordNet's",
    paper="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015",
)
"""Not comparable with CLIP's zero-shot figures, which rank embeddings of names chosen by hand. Where two classes
share a name (WordNet calls both the bird and the machine "crane"), it is right for either."""

QUESTION = "What is the main thing in this photo?"


def read(folder: Path, variant: str = "") -> list[Item]:
    """The validation images. `truth`: class (WordNet's id), names (all of the class). choices: the names of
    all classes, by which an answer is known for a name; 1,860 are too many to rank by likelihood at once."""
    known = classes(folder / "LOC_synset_mapping.txt")
    choices = tuple(dict.fromkeys(name for names in known.values() for name in names))
    path = folder / "LOC_val_solution.csv"
    rows = _rows(path)
    found = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row, "ImageId")
        name = place.words(row, "ImageId")
        place.once(name, seen, "ImageId")
        # "class left top right bottom", for every thing: in this split, all things are of one class.
        which = place.words(row, "PredictionString").split()[0]
        if which not in known:
            place.fail(f"the class {which!r} is not in LOC_synset_mapping.txt.")
        image = place.image(folder / "ILSVRC" / "Data" / "CLS-LOC" / "val", f"{name}.JPEG")
        found.append(
            Item(
                name,
                Conversation.ask(image, f"{QUESTION}\n{SHORTLY}"),
                {"class": which, "names": list(known[which])},
                choices=choices,
                max_tokens=SHORT,
            )
        )
    return found


def classes(path: Path) -> dict[str, list[str]]:
    """WordNet's id → names."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(_text.lines(path), 1):
        which, _, names = line.strip().partition(" ")
        if not names.strip() or which in found:
            raise InputError(
                f"{path}, line {number}: expected a class that was not there before and its names, "
                f"as in 'n01440764 tench, Tinca tinca'; found {line[:60]!r}."
            )
        found[which] = [name.strip() for name in names.split(",")]
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(_text.lines(path), restval=""))
    if not rows or not {"ImageId", "PredictionString"} <= rows[0].keys():
        raise InputError(f"{path}: expected the columns ImageId and PredictionString, and rows.")
    return rows


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """The share of right classes; the share of answers that are the name of no class."""
    names = {_bare(name) for a in answers[:1] for name in a.item.choices}
    return of_verdicts({a.item.id: _verdict(a, names) for a in answers})


def _verdict(answer: Answer, names: set[str]) -> Verdict:
    said = _bare(answer.text)
    if said not in names:
        return None
    return said in {_bare(name) for name in answer.item.truth["names"]}


def _bare(name: str) -> str:
    """A name without case, article and full stop."""
    words = name.strip().rstrip(".").casefold().split()
    return " ".join(words[1:] if words[:1] in (["a"], ["an"], ["the"]) else words)
