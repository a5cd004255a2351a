"""BLEU and ROUGE-L: cases worked by hand, the reference scorer's own output, and what must always hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError
from looksay.evaluation.metrics import bleu, rouge

SETS = [
    "caption-coco80/given",
    "caption-abstract50s/given",
    "caption-edge/given",
    "caption-nlgeval/given",
    "clipscore-example/good",
    "clipscore-example/bad",
]
CAPTION = st.lists(st.sampled_from(["a", "two", "dogs", "on", "red"]), max_size=9)
REFERENCES = st.lists(CAPTION, min_size=1, max_size=3)


@pytest.fixture(params=SETS)
def golden(request: pytest.FixtureRequest, shared_data: Path) -> dict[str, Any]:
    folder = shared_data.parent / "golden" / request.param
    tokens = json.loads((folder / "ptb_tokens.json").read_text("utf-8"))
    found: dict[str, Any] = json.loads((folder / "golden.json").read_text("utf-8"))
    keys = list(found["per_sample"])
    # A mixed number holds a no-break space, at which ROUGE does not split there.
    for name, split in (
        ("bleu", str.split),
        ("rouge", lambda text: text.split(" ") if text else []),
    ):
        captions = [split(tokens["candidates"][key][0]) for key in keys]
        found[name] = (
            captions,
            [[split(one) for one in tokens["references"][key]] for key in keys],
        )
    found["each"] = [found["per_sample"][key] for key in keys]
    return found


def test_bleu_is_the_reference_s(golden: dict[str, Any]) -> None:
    each = bleu.per_caption(*golden["bleu"])
    whole = bleu.bleu(bleu.total(each))
    assert whole == pytest.approx([golden["overall"][f"Bleu_{n}"] for n in (1, 2, 3, 4)], abs=1e-9)
    for counted, expected in zip(each, golden["each"], strict=True):
        own = [expected[f"Bleu_{n}"] for n in (1, 2, 3, 4)]
        assert bleu.bleu(counted) == pytest.approx(own, abs=1e-9)


def test_rouge_is_the_reference_s(golden: dict[str, Any]) -> None:
    scores = list(map(rouge.rouge_l, *golden["rouge"]))
    assert scores == pytest.approx([one["ROUGE_L"] for one in golden["each"]], abs=1e-9)
    mean = sum(scores) / len(scores)
    assert mean == pytest.approx(golden["overall"]["ROUGE_L"], abs=1e-9)


def test_bleu_from_published_counts_is_the_published(shared_data: Path) -> None:
    folder = shared_data.parent / "golden/coco-fakecap"
    golden = json.loads((folder / "golden.json").read_text("utf-8"))
    counted = golden["bleu_counts"]
    found = bleu.bleu(
        bleu.Counts(
            counted["testlen"],
            counted["reflen"],
            tuple(counted["correct"]),
            tuple(counted["guess"]),
        )
    )
    expected = [golden["published"][f"Bleu_{n}"] for n in (1, 2, 3, 4)]
    assert [round(figure, 3) for figure in found] == expected


def test_bleu_by_hand() -> None:
    # Papineni's example: "the" is in no reference more than twice, so 2 of 7 count.
    counted = bleu.counts(
        ["the"] * 7,
        [["the", "cat", "is", "on", "the", "mat"], ["there", "is", "a", "cat", "on", "the", "mat"]],
    )
    assert counted == bleu.Counts(7, 7, (2, 0, 0, 0), (7, 6, 5, 4))
    # Three of four words, one of three pairs; as near to 3 as to 5 words, so 3 counts: no brevity penalty.
    counted = bleu.counts(["a", "red", "bus", "stops"], [["a", "red", "car"], ["stops"] * 5])
    assert counted == bleu.Counts(4, 3, (3, 1, 0, 0), (4, 3, 2, 1))
    one, two, three, four = bleu.bleu(counted)
    assert (one, two) == pytest.approx((0.75, math.sqrt(0.75 / 3)))
    assert 0 < three < 1e-4
    assert 0 < four < 1e-3
    # Half as long as its reference: all is right, and exp(1 - 2) is left.
    counted = bleu.counts(["a", "red"], [["a", "red", "bus", "stops"]])
    assert bleu.bleu(counted)[:2] == pytest.approx((math.exp(-1), math.exp(-1)))


def test_rouge_by_hand() -> None:
    # Best precision 3/3 from the first reference, best recall 2/2 from the second.
    assert (
        rouge.rouge_l(["a", "red", "bus"], [["a", "big", "red", "old", "bus"], ["a", "bus"]]) == 1.0
    )
    # Longest common subsequence 2: precision 2/4, recall 2/3.
    precision, recall, beta = 2 / 4, 2 / 3, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    found = rouge.rouge_l(["bus", "a", "red", "stops"], [["a", "red", "bus"]])
    assert found == pytest.approx(expected)
    assert rouge.rouge_l([], [["a"], []]) == 0.0
    assert rouge.rouge_l(["a"], [["b"], []]) == 0.0


@given(CAPTION, CAPTION)
def test_the_common_subsequence_is_the_longest(one: list[str], other: list[str]) -> None:
    row = [0] * (len(other) + 1)
    for token in one:
        before = row[:]
        for number, theirs in enumerate(other, 1):
            same = before[number - 1] + 1
            row[number] = same if token == theirs else max(before[number], row[number - 1])
    assert rouge.common(one, other) == row[-1] == rouge.common(other, one)


@given(st.lists(st.tuples(CAPTION, REFERENCES), min_size=1, max_size=5), st.data())
def test_counts_add_up_in_any_order(
    rows: list[tuple[list[str], list[list[str]]]], data: st.DataObject
) -> None:
    each = [bleu.counts(*row) for row in rows]
    moved = data.draw(st.permutations(each))
    parted = [bleu.total(each[:2]), bleu.total(each[2:])]
    assert bleu.total(each) == bleu.total(moved) == bleu.total(parted)
    assert all(0 <= figure <= 1 for figure in bleu.bleu(bleu.total(each)))


@given(st.lists(CAPTION.filter(lambda tokens: len(tokens) >= 4), min_size=1, max_size=4))
def test_what_repeats_its_reference_gets_the_maximum(captions: list[list[str]]) -> None:
    references = [[caption, ["two"]] for caption in captions]
    each = bleu.per_caption(captions, references)
    assert bleu.bleu(bleu.total(each)) == pytest.approx((1, 1, 1, 1), abs=1e-6)
    assert all(
        rouge.rouge_l(c, r) == pytest.approx(1) for c, r in zip(captions, references, strict=True)
    )


def test_faults_are_told() -> None:
    with pytest.raises(InputError, match="no reference"):
        bleu.counts(["a"], [])
    with pytest.raises(InputError, match="no reference"):
        rouge.rouge_l(["a"], [])
    with pytest.raises(InputError, match="2 captions, but references of 1"):
        bleu.per_caption([["a"], ["b"]], [[["a"]]])
