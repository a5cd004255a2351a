"""Tokens and CIDEr against the reference scorer's own output, and what must hold of any captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError
from looksay.evaluation.metrics import cider, ptb

SETS = [
    "caption-coco80/given",
    "caption-abstract50s/given",
    "caption-edge/given",
    "caption-nlgeval/given",
    "clipscore-example/good",
    "clipscore-example/bad",
]
WORDS = st.sampled_from(["a", "two", "dogs", "cat", "sees", "on", "red", "bus"])
CAPTION = st.lists(WORDS, min_size=1, max_size=9)


@pytest.fixture(params=SETS)
def golden(request: pytest.FixtureRequest, shared_data: Path) -> dict[str, Any]:
    folder = shared_data.parent / "golden" / request.param
    names = ("candidates", "references", "ptb_tokens", "golden")
    found = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in names}
    found["candidates"] = {
        key: text if isinstance(text, list) else [text] for key, text in found["candidates"].items()
    }
    return found


def test_tokens_are_those_of_the_reference(golden: dict[str, Any]) -> None:
    for part in ("references", "candidates"):
        for key, texts in golden[part].items():
            for text, expected in zip(texts, golden["ptb_tokens"][part][key], strict=True):
                assert ptb.tokenize(text) == expected.split(), text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The U.S. flag, 1,000 m high", "the u.s. flag 1,000 m high"),
        ("They can't; cannot; won't", "they ca n't can not wo n't"),
        ("the dogs' bowls", "the dogs bowls"),
        ("a 3rd-floor flat at No. 5", "a 3rd-floor flat at no. 5"),
        ("no. Really no.", "no really no"),
        ("«Café» — naïve…", "café naïve"),
        ("두 마리의 개", "두 마리의 개"),
        ("", ""),
        (" \n\t", ""),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert ptb.tokenize(text) == tokens.split()


@given(st.text(max_size=60))
def test_any_text_has_tokens_without_white_space(text: str) -> None:
    for token in ptb.tokenize(text):
        assert token.split() == [token]


@pytest.mark.parametrize(
    ("variant", "name"), [("D", "CIDEr"), ("original", "CIDEr_original_vrama91")]
)
def test_cider_is_the_reference_s(golden: dict[str, Any], variant: Any, name: str) -> None:
    keys = list(golden["references"])
    tokens = golden["ptb_tokens"]
    scores = cider.cider(
        [tokens["candidates"][key][0].split() for key in keys],
        [[text.split() for text in tokens["references"][key]] for key in keys],
        variant=variant,
    )
    assert sum(scores) / len(scores) == pytest.approx(golden["golden"]["overall"][name], abs=1e-9)
    per_sample = golden["golden"]["per_sample"]
    for key, score in zip(keys, scores, strict=True):
        assert score == pytest.approx(per_sample[key][name], abs=1e-9), key


@given(st.lists(st.lists(CAPTION, min_size=1, max_size=3), min_size=2, max_size=4))
def test_a_reference_repeated_scores_highest(references: list[list[list[str]]]) -> None:
    single = [captions[:1] for captions in references]
    copied = cider.cider([captions[0] for captions in single], single)
    other = cider.cider([captions[0] for captions in reversed(single)], single)
    assert all(-1e-9 <= b <= a + 1e-9 <= 10 + 1e-6 for a, b in zip(copied, other, strict=True))


def test_one_image_alone_scores_nothing() -> None:
    assert cider.cider([["a", "dog"]], [[["a", "dog"]]]) == [0.0]


def test_a_subset_with_the_saved_table_scores_as_in_the_whole(tmp_path: Path) -> None:
    references = [[["a", "dog"], ["dogs"]], [["a", "cat", "sits"]], [["two", "birds", "fly", "up"]]]
    captions = [["a", "dog"], ["a", "cat", "sits", "up"], ["two", "birds"]]
    whole = cider.cider(captions, references)
    cider.Frequencies.of(references).save(tmp_path / "df.json")
    table = cider.Frequencies.load(tmp_path / "df.json")
    assert cider.cider(captions[1:], references[1:], frequencies=table) == whole[1:]
    assert cider.cider(captions[1:], references[1:]) != whole[1:]


def test_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no reference"):
        cider.cider([["a"]], [[]])
    with pytest.raises(InputError, match="1 captions, but references of 2"):
        cider.cider([["a"]], [[["a"]], [["b"]]])
    (tmp_path / "df.json").write_text("[]")
    with pytest.raises(InputError, match=r"df\.json"):
        cider.Frequencies.load(tmp_path / "df.json")
