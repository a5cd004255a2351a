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

Tokens = Sequence[str]
Gram = tuple[str, ...]

_N = 4
_SIGMA = 6.0
_SCALE = 10.0


def _grams(tokens: Tokens) -> Counter[Gram]:
    return Counter(
        tuple(tokens[i : i + n]) for n in range(1, _N + 1) for i in range(len(tokens) - n + 1)
    )


@dataclass(frozen=True, slots=True)
class Frequencies:
    """In how many of `images` images some reference holds an n-gram."""

    images: int
    counts: Mapping[Gram, int]

    @classmethod
    def of(cls, references: Iterable[Sequence[Tokens]]) -> Frequencies:
        """Count over the references, one list of token lists per image."""
        counts: Counter[Gram] = Counter()
        images = 0
        for captions in references:
            images += 1
            counts.update({gram for caption in captions for gram in _grams(caption)})
        return cls(images, counts)

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
        """Read what `save` wrote. Raises InputError where the file holds something else."""
        try:
            record = json.loads(path.read_text("utf-8"))
            counts = {tuple(gram.split(" ")): int(n) for gram, n in record["counts"].items()}
            return cls(int(record["images"]), counts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is no table of n-gram frequencies ({error}). Expected JSON with images and "
                "counts, as Frequencies.save writes it."
            ) from error

    def idf(self, gram: Gram) -> float:
        return math.log(self.images) - math.log(max(1, self.counts.get(gram, 0)))


@dataclass(frozen=True, slots=True)
class _Vectors:
    weights: tuple[dict[Gram, float], ...]
    norms: tuple[float, ...]
    length: int


def _vectors(tokens: Tokens, frequencies: Frequencies) -> _Vectors:
    weights: tuple[dict[Gram, float], ...] = tuple({} for _ in range(_N))
    length = 0
    for gram, times in _grams(tokens).items():
        weights[len(gram) - 1][gram] = times * frequencies.idf(gram)
        # The authors' scorer takes the number of bigrams for the length.
        length += times if len(gram) == 2 else 0
    norms = tuple(math.sqrt(sum(w * w for w in level.values())) for level in weights)
    return _Vectors(weights, norms, length)


def _similarity(candidate: _Vectors, reference: _Vectors, damped: bool) -> float:
    penalty = 1.0
    if damped:
        difference = candidate.length - reference.length
        penalty = math.exp(-(difference**2) / (2 * _SIGMA**2))
    total = 0.0
    for level in range(_N):
        theirs = reference.weights[level]
        product = 0.0
        for gram, weight in candidate.weights[level].items():
            other = theirs.get(gram, 0.0)
            product += (min(weight, other) if damped else weight) * other
        scale = candidate.norms[level] * reference.norms[level]
        total += (product / scale if scale else product) * penalty
    return total / _N


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
    table = frequencies or Frequencies.of(references)
    scores = []
    for number, (candidate, captions) in enumerate(zip(candidates, references, strict=True)):
        if not captions:
            raise InputError(f"Image number {number} has no reference caption; CIDEr needs one.")
        own = _vectors(candidate, table)
        likeness = sum(_similarity(own, _vectors(r, table), variant == "D") for r in captions)
        scores.append(_SCALE * likeness / len(captions))
    return scores
