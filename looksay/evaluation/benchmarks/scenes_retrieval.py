"""Scenes for dual encoders: which caption belongs to a picture, which picture to a caption, which nouns to a picture.

Captions name objects, counts, sizes and background; no two scenes share one. Backgrounds and counts alone find
most of them, so the second half asks for nouns: every text about a scene names its own background, and only the
noun tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from looksay.data.scenes import Scene, Scenes, captions
from looksay.data.scenes.atlas import NOUNS
from looksay.data.scenes.telling import article, counted
from looksay.evaluation.benchmark import Card, Compat, Item
from looksay.evaluation.benchmarks import _retrieval, scenes
from looksay.evaluation.benchmarks._retrieval import Finding, Vectors
from looksay.evaluation.measures import Measure
from looksay.evaluation.metrics.retrieval import Array
from looksay.types import Conversation, Image

CARD = Card(
    title="Scenes, retrieval",
    measures="Whether pictures and captions of scenes find each other, and whether a picture finds its nouns.",
    needs={},
    where=scenes.CARD.where,
    licence=scenes.CARD.licence,
    loader="looksay.data.scenes itself",
    paper="none; docs/scenes.md says what each figure divides by what",
    variants=("test", "pairs"),
    compat=_retrieval.COMPAT,
)
"""test: new scenes; pairs: with a pair of nouns that training never shows."""
NOUNS_FOUND = "noun recall, same background"
_FINDING = Finding(("text retrieval", "image retrieval"))


def read(
    folder: Path | None = None, variant: str = "test", number: int = scenes.SCENES
) -> list[Item]:
    """`number` pictures (`truth`: background, nouns), their captions, and a text for each noun on each background
    (`truth`: background, noun)."""
    drawn = _distinct(variant, number)
    pictures = [
        Item(
            f"picture {name}",
            Conversation.ask(Image(scene.image())),
            {
                "background": _background(scene),
                "nouns": [group.noun.name for group in scene.groups],
            },
            image=name,
        )
        for name, _, scene in drawn
    ]
    texts = [
        Item(f"caption of {name}", Conversation.ask(caption), {"picture": name}, image=name)
        for name, caption, _ in drawn
    ]
    nouns = [
        Item(
            f"{noun.name} on {background}",
            Conversation.ask(f"{article(noun.name).capitalize()} on a {background}."),
            {"background": background, "noun": noun.name},
        )
        for background in dict.fromkeys(str(item.truth["background"]) for item in pictures)
        for noun in NOUNS
    ]
    return [*pictures, *texts, *nouns]


def _distinct(variant: str, number: int) -> list[tuple[str, str, Scene]]:
    """Name, caption and scene of the first so many of which no two are told alike, in whatever order."""
    world = Scenes(scenes.SEED, variant)
    found: dict[object, tuple[str, str, Scene]] = {}
    for index in count():
        scene = world.scene(index)
        told = frozenset(counted(group) for group in scene.groups), _background(scene)
        found.setdefault(told, (f"{variant} {index}", captions(scene)[0], scene))
        if len(found) == number:
            break
    return list(found.values())


def _background(scene: Scene) -> str:
    return f"{scene.pattern} {scene.colour} background"


def score_embeddings(
    items: Sequence[Item], vectors: Vectors, compat: Compat = "strict"
) -> list[Measure]:
    """Recall at 1, 5 and 10 both ways; then, of a scene's K kinds of objects, how many are among the K nouns that
    lie closest to its picture."""
    paired = [place for place, item in enumerate(items) if item.image]
    found = _FINDING.score_embeddings([items[place] for place in paired], vectors[paired], compat)

    def similar(picture: int, texts: list[int]) -> Array:
        ((_, similarity),) = _retrieval.similarities(vectors[[picture]], vectors[texts])
        row: Array = similarity[0]
        return row

    return [*found, nouns_found(items, similar, compat)]


def nouns_found(
    items: Sequence[Item], similar: Callable[[int, list[int]], Array], compat: Compat = "strict"
) -> Measure:
    """Noun recall from similarities of the picture at a place among the items with the texts at others."""
    texts: dict[str, dict[str, int]] = {}
    for place, item in enumerate(items):
        if "noun" in item.truth:
            texts.setdefault(item.truth["background"], {})[item.truth["noun"]] = place
    rows: dict[str, tuple[float, ...]] = {}
    for place, item in enumerate(items):
        if "nouns" in item.truth:
            near = texts[item.truth["background"]]
            similarity = similar(place, [*near.values()])
            right = np.isin([*near], item.truth["nouns"])
            # Of equal ones the wrong first, or the lower index; as `_retrieval.TIES` says.
            ties = right if _retrieval.TIES[compat] == "against" else np.arange(len(right))
            first = np.lexsort((ties, -similarity))[: right.sum()]
            rows[item.id] = (float(right[first].sum()), float(right.sum()))
    return Measure(NOUNS_FOUND, rows)
