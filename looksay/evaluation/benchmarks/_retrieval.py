"""What benchmarks of retrieval share: pictures and the texts that belong to each, and who finds whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Finding:
    """What a benchmark asks of pictures and texts that look for each other. Its methods are the module's own
    functions: `score_embeddings = FINDING.score_embeddings`, and so on."""

    ways: tuple[str, str]
    """What its papers call pictures that look for texts, and texts that look for pictures."""
    top: int = 0
    """Candidates of each query that a slower model looks at again, where one may."""
    pictures_first: bool = True
    """Papers print first what pictures find."""

    def score_embeddings(
        self, items: Sequence[Item], vectors: Vectors, compat: Compat = "strict"
    ) -> list[Measure]:
        """Recall at 1, 5 and 10 both ways; a picture finds a text if any of its own is among the first K."""
        sides = Sides(items)
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
        return self._recalls(sides, np.concatenate(to_text), np.concatenate(to_picture))

    def candidates(self, items: Sequence[Item], vectors: Vectors) -> Pairs:
        """Places of picture and text, (k, 2): the first texts of each picture and pictures of each text."""
        sides = Sides(items)
        pictures, texts = vectors[sides.pictures], vectors[sides.texts]
        width = len(texts)
        codes = []
        for start, similarity in similarities(pictures, texts):
            chosen = retrieval.candidates(similarity, min(self.top, width), queries="images")
            own = np.arange(start, start + len(similarity))[:, None]
            codes.append((own * width + chosen).ravel())
        for start, similarity in similarities(texts, pictures):
            chosen = retrieval.candidates(
                similarity, min(self.top, len(pictures)), queries="images"
            )
            own = np.arange(start, start + len(similarity))[:, None]
            codes.append((chosen * width + own).ravel())
        both = np.unique(np.concatenate(codes))
        return np.stack([sides.pictures[both // width], sides.texts[both % width]], axis=1)

    def score_reranked(
        self,
        items: Sequence[Item],
        vectors: Vectors,
        pairs: Pairs,
        logits: Vectors,
        compat: Compat = "strict",
    ) -> list[Measure]:
        """The same recalls after each query's candidates were put in the order of logit plus similarity."""
        sides = Sides(items)
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
                count = min(self.top, len(targets))
                again = retrieval.reranked(similarity, seen[block], count, queries="images")
                ranked.append(retrieval.ranks(again, belongs[block], ties=TIES[compat]))
            return np.concatenate(ranked)

        to_text = ranks(pictures, texts, logit, right)
        to_picture = ranks(texts, pictures, logit.T, right.T)
        return self._recalls(sides, to_text, to_picture, f", first {self.top} looked at again:")

    def _recalls(
        self, sides: Sides, to_text: Ranks, to_picture: Ranks, also: str = ""
    ) -> list[Measure]:
        found = [
            Measure(
                f"{way}{also} R@{k}",
                {name: (float(rank < k), 1.0) for name, rank in zip(names, ranks, strict=True)},
            )
            for way, names, ranks in zip(self.ways, sides.names, (to_text, to_picture), strict=True)
            for k in AT
        ]
        return found if self.pictures_first else found[len(AT) :] + found[: len(AT)]
