"""LLaVA from parts: batches, packing, answers, streams, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import byte_tokenizer, tiny_llava  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models.batching import Batch, collate, pad  # noqa: E402
from looksay.models.connectors import MLP  # noqa: E402
from looksay.models.families.llava import Llava  # noqa: E402
from looksay.models.splice import SpliceError, splice  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def picture(seed: int, size: tuple[int, int] = (48, 32)) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def asked(seed: int, text: str, answer: str, images: int = 1) -> Example:
    shown = tuple(picture(seed * 10 + n) for n in range(images))
    turns = (Message("user", (*shown, text)), Message("assistant", (answer,)))
    return Example(str(seed), Conversation(turns))


EXAMPLES = [
    asked(1, "what is this ?", "a dog"),
    asked(2, "what are these two ?", "a cat and a small red fox", images=2),
    asked(3, "how many ?", "four"),
    asked(4, "is there a tree in the picture ?", "no , there is a house", images=0),
]
PROMPTS = [Conversation(example.conversation.messages[:1]) for example in EXAMPLES]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("language", ["llama", "qwen2", "opt"])
def test_packed_examples_learn_as_if_alone(language: str, attention: str) -> None:
    """No example sees another: each one's hidden states are those that it has in a row of its own."""
    model = tiny_llava(language=language, attention=attention)
    sequences = [model.encode(example) for example in EXAMPLES]
    packed = collate([[sequences[0], sequences[1]], [sequences[2], sequences[3], sequences[0]]])
    order = [0, 1, 2, 3, 0]
    with torch.inference_mode():
        rows = model.hidden(packed)
        found = [
            rows[row][packed.segments_BT[row] == segment]
            for row in range(2)
            for segment in range(1, int(packed.segments_BT[row].max()) + 1)
        ]
        for place, hidden in zip(order, found, strict=True):
            torch.testing.assert_close(hidden, model.hidden(pad([sequences[place]]))[0], **CLOSE)


def test_padding_on_either_side_changes_nothing() -> None:
    model = tiny_llava()
    sequences = [model.encode(example) for example in EXAMPLES[:2]]
    right, left = (model(pad(sequences, side=side))["lm"].detach() for side in ("right", "left"))
    torch.testing.assert_close(right, left, **CLOSE)


def test_the_image_decides_what_is_learned_and_said() -> None:
    model = tiny_llava()
    sequence = model.encode(EXAMPLES[0])
    batch = pad([sequence])
    other = Batch(
        batch.ids_BT, batch.labels_BT, batch.positions_BT, batch.segments_BT, batch.pixels_ICHW + 1
    )
    with torch.no_grad():
        assert not torch.isclose(model(batch)["lm"], model(other)["lm"], atol=1e-3)


def test_cached_features_stand_for_the_pixels() -> None:
    model = tiny_llava()
    batch = pad([model.encode(example) for example in EXAMPLES])
    with torch.no_grad():
        features = model.tower(batch.pixels_ICHW)
        cached = Batch(
            batch.ids_BT,
            batch.labels_BT,
            batch.positions_BT,
            batch.segments_BT,
            features_IND=features,
        )
        assert torch.equal(model(batch)["lm"], model(cached)["lm"])


def test_every_trained_part_gets_a_gradient_even_without_images() -> None:
    model = tiny_llava().train()
    model(pad([model.encode(EXAMPLES[3])]))["lm"].backward()
    assert all(weight.grad is not None for weight in model.connector.parameters())
    assert all(float(weight.grad.abs().sum()) == 0 for weight in model.connector.parameters())


def test_a_wrong_number_of_placeholders_is_told_with_both_counts() -> None:
    model = tiny_llava()
    batch = pad([model.encode(EXAMPLES[0])])
    ids = batch.ids_BT.clone()
    ids[ids == model.prompter.image_id] = 5
    ids[0, 3:18] = model.prompter.image_id
    wrong = Batch(ids, batch.labels_BT, batch.positions_BT, batch.segments_BT, batch.pixels_ICHW)
    with pytest.raises(
        SpliceError, match=r"15 image placeholders, but there are 16 image embeddings"
    ):
        model(wrong)
    without = Batch(batch.ids_BT, batch.labels_BT, batch.positions_BT, batch.segments_BT)
    with pytest.raises(SpliceError, match=r"16 image placeholders, but there are 0"):
        model(without)


def test_embeddings_go_where_the_placeholders_are_in_order() -> None:
    ids = torch.tensor([[1, 9, 9, 2, 9, 9], [9, 9, 1, 1, 1, 1]])
    words = torch.zeros(2, 6, 3)
    images = torch.arange(1.0, 19.0).reshape(3, 2, 3)
    placed = splice(words, ids, images, image_id=9)
    assert torch.equal(placed[0, [1, 2, 4, 5]], images[:2].flatten(0, 1))
    assert torch.equal(placed[1, :2], images[2])
    assert float(placed[0, [0, 3]].abs().sum() + placed[1, 2:].abs().sum()) == 0
    assert float(words.abs().sum()) == 0


@pytest.mark.parametrize("language", ["llama", "qwen2", "opt"])
def test_a_batch_answers_as_each_one_alone(language: str) -> None:
    model = tiny_llava(language=language)
    options = Options(max_tokens=20)
    together = model.generate(PROMPTS, options)
    assert together == [model.generate([prompt], options)[0] for prompt in PROMPTS]
    assert len({answer.text for answer in together}) > 1
    assert together == model.generate(PROMPTS, options, batch_size=2)


