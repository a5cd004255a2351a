"""BLIP-2: the numbers and words of transformers, both stages, what is published, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models import tiny  # noqa: E402
from models.tiny import enliven, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import IGNORE, pad  # noqa: E402
from looksay.models.export import export  # noqa: E402
from looksay.models.families._blip2_layouts import (  # noqa: E402
    begin_as_bert,
    from_transformers,
    tower_of,
)
from looksay.models.families.blip2 import Blip2, load_qformer  # noqa: E402
from looksay.models.language import Language  # noqa: E402
from looksay.models.qformer import QFormer, QFormerText  # noqa: E402
from looksay.models.seq2seq import Seq2Seq  # noqa: E402
from looksay.models.vision import TransformersTower, new_model  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
FIRST = ("itc", "itm", "itg")
QUERIES = 4
SPOKEN = ["opt", "t5"]


def picture(seed: int, size: tuple[int, int] = (48, 32)) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def shown(seed: int, answer: str, *asked: str) -> Example:
    turns = (Message("user", (picture(seed), *asked)), Message("assistant", (answer,)))
    return Example(str(seed), Conversation(turns))


CAPTIONS = [
    shown(1, "a small red dog"),
    shown(2, "two cat"),
    shown(3, "there is a large house near the tree"),
    shown(4, "one fox"),
]
QUESTIONS = [
    shown(1, "a small red dog", "what is this ?"),
    shown(2, "two", "how many ?"),
    shown(3, "no , there is a house", "is there a tree in the picture ?"),
]


def speaking_tokenizer() -> Any:
    """A tokenizer that begins each text, as OPT's does, or ends it, as T5's."""
    from tokenizers.processors import TemplateProcessing

    words = word_tokenizer([*tiny.WORDS, "Question:", "Answer:", "Short", "answer:"])
    words.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", words.bos_token_id)]
    )
    return words


def ending_tokenizer() -> Any:
    from tokenizers.processors import TemplateProcessing

    words = speaking_tokenizer()
    words.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", words.eos_token_id)]
    )
    return words


def tokenizer_of(kind: str) -> Any:
    return ending_tokenizer() if kind == "t5" else speaking_tokenizer()


def vision() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }


def tiny_blip2(
    language: str | None = "opt",
    text: bool = True,
    seed: int = 0,
    template: str | None = "blip2",
    **qformer: Any,
) -> Blip2:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, Blip2VisionConfig

    torch.manual_seed(seed)
    tower = TransformersTower(
        new_model(Blip2VisionConfig(**vision())), layer=-1, drop_cls=False, fit="stretch"
    )
    words = tokenizer_of(language or "opt")
    speaking: Language | None = None
    if language == "t5":
        config = tiny.language_config("t5", len(words))
        speaking = Seq2Seq(AutoModelForSeq2SeqLM.from_config(config))
    elif language:
        config = tiny.language_config(language, len(words))
        speaking = Language(AutoModelForCausalLM.from_config(config))
    common = {"width": 32, "layers": 2, "inner": 64}
    settings = {"queries": QUERIES, "heads": 4, "eps": 1e-6, **common, **qformer}
    connector = QFormer(tower.width, speaking.width if speaking else 0, **settings)
    side = QFormerText.over(word_tokenizer(), embedding=16, **common) if text else None
    return enliven(Blip2(tower, connector, words, side, speaking, template), seed).eval()


# -- transformers


def released(folder: Path, kind: str) -> Any:
    """A tiny BLIP-2 as transformers saves it: with OPT, with T5, or for retrieval."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval

    words = tokenizer_of(kind)
    if kind == "retrieval":
        words = word_tokenizer()
        words.add_special_tokens({"cls_token": "[CLS]", "sep_token": "[SEP]"})
    text = tiny.language_config("t5" if kind == "t5" else "opt", len(words))
    config = Blip2Config(
        vision_config=vision(),
        qformer_config={
            "vocab_size": len(words) + 1,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "encoder_hidden_size": 32,
            "use_qformer_text_input": kind == "retrieval",
        },
        text_config=text.to_dict(),
        num_query_tokens=QUERIES,
        image_text_hidden_size=16,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(3)
    made = Blip2ForImageTextRetrieval if kind == "retrieval" else Blip2ForConditionalGeneration
    model = enliven(made(config), 3).eval()
    with torch.no_grad():
        model.query_tokens.normal_()  # transformers begins with zeros
        for name, weight in model.named_parameters():
            if name.endswith("ttention.q.weight"):  # T5 scales its weights, not its scores
                weight /= 8**0.5
    if (
        kind == "t5"
    ):  # FLAN-T5's output layer is not its embedding, though transformers 5.24 says so
        own = torch.randn(len(words), 32) * 0.05
        model.language_model.lm_head.weight = torch.nn.Parameter(own)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model


@torch.inference_mode()
def test_matching_and_contrast_are_those_of_transformers(tmp_path: Path) -> None:
    hf = released(tmp_path, "retrieval")
    ours = from_transformers(tmp_path)
    assert ours.language is None
    images = [picture(seed) for seed in (1, 2, 3)]
    texts = ["a small red dog", "two cat", "there is a house"]
    pixels = torch.stack([ours.pixels(image) for image in images])
    ids, seen = ours._framed(texts)
    places = torch.full((len(texts), QUERIES), hf.config.image_token_index)
    given = {
        "pixel_values": pixels,
        "input_ids": torch.cat([places, ids], dim=1),
        "attention_mask": torch.cat([torch.ones_like(places), seen.long()], dim=1),
    }
    contrast = hf(**given).logits_per_image
    torch.testing.assert_close(ours.similarities(images, texts), contrast, **CLOSE)
    torch.testing.assert_close(ours.embed_queries(images), hf(**given).image_embeds, **CLOSE)
    torch.testing.assert_close(ours.embed_texts(texts), hf(**given).text_embeds, **CLOSE)
    logits = hf(**given, use_image_text_matching_head=True).logits_per_image
    torch.testing.assert_close(ours.match(images, texts), logits[:, 1] - logits[:, 0], **CLOSE)
    assert float(logits.std()) > 1e-3


@pytest.mark.parametrize("kind", SPOKEN)
@torch.inference_mode()
def test_logits_loss_and_words_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    hf = released(tmp_path, kind)
    ours = from_transformers(tmp_path)
    for examples in (CAPTIONS, QUESTIONS):
        batch = pad([ours.encode(example) for example in examples])
        loss = ours(batch)["lm"]
        hidden = ours.hidden(batch)
        if kind == "opt":
            found = hf(
                input_ids=batch.ids_BT,
                pixel_values=batch.pixels_ICHW,
                attention_mask=(batch.segments_BT > 0).long(),
                labels=batch.labels_BT,
            )
            real = batch.segments_BT > 0
            torch.testing.assert_close(
                ours.language.logits(hidden)[real], found.logits[real], **CLOSE
            )
        else:
            learned = batch.labels_BT != IGNORE
            read = (batch.segments_BT > 0) & ~learned
            answers = [row[chosen] for row, chosen in zip(batch.ids_BT, learned, strict=True)]
            pads = {"batch_first": True, "padding_value": IGNORE}
            labels = torch.nn.utils.rnn.pad_sequence(answers, **pads)
            longest = int(read.sum(1).max())
            found = hf(
                input_ids=batch.ids_BT[:, :longest].masked_fill(~read[:, :longest], 0),
                pixel_values=batch.pixels_ICHW,
                attention_mask=read[:, :longest].long(),
                labels=labels,
            )
            places = learned.roll(-1, 1)  # an answer is predicted from the place before it
            torch.testing.assert_close(
                ours.language.logits(hidden)[places], found.logits[labels != IGNORE], **CLOSE
            )
        torch.testing.assert_close(loss, found.loss, **CLOSE)
    said = set()
    prompts = [Conversation(e.conversation.messages[:1]) for e in (*CAPTIONS[:2], *QUESTIONS)]
    answers = ours.generate(prompts, Options(max_tokens=12))
    for prompt, answer in zip(prompts, answers, strict=True):
        ready = ours.prepare(prompt)
        spoken = hf.generate(
            pixel_values=torch.stack(ready.pixels),
            input_ids=torch.tensor([ready.ids]),
            max_new_tokens=12,
            do_sample=False,
        )[0]
        if kind == "t5":
            spoken = spoken[1:]  # the decoder's first id
        else:
            spoken = spoken[len(ready.ids) :] if len(spoken) > len(ready.ids) else spoken
        assert answer.text == ours.tokenizer.decode(spoken, skip_special_tokens=True).strip()
        said.add(answer.text)
    assert len(said) > 1


@pytest.mark.parametrize("kind", SPOKEN)
@torch.inference_mode()
def test_what_is_exported_says_the_same_in_transformers(tmp_path: Path, kind: str) -> None:
    from transformers import Blip2ForConditionalGeneration

    ours = tiny_blip2(kind)
    if kind == "t5":
        own = torch.randn(len(ours.tokenizer), 32) * 0.3
        ours.language.model.lm_head.weight = torch.nn.Parameter(own)
    checkpoint.save(ours, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    names = set(load_file(tmp_path / "official" / "model.safetensors"))
    assert {"query_tokens", "vision_model.post_layernorm.weight"} <= names
    assert "qformer.encoder.layer.0.crossattention.attention.query.weight" in names
    hf = Blip2ForConditionalGeneration.from_pretrained(tmp_path / "official").eval()
    prompt = Conversation(QUESTIONS[0].conversation.messages[:1])
    ready = ours.prepare(prompt)
    spoken = hf.generate(
        pixel_values=torch.stack(ready.pixels),
        input_ids=torch.tensor([ready.ids]),
        max_new_tokens=12,
        do_sample=False,
    )[0]
    spoken = spoken[1:] if kind == "t5" else spoken
    (answer,) = ours.generate([prompt], Options(max_tokens=12))
    assert ours.tokenizer.decode(spoken, skip_special_tokens=True).strip().endswith(answer.text)
    assert answer.text
    again = from_transformers(tmp_path / "official")
    assert again.generate([prompt], Options(max_tokens=12)) == [answer]
    batch = pad([ours.encode(example) for example in CAPTIONS])
    torch.testing.assert_close(again(batch)["lm"], ours(batch)["lm"], **CLOSE)
    config = json.loads((tmp_path / "official" / "config.json").read_text())
    assert config["architectures"] == ["Blip2ForConditionalGeneration"]


def test_the_exported_processor_prepares_pictures_as_we_do(tmp_path: Path) -> None:
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    ours = tiny_blip2()
    checkpoint.save(ours, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "official", backend="pil")
    for seed, size in enumerate([(48, 100), (200, 64), (32, 32)]):
        source = picture(seed, size).source
        pixels = processor(images=source, return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(ours.tower.prepare(source), pixels, atol=1e-5, rtol=1e-4)


def test_what_has_no_official_layout_is_refused_with_the_reason(tmp_path: Path) -> None:
    from transformers import AutoModel

    silent = tiny_blip2(language=None)
    checkpoint.save(silent, tmp_path / "silent")
    with pytest.raises(InputError, match="no language model"):
        export(tmp_path / "silent", tmp_path / "out")
    other = tiny_blip2()
    tower = TransformersTower(AutoModel.from_config(tiny.vision_config("clip")), layer=-2)
    clip = Blip2(tower, other.connector, other.tokenizer, None, other.language, "blip2")
    checkpoint.save(clip, tmp_path / "clip")
    with pytest.raises(InputError, match="its tower is CLIPVisionModel"):
        export(tmp_path / "clip", tmp_path / "out")
    checkpoint.save(tiny_blip2(eps=1e-5), tmp_path / "eps")
    with pytest.raises(InputError, match="1e-05"):
        export(tmp_path / "eps", tmp_path / "out")


def test_a_tower_is_taken_out_of_a_released_model(tmp_path: Path) -> None:
    hf = released(tmp_path, "opt")
    tower = tower_of(tmp_path)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = hf.vision_model(pixels).last_hidden_state
        found = hf.vision_model.post_layernorm(tower(pixels))
    torch.testing.assert_close(found, expected, **CLOSE)


def test_the_qformer_begins_as_bert(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    words = word_tokenizer()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    torch.manual_seed(5)
    bert = enliven(BertForMaskedLM(config), 5).eval()
    bert.save_pretrained(tmp_path)
    connector = QFormer(24, 16, queries=QUERIES, width=32, layers=2, heads=4, inner=64).eval()
    text = QFormerText.over(words, width=32, layers=2, inner=64).eval()
    before = text.words.weight[len(words) :].clone()
    begin_as_bert(connector, text, tmp_path)
    ids = torch.randint(8, 30, (2, 5))
    with torch.inference_mode():
        # BERT adds the embedding of its first kind of text; the published code leaves it out.
        bert.bert.embeddings.token_type_embeddings.weight.zero_()
        expected = bert.bert(ids).last_hidden_state
        found = text.alone(connector, ids, torch.ones_like(ids, dtype=torch.bool))
        torch.testing.assert_close(found, expected, **CLOSE)
        logits = torch.nn.functional.linear(text.head(found), text.words.weight, text.head.bias)
        torch.testing.assert_close(logits[..., : len(words)], bert(ids).logits, **CLOSE)
    assert torch.equal(text.words.weight[len(words) :], before)
    for block, feed in zip(connector.bert.blocks, text.feeds, strict=True):
        assert torch.equal(block.query_feed.up.weight, feed.up.weight)
    with pytest.raises(InputError, match="Build it with the width"):
        begin_as_bert(QFormer(24, 16, width=32, layers=2, heads=4, inner=32), text, tmp_path)


# -- prompts


def test_the_published_prompts() -> None:
    """Pictures first, then the text as the tokenizer begins and ends one."""
    for kind, asked in (("opt", "Question: how many ? Answer:"), ("t5", "Short answer:")):
        model = tiny_blip2(kind)
        words = model.tokenizer
        found = model.encode(QUESTIONS[1])
        told = words.decode(found.ids[QUERIES:])
        assert found.ids[:QUERIES] == [model.prompter.image_id] * QUERIES
        assert asked in told
        learned = [i for i in found.labels if i != IGNORE]
        assert learned == [*words.encode("two", add_special_tokens=False), words.eos_token_id]
        before = found.ids[: found.labels.index(learned[0])]
        assert model.prepare(Conversation(QUESTIONS[1].conversation.messages[:1])).ids == before
        caption = model.encode(CAPTIONS[0])
        opening = [words.eos_token_id] if kind == "t5" else [words.bos_token_id]
        assert caption.ids[QUERIES : QUERIES + 1] == opening
        assert caption.labels[QUERIES + 1] == caption.ids[QUERIES + 1]
        assert (before[-1] == words.eos_token_id) == (kind == "t5")


def test_an_answer_of_opt_ends_with_a_new_line() -> None:
    model = tiny_blip2("opt")
    words = tiny.byte_tokenizer()
    letters = Blip2(model.tower, model.connector, words, None, model.language, "blip2")
    line = words.encode("\n", add_special_tokens=False)
    assert letters.encode(QUESTIONS[1]).labels[-1:] == line
    assert letters.prompter.stop("blip2").ids == (*line, words.eos_token_id)
    assert words.decode(letters.encode(QUESTIONS[1]).ids[QUERIES:]).endswith("Answer: two\n")
    assert words.decode(letters.encode(CAPTIONS[1]).ids[QUERIES:]) == "two cat\n"
    # A user who names the placeholder means the letters.
    tricky = Conversation.ask(picture(1), "is <image> a tag ?")
    assert letters.prepare(tricky).ids.count(letters.prompter.image_id) == QUERIES


def test_earlier_turns_stand_before_the_question() -> None:
    model = tiny_blip2("opt")
    words = tiny.byte_tokenizer()
    letters = Blip2(model.tower, model.connector, words, None, model.language, "blip2")
    talk = Conversation((*QUESTIONS[0].conversation.messages, Message("user", ("is it red ?",))))
    told = words.decode(letters.prepare(talk).ids[QUERIES:])
    assert told == (
        "Question: what is this ? Answer: a small red dog. Question: is it red ? Answer:"
    )


def test_a_caption_is_split_for_the_encoder_anew_for_each_and_the_same_again() -> None:
    model = tiny_blip2("t5")
    whole = model.encode(CAPTIONS[2])
    counts = set()
    for number in range(60):
        example = replace(CAPTIONS[2], id=str(number))
        found = model.encode(example, objectives=("prefix_lm",))
        again = model.encode(example, objectives=("prefix_lm",))
        assert (found.ids, found.labels) == (again.ids, again.labels)
        learned = [i for i, label in enumerate(found.labels) if label != IGNORE]
        read, said = found.ids[: learned[0]], found.ids[learned[0] :]
        assert sorted(found.ids) == sorted(whole.ids)
        # What is read ends as the tokenizer ends a text, and the rest follows in order.
        assert read[-1] == model.tokenizer.eos_token_id
        assert read[QUERIES:-1] + said == whole.ids[QUERIES + 1 :]
        counts.add(len(said))
    assert counts == set(range(2, 10))  # from one word and the end to all eight and the end
    plain = tiny_blip2("opt")
    same = plain.encode(CAPTIONS[2], objectives=("prefix_lm",))
    assert same.labels == plain.encode(CAPTIONS[2]).labels


def test_the_chat_template_serves_too() -> None:
    model = tiny_blip2("t5", template=None)
    found = model.encode(QUESTIONS[0])
    assert "<assistant>" in model.tokenizer.decode(found.ids)
    split = model.encode(QUESTIONS[0], objectives=("prefix_lm",))
    assert split.ids == found.ids
    assert [i for i in split.labels if i != IGNORE] == [i for i in found.labels if i != IGNORE][
        -len([i for i in split.labels if i != IGNORE]) :
    ]


# -- training


def learn(model: Blip2, parts: tuple[str, ...], objectives: tuple[str, ...], steps: int) -> Any:
    batch = pad([model.encode(e, objectives=objectives) for e in CAPTIONS])
    for part in model.parts.values():
        part.requires_grad_(False).eval()
    learning = [p for name in parts for p in model.parts[name].requires_grad_(True).parameters()]
    optimizer = torch.optim.AdamW(learning, lr=3e-3)
    for name in parts:
        model.parts[name].train()
    for _ in range(steps):
        losses = model(batch, objectives)
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    return batch


def new(language: str | None = "opt") -> Blip2:
    """With weights as at the start of training, not enlivened."""
    model = tiny_blip2(language)
    made = tiny_blip2(language)
    torch.manual_seed(1)
    common = {"width": 32, "layers": 2, "inner": 64}
    connector = QFormer(32, made.connector.width_out, queries=QUERIES, heads=4, **common)
    text = QFormerText.over(word_tokenizer(), embedding=16, **common)
    return Blip2(model.tower, connector, model.tokenizer, text, model.language, "blip2")


@pytest.mark.slow
def test_the_first_stage_learns_a_batch_by_heart_and_nothing_else_moves() -> None:
    model = new()
    before = {name: checkpoint.describe(part)["fingerprint"] for name, part in model.parts.items()}
    batch = learn(model, ("connector", "text"), FIRST, 220)
    after = {name: checkpoint.describe(part)["fingerprint"] for name, part in model.parts.items()}
    assert {name for name in before if before[name] != after[name]} == {"connector", "text"}
    images = [e.conversation.images[0] for e in CAPTIONS]
    texts = [e.conversation.messages[-1].text for e in CAPTIONS]
    assert model.similarities(images, texts).argmax(1).tolist() == [0, 1, 2, 3]
    for place, text in enumerate(texts):
        assert int(model.match(images, [text] * 4).argmax()) == place
    side, ids, seen = model.text, batch.ids_BT.clone(), batch.segments_BT > 0
    ids[:, 0] = side.start
    with torch.inference_mode():
        states = side.written(model.connector, model.tower(batch.pixels_ICHW), ids, seen)
        scores = side.head(states) @ side.words.weight.T + side.head.bias
    learned = batch.labels_BT[:, 1:] != IGNORE
    right = scores[:, :-1].argmax(-1) == batch.labels_BT[:, 1:]
    assert float(right[learned].float().mean()) >= 0.99
    assert int(side.steps) == 220


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPOKEN)
def test_the_second_stage_learns_a_batch_by_heart(kind: str) -> None:
    """With the language model: a frozen one of random weights says little whatever stands before it."""
    model = new(kind)
    learn(model, ("connector", "language"), ("lm",), 120 if kind == "opt" else 300)
    asked = [Conversation(e.conversation.messages[:1]) for e in CAPTIONS]
    said = [a.text for a in model.generate(asked, Options(max_tokens=12))]
    assert said == [e.conversation.messages[-1].text for e in CAPTIONS]


@pytest.mark.parametrize("kind", SPOKEN)
def test_the_second_stage_learns_through_a_frozen_language_model(kind: str) -> None:
    model = new(kind)
    batch = pad([model.encode(e, objectives=("prefix_lm",)) for e in CAPTIONS])
    before = {name: checkpoint.describe(part)["fingerprint"] for name, part in model.parts.items()}
    with torch.no_grad():
        loss = float(model(batch, ("prefix_lm",))["lm"])
    learn(model, ("connector",), ("prefix_lm",), 15)
    after = {name: checkpoint.describe(part)["fingerprint"] for name, part in model.parts.items()}
    assert {name for name in before if before[name] != after[name]} == {"connector"}
    with torch.no_grad():
        assert float(model(batch, ("prefix_lm",))["lm"]) < 0.95 * loss


def test_packing_and_the_side_of_padding_change_nothing() -> None:
    from looksay.models.batching import collate

    model = tiny_blip2()
    sequences = [model.encode(e, objectives=FIRST) for e in CAPTIONS]
    with torch.inference_mode():
        expected = model(pad(sequences), FIRST)
        for batch in (pad(sequences, side="left"), collate([sequences[:3], sequences[3:]])):
            found = model(batch, FIRST)
            assert found.keys() == expected.keys() == set(FIRST)
            for name, loss in expected.items():
                torch.testing.assert_close(found[name], loss, **CLOSE)


def test_an_objective_left_out_teaches_nothing() -> None:
    model = tiny_blip2()
    batch = pad([model.encode(e, objectives=FIRST) for e in CAPTIONS])
    for name in FIRST:
        model.zero_grad()
        losses = model(batch, (name,))
        assert set(losses) == {name}
        losses[name].backward()
        reached = {
            head
            for head in ("see", "say", "matching", "head")
            if any(
                p.grad is not None and float(p.grad.abs().sum()) > 0
                for p in getattr(model.text, head).parameters()
            )
        }
        wanted = {"itc": {"see", "say"}, "itm": {"matching"}, "itg": {"head"}}
        assert reached == wanted[name]
        assert model.connector.query_tokens.grad.abs().sum() > 0


def test_a_checkpoint_holds_all_of_it(tmp_path: Path) -> None:
    for model in (tiny_blip2("t5"), tiny_blip2(None), tiny_blip2("opt", text=False)):
        checkpoint.save(model, tmp_path / "saved")
        again = checkpoint.load(tmp_path / "saved")
        state = model.state_dict()
        assert again.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
        if model.text is not None:
            texts = ["a small red dog", "two cat"]
            torch.testing.assert_close(again.embed_texts(texts), model.embed_texts(texts))
        if model.language is not None:
            asked = [Conversation(QUESTIONS[0].conversation.messages[:1])]
            options = Options(max_tokens=8)
            assert again.generate(asked, options) == model.generate(asked, options)


def test_many_at_once_are_as_each_alone() -> None:
    model = tiny_blip2()
    images, texts = [picture(n) for n in (1, 2, 3)], ["a dog", "two cat and a tree", "yes"]
    together = (model.embed_images(images), model.embed_texts(texts), model.match(images, texts))
    for place in range(3):
        alone = (
            model.embed_images(images[place : place + 1]),
            model.embed_texts(texts[place : place + 1]),
            model.match(images[place : place + 1], texts[place : place + 1]),
        )
        for whole, one in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[place : place + 1], one, **CLOSE)
    torch.testing.assert_close(together[0].norm(dim=-1), torch.ones(3))
    pairs = model.match([images[0]] * 3, texts)
    torch.testing.assert_close(pairs[0], together[2][0], **CLOSE)


# -- what is published


@pytest.mark.parametrize(
    ("size", "trained_m", "whole_b"),
    [
        ("vit-l-opt-2.7b", 104, 3.1),
        ("vit-g-opt-2.7b", 107, 3.8),
        ("vit-g-opt-6.7b", 108, 7.8),
        ("vit-l-flan-t5-xl", 103, 3.4),
        ("vit-g-flan-t5-xl", 107, 4.1),
        ("vit-g-flan-t5-xxl", 108, 12.1),
    ],
)
def test_the_published_sizes_are_those_of_the_papers_table(
    size: str, trained_m: int, whole_b: float
) -> None:
    """Table 2 counts what the second stage trains, to the million, and everything (here within 5%)."""
    from looksay.training.recipes import blip2 as recipe

    parts = recipe.outline(size).parts
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert recipe.PUBLISHED.keys() >= {size}
    assert int(counts["connector"] / 1e6 + 0.5) == trained_m
    whole = counts["tower"] + counts["connector"] + counts["language"]
    assert whole / 1e9 == pytest.approx(whole_b, rel=0.05)


def test_the_whole_qformer_has_188_million_parameters() -> None:
    """Section 3.1: with words, places, the text's feed-forwards and heads, without a language model."""
    with torch.device("meta"):
        queries, text = QFormer(1408, 0), QFormerText(30523)
    count = sum(p.numel() for part in (queries, text) for p in part.parameters())
    assert round(count / 1e6) in (187, 188)


def test_the_papers_stages() -> None:
    from looksay.data.dataset import Examples
    from looksay.training.recipes import blip2 as recipe

    represent, generate, questions = recipe.paper(
        Examples(CAPTIONS), Examples(QUESTIONS * 100), devices=2, examples_per_device=8
    )
    assert represent.examples_per_batch * represent.accumulate * 2 == 1680
    assert (represent.steps, generate.steps) == (250_000, 80_000)
    assert dict(represent.trains) == {"connector": 1e-4, "text": 1e-4}
    assert dict(generate.trains) == {"connector": 1e-4}
    assert generate.floor * generate.trains["connector"] == 5e-5
    assert set(questions.trains) == {"tower", "connector"}
    bare = generate.data.example(0).conversation.messages
    assert [m.text for m in bare] == ["", "a small red dog"]
    with pytest.raises(InputError, match="1680 does not divide into 9 devices"):
        recipe.paper(Examples(CAPTIONS), devices=9)


@pytest.mark.parametrize(
    ("how", "batches"),
    [
        ({}, [1680, 1920, 128]),
        ({"tower": "vit-l", "encoder": True}, [2320, 1520, 128]),
        ({"devices": 1, "examples_per_device": 50}, [1680, 1920, 128]),
    ],
)
def test_the_papers_batches_divide(how: dict[str, Any], batches: list[int]) -> None:
    from looksay.data.dataset import Examples
    from looksay.training.recipes import blip2 as recipe

    stages = recipe.paper(Examples(CAPTIONS), Examples(QUESTIONS * 100), **how)
    assert [s.name for s in stages] == ["represent", "generate", "questions"]
    devices, most = how.get("devices", 16), how.get("examples_per_device", 5)
    assert [s.examples_per_batch * s.accumulate * devices for s in stages] == batches
    assert all(s.examples_per_batch <= most for s in stages)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["causal", "seq2seq"])
def test_a_recipe_on_scenes_goes_through_both_stages(tmp_path: Path, language: Any) -> None:
    from looksay.training.loop import train
    from looksay.training.recipes import blip2 as recipe

    model, stages = recipe.scenes("tiny", language=language)
    assert [s.name for s in stages] == ["tower", "language", "contrast", "represent", "generate"]
    assert (stages[2].objectives, stages[3].objectives) == (("itc",), FIRST)
    short = [replace(s, steps=2, gate=None) for s in stages]
    short[2:4] = [replace(s, examples_per_batch=4) for s in short[2:4]]
    train(model, short, tmp_path, device="cpu", quiet=True)
    first, last = checkpoint.load(tmp_path / "represent"), checkpoint.load(tmp_path)
    # The second stage began where the first had ended, and left all but the queries alone.
    for name in ("tower", "text", "language"):
        whole = (checkpoint.describe(m.parts[name])["fingerprint"] for m in (first, last))
        assert len(set(whole)) == 1
    assert int(last.text.steps) == 2
    image = stages[3].data.example(0).conversation.images[0]
    assert last.match([image], ["a picture of a dog"]).shape == (1,)
    (said,) = last.generate(
        [Conversation.ask(image, "Write a short caption.")], Options(max_tokens=4)
    )
    assert said.completion_tokens > 0


def test_the_ablations_leave_out_what_they_are_named_for() -> None:
    from looksay.training.recipes import blip2 as recipe

    assert [s.name for s in recipe.joining(first_stage=False)] == ["generate"]
    _, represent, _ = recipe.joining(itg=False)
    assert represent.objectives == ("itc", "itm")


# -- refused


def test_the_second_stage_takes_the_qformer_of_the_first(tmp_path: Path) -> None:
    first = tiny_blip2(None, seed=1)
    checkpoint.save(first, tmp_path / "first")
    second = tiny_blip2("opt", text=False, seed=2)
    with pytest.raises(checkpoint.WrongPart, match=first.tower.fingerprint) as error:
        load_qformer(second, tmp_path / "first")
    assert second.tower.fingerprint in str(error.value)
    second.tower.load_state_dict(first.tower.state_dict())
    matrix = second.connector.project.weight.clone()
    load_qformer(second, tmp_path / "first")
    assert torch.equal(second.connector.project.weight, matrix)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        features = first.tower(pixels)
        torch.testing.assert_close(second.connector.read(features), first.connector.read(features))
    wider = tiny_blip2("opt", text=False, queries=QUERIES + 1)
    wider.tower.load_state_dict(first.tower.state_dict())
    with pytest.raises(checkpoint.WrongPart, match="queries=4; this model's has queries=5"):
        load_qformer(wider, tmp_path / "first")


def test_what_a_stage_cannot_do_is_said(tmp_path: Path) -> None:
    silent, mute = tiny_blip2(None), tiny_blip2("opt", text=False)
    with pytest.raises(InputError, match="no language model"):
        silent.encode(CAPTIONS[0])
    with pytest.raises(InputError, match="no language model"):
        silent.generate([Conversation.ask(picture(1), "what ?")], Options())
    with pytest.raises(InputError, match="no text side"):
        mute.embed_texts(["a dog"])
    with pytest.raises(InputError, match="different stages"):
        tiny_blip2().encode(CAPTIONS[0], objectives=("itc", "lm"))
    model = tiny_blip2()
    one = pad([model.encode(CAPTIONS[0], objectives=FIRST)] * 2)
    with pytest.raises(InputError, match="1 different pictures"):
        model(one, FIRST)
    with pytest.raises(InputError, match="text side, a language model, or both"):
        Blip2(mute.tower, mute.connector, mute.tokenizer)
    with pytest.raises(InputError, match="width_in=32"):
        Blip2(mute.tower, QFormer(16, 0, width=32, layers=1, heads=4), mute.tokenizer, silent.text)
