"""The same numbers and words as transformers' BLIP: captions, retrieval, questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import WORDS, enliven  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models.answering import split_answers  # noqa: E402
from looksay.models.batching import pad  # noqa: E402
from looksay.models.families._blip_layouts import from_transformers  # noqa: E402
from looksay.models.losses import token_loss  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CAPTIONS = ["a small red dog", "two cat and a fox near the house", "four"]


def bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    words = list(dict.fromkeys([*SPECIAL, *WORDS]))
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def released(folder: Path, kind: str, seed: int = 3) -> Any:
    """A tiny model of transformers with random weights, saved as the released ones are."""
    import transformers

    tokenizer = bert_tokenizer()
    size = len(tokenizer)
    text = {
        "vocab_size": size + 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "bos_token_id": size,
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "label_smoothing": 0.1,
    }
    vision = {
        "hidden_size": 24 if kind != "BlipForQuestionAnswering" else 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    config = transformers.BlipConfig(
        text_config=text, vision_config=vision, image_text_hidden_size=16
    )
    torch.manual_seed(seed)
    model = enliven(getattr(transformers, kind)(config), seed).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def picture(seed: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def pair(seed: int, text: str, asked: str = "") -> Example:
    turns = (Message("user", (picture(seed), asked)), Message("assistant", (text,)))
    return Example(str(seed), Conversation(turns))


def begun(ids: Any, first: int) -> Any:
    ids = ids.clone()
    ids[:, 0] = first
    return ids


@pytest.mark.parametrize("prompt", ["", "a picture of "])
def test_captions_have_the_same_loss_with_smoothing(tmp_path: Path, prompt: str) -> None:
    theirs = released(tmp_path, "BlipForConditionalGeneration")
    ours = from_transformers(tmp_path)
    batch = pad([ours.encode(pair(i, c), prompt) for i, c in enumerate(CAPTIONS)])
    with torch.inference_mode():
        found = theirs(
            pixel_values=batch.pixels_ICHW,
            input_ids=begun(batch.ids_BT, ours.dec_id),
            attention_mask=(batch.segments_BT > 0).long(),
            labels=batch.labels_BT,
        )
        torch.testing.assert_close(ours(batch)["lm"], found.loss, **CLOSE)
        states = ours.text.written(
            begun(batch.ids_BT, ours.dec_id), batch.segments_BT > 0, ours.features(batch)
        )
        torch.testing.assert_close(ours.text.logits(states), found.logits, **CLOSE)
    given = ours.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert all((row[: 1 + len(given)] == -100).all() for row in batch.labels_BT)
    assert len(given) == (3 if prompt else 0)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_captions_are_those_of_generate(tmp_path: Path, beams: int, seed: int) -> None:
    theirs = released(tmp_path, "BlipForConditionalGeneration", seed)
    ours = from_transformers(tmp_path, beams=beams)
    shown = [picture(10 * seed + i) for i in range(4)]
    answers = ours.generate([Conversation.ask(one) for one in shown], Options(max_tokens=12))
    start = torch.tensor([[*ours._start("a picture of "), ours.end_id]])
    for one, answer in zip(shown, answers, strict=True):
        with torch.inference_mode():
            ids = theirs.generate(
                pixel_values=ours.pixels(one)[None],
                input_ids=start.clone(),
                num_beams=beams,
                max_new_tokens=12,
                do_sample=False,
            )[0, 4:]
        assert answer.text == ours.tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert len({answer.text for answer in answers}) > 1


def test_pairs_are_embedded_and_matched_alike(tmp_path: Path) -> None:
    theirs = released(tmp_path, "BlipForImageTextRetrieval")
    ours = from_transformers(tmp_path)
    shown = [picture(i) for i in range(3)]
    words = ours._words(CAPTIONS)
    pixels = torch.stack([ours.pixels(one) for one in shown])
    seen = (words.segments_BT > 0).long()
    with torch.inference_mode():
        cosine = theirs(words.ids_BT, pixels, use_itm_head=False, attention_mask=seen)
        rows = ours.embed_images(shown) @ ours.embed_texts(CAPTIONS).T
        torch.testing.assert_close(rows, cosine.itm_score, **CLOSE)
        judged = theirs(words.ids_BT, pixels, attention_mask=seen).itm_score
        states = ours.text.read(words.ids_BT, seen > 0, ours.tower(pixels))
        torch.testing.assert_close(ours.pairing.matches(states[:, 0]), judged, **CLOSE)
        # In training and in ranking the first word is [ENC], which transformers leaves to its caller.
        judged = theirs(begun(words.ids_BT, ours.enc_id), pixels, attention_mask=seen).itm_score
        torch.testing.assert_close(
            ours.match(shown, CAPTIONS), judged[:, 1] - judged[:, 0], **CLOSE
        )


def test_answers_have_the_same_loss_and_words(tmp_path: Path) -> None:
    theirs = released(tmp_path, "BlipForQuestionAnswering")
    ours = from_transformers(tmp_path, beams=1)
    asked = ["what is this ?", "how many dog are there in the picture ?", "where ?"]
    for number, (question, answer) in enumerate(zip(asked, CAPTIONS, strict=True)):
        example = pair(number, answer, question)
        batch = pad([ours.encode(example, objectives=("vqa",))])
        questions, answers, _, _ = split_answers(batch, 0)
        ids = begun(questions.ids_BT, ours.enc_id)
        with torch.inference_mode():
            found = theirs(
                input_ids=ids,
                pixel_values=batch.pixels_ICHW,
                attention_mask=torch.ones_like(ids),
                labels=answers.ids_BT,
                decoder_input_ids=answers.ids_BT,
                decoder_attention_mask=torch.ones_like(answers.ids_BT),
            )
            # transformers: the mean over an answer's ids, the published code: their sum.
            length = answers.ids_BT.shape[1] - 1
            torch.testing.assert_close(
                ours(batch, ("vqa",))["vqa"], found.loss * length, atol=1e-4, rtol=1e-5
            )
            said = theirs.generate(
                input_ids=ids,
                pixel_values=batch.pixels_ICHW,
                num_beams=1,
                max_new_tokens=8,
                do_sample=False,
            )
        (mine,) = ours.generate(
            [Conversation(example.conversation.messages[:1])], Options(max_tokens=8)
        )
        assert mine.text == ours.tokenizer.decode(said[0], skip_special_tokens=True).strip()


def test_a_list_of_answers_is_ranked_by_the_decoders_loss(tmp_path: Path) -> None:
    theirs = released(tmp_path, "BlipForQuestionAnswering")
    theirs.text_decoder.label_smoothing = 0.0
    ours = from_transformers(tmp_path)
    asked = Conversation.ask(picture(1), "what is this ?")
    found = ours.log_likelihoods(asked, CAPTIONS)
    ids = begun(torch.tensor([ours._framed("what is this ?")]), ours.enc_id)
    for text, value in zip(CAPTIONS, found, strict=True):
        words = torch.tensor([[ours.dec_id, *ours._framed(text)[1:]]])
        with torch.inference_mode():
            loss = theirs(ids, ours.pixels(picture(1))[None], labels=words).loss
        assert value == pytest.approx(-float(loss) * (words.shape[1] - 1), abs=1e-4)
    few = ours.log_likelihoods(asked, CAPTIONS, most=2)
    assert sorted(few)[0] == -float("inf")
    assert sorted(few)[1:] == pytest.approx(sorted(f for f, k in zip(found, few) if k > -1e9))  # noqa: B905


def test_what_is_no_blip_or_lacks_weights_is_refused(tmp_path: Path) -> None:
    released(tmp_path, "BlipForImageTextRetrieval")
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    del weights["text_proj.weight"]
    save_file({**weights, "odd.weight": torch.zeros(1)}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 are missing|are unknown \(odd.weight\)"):
        from_transformers(tmp_path)
    import transformers

    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="expected BlipForConditionalGeneration"):
        from_transformers(tmp_path)


def test_smoothing_is_that_of_token_loss() -> None:
    """Guards the test above: without smoothing the loss is another."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(1, 4, 8), torch.randn(11, 8)
    labels, segments = torch.tensor([[-100, 3, 4, 5]]), torch.ones(1, 4, dtype=torch.long)
    plain, smooth = (
        token_loss(hidden, weight, labels, segments, smoothing=share) for share in (0.0, 0.1)
    )
    assert abs(float(plain - smooth)) > 0.01