def test_rows_that_end_leave_the_batch_and_the_others_go_on() -> None:
    """A stop string ends one row early; the rest say what they would have said."""
    model = tiny_llava()
    full = model.generate(PROMPTS, Options(max_tokens=20))
    word = full[0].text.split()[2]
    cut = model.generate(PROMPTS, Options(max_tokens=20, stop=(word,)))
    for before, after in zip(full, cut, strict=True):
        assert after.text == before.text.split(word)[0].strip()
        if word in before.text:
            assert after.finish_reason == "stop"
            assert after.completion_tokens < before.completion_tokens
    assert cut[0].finish_reason == "stop"


@pytest.mark.parametrize("tokenizer", [None, byte_tokenizer])
@pytest.mark.parametrize("stop", [(), ("e",), ("dog", "ig")])
def test_the_pieces_of_a_stream_join_to_the_answer(tokenizer: Any, stop: tuple[str, ...]) -> None:
    for seed in range(3):
        model = tiny_llava(tokenizer=tokenizer and tokenizer(), seed=seed)
        for prompt in PROMPTS:
            options = Options(max_tokens=30, stop=stop, temperature=1.0, seed=seed)
            pieces = list(model.stream(prompt, options))
            assert "".join(pieces) == model.generate([prompt], options)[0].text
            assert all(pieces)


def test_a_stream_comes_piece_by_piece_and_can_be_left() -> None:
    model = tiny_llava()
    model.train()
    stream = model.stream(PROMPTS[0], Options(max_tokens=200))
    first = next(stream)
    assert 0 < len(first) < 20
    stream.close()
    assert model.training  # as it was


def test_a_seed_fixes_what_is_drawn_whatever_stands_beside_it() -> None:
    model = tiny_llava()
    options = Options(max_tokens=16, temperature=1.5, seed=7)
    drawn = model.generate(PROMPTS, options)
    assert drawn == [model.generate([prompt], options)[0] for prompt in PROMPTS]
    torch.manual_seed(0)
    torch.rand(5)
    assert drawn == model.generate(PROMPTS, options)
    other = Options(max_tokens=16, temperature=1.5, seed=8)
    assert drawn != model.generate(PROMPTS, other)
    free = Options(max_tokens=16, temperature=1.5)
    assert model.generate(PROMPTS, free) != model.generate(PROMPTS, free)


def test_a_tiny_top_p_is_the_best_word_each_time() -> None:
    model = tiny_llava()
    best = model.generate(PROMPTS, Options(max_tokens=12))
    assert best == model.generate(
        PROMPTS, Options(max_tokens=12, temperature=2.0, top_p=1e-6, seed=1)
    )


def test_the_end_token_ends_an_answer() -> None:
    model = tiny_llava(language="llama")
    end = model.tokenizer.eos_token_id
    with torch.no_grad():
        model.language.head[0][end] += 3 * model.language.head[0].mean(0)
    answers = [
        answer
        for seed in range(8)
        for answer in model.generate(PROMPTS, Options(max_tokens=60, temperature=2.0, seed=seed))
    ]
    ended = [answer for answer in answers if answer.finish_reason == "stop"]
    assert ended
    assert all("<end>" not in answer.text for answer in answers)
    assert all(a.completion_tokens == 60 for a in answers if a.finish_reason == "length")


def test_an_answer_stops_where_the_context_ends() -> None:
    model = tiny_llava(language="opt", context=40)
    ready = model.prepare(PROMPTS[0])
    (answer,) = model.generate([PROMPTS[0]], Options(max_tokens=300))
    assert answer.completion_tokens <= 40 - len(ready.ids)
    many = Conversation.ask(picture(1), picture(2), picture(3), "what ?")
    with pytest.raises(InputError, match=r"3 images of 16.*sees 40"):
        model.generate([many], Options())


def test_files_bytes_and_pictures_are_the_same_image(tmp_path: Path) -> None:
    model = tiny_llava()
    shown = picture(5).source
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    tensors = [model.pixels(Image(s)) for s in (shown, buffer.getvalue(), tmp_path / "a.png")]
    assert torch.equal(tensors[0], tensors[1])
    assert torch.equal(tensors[0], tensors[2])


def test_parts_that_do_not_fit_are_named_with_their_widths() -> None:
    model = tiny_llava()
    with pytest.raises(InputError, match=r"tower's features are 32 wide.*expects 48"):
        Llava(model.tower, MLP(48, 32), model.language, model.tokenizer)
    with pytest.raises(InputError, match=r"language model's embeddings are 32 wide.*expects 64"):
        Llava(model.tower, MLP(32, 64), model.language, model.tokenizer)


def test_an_objective_that_the_tower_lacks_is_refused() -> None:
    model = tiny_llava()
    with pytest.raises(InputError, match="no objective 'recognise'"):
        model.encode(EXAMPLES[0], objectives=("recognise",))


@pytest.mark.parametrize("connector", ["linear", "mlp", "qformer", "resampler"])
def test_every_connector_learns_and_answers(connector: str) -> None:
    """Forty steps on two pictures are enough to say which is which, if the gradient gets through."""
    torch.manual_seed(0)
    model = tiny_llava(connector=connector).train()
    learned = [asked(1, "what is this ?", "a dog"), asked(2, "what is this ?", "a red tree")]
    batch = pad([model.encode(example) for example in learned])
    optimizer = torch.optim.AdamW(
        [*model.connector.parameters(), *model.language.parameters()], 3e-3
    )
    for _ in range(60):
        optimizer.zero_grad()
        model(batch)["lm"].backward()
        optimizer.step()
    prompts = [Conversation(example.conversation.messages[:1]) for example in learned]
    answers = model.generate(prompts, Options(max_tokens=8))
    assert [answer.text for answer in answers] == ["a dog", "a red tree"]
