"""What benchmarks of retrieval share: pictures and the texts that belong to each, and who finds whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from looksay.evaluation.benchmark import Compat, Item
from looksay.evaluation.measures import Measure
from looksay.evaluation.metrics import retrieval
from looksay.evaluation.metrics.retrieval import Array, Ranks, Ties
from looksay.types import Conversation, Image

Vectors = NDArray[np.float32]
Pairs = NDArray[np.int64]

AT = (1, 5, 10)
COMPAT: tuple[Compat, ...] = ("strict", "official")
"""Equal similarities. strict: wrong answers first, so that a model that says the same of everything finds nothing;
official: the lower index first. The official code leaves them to an unstable sort, reversed."""
TIES: dict[Compat, Ties] = {"strict": "against", "official": "index"}
_DECIMALS = 6
"""Of similarities: float32 vectors make no finer difference, and one text said of two pictures must tie."""
_BLOCK = 512


def items(name: str, pictures: Sequence[Image], texts: Sequence[str]) -> list[Item]:
    """A picture (or a video's frames) and its texts. A text's `image` is the picture to which it belongs."""
    return [
        Item(f"picture {name}", Conversation.ask(*pictures), image=name),
        *(
            Item(f"text {number} of {name}", Conversation.ask(text), {"picture": name}, image=name)
            for number, text in enumerate(texts, 1)
        ),
    ]


def in_order(found: Sequence[Item]) -> list[Item]:
    """Pictures first: what is alike is embedded together."""
    return sorted(found, key=lambda item: not item.conversation.images)


class Sides:
    """The pictures and the texts among items, and who belongs to whom."""

    def __init__(self, found: Sequence[Item]) -> None:
        pictures = [place for place, item in enumerate(found) if item.conversation.images]
        texts = [place for place, item in enumerate(found) if not item.conversation.images]
        place_of = {found[place].image: number for number, place in enumerate(pictures)}
        self.pictures, self.texts = np.array(pictures, np.int64), np.array(texts, np.int64)
        self.picture_of = np.array([place_of[found[place].image] for place in texts], np.int64)
        self.names = [[found[place].id for place in side] for side in (pictures, texts)]


def similarities(queries: Vectors, targets: Vectors) -> Iterator[tuple[int, Array]]:
    """Cosines of a few queries with all targets: (place of the first, array)."""
    exact = targets.astype(np.float64).T
    for start in range(0, len(queries), _BLOCK):
        yield start, np.round(queries[start : start + _BLOCK].astype(np.float64) @ exact, _DECIMALS)


def score(
    found: Sequence[Item], vectors: Vectors, compat: Compat, ways: tuple[str, str]
) -> list[Measure]:
    """Recall at 1, 5 and 10 of pictures that look for texts (a picture finds one if any of its texts is among
    the first K), then of texts that look for their picture; `ways` names the two, in the order of the paper."""
    sides = Sides(found)
    to_text, to_picture = [], []
    for start, similarity in similarities(vectors[sides.pictures], vectors[sides.texts]):
        rows = np.arange(start, start + len(similarity))
        to_text.append(
            retrieval.ranks(similarity, sides.picture_of == rows[:, None], ties=TIES[compat])
        )
    columns = np.arange(len(sides.pictures))
    for start, similarity in similarities(vectors[sides.texts], vectors[sides.pictures]):
        right = sides.picture_of[start : start + len(similarity), None] == columns
        to_picture.append(retrieval.ranks(similarity, right, ties=TIES[compat]))
    return _recalls(sides, np.concatenate(to_text), np.concatenate(to_picture), ways)


def candidates(found: Sequence[Item], vectors: Vectors, top: int) -> Pairs:
    """Places of picture and text, (k, 2): the `top` first texts of each picture and pictures of each text."""
    sides = Sides(found)
    pictures, texts = vectors[sides.pictures], vectors[sides.texts]
    width = len(texts)
    codes = []
    for start, similarity in similarities(pictures, texts):
        chosen = retrieval.candidates(similarity, min(top, width), queries="images")
        codes.append((np.arange(start, start + len(similarity))[:, None] * width + chosen).ravel())
    for start, similarity in similarities(texts, pictures):
        chosen = retrieval.candidates(similarity, min(top, len(pictures)), queries="images")
        codes.append((chosen * width + np.arange(start, start + len(similarity))[:, None]).ravel())
    both = np.unique(np.concatenate(codes))
    return np.stack([sides.pictures[both // width], sides.texts[both % width]], axis=1)


def score_reranked(
    found: Sequence[Item],
    vectors: Vectors,
    pairs: Pairs,
    logits: Vectors,
    compat: Compat,
    ways: tuple[str, str],
    top: int,
) -> list[Measure]:
    """The same recalls after each query's `top` first were put in the order of logit plus similarity."""
    sides = Sides(found)
    pictures, texts = vectors[sides.pictures], vectors[sides.texts]
    logit = np.full((len(pictures), len(texts)), np.nan, np.float32)
    rows, columns = (
        np.searchsorted(side, pairs[:, place])
        for place, side in enumerate((sides.pictures, sides.texts))
    )
    logit[rows, columns] = logits
    right = sides.picture_of == np.arange(len(pictures))[:, None]

    def ranks(queries: Vectors, targets: Vectors, seen: Any, belongs: Any) -> Ranks:
        ranked = []
        for start, similarity in similarities(queries, targets):
            block = slice(start, start + len(similarity))
            count = min(top, len(targets))
            again = retrieval.reranked(similarity, seen[block], count, queries="images")
            ranked.append(retrieval.ranks(again, belongs[block], ties=TIES[compat]))
        return np.concatenate(ranked)

    to_text = ranks(pictures, texts, logit, right)
    to_picture = ranks(texts, pictures, logit.T, right.T)
    shown = (f"{ways[0]}, first {top} looked at again:", f"{ways[1]}, first {top} looked at again:")
    return _recalls(sides, to_text, to_picture, shown)


def _recalls(
    sides: Sides, to_text: Ranks, to_picture: Ranks, ways: tuple[str, str]
) -> list[Measure]:
    return [
        Measure(
            f"{way} R@{k}",
            {name: (float(rank < k), 1.0) for name, rank in zip(names, ranks, strict=True)},
        )
        for way, names, ranks in zip(ways, sides.names, (to_text, to_picture), strict=True)
        for k in AT
    ]
