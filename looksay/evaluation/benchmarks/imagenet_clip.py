"""ImageNet as CLIP does it: a photograph's class is the one whose description lies closest.

Files as for `imagenet`; where classnames.txt lies beside them, it has a name per line, in the order of
LOC_synset_mapping.txt, in place of the first of WordNet's ("crane" is two classes there; CLIP's authors
chose names by hand, and their figures are of those).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from looksay.errors import InputError
from looksay.evaluation.benchmark import Card, Compat, Item
from looksay.evaluation.benchmarks import _retrieval, _text, imagenet
from looksay.evaluation.benchmarks._retrieval import Vectors
from looksay.evaluation.measures import Measure
from looksay.evaluation.metrics import retrieval
from looksay.types import Conversation

CARD = Card(
    title="ImageNet, zero-shot by embeddings",
    measures="Whether an encoder puts a photograph closest to a text about its class, out of a thousand.",
    needs=imagenet.CARD.needs,
    where=imagenet.CARD.where,
    licence=imagenet.CARD.licence,
    loader="openai/CLIP: notebooks/Prompt_Engineering_for_ImageNet.ipynb; names: classnames.txt, if there",
    paper="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
    variants=("photo", "ensemble", "name"),
    compat=_retrieval.COMPAT,
)
"""The paper's figures are of 80 wordings and of names chosen by hand; these are of the wordings below."""
NAMES = "classnames.txt"
WORDINGS = {
    "photo": ("a photo of a {}.",),
    "ensemble": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
    "name": ("{}",),
}
"""ensemble: the seven that do as well as all 80, as CLIP's notebook has them."""


def read(folder: Path, variant: str = "photo") -> list[Item]:
    """The 50,000 photographs (`truth`: class), then the classes, each in the variant's wordings."""
    photos = [
        Item(
            item.id,
            Conversation.ask(*item.conversation.images),
            {"class": item.truth["class"]},
            image=item.id,
        )
        for item in imagenet.read(folder)
    ]
    return photos + [
        Item(
            f"class {which}",
            Conversation.ask(*(wording.format(name) for wording in WORDINGS[variant])),
            {"class": which},
        )
        for which, name in _names(folder).items()
    ]


def _names(folder: Path) -> dict[str, str]:
    path = folder / "LOC_synset_mapping.txt"
    known = imagenet.classes(path)
    chosen = folder / NAMES
    if not chosen.exists():
        return {which: names[0] for which, names in known.items()}
    names = [line.strip() for line in _text.lines(chosen)]
    if len(names) != len(known):
        raise InputError(
            f"{chosen} has {len(names)} names; expected {len(known)}, one for each line of {path.name}."
        )
    return dict(zip(known, names, strict=True))


def score_embeddings(
    items: Sequence[Item], vectors: Vectors, compat: Compat = "strict"
) -> list[Measure]:
    """The share of photographs whose class is first, and among the first five."""
    shown = [place for place, item in enumerate(items) if item.conversation.images]
    told = [place for place, item in enumerate(items) if not item.conversation.images]
    column = {items[place].truth["class"]: number for number, place in enumerate(told)}
    right = np.array([column[items[place].truth["class"]] for place in shown])
    columns = np.arange(len(told))
    ranks: dict[str, int] = {}
    for start, similarity in _retrieval.similarities(vectors[shown], vectors[told]):
        belongs = right[start : start + len(similarity), None] == columns
        found = retrieval.ranks(similarity, belongs, ties=_retrieval.TIES[compat])
        names = (items[place].id for place in shown[start : start + len(similarity)])
        ranks |= zip(names, found.tolist(), strict=True)
    return [
        Measure(name, {one: (float(rank < k), 1.0) for one, rank in ranks.items()})
        for name, k in (("accuracy", 1), ("among the first five", 5))
    ]
