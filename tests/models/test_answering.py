"""Answers of a BERT decoder: as transformers computes them, step by step as all at once, ranked by likelihood."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import enliven, word_tokenizer  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models.answering import (  # noqa: E402
    BertLM,
    add_bert_tokens,
    encode_question,
    question,
    split_answers,
)
from looksay.models.batching import IGNORE, pad  # noqa: E402
from looksay.types import Conversation, Example, Image, Message  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
WORDS, WIDTH = 40, 32


def writer(layers: int = 2, seed: int = 0) -> BertLM:
    torch.manual_seed(seed)
    found = BertLM(
        WORDS,
        WIDTH,
        layers=layers,
        heads=4,
        inner=64,
        positions=24,
        width_in=WIDTH,
        cross=tuple(range(layers)),
    )
    return enliven(found, seed).eval()


def context(rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    seen = torch.ones(rows, 6, dtype=torch.bool)
    seen[1:, 4:] = False
    return torch.randn(rows, 6, WIDTH), seen


def test_the_decoder_is_that_of_transformers() -> None:
    """`BertLMHeadModel` with cross-attention, with the same weights: logits and loss."""
    from transformers import BertConfig, BertLMHeadModel

    ours = writer()
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=24,
        is_decoder=True,
        add_cross_attention=True,
        type_vocab_size=1,
    )
    theirs = BertLMHeadModel(config).eval()
    state = theirs.state_dict()
    names = {
        "bert.words.weight": "bert.embeddings.word_embeddings.weight",
        "bert.places.weight": "bert.embeddings.position_embeddings.weight",
        "head.bias": "cls.predictions.bias",
    }
    pieces = (
        ("bert.norm", "bert.embeddings.LayerNorm"),
        ("head.dense", "cls.predictions.transform.dense"),
        ("head.norm", "cls.predictions.transform.LayerNorm"),
        ("bert.blocks", "bert.encoder.layer"),
        ("itself.attention.out", "attention.output.dense"),
        ("itself.attention", "attention.self"),
        ("itself.norm", "attention.output.LayerNorm"),
        ("cross.attention.out", "crossattention.output.dense"),
        ("cross.attention", "crossattention.self"),
        ("cross.norm", "crossattention.output.LayerNorm"),
        ("feed.up", "intermediate.dense"),
        ("feed.down", "output.dense"),
        ("feed.norm", "output.LayerNorm"),
    )
    for name, value in ours.state_dict().items():
        other = names.get(name, name)
        if name not in names:
            for mine, yours in pieces:
                other = other.replace(mine, yours)
        state[other].copy_(value)
    state["bert.embeddings.token_type_embeddings.weight"].zero_()
    theirs.tie_weights()
    ids = torch.randint(0, WORDS, (3, 7))
    seen = torch.ones(3, 7, dtype=torch.bool)
    states, mask = context()
    with torch.no_grad():
        expected = theirs(
            ids,
            attention_mask=seen.long(),
            encoder_hidden_states=states,
            encoder_attention_mask=mask.long(),
            labels=ids,
        )
        logits = ours.logits(ours.written(ids, seen, states, mask))
        torch.testing.assert_close(logits, expected.logits, **CLOSE)
        each = ours.likelihoods(ids, seen, states, mask)
    torch.testing.assert_close(-each.sum() / 18, expected.loss, **CLOSE)


def test_writing_step_by_step_is_writing_at_once() -> None:
    """Greedy ids with a memory are those of the whole forward pass, for each row until its own end."""
    model = writer()
    states, mask = context()
    starts = torch.tensor([[2, 7]] * 3)
    lengths = {0: 4, 1: 9, 2: 6}
    said: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def ends(row: int, token: int) -> bool:
        said[row].append(token)
        return len(said[row]) == lengths[row]

    drawn = list(model.write(starts, states, mask, ends))
    assert {row: [t for r, t in drawn if r == row] for row in said} == said
    assert {row: len(ids) for row, ids in said.items()} == lengths
    with torch.no_grad():
        for row, ids in said.items():
            whole = torch.tensor([[2, 7, *ids]])
            hidden = model.written(
                whole, torch.ones_like(whole, dtype=torch.bool), states[row, None], mask[row, None]
            )
            assert model.logits(hidden)[0, 1:-1].argmax(-1).tolist() == ids
    assert said[0][:4] != said[1][:4]


def test_a_seed_fixes_a_row_whatever_stands_beside_it() -> None:
    model = writer()
    states, mask = context()
    starts = torch.full((3, 1), 2)

    def write(rows: list[int], seed: int) -> list[list[int]]:
        said: list[list[int]] = [[] for _ in rows]

        def ends(row: int, token: int) -> bool:
            said[row].append(token)
            return len(said[row]) == 8

        for _ in model.write(starts[rows], states[rows], mask[rows], ends, 1.0, 0.9, seed):
            pass
        return said

    together = write([0, 1, 2], 3)
    assert together == [write([row], 3)[0] for row in range(3)]
    assert together != write([0, 1, 2], 4)


def test_likelihoods_ignore_padding_and_what_is_given() -> None:
    model = writer()
    states, mask = context(1)
    row = [2, 7, 9, 11]
    short = torch.tensor([row])
    long = torch.tensor([[*row, 0, 0]])
    seen = torch.tensor([[True] * 4 + [False] * 2])
    with torch.no_grad():
        alone = model.likelihoods(short, torch.ones_like(short, dtype=torch.bool), states, mask, 2)
        padded = model.likelihoods(long, seen, states, mask, 2)
        hidden = model.written(short, torch.ones_like(short, dtype=torch.bool), states, mask)
    logs = model.logits(hidden).double().log_softmax(-1)
    torch.testing.assert_close(alone, padded, **CLOSE)
    expected = logs[0, 1, 9] + logs[0, 2, 11]
    torch.testing.assert_close(alone[0].double(), expected, **CLOSE)


def picture() -> Image:
    from PIL import Image as Pillow

    return Image(Pillow.new("RGB", (32, 32), (9, 99, 199)))


def example(asked: str, answer: str, answers: list[str] | None = None) -> Example:
    turns = (Message("user", (picture(), asked)), Message("assistant", (answer,)))
    return Example("1", Conversation(turns), {"answers": answers} if answers else {})


def test_questions_and_answers_go_into_a_batch_and_come_out_again() -> None:
    """Several answers of different people are each learned, by how many gave them."""
    tokenizer = add_bert_tokens(word_tokenizer())
    ends, start = tokenizer.sep_token_id, tokenizer.cls_token_id

    def ids(text: str) -> list[int]:
        return [*tokenizer(text, add_special_tokens=False)["input_ids"], ends]

    examples = [
        example("what is this ?", "dog", ["dog", "dog", "red fox", "dog"]),
        example("how many dog are there in the picture ?", "two"),
    ]
    rows = [
        encode_question(e, tokenizer, lambda _: torch.zeros(3, 8, 8), start, 16) for e in examples
    ]
    batch = pad(rows, tokenizer.pad_token_id)
    found = split_answers(batch, tokenizer.pad_token_id)

    def texts(part: object) -> list[list[int]]:
        return [
            row[seen].tolist()
            for row, seen in zip(part.ids_BT, part.segments_BT > 0, strict=True)  # type: ignore[attr-defined]
        ]

    assert texts(found.questions) == [
        [start, *ids("what is this ?")],
        [start, *ids("how many dog are there in the picture ?")],
    ]
    assert texts(found.answers) == [[start, *ids(t)] for t in ("dog", "red fox", "two")]
    assert found.owners_A.tolist() == [0, 0, 1]
    assert found.weights_A.tolist() == [0.75, 0.25, 1.0]
    learned = [i for i in rows[0].labels if i != IGNORE]
    assert learned == ids("dog") + ids("red fox")


def test_tokens_are_added_once_and_only_where_they_lack() -> None:
    tokenizer = word_tokenizer()
    before = len(tokenizer)
    assert len(add_bert_tokens(add_bert_tokens(tokenizer))) == before + 3
    assert tokenizer.mask_token == "[MASK]"


def test_what_is_no_question_about_one_picture_is_told() -> None:
    with pytest.raises(InputError, match="0 images"):
        question(Conversation.ask("what is this ?"))
    with pytest.raises(InputError, match="2 images"):
        question(Conversation.ask(picture(), picture(), "what ?"))
    with pytest.raises(InputError, match="with a question in words"):
        question(Conversation.ask(picture()))
