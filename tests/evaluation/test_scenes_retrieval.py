"""The benchmark of scenes for dual encoders: what its figures are for encoders of which they are known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from looksay.data.scenes.atlas import NOUNS
from looksay.evaluation import benchmark
from looksay.evaluation.benchmark import Item
from looksay.evaluation.benchmarks import scenes_retrieval

NAMES = [noun.name for noun in NOUNS]


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return benchmark.checked(scenes_retrieval.read(number=40), "scenes_retrieval")


def kinds(items: list[Item]) -> Counter[str]:
    return Counter(
        "picture" if item.conversation.images else "noun" if "noun" in item.truth else "caption"
        for item in items
    )


def texts(items: list[Item]) -> list[str]:
    return [item.conversation.messages[0].text for item in items if item.image]


def unit(rows: list[np.ndarray]) -> np.ndarray:
    table = np.stack(rows).astype(np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def words_of(item: Item) -> list[str]:
    """Nouns that a picture shows or a text names, in the singular."""
    if "nouns" in item.truth:
        return list(item.truth["nouns"])
    said = item.conversation.messages[0].text.lower()
    return [n.name for n in NOUNS if n.name in said or n.plural in said]


def figures(items: list[Item], vectors: np.ndarray, compat: str = "strict") -> dict[str, float]:
    found = scenes_retrieval.score_embeddings(items, vectors, compat)  # type: ignore[arg-type]
    return {one.name: 100 * one.value(*np.sum(list(one.rows.values()), axis=0)) for one in found}


def test_every_caption_is_said_of_one_scene_only(items: list[Item]) -> None:
    found = kinds(items)
    assert found["picture"] == found["caption"] == 40
    captions = [text for text in texts(items) if text]
    assert len(set(captions)) == 40
    backgrounds = {i.truth["background"] for i in items if "nouns" in i.truth}
    assert found["noun"] == len(backgrounds) * len(NOUNS)


def test_it_is_found_by_name_and_its_thousand_scenes_are_there() -> None:
    module, variant = benchmark.load("scenes_retrieval")
    found = module.read(None, variant)  # type: ignore[arg-type]
    assert kinds(found)["picture"] == kinds(found)["caption"] == 1000


def test_pictures_that_know_their_caption_and_nouns_find_all(items: list[Item]) -> None:
    own = {item.image: np.eye(40)[n] for n, item in enumerate(items[:40])}

    def row(item: Item) -> np.ndarray:
        nouns = np.zeros(len(NAMES))
        nouns[[NAMES.index(word) for word in words_of(item)]] = 1.0
        return np.concatenate([10 * own.get(item.image, np.zeros(40)), nouns])

    found = figures(items, unit([row(item) for item in items]))
    assert found == {
        **{f"{way} retrieval R@{k}": 100.0 for way in ("text", "image") for k in (1, 5, 10)},
        "noun recall, same background": 100.0,
    }


def test_an_encoder_of_backgrounds_and_captions_finds_no_nouns(items: list[Item]) -> None:
    """What the second half is for: retrieval is perfect, and of nouns there is nothing but chance."""
    own = {item.image: np.eye(40)[n] for n, item in enumerate(items[:40])}
    random = np.random.default_rng(0)
    blind = [
        np.concatenate([10 * own.get(item.image, np.zeros(40)), random.normal(size=8)])
        for item in items
    ]
    found = figures(items, unit(blind))
    assert found["text retrieval R@1"] == 100.0
    assert found["noun recall, same background"] < 10


def test_one_that_says_the_same_of_everything_finds_nothing(items: list[Item]) -> None:
    same = unit([np.ones(4)] * len(items))
    assert set(figures(items, same).values()) == {0.0}
    by_index = figures(items, same, "official")
    assert by_index["text retrieval R@1"] == 100 / 40


def test_a_scene_of_two_kinds_counts_both() -> None:
    items = scenes_retrieval.read(number=40)
    picture = next(item for item in items if len(item.truth.get("nouns", ())) == 2)
    one = picture.truth["nouns"][0]

    def row(item: Item) -> np.ndarray:
        nouns = np.zeros(len(NAMES))
        for word in [one] if item is picture else words_of(item):
            nouns[NAMES.index(word)] = 1.0
        return nouns + 1e-3 * np.arange(len(NAMES))

    vectors = unit([row(item) for item in items])
    (measure,) = [
        m for m in scenes_retrieval.score_embeddings(items, vectors) if m.name.startswith("noun")
    ]
    assert measure.rows[picture.id] == (1.0, 2.0)
