"""Likelihoods of given answers are those of their tokens, whatever else is asked about at once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from conftest import need

pytestmark = pytest.mark.local
for package in ("torch", "transformers"):
    need(importlib.util.find_spec(package), f"{package} is missing")

import torch  # noqa: E402
from models.tiny import tiny_llava, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.backends import load  # noqa: E402
from looksay.evaluation.benchmark import Item  # noqa: E402
from looksay.evaluation.run import _Ranking, ask  # noqa: E402
from looksay.models import batching, checkpoint  # noqa: E402
from looksay.models.likelihood import log_likelihoods  # noqa: E402
from looksay.types import Conversation, Image, Message, Options  # noqa: E402

CHOICES = ("a dog", "a cat with a dog", "no")


def model() -> object:
    return tiny_llava(seed=0, tokenizer=word_tokenizer()).eval()


PICTURE = Image(Pillow.effect_noise((48, 32), 90).convert("RGB"))


def asked() -> Conversation:
    return Conversation.ask(PICTURE, "What is there?")


BY_HAND = {
    "a dog": ["a", "dog", "<end>"],
    "a cat with a dog": ["a", "cat", "with", "a", "dog", "<end>"],
    "no": ["no", "<end>"],
}
"""The tokens of each answer, its end included."""


def talk(turns: int) -> Conversation:
    if not turns:
        return asked()
    more = (Message("assistant", ("a cat",)), Message("user", ("Where?",)))
    return Conversation((*asked().messages, *more))


@pytest.mark.parametrize("turns", [0, 1])
def test_they_are_the_log_probabilities_of_the_answer_s_tokens_one_after_another(
    turns: int,
) -> None:
    llava: Any = model()
    vocabulary = llava.tokenizer.get_vocab()
    found = log_likelihoods(llava, talk(turns), CHOICES)
    prompt = llava.prepare(talk(turns))
    assert prompt.ids[-1] == vocabulary["<assistant>"]  # what follows is the answer
    for choice, value in zip(CHOICES, found, strict=True):
        total, ids = 0.0, list(prompt.ids)
        for token in BY_HAND[choice]:
            row = batching.Sequence(ids, [batching.IGNORE] * len(ids), prompt.pixels)
            with torch.inference_mode():
                hidden = llava.hidden(batching.pad([row]))[:, -1]
                chances = llava.language.logits(hidden).float().log_softmax(-1)[0]
            total += float(chances[vocabulary[token]])
            ids.append(vocabulary[token])
        assert value == pytest.approx(total, abs=1e-4)
    assert len(set(found)) == 3


def test_a_picture_is_looked_at_once_however_many_choices_there_are() -> None:
    llava: Any = model()
    shown: list[int] = []
    llava.tower.register_forward_pre_hook(lambda _, given: shown.append(len(given[0])))
    log_likelihoods(llava, asked(), CHOICES)
    assert shown == [1]


@pytest.mark.parametrize("turns", [0, 1])
def test_what_stands_beside_a_choice_changes_nothing(turns: int) -> None:
    llava: Any = model()
    whole = dict(zip(CHOICES, log_likelihoods(llava, talk(turns), CHOICES), strict=True))
    for others in ((), CHOICES[::-1], ("no", "no"), ("is there a large red fox near the house",)):
        for choice in CHOICES:
            first = log_likelihoods(llava, talk(turns), (choice, *others))[0]
            assert first == pytest.approx(whole[choice], abs=1e-4)


def test_a_ranked_answer_is_one_of_the_choices(tmp_path: Path) -> None:
    checkpoint.save(model(), tmp_path / "model")
    backend = load(f"local:{tmp_path / 'model'}")
    items = [Item("1", asked(), choices=CHOICES), Item("2", asked(), choices=CHOICES[::-1])]
    found = ask(_Ranking(backend, items), items, tmp_path / "a.jsonl", Options())
    first, second = found.answers
    assert first.text == second.text
    assert first.text in CHOICES
