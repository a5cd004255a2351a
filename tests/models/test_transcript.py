"""The text of an answer while it grows is that of all its ids at once, with every kind of tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import toy_tokenizers as toys
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.models.decoding import WINDOW, Transcript

pytestmark = pytest.mark.local

KINDS: dict[str, Callable[[], Any]] = {
    "bytes": toys.byte_bpe,
    "sentencepiece": toys.sentencepiece,
    "llama": lambda: toys.llama(legacy=False),
    "llama, legacy": lambda: toys.llama(legacy=True),
    "words": toys.whole_words,
}


@pytest.mark.parametrize("kind", KINDS)
def test_text_grows_as_if_all_were_decoded_each_time(kind: str) -> None:
    tokenizer = KINDS[kind]()
    words = ["a dog ,", "what is  that ?", "Grüße", "강아지", "🦉", "x", " \n", "(1)"]

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.sampled_from(words), min_size=1, max_size=WINDOW))
    def grows(parts: list[str]) -> None:
        ids = tokenizer(" ".join(parts), add_special_tokens=False)["input_ids"]
        said = Transcript(tokenizer, (), (), max_tokens=10**6)
        pieces = ""
        for count, token in enumerate(ids, 1):
            assert not said.add(token)
            pieces += said.fresh()
            assert said.text == decoded(tokenizer, ids[:count])
        assert said.text.startswith(pieces)

    grows()


def decoded(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True).lstrip()
    return text


def test_long_answers_are_not_decoded_anew_with_every_word() -> None:
    tokenizer = toys.byte_bpe()
    seen: list[int] = []
    decode = tokenizer.decode

    class Counting:
        def decode(self, ids: list[int], **more: Any) -> Any:
            seen.append(len(ids))
            return decode(ids, **more)

    said = Transcript(Counting(), (), (), max_tokens=10**6)
    ids = tokenizer("what is that , a dog or a cat ? " * 60, add_special_tokens=False)["input_ids"]
    for token in ids:
        said.add(token)
    assert len(ids) > 6 * WINDOW
    assert max(seen) <= WINDOW + 1
    assert said.text == decode(ids).lstrip()
