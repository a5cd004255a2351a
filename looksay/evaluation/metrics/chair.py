"""CHAIR: how much of what captions name is not in the picture.

Source: Rohrbach et al., "Object Hallucination in Image Captioning", EMNLP 2018. Here mentions come as
lists of objects already found in the texts; how they are found belongs to the vocabulary (for scenes:
`looksay.evaluation.metrics.scenes`, where they are exact; for COCO: `of_coco` below, by
`looksay.texts.coco_objects`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from looksay.texts.coco_objects import COCO, Mode, Vocabulary, find, present


@dataclass(frozen=True, slots=True)
class Hallucination:
    """One caption against its picture."""

    mentions: int
    """Objects named; naming one twice counts twice, as in the reference."""
    hallucinated: tuple[str, ...]
    """Those of them that are not in the picture."""
    found: int
    """Different objects of the picture that are named."""
    present: int
    """Different objects in the picture."""


def hallucination(mentions: Sequence[str], present: Collection[str]) -> Hallucination:
    """Compare what one caption names with what is there.

    >>> hallucination(["dog", "dog", "cat"], {"dog", "bus"})
    Hallucination(mentions=3, hallucinated=('cat',), found=1, present=2)
    """
    there = set(present)
    return Hallucination(
        len(mentions),
        tuple(m for m in mentions if m not in there),
        len(there & set(mentions)),
        len(there),
    )


def of_coco(
    caption: str,
    instances: Collection[str],
    references: Collection[str],
    *,
    vocabulary: Vocabulary = COCO,
    mode: Mode = "fixed",
) -> Hallucination:
    """One caption of a photograph of COCO: there is what its instances are or its references name.

    The paper's figures: its own synonyms as `vocabulary`, and mode "reference". Raises UnknownName for an
    instance of no class.

    >>> of_coco("A dog and a cat on a bus", ["dog"], ["Two puppies in a bus."]).hallucinated
    ('cat',)
    """
    mentions = [mention.object for mention in find(caption, vocabulary, mode)]
    return hallucination(mentions, present(instances, references, vocabulary, mode))
