"""CIDEr and CIDEr-D: how much a caption says what the references of its image agree on.

Source: Vedantam, Zitnick, Parikh, "CIDEr: Consensus-based Image Description Evaluation", CVPR 2015, and
the behaviour of the authors' scorer, whose numbers every paper prints (as CIDEr-D, times 100).
Tokens come from `ptb.tokenize`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from looksay.errors import InputError
from looksay.evaluation.metrics.grams import MAX, Gram, Tokens, grams

_SIGMA = 6.0
_SCALE = 10.0

_Counted = Mapping[Gram, int]


@dataclass(frozen=True, slots=True)
class Frequencies:
    """In how many of `images` images some reference holds an n-gram."""

    images: int
    counts: Mapping[Gram, int]

    @classmethod
    def of(cls, references: Iterable[Sequence[Tokens]]) -> Frequencies:
        """Count over the references, one list of token lists per image."""
        return cls._of([[grams(caption) for caption in captions] for captions in references])

    @classmethod
    def _of(cls, references: Sequence[Sequence[_Counted]]) -> Frequencies:
        counts: Counter[Gram] = Counter()
        for captions in references:
            counts.update(set().union(*captions))
        return cls(len(references), counts)

    def save(self, path: Path) -> None:
        """Write as JSON, so that subsets are scored with the table of the whole set.

        Example: {"images": 5000, "counts": {"a dog": 310}}.
        """
        record = {"images": self.images, "counts": {" ".join(g): c for g, c in self.counts.items()}}
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(record, ensure_ascii=False), "utf-8")
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Frequencies:
        """Read what `save` wrote. Raises InputError where the file holds something else or nothing."""
        try:
            record = json.loads(path.read_text("utf-8"))
            counts = {tuple(gram.split(" ")): int(n) for gram, n in record["counts"].items()}
            if int(record["images"]) < 1:
                raise ValueError("it counts no image")
            return cls(int(record["images"]), counts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is no table of n-gram frequencies ({error}). Expected JSON with images and "
                "counts, as Frequencies.save writes it."
            ) from error

    def idf(self) -> dict[int, float]:
        """What an n-gram weighs, by the number of images whose references hold it."""
        found = {0, *self.counts.values()}
        return {count: math.log(self.images) - math.log(max(1, count)) for count in found}


@dataclass(frozen=True, slots=True)
class _Vector:
    """One caption, its n-grams weighted by how much they say."""

    weights: dict[Gram, float]
    norms: tuple[float, ...]
    """Of its 1-grams, its 2-grams and so on."""
    length: int


def _vector(counted: _Counted, frequency: _Counted, idf: Mapping[int, float]) -> _Vector:
    squares = [0.0] * MAX
    weights = {}
    length = 0
    for gram, times in counted.items():
        weight = weights[gram] = times * idf[frequency.get(gram, 0)]
        order = len(gram) - 1
        squares[order] += weight * weight
        # The authors' scorer takes the number of bigrams for the length.
        length += times if order == 1 else 0
    return _Vector(weights, tuple(map(math.sqrt, squares)), length)


def _similarity(candidate: _Vector, reference: _Vector, damped: bool) -> float:
    products = [0.0] * MAX
    theirs = reference.weights
    for gram, weight in candidate.weights.items():
        if gram in theirs:
            other = theirs[gram]
            products[len(gram) - 1] += (min(weight, other) if damped else weight) * other
    total = 0.0
    for product, own, their in zip(products, candidate.norms, reference.norms, strict=True):
        total += product / (own * their) if own and their else product
    difference = candidate.length - reference.length
    penalty = math.exp(-(difference**2) / (2 * _SIGMA**2)) if damped else 1.0
    return total * penalty / MAX


def cider(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    *,
    variant: Literal["D", "original"] = "D",
    frequencies: Frequencies | None = None,
) -> list[float]:
    """The score of each candidate, 0 to 10 (papers print a hundredfold of the mean of CIDEr-D).

    "D" clips counts and damps a difference in length; "original" does neither. Without `frequencies` the
    table comes from `references`, as everywhere: a single image then scores 0, and a subset is not
    comparable with the whole. Raises InputError where lengths differ or an image has no reference.
    """
    if len(candidates) != len(references):
        raise InputError(
            f"{len(candidates)} captions, but references of {len(references)} images. "
            "Expected one list of references per caption."
        )
    for number, given in enumerate(references):
        if not given:
            raise InputError(f"Image number {number} has no reference caption; CIDEr needs one.")
    counted = [[grams(caption) for caption in captions] for captions in references]
    table = frequencies or Frequencies._of(counted)
    idf = table.idf()
    scores = []
    for candidate, captions in zip(candidates, counted, strict=True):
        own = _vector(grams(candidate), table.counts, idf)
        vectors = [_vector(reference, table.counts, idf) for reference in captions]
        likeness = sum(_similarity(own, theirs, variant == "D") for theirs in vectors)
        scores.append(_SCALE * likeness / len(captions))
    return scores
