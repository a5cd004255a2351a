"""PaLI: transformers' mT5 behind its own tower, larger pictures, and answers in the language asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import enliven, vision_config, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.data.dataset import Examples  # noqa: E402
from looksay.data.sources import languages  # noqa: E402
from looksay.errors import InputError, UnknownName  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import IGNORE, pad  # noqa: E402
from looksay.models.connectors import Linear  # noqa: E402
from looksay.models.families.pali import Pali, enlarged, pali_3b  # noqa: E402
from looksay.models.seq2seq import READ_AND_WRITE, Seq2Seq  # noqa: E402
from looksay.models.vision import TransformersTower  # noqa: E402
from looksay.training.recipes import _small  # noqa: E402
from looksay.training.recipes import pali as recipe  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def mt5(vocabulary: int, tied: bool = False) -> Any:
    """A tiny mT5: gated feed-forwards, and (as released) an output layer of its own."""
    from transformers import MT5Config, MT5ForConditionalGeneration

    config = MT5Config(
        vocab_size=vocabulary,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        eos_token_id=3,
        pad_token_id=0,
    )
    model = MT5ForConditionalGeneration(config)
    if not tied:
        model.lm_head = torch.nn.Linear(32, vocabulary, bias=False)
    return enliven(model).eval()


def tiny(
    vision: str = "siglip", tokenizer: Any = None, size_px: int = 32, tied: bool = False
) -> Any:
    from transformers import AutoModel

    torch.manual_seed(0)
    tokenizer = tokenizer or word_tokenizer()
    tokenizer.chat_template = READ_AND_WRITE
    tower = TransformersTower(
        enliven(AutoModel.from_config(vision_config(vision, size_px))), layer=None, fit="stretch"
    )
    language = Seq2Seq(mt5(len(tokenizer), tied))
    return enliven(Pali(tower, Linear(tower.width, language.width), language, tokenizer)).eval()


def picture(seed: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def asked(seed: int, text: str, answer: str, images: int = 1) -> Example:
    shown = tuple(picture(seed * 10 + n) for n in range(images))
    turns = (Message("user", (*shown, text)), Message("assistant", (answer,)))
    return Example(str(seed), Conversation(turns))


EXAMPLES = [
    asked(1, "what is this ?", "a dog"),
    asked(2, "how many objects ?", "four small red fox"),
    asked(3, "is there a tree ?", "yes", images=0),
]


@pytest.mark.parametrize("tied", [False, True])
def test_a_released_mt5_and_tower_load_and_give_transformers_logits(
    tmp_path: Path, tied: bool
) -> None:
    """The layouts as transformers saves them, by folder, through the preset: the same numbers as its mT5."""
    from transformers import CLIPImageProcessor, MT5ForConditionalGeneration, SiglipVisionModel

    torch.manual_seed(1)
    tokenizer = word_tokenizer()
    mt5(len(tokenizer), tied).save_pretrained(tmp_path / "mt5")
    tokenizer.save_pretrained(tmp_path / "mt5")
    enliven(SiglipVisionModel(vision_config("siglip"))).save_pretrained(tmp_path / "tower")
    CLIPImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(
        tmp_path / "tower"
    )
    model = pali_3b(str(tmp_path / "tower"), str(tmp_path / "mt5")).eval()
    assert model.prompter.image_tokens == 16
    theirs = MT5ForConditionalGeneration.from_pretrained(tmp_path / "mt5").eval()
    assert torch.equal(theirs.lm_head.weight, theirs.shared.weight) == tied
    for example in EXAMPLES:
        sequence = model.encode(example)
        batch = pad([sequence])
        at = next(n for n, label in enumerate(sequence.labels) if label != IGNORE)
        with torch.no_grad():
            images = model.connector(model.tower(batch.pixels_ICHW)) if sequence.pixels else None
            read = model.embed(batch.ids_BT, images)[:, :at]
            labels = torch.tensor([sequence.ids[at:]])
            expected = theirs(inputs_embeds=read, labels=labels)
            hidden = model.hidden(batch)[0, at - 1 : -1]
            torch.testing.assert_close(model.language.logits(hidden), expected.logits[0], **CLOSE)
            torch.testing.assert_close(model(batch)["lm"], expected.loss, **CLOSE)
            prompt = Conversation(example.conversation.messages[:1])
            (answer,) = model.generate([prompt], Options(max_tokens=10))
            ids = theirs.generate(inputs_embeds=read, max_new_tokens=10, do_sample=False)[0, 1:]
            assert answer.text == tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_what_is_read_is_the_picture_and_the_query_and_what_is_written_the_answer() -> None:
    model = tiny()
    sequence = model.encode(EXAMPLES[0])
    at = next(n for n, label in enumerate(sequence.labels) if label != IGNORE)
    assert sequence.ids[:16] == [model.prompter.image_id] * 16
    assert model.tokenizer.decode(sequence.ids[16:at]) == "what is this ?"
    assert model.tokenizer.decode(sequence.ids[at:]) == "a dog <end>"
    assert sequence.labels[at:] == sequence.ids[at:]
    assert (
        model.prepare(Conversation(EXAMPLES[0].conversation.messages[:1])).ids == sequence.ids[:at]
    )


@pytest.mark.parametrize("vision", ["siglip", "clip", "vit"])
def test_larger_pictures_are_read_with_the_same_weights(vision: str) -> None:
    model = tiny(vision)
    bigger = enlarged(model, 64)
    assert (model.tower.tokens, bigger.tower.tokens, bigger.prompter.image_tokens) == (16, 64, 64)
    assert bigger.language is model.language
    own, before = bigger.tower.state_dict(), model.tower.state_dict()
    changed = [name for name in own if own[name].shape != before[name].shape]
    assert len(changed) == 1
    same = enlarged(model, 32)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(same.tower(pixels), model.tower(pixels))
        # The middle of the larger table is what lay there before: a smooth table stays the table that it was.
        leading, name = model.tower.leading, changed[0]
        smooth = torch.linspace(-1, 1, 4)[:, None].expand(4, 4).reshape(16, 1).expand(16, 32)
        before[name].copy_(
            torch.cat([torch.zeros(leading, 32), smooth]).reshape(before[name].shape)
        )
        grown = (
            enlarged(model, 64).tower.state_dict()[name].reshape(-1, 32)[leading:, 0].reshape(8, 8)
        )
    assert bool((grown.diff(dim=0) > 0).all())
    assert float(grown.diff(dim=1).abs().max()) < 1e-5
    (answer,) = bigger.generate([Conversation.ask(picture(1), "what ?")], Options(max_tokens=5))
    assert answer.prompt_tokens > 64
    with pytest.raises(InputError, match="multiple of 8"):
        enlarged(model, 50)


@pytest.fixture(scope="module")
def made() -> Any:
    return recipe.scenes("tiny")


def test_a_tower_of_one_size_is_told(made: Any) -> None:
    model = made[0]
    with pytest.raises(InputError, match="SmallTower has one size"):
        enlarged(model, 224)


@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_keeps_an_output_layer_of_its_own(tmp_path: Path, tied: bool) -> None:
    model = tiny(tied=tied)
    checkpoint.save(model, tmp_path)
    again = checkpoint.load(tmp_path)
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    writing = again.language.model
    assert (writing.lm_head.weight is writing.shared.weight) == tied
    assert writing.encoder.embed_tokens.weight is writing.shared.weight


def test_one_model_answers_and_translates_in_the_language_asked_for(tmp_path: Path) -> None:
    """A batch of captions, questions and translations, half of them in Korean, learned by heart: the same
    picture and question answered in either language, as the query says; and the same after a checkpoint."""
    torch.manual_seed(0)
    scenes = languages.Scenes(0, "train")
    examples = []
    scene = scenes.scene(1)
    for language, other in (("en", "ko"), ("ko", "en")):
        examples += [
            languages.talk(scene, "question", "en", language),
            languages.talk(scene, "translation", other, language, source=other),
        ]
    tokenizer = _small.tokenizer(texts=languages.texts(20), vocabulary=1200)
    model = tiny(tokenizer=tokenizer).train()
    batch = pad([model.encode(example) for example in examples])
    optimizer = torch.optim.AdamW(
        [*model.connector.parameters(), *model.language.parameters()], 3e-3
    )
    for _ in range(150):
        optimizer.zero_grad()
        model(batch)["lm"].backward()
        optimizer.step()
    prompts = [Conversation(e.conversation.messages[:1]) for e in examples]
    answers = [a.text for a in model.generate(prompts, Options(max_tokens=60))]
    right = [answer in e.truth["answers"] for answer, e in zip(answers, examples, strict=True)]
    assert all(right), list(zip(answers, [e.truth["answers"] for e in examples], strict=True))
    checkpoint.save(model, tmp_path)
    again = checkpoint.load(tmp_path)
    assert type(again) is Pali
    assert [a.text for a in again.generate(prompts, Options(max_tokens=60))] == answers


def test_the_recipe_begins_with_a_frozen_tower_and_ends_with_all_languages(made: Any) -> None:
    model, stages = made
    assert [stage.name for stage in stages] == ["tower", "language", "ground", "main"]
    assert all("tower" not in stage.trains for stage in stages[1:])
    kinds = set()
    for index in range(40):
        example = stages[-1].data.example(index)
        sequence = model.encode(example, stages[-1].template)
        assert len(sequence.ids) < stages[-1].max_length
        kinds.add((example.truth["kind"], example.truth["language"]))
    assert len(kinds) == 8
    for index in range(10):
        assert not model.encode(stages[1].data.example(index)).pixels


def test_the_papers_stages_and_sizes() -> None:
    data = Examples([EXAMPLES[0]] * 8192)
    main, high = recipe.paper(data, data, devices=8)
    assert (set(main.trains), main.steps, main.accumulate) == ({"connector", "language"}, 2, 32)
    assert (set(high.trains), high.steps) == ({"tower", "connector", "language"}, 10_000)
    for size in ("3b", "15b"):  # only the largest saw larger pictures
        assert [s.name for s in recipe.paper(data, data, size=size, devices=8)] == ["main"]
    with pytest.raises(UnknownName, match="17b"):
        recipe.paper(data, size="5b")
    # Table 1 of the paper, in billions.
    for size, billions in {"3b": 3.0, "15b": 14.8, "17b": 16.9}.items():
        outlined = recipe.outline(size)
        found = sum(p.numel() for part in outlined.parts.values() for p in part.parameters())
        assert found / 1e9 == pytest.approx(billions, rel=0.03), size
    assert recipe.outline("3b").image_tokens == 256
    assert recipe.outline("3b", side_px=588).image_tokens == 1764
    with pytest.raises(UnknownName, match="17b"):
        recipe.outline("5b")
    assert set(recipe.PUBLISHED) == set(recipe.GEOMETRY)
