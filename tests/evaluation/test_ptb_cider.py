"""Tokens and CIDEr against the reference scorer's own output, and what must hold of any captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError
from looksay.evaluation.metrics import cider
from looksay.texts import ptb

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
        ("two 12-inch pizzas from the 1980s", "two 12-inch pizzas from the 1980s"),
        ("aged 11-15, 10cm or 5.5cm, at 10:30am", "aged 11-15 10cm or 5.5 cm at 10:30 am"),
        ("a 1/2-inch and/or 16:9 set, 3D, 2x4", "a 1/2-inch and/or 16:9 set 3d 2x4"),
        ("J. Smith of the U.S. Navy, Ph.D.", "j. smith of the u.s. navy ph.d."),
        ("in room B. The dog in room B. barks", "in room b the dog in room b. barks"),
        ("K. A. Congdon", "k. a. congdon"),
        ("said Malcolm X. A man", "said malcolm x a man"),
        ("rock 'n' roll of the '90s, 'tis", "rock 'n' roll of the '90s 't is"),
        ("it’s o’brien’s dogs’ bowl", "it 's o’brien 's dogs bowl"),
        ("wouldn't've, y'all gotta", "would n't 've y' all got ta"),
        ("$5.50, £5, 5¢, 1½ cups, 25°", "$ 5.50 # 5 5 cents 1 1/2 cups 25 °"),
        ("@user #tag C++ AT&T US$5 a.b@c.org", "@user #tag c++ at&t us$ 5 a.b@c.org"),
        ("wait.. what?! --- no ----- :)", "wait what ?! no ----- :-rrb-"),
        ("tea &amp; milk &lt; 5", "tea & milk < 5"),
        ("हिन्दी में 😀 ★", "हिन्दी में ★"),
        ("see no. 5 and fig. 3a, p. 4", "see no. 5 and fig. 3a p. 4"),
        ("a fig. 5 No", "a fig. 5 no"),
        ("soft\u00adhyphen, zero\u200bwidth", "softhyphen zero width"),
        ("", ""),
        (" \n\t", ""),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert ptb.tokenize(text) == tokens.split()


@given(st.text(alphabet="aAbs5.,;:'’`\"-/()!? &@#$_<>½…—é\0\n", max_size=40))
def test_any_mixture_of_signs_has_tokens_and_no_more_letters_than_it_had(text: str) -> None:
    tokens = ptb.tokenize(text)
    kept = [sign for token in tokens for sign in token if sign in "abs5é"]
    assert all(token.split() == [token] for token in tokens)
    assert [sign for sign in text.lower() if sign in "as5é"] == [
        sign for sign in kept if sign in "as5é"
    ]


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


def test_own_tokens_move_cider_by_less_than_the_third_digit(golden: dict[str, Any]) -> None:
    keys = list(golden["references"])
    scores = cider.cider(
        [ptb.tokenize(golden["candidates"][key][0]) for key in keys],
        [[ptb.tokenize(text) for text in golden["references"][key]] for key in keys],
    )
    assert sum(scores) / len(scores) == pytest.approx(
        golden["golden"]["overall"]["CIDEr"], abs=2e-3
    )


@given(st.data())
def test_order_changes_no_score(data: st.DataObject) -> None:
    references = data.draw(
        st.lists(st.lists(CAPTION, min_size=1, max_size=3), min_size=2, max_size=5)
    )
    captions = [data.draw(CAPTION) for _ in references]
    order = data.draw(st.permutations(range(len(captions))))
    plain = cider.cider(captions, references)
    moved = cider.cider([captions[i] for i in order], [references[i] for i in order])
    assert moved == [plain[i] for i in order]


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
    (tmp_path / "df.json").write_text('{"images": 0, "counts": {}}')
    with pytest.raises(InputError, match="counts no image"):
        cider.Frequencies.load(tmp_path / "df.json")
