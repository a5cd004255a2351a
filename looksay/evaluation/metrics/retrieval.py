"""Image-text retrieval: how often what belongs together comes first.

Protocol as in Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image Descriptions",
CVPR 2015, on Flickr30k (1,000 images) and COCO (5,000): an image finds text (TR) when any of its captions
is among the first K; a caption finds its one image (IR). Similarities are arrays of images by captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from looksay.errors import InputError

Array = NDArray[np.float64]
Ranks = NDArray[np.int64]
Ties = Literal["index", "against", "for"]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One direction, over all queries."""

    recall: dict[int, float]
    """K to the share of queries, 0 to 1, whose answer is among the first K. Papers print percent."""
    median_rank: float
    """Counted from 1; halves are rounded down, as the protocol's code does."""
    mean_rank: float
    """Counted from 1."""


@dataclass(frozen=True, slots=True)
class BothWays:
    """Ranks of the best right answer, from 0, per query, and their summaries."""

    text_ranks: Ranks
    """One per image."""
    image_ranks: Ranks
    """One per caption."""
    text: Retrieval
    image: Retrieval


def retrieval(
    similarity: Array,
    image_of: Sequence[int],
    *,
    ties: Ties = "index",
    at: Sequence[int] = (1, 5, 10),
) -> BothWays:
    """Both directions from similarities of images (rows) with captions (columns).

    `image_of[j]` is the row of the image that caption j belongs to. Equal similarities: "index" puts the
    lower index first, as a stable sort does (the usual code, VSE++'s and BLIP's, reverses an unstable sort
    and leaves ties to chance), "against" puts wrong answers first (a model that says the same of everything
    then finds nothing), "for" puts right answers first. Raises InputError
    where shapes differ, a similarity is not a number, or an image has no caption.
    """
    right = _belongs(similarity, image_of)
    texts = ranks(similarity, right, ties=ties)
    images = ranks(similarity.T, right.T, ties=ties)
    return BothWays(texts, images, summary(texts, at), summary(images, at))


def ranks(similarity: Array, right: NDArray[np.bool_], *, ties: Ties = "index") -> Ranks:
    """Per row, how many columns come before its best right column; 0 is first. For `ties` see `retrieval`.

    Raises InputError where a similarity is not a number: nan compares with nothing, and would come first.
    """
    if np.isnan(similarity).any():
        raise InputError(
            f"{int(np.isnan(similarity).any(axis=1).sum())} of {len(similarity)} rows hold similarities "
            "that are not numbers (nan); nothing can be ranked."
        )
    best = np.where(right, similarity, -np.inf).max(axis=1, keepdims=True)
    before: Ranks = (similarity > best).sum(axis=1)
    level = similarity == best
    if ties == "against":
        before += (level & ~right).sum(axis=1)
    elif ties == "index":
        first = (level & right).argmax(axis=1)
        columns = np.arange(similarity.shape[1])
        before += (level & (columns < first[:, None])).sum(axis=1)
    return before


def summary(found: Ranks, at: Sequence[int] = (1, 5, 10)) -> Retrieval:
    """Recall at K, median and mean of ranks that count from 0."""
    return Retrieval(
        {k: float((found < k).mean()) for k in at},
        float(np.floor(np.median(found))) + 1,
        float(found.mean()) + 1,
    )


def reranked(
    similarity: Array,
    matching: Array,
    top: int,
    *,
    queries: Literal["images", "texts"],
    temperature: float = 1.0,
) -> Array:
    """Scores in which each query's `top` best candidates are in the order of a slower judge of pairs.

    As BLIP ranks (train_retrieval.py): the dual encoder's first `top` candidates are ordered by the logit
    of image-text matching plus their similarity; all others stay behind. `matching` has the shape of
    `similarity` and is read only at the chosen pairs (see `candidates`; the rest may be nan). Where BLIP
    gives all others one score, they keep their order here; recall at K up to `top` is the same. Serves one
    direction: of `retrieval(...)` read `.text` where images are the queries, `.image` where texts are, and
    report it beside the plain figure, never in its place.

    With the `temperature` at which the encoder learned to tell candidates apart, similarity over it is a log-odds as
    `matching` is, and their sum heeds both judges; at BLIP's 1 similarity hardly counts beside matching.
    """
    if matching.shape != similarity.shape:
        raise InputError(
            f"matching is {matching.shape}, similarity {similarity.shape}: expected the same shape."
        )
    axis = 1 if queries == "images" else 0
    chosen = candidates(similarity, top, queries=queries)
    first = np.take_along_axis(matching + similarity / temperature, chosen, axis)
    if np.isnan(first).any():
        raise InputError(
            f"Of the first {top} candidates {int(np.isnan(first).sum())} have no matching score. "
            "Score every pair that `candidates` names."
        )
    rest: Array = similarity - similarity.max() + first.min() - 1.0
    np.put_along_axis(rest, chosen, first, axis)
    return rest


def candidates(
    similarity: Array, top: int, *, queries: Literal["images", "texts"]
) -> NDArray[np.int64]:
    """The pairs to judge: each query's `top` best, best first, along the axis that is searched.

    For images as queries, row i holds columns; for texts, column j holds rows. Equal ones by lower index.
    """
    axis = 1 if queries == "images" else 0
    if not 1 <= top <= similarity.shape[axis]:
        raise InputError(
            f"top={top}: expected 1 to {similarity.shape[axis]}, as many candidates as there are."
        )
    order = np.argsort(-similarity, axis=axis, kind="stable")
    return order[:, :top] if axis else order[:top]


def _belongs(similarity: Array, image_of: Sequence[int]) -> NDArray[np.bool_]:
    if similarity.ndim != 2 or similarity.shape[1] != len(image_of):
        raise InputError(
            f"similarity is {similarity.shape}, and image_of names {len(image_of)} captions. "
            "Expected images by captions, one column per caption."
        )
    images = np.arange(len(similarity))
    right: NDArray[np.bool_] = images[:, None] == np.asarray(image_of, dtype=np.int64)[None, :]
    if not right.any(axis=0).all():
        outside = int((~right.any(axis=0)).argmax())
        raise InputError(
            f"Caption {outside} belongs to image {image_of[outside]}, "
            f"but there are images 0 to {len(images) - 1}."
        )
    if not right.any(axis=1).all():
        raise InputError(f"Image {int((~right.any(axis=1)).argmax())} has no caption to be found.")
    return right
