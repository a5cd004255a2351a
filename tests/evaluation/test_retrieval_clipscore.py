"""Retrieval and CLIPScore: cases worked by hand, the golden ranks, and what must always hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError
from looksay.evaluation.metrics.clipscore import PROMPT, clipscore, ref_clipscore
from looksay.evaluation.metrics.retrieval import candidates, reranked, retrieval

# Two images, captions 0 and 1 of the first, 2 and 3 of the second.
BY_HAND = np.array([[0.1, 0.9, 0.9, 0.2], [0.5, 0.9, 0.4, 0.3]])
IMAGE_OF = [0, 0, 1, 1]


def test_retrieval_is_the_golden(shared_data: Path) -> None:
    folder = shared_data.parent / "golden/retrieval/given"
    similarity = np.array(json.loads((folder / "similarity.json").read_text()))
    golden = json.loads((folder / "golden.json").read_text())
    found = retrieval(similarity, [column // 5 for column in range(similarity.shape[1])])
    for name, own in (("image_to_text(TR)", found.text), ("text_to_image(IR)", found.image)):
        expected = golden[name]
        assert {f"R@{k}": pytest.approx(100 * v) for k, v in own.recall.items()} == {
            key: value for key, value in expected.items() if key.startswith("R@")
        }
        assert own.median_rank == expected["MedR"]
        assert own.mean_rank == pytest.approx(expected["MeanR"])


@pytest.mark.parametrize(
    ("ties", "text", "image"),
    [
        # First image: caption 1 ties with the wrong caption 2. Caption 1: both images tie.
        ("index", [0, 2], [1, 0, 1, 0]),
        ("against", [1, 2], [1, 1, 1, 0]),
        ("for", [0, 2], [1, 0, 1, 0]),
    ],
)
def test_ties_fall_as_the_rule_says(ties: Any, text: list[int], image: list[int]) -> None:
    found = retrieval(BY_HAND, IMAGE_OF, ties=ties, at=(1, 2))
    assert found.text_ranks.tolist() == text
    assert found.image_ranks.tolist() == image
    assert found.text.recall == {1: text.count(0) / 2, 2: sum(rank < 2 for rank in text) / 2}
    assert found.text.median_rank == 2.0  # of ranks 1 and 3, or 2 and 3
    assert found.image.mean_rank == 1 + sum(image) / 4


def test_lower_index_wins_a_tie_also_against_the_right_answer() -> None:
    found = retrieval(np.ones((2, 2)), [1, 0])
    assert found.text_ranks.tolist() == found.image_ranks.tolist() == [1, 0]


def test_who_says_the_same_of_everything_finds_nothing_if_ties_count_against() -> None:
    found = retrieval(np.ones((20, 40)), [column // 2 for column in range(40)], ties="against")
    assert set(found.text.recall.values()) == set(found.image.recall.values()) == {0.0}


@given(st.integers(2, 6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_order_changes_nothing_and_the_perfect_is_first(
    images: int, captions: int, chance: Any
) -> None:
    draw = np.random.default_rng(chance.randrange(1 << 30))
    image_of = np.repeat(np.arange(images), captions)
    similarity = draw.integers(0, 4, (images, len(image_of))) / 4
    rows, columns = draw.permutation(images), draw.permutation(len(image_of))
    place = np.argsort(rows)
    for ties in ("against", "for"):
        plain = retrieval(similarity, image_of.tolist(), ties=ties)
        moved = retrieval(
            similarity[rows][:, columns], place[image_of[columns]].tolist(), ties=ties
        )
        assert moved.text_ranks.tolist() == plain.text_ranks[rows].tolist()
        assert moved.image_ranks.tolist() == plain.image_ranks[columns].tolist()
    perfect = (np.arange(images)[:, None] == image_of[None, :]).astype(float)
    best = retrieval(perfect, image_of.tolist(), ties="against")
    assert set(best.text.recall.values()) == set(best.image.recall.values()) == {1.0}
    assert best.text.median_rank == best.image.mean_rank == 1.0


def test_reranking_orders_the_first_and_leaves_the_rest_behind() -> None:
    similarity = np.array([[0.9, 0.8, 0.1, 0.3], [0.2, 0.6, 0.5, 0.4]])
    assert candidates(similarity, 2, queries="images").tolist() == [[0, 1], [1, 2]]
    matching = np.full(similarity.shape, np.nan)
    matching[0, [0, 1]] = [-9.0, 3.0]
    matching[1, [1, 2]] = [0.0, 2.0]
    found = reranked(similarity, matching, 2, queries="images")
    assert np.argsort(-found).tolist() == [[1, 0, 3, 2], [2, 1, 3, 0]]
    assert retrieval(found, IMAGE_OF).text_ranks.tolist() == [0, 0]
    # At a temperature of 1/200 the first picture's cosines differ by 20, more than its log-odds by 12.
    found = reranked(similarity, matching, 2, queries="images", temperature=1 / 200)
    assert np.argsort(-found).tolist() == [[0, 1, 3, 2], [1, 2, 3, 0]]

    assert candidates(similarity, 1, queries="texts").tolist() == [[0, 0, 1, 1]]
    matching = np.full(similarity.shape, np.nan)
    matching[[0, 0, 1, 1], range(4)] = 0.0
    found = reranked(similarity, matching, 1, queries="texts")
    assert (found.argmax(axis=0) == similarity.argmax(axis=0)).all()
    with pytest.raises(InputError, match="4 have no matching score"):
        reranked(similarity, matching, 2, queries="texts")
    with pytest.raises(InputError, match="expected 1 to 4"):
        candidates(similarity, 5, queries="images")
    with pytest.raises(InputError, match="same shape"):
        reranked(similarity, matching[:1], 1, queries="texts")


@pytest.mark.parametrize(
    ("similarity", "image_of", "message"),
    [
        (np.ones((2, 3)), [0, 1], "names 2 captions"),
        (np.ones((2, 2)), [0, 2], "Caption 1 belongs to image 2"),
        (np.ones((2, 2)), [0, 0], "Image 1 has no caption"),
        (np.array([[np.nan]]), [0], "not numbers"),
    ],
)
def test_faults_of_retrieval_are_told(similarity: Any, image_of: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        retrieval(similarity, image_of)


def test_clipscore_by_hand() -> None:
    images = np.array([[2.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    captions = np.array([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [3.0, 4.0]])
    scores = clipscore(images, captions)
    assert scores == pytest.approx([2.5, 2.5 / np.sqrt(2), 0.0, 2.0])
    # Best cosines with references: 1, -1 (counts as 0), 1, 0.96 (of 0.6 and 0.96).
    references = [
        np.array([[1.0, 0.0], [0.0, 1.0]]),
        np.array([[-1.0, 0.0]]),
        np.array([[-2.0, 0.0]]),
        np.array([[1.0, 0.0], [4.0, 3.0]]),
    ]
    found = ref_clipscore(images, captions, references)
    harmonic = [2 * 2.5 / 3.5, 0.0, 0.0, 2 * 2.0 * 0.96 / 2.96]
    assert found == pytest.approx(harmonic)
    assert PROMPT == "A photo depicts "


@given(st.integers(1, 5), st.integers(0, 1 << 30))
def test_clipscore_heeds_neither_order_nor_length(rows: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    images, captions = draw.normal(size=(2, rows, 8))
    references = [draw.normal(size=(3, 8)) for _ in range(rows)]
    order = draw.permutation(rows)
    plain = ref_clipscore(images, captions, references)
    moved = ref_clipscore(
        4 * images[order], captions[order].astype(np.float32), [references[i] for i in order]
    )
    assert moved == pytest.approx(plain[order], abs=1e-6)
    assert clipscore(images, 3 * images) == pytest.approx(np.full(rows, 2.5))
    best = ref_clipscore(images, images, [image[None] for image in images])
    assert (plain <= best + 1e-9).all()


def test_faults_of_clipscore_are_told() -> None:
    one = np.ones((1, 4))
    with pytest.raises(InputError, match="expected the same shape"):
        clipscore(one, np.ones((2, 4)))
    with pytest.raises(InputError, match="Row 0 of the embeddings of captions has no direction"):
        clipscore(one, np.zeros((1, 4)))
    with pytest.raises(InputError, match="expected one row each"):
        clipscore(one[0], one[0])
    with pytest.raises(InputError, match="References of image number 0"):
        ref_clipscore(one, one, [np.ones((0, 4))])
    with pytest.raises(InputError, match="1 captions, but references of 2"):
        ref_clipscore(one, one, [one, one])
