"""Likelihoods of given answers are what the model's own loss says of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

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
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

CHOICES = ("a dog", "a cat with a dog", "no")


def model() -> object:
    return tiny_llava(seed=0, tokenizer=word_tokenizer()).eval()


PICTURE = Image(Pillow.effect_noise((48, 32), 90).convert("RGB"))


def asked() -> Conversation:
    return Conversation.ask(PICTURE, "What is there?")


@pytest.mark.parametrize("turns", [0, 1])
def test_they_are_the_loss_of_each_answer_alone(turns: int) -> None:
    llava = model()
    talk = asked()
    if turns:
        more = (Message("assistant", ("a cat",)), Message("user", ("Where?",)))
        talk = Conversation((*talk.messages, *more))
    found = log_likelihoods(llava, talk, CHOICES)
    said = len(llava.prepare(talk).ids)  # type: ignore[attr-defined]
    for choice, value in zip(CHOICES, found, strict=True):
        whole = Conversation((*talk.messages, Message("assistant", (choice,))))
        row = llava.encode(Example("", whole))  # type: ignore[attr-defined]
        labels = [batching.IGNORE] * said + row.labels[said:]
        batch = batching.pad([batching.Sequence(row.ids, labels, row.pixels)])
        with torch.inference_mode():
            loss = llava(batch)["lm"]  # type: ignore[operator]
        assert value == pytest.approx(-float(loss) * batch.learned, abs=1e-4)
    assert len(set(found)) == 3


def test_a_ranked_answer_is_one_of_the_choices(tmp_path: Path) -> None:
    checkpoint.save(model(), tmp_path / "model")
    backend = load(f"local:{tmp_path / 'model'}")
    items = [Item("1", asked(), choices=CHOICES), Item("2", asked(), choices=CHOICES[::-1])]
    found = ask(_Ranking(backend, items), items, tmp_path / "a.jsonl", Options())
    first, second = found.answers
    assert first.text == second.text
    assert first.text in CHOICES
