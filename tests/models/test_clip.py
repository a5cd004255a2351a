"""CLIP: its published sizes, what it learns, finds and refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import enliven, vision_config, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.errors import InputError, UnknownName  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import collate, pad  # noqa: E402
from looksay.models.families.clip import Clip, Heads, PooledTower, TextTower  # noqa: E402
from looksay.models.small_tower import SmallTower  # noqa: E402
from looksay.types import Conversation, Example, Image, Message  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
TEXTS = ["a dog", "the small red fox is left of a house", "a cat", "two trees and a cat"]
CLASSES = {"noun": 5, "letter": 3, "order": 2, "board": 2, "colour": 2, "pattern": 2}


def picture(seed: int, size: tuple[int, int] = (48, 32)) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


PICTURES = [picture(seed) for seed in range(4)]


def pair(shown: Image, said: str) -> Example:
    turns = (Message("user", (shown, "what is this ?")), Message("assistant", (said,)))
    return Example(said, Conversation(turns))


EXAMPLES = [pair(shown, said) for shown, said in zip(PICTURES, TEXTS, strict=True)]


def text_config(kind: str = "clip", vocabulary: int | None = None, width: int = 32) -> Any:
    from transformers import CLIPTextConfig, SiglipTextConfig

    tokenizer = word_tokenizer()
    made = {"clip": CLIPTextConfig, "siglip": SiglipTextConfig}[kind]
    own = {"projection_size": 32} if kind == "siglip" else {}
    return made(
        vocab_size=vocabulary or len(tokenizer),
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **own,
    )


def tiny_clip(loss: Any = "softmax", tower: str = "clip", seed: int = 0) -> Clip:
    """Towers of two or three layers, or the small tower of scenes."""
    from looksay.models.vision import new_model

    torch.manual_seed(seed)
    seeing: Any = (
        SmallTower(size_px=32, channels=64, blocks=(1,), classes=CLASSES)
        if tower == "small"
        else PooledTower(new_model(vision_config(tower)))
    )
    text = TextTower(new_model(text_config()), attention="eager")
    heads = Heads(seeing.width, text.width, 24, loss, pool=16 if tower == "small" else 0)
    model = Clip(seeing, text, heads, word_tokenizer())
    enliven(model.tower, seed)
    enliven(model.text, seed + 1)
    return model.eval()


WEIGHTS = {"b32": 151_277_313, "b16": 149_620_737, "l14": 427_616_513, "l14-336": 427_944_193}
"""Towers, encoder of texts, projections and the scale: 151.28, 149.62, 427.62 and 427.94 million."""


@pytest.mark.parametrize("size", WEIGHTS)
def test_the_published_sizes_have_their_parameters(size: str) -> None:
    from looksay.training.recipes.clip import PUBLISHED

    with torch.device("meta"):
        model = PUBLISHED[size](word_tokenizer())
    found = sum(p.numel() for p in model.parameters())
    width, layers, side, patch, text = {
        "b32": (768, 12, 224, 32, 512),
        "b16": (768, 12, 224, 16, 512),
        "l14": (1024, 24, 224, 14, 768),
        "l14-336": (1024, 24, 336, 14, 768),
    }[size]

    def block(d: int) -> int:
        return 4 * (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 4 * d

    seeing = 3 * patch**2 * width + width + ((side // patch) ** 2 + 1) * width + 4 * width
    reading = (49_408 + 77) * text + 2 * text
    wanted = seeing + layers * block(width) + reading + 12 * block(text)
    assert found == wanted + width * text + text * text + 1 == WEIGHTS[size]
    assert model.tower.tokens == 1
    assert model.heads.log_scale.shape == (1,)


@pytest.mark.parametrize("tower", ["clip", "small"])
def test_padding_packing_and_batches_change_nothing(tower: str) -> None:
    model = tiny_clip(tower=tower)
    sequences = [model.encode(example) for example in EXAMPLES]
    batches = [
        pad(sequences),
        pad(sequences, side="left"),
        pad(sequences, pad_id=7),
        collate([sequences[:3], sequences[3:]]),
        collate([sequences]),
    ]
    with torch.no_grad():
        first, *others = [model(batch)["itc"] for batch in batches]
    for other in others:
        torch.testing.assert_close(first, other, **CLOSE)
    alone = [model.embed_texts([text])[0] for text in TEXTS]
    torch.testing.assert_close(model.embed_texts(TEXTS), torch.stack(alone), **CLOSE)
    seen = [model.embed_images([shown])[0] for shown in PICTURES]
    torch.testing.assert_close(model.embed_images(PICTURES), torch.stack(seen), **CLOSE)
    lengths = model.embed_images(PICTURES).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(4), **CLOSE)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("tower", ["clip", "small"])
def test_it_learns_a_batch_until_all_find_each_other(tower: str, loss: Any) -> None:
    model = tiny_clip(loss, tower)
    batch = pad([model.encode(example) for example in EXAMPLES])
    model.heads.train()
    model.text.train()
    if tower == "clip":
        model.tower.train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(batch)["itc"].backward()
        optimizer.step()
    scores = model.scores(PICTURES, TEXTS)
    assert scores.argmax(1).tolist() == scores.argmax(0).tolist() == [0, 1, 2, 3]
    assert float(model(batch)["itc"].detach()) < 0.2


def test_the_scale_begins_at_a_fourteenth_and_never_passes_100() -> None:
    model = tiny_clip()
    assert float(model.heads.log_scale.detach()) == pytest.approx(math.log(1 / 0.07))
    with torch.no_grad():
        model.heads.log_scale.fill_(5.0)
    batch = pad([model.encode(example) for example in EXAMPLES])
    with torch.no_grad():
        model(batch)
        assert float(model.heads.log_scale) == 5.0  # measuring changes nothing
    model.train()(batch)["itc"].backward()
    assert float(model.heads.log_scale.detach()) == pytest.approx(math.log(100))
    assert float(model.heads.log_scale.grad.abs()) > 0
    sigmoid = tiny_clip("sigmoid").heads
    assert (float(sigmoid.log_scale.detach().exp()), float(sigmoid.bias.detach())) == pytest.approx(
        (10.0, -10.0)
    )


def test_two_captions_of_one_picture_are_no_negatives_of_each_other() -> None:
    model = tiny_clip()
    twice = [pair(PICTURES[0], "a dog"), pair(PICTURES[0], "the dog"), EXAMPLES[1]]
    sequences = [model.encode(example) for example in twice]
    ids = torch.cat([s.targets["picture"] for s in sequences])
    assert ids.dtype == torch.int64
    assert ids.shape == (3,)
    assert int(ids[0]) == int(ids[1]) != int(ids[2])
    assert int(ids.min()) >= 0
    with torch.no_grad():
        loss = model(pad(sequences))["itc"]
        images, texts = (
            model.embed_images([PICTURES[0], PICTURES[0], PICTURES[1]]),
            model.embed_texts(["a dog", "the dog", TEXTS[1]]),
        )
        logits = (model.heads.logits(images, texts)).double()
        logits[0, 1] = logits[1, 0] = -torch.inf
        wanted = -(logits.log_softmax(1).diag() + logits.log_softmax(0).diag()).mean() / 2
    torch.testing.assert_close(loss.double(), wanted, **CLOSE)


def test_a_batch_without_negatives_and_an_example_that_is_no_pair_are_refused() -> None:
    model = tiny_clip()
    with pytest.raises(InputError, match=r"A batch of 1 with 1 different pictures.*--batch"):
        model(pad([model.encode(EXAMPLES[0])]))
    silent = Example("1", Conversation.ask(PICTURES[0], "what is this ?"))
    two = pair(PICTURES[0], "a dog")
    two = Example("2", Conversation((Message("user", (PICTURES[1],)), *two.conversation.messages)))
    for odd, found in ((silent, "1 images and 0 answers"), (two, "2 images and 1 answers")):
        with pytest.raises(InputError, match=found):
            model.encode(odd)


def test_a_long_text_is_cut_before_its_end_token() -> None:
    model = tiny_clip()
    sequence = model.encode(pair(PICTURES[0], "dog " * 50))
    assert len(sequence.ids) == model.text.context == 16
    assert sequence.ids[0] == model.tokenizer.bos_token_id
    assert sequence.ids[-1] == model.tokenizer.eos_token_id
    assert sequence.ids[:-1] != sequence.labels[:-1]
    assert sequence.ids[1:] == sequence.labels[1:]


def test_parts_and_vocabularies_that_do_not_fit_are_named_with_both_numbers() -> None:
    model = tiny_clip()
    with pytest.raises(InputError, match=r"tower's features are 32 wide, but the heads expect 48"):
        Clip(model.tower, model.text, Heads(48, 32, 8), model.tokenizer)
    with pytest.raises(InputError, match=r"text encoder's states are 32 wide.*expect 48"):
        Clip(model.tower, model.text, Heads(32, 48, 8), model.tokenizer)
    larger = word_tokenizer(["more", "words", *"abcdefghijklmnop"] + [f"w{n}" for n in range(60)])
    with pytest.raises(InputError, match=rf"has {len(larger)} ids, the text encoder knows"):
        Clip(model.tower, model.text, model.heads, larger)
    with pytest.raises(InputError, match="no loss 'hinge' of CLIP; expected softmax or sigmoid"):
        Heads(32, 32, 8, "hinge")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no objective 'recognise'"):
        model.encode(EXAMPLES[0], objectives=("recognise",))


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_classes_are_means_over_templates(loss: Any) -> None:
    model = tiny_clip(loss)
    names, templates = ["dog", "cat", "house"], ["a picture of a {}", "the small {}"]
    found = model.classify(PICTURES, names, templates)
    rows = []
    for name in names:
        mean = model.embed_texts([one.format(name) for one in templates]).double().mean(0)
        rows.append(mean / mean.norm())
    cosines = model.embed_images(PICTURES).double() @ torch.stack(rows).T
    logits = cosines * float(model.heads.log_scale.detach().exp())
    if loss == "sigmoid":
        wanted = torch.sigmoid(logits - 10.0)
    else:
        wanted = logits.softmax(1)
        torch.testing.assert_close(found.sum(1), torch.ones(4), **CLOSE)
    torch.testing.assert_close(found.double(), wanted, **CLOSE)
    with pytest.raises(InputError, match=r"'a photo' without a place for one"):
        model.classify(PICTURES, names, ["a photo"])


def test_a_checkpoint_with_the_small_tower_is_the_same_to_the_bit(tmp_path: Path) -> None:
    model = tiny_clip("sigmoid", "small")
    again = checkpoint.load(checkpoint.save(model, tmp_path))
    assert again.family == "clip"
    assert again.text.attention == "eager"
    assert torch.equal(model.scores(PICTURES, TEXTS), again.scores(PICTURES, TEXTS))


def test_cached_features_stand_for_the_pixels() -> None:
    model = tiny_clip(tower="small")
    batch = pad([model.encode(example) for example in EXAMPLES])
    from dataclasses import replace

    with torch.no_grad():
        features = model.tower(batch.pixels_ICHW)
        cached = replace(batch, pixels_ICHW=None, features_IND=features)
        assert torch.equal(model(batch)["itc"], model(cached)["itc"])


def test_embedding_leaves_the_model_as_it_was() -> None:
    model = tiny_clip().train()
    model.embed_images(PICTURES[:1])
    assert model.training
    assert model.text.model.training


class Pairs:
    """As many pairs as a release would have; none is ever drawn."""

    fingerprint = "pairs"

    def __init__(self, size: int | None) -> None:
        self.size = size

    def example(self, index: int) -> Example:
        raise AssertionError(index)


def test_the_papers_stage_has_the_papers_numbers() -> None:
    from looksay.training.recipes import clip as recipe

    (stage,) = recipe.paper(Pairs(400_000_000))
    assert stage.steps == 400_000_000 * 32 // 32_768
    assert stage.examples_per_batch == 128  # on each of 256 devices
    assert stage.accumulate == 1
    assert set(stage.trains.values()) == {5e-4}
    assert set(stage.trains) == {"tower", "text", "heads"}
    assert (stage.betas, stage.weight_decay, stage.clip) == ((0.9, 0.98), 0.2, 0.0)
    assert round(stage.warmup * stage.steps) == 2000
    (large,) = recipe.paper(Pairs(400_000_000), size="l14-336")
    assert (set(large.trains.values()), large.steps) == ({2e-5}, 400_000_000 // 32_768)
    with pytest.raises(InputError, match="counts epochs, so its data need an end"):
        recipe.paper(Pairs(None))
    with pytest.raises(UnknownName, match=r"no published size of CLIP .h14.*l14-336"):
        recipe.paper(Pairs(10), size="h14")
    with pytest.raises(UnknownName, match=r"no published size of CLIP .h14.*l14-336"):
        recipe.outline("h14")
    outlined = recipe.outline("l14-336")
    assert outlined.tower_tokens == 577
    assert all(weight.is_meta for weight in outlined.parts["tower"].parameters())


@pytest.mark.slow
def test_the_recipe_for_scenes_trains_what_its_stages_say(tmp_path: Path) -> None:
    """A few steps of each stage, on real scenes: the tower, then text and heads beside the resting tower."""
    from dataclasses import replace

    from looksay.training.loop import train
    from looksay.training.recipes.clip import scenes

    model, stages = scenes("tiny")
    assert [stage.name for stage in stages] == ["tower", "pairs"]
    few = [replace(stage, steps=2, examples_per_batch=8) for stage in stages]
    train(model, few, tmp_path, device="cpu", quiet=True, log_every=1)
    before, after = (checkpoint.load(tmp_path / name) for name in ("tower", "pairs"))
    assert before.tower.fingerprint == after.tower.fingerprint
    assert before.text.fingerprint != after.text.fingerprint
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    told = [set(line["losses"]) for line in lines if "losses" in line]
    assert told[-1] == {"itc"}
    assert all(name.startswith("recognise/") for name in told[0])
    example = few[1].data.example(0)
    shown = example.conversation.images
    trained, kept = model.state_dict(), after.state_dict()
    assert trained.keys() == kept.keys()
    assert all(torch.equal(trained[name], kept[name]) for name in trained)
    # The same weights elsewhere in memory round differently in the last bit.
    torch.testing.assert_close(after.scores(shown, ["A dog."]), model.scores(shown, ["A dog."]))
