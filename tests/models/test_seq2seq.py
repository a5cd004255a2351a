"""Language models with an encoder: the same loss and words as T5ForConditionalGeneration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import tiny_llava  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import IGNORE, collate, pad  # noqa: E402
from looksay.models.export import export  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def asked(seed: int, text: str, *answers: str) -> Example:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    turns: list[Message] = [Message("user", (Image(Pillow.fromarray(pixels)), text))]
    for number, answer in enumerate(answers):
        if number:
            turns.append(Message("user", ("and ?",)))
        turns.append(Message("assistant", (answer,)))
    return Example(str(seed), Conversation(tuple(turns)))


EXAMPLES = [
    asked(1, "what is this ?", "a dog"),
    asked(2, "how many objects ?", "four small red fox"),
    asked(3, "what ?", "a cat"),
]


def theirs(model: Any, example: Example, spoken: bool = False) -> Any:
    """T5 itself on one example of one turn: the prompt read, the answer as its labels."""
    sequence = model.encode(example)
    learned = [label != IGNORE for label in sequence.labels]
    at = learned.index(True)
    ids = torch.tensor([sequence.ids])
    images = model.connector(model.tower(torch.stack(sequence.pixels)))
    embeds = model.embed(ids, images)[:, :at]
    if spoken:
        return model.language.model.generate(
            inputs_embeds=embeds, max_new_tokens=12, do_sample=False
        )
    labels = torch.tensor([[i for i in sequence.labels if i != IGNORE]])
    return model.language.model(inputs_embeds=embeds, labels=labels).loss


@pytest.mark.parametrize("scaled", [False, True])
def test_the_loss_is_that_of_t5_packed_or_not(scaled: bool) -> None:
    model = tiny_llava(language="t5")
    model.language.model.config.scale_decoder_outputs = scaled
    with torch.no_grad():
        each = [theirs(model, example) for example in EXAMPLES]
        sequences = [model.encode(example) for example in EXAMPLES]
        counts = [sum(label != IGNORE for label in s.labels) for s in sequences]
        expected = sum(n * e for n, e in zip(counts, each, strict=True)) / sum(counts)
        torch.testing.assert_close(model(pad(sequences))["lm"], expected, **CLOSE)
        packed = collate([[sequences[0], sequences[2]], [sequences[1]]])
        torch.testing.assert_close(model(packed)["lm"], expected, **CLOSE)


def test_each_answer_of_a_conversation_reads_what_was_said_before() -> None:
    model = tiny_llava(language="t5")
    long = asked(4, "what is this ?", "a dog", "red")
    short = Example("5", Conversation(long.conversation.messages[:2]))
    with torch.no_grad():
        hidden = model.hidden(pad([model.encode(long)]))[0]
        first = model.hidden(pad([model.encode(short)]))[0]
        length = len(model.encode(short).ids)
        torch.testing.assert_close(hidden[: length - 1], first[: length - 1], **CLOSE)
        assert float(hidden[length:].abs().sum()) > 0


def test_words_are_those_of_t5_alone_and_in_a_batch(tmp_path: Path) -> None:
    model = tiny_llava(language="t5")
    prompts = [Conversation(example.conversation.messages[:1]) for example in EXAMPLES]
    options = Options(max_tokens=12)
    together = model.generate(prompts, options)
    for example, prompt, answer in zip(EXAMPLES, prompts, together, strict=True):
        with torch.no_grad():
            ids = theirs(model, example, spoken=True)[0, 1:]
        assert answer.text == model.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert model.generate([prompt], options) == [answer]
        assert "".join(model.stream(prompt, options)) == answer.text
    checkpoint.save(model, tmp_path / "ours")
    assert checkpoint.load(tmp_path / "ours").generate(prompts, options) == together
    with pytest.raises(InputError, match="has an encoder"):
        export(tmp_path / "ours", tmp_path / "official")


def test_it_learns() -> None:
    torch.manual_seed(0)
    model = tiny_llava(language="t5").train()
    batch = pad([model.encode(EXAMPLES[0]), model.encode(EXAMPLES[2])])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(batch)["lm"].backward()
        optimizer.step()
    prompts = [Conversation(EXAMPLES[n].conversation.messages[:1]) for n in (0, 2)]
    answers = model.generate(prompts, Options(max_tokens=8))
    assert [answer.text for answer in answers] == ["a dog", "a cat"]


def test_an_answer_with_nothing_before_it_is_refused() -> None:
    model = tiny_llava(language="t5")
    alone = model.encode(asked(4, "what is this ?", "a dog"))
    at = next(n for n, label in enumerate(alone.labels) if label != IGNORE)
    bare = replace(alone, ids=alone.ids[at:], labels=alone.labels[at:], pixels=())
    with pytest.raises(InputError, match="begins with its answer"):
        model(pad([bare]))
