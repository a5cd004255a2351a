"""The same numbers and words as transformers' LlavaForConditionalGeneration, and back again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models import tiny  # noqa: E402
from models.tiny import enliven, tiny_llava, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import pad  # noqa: E402
from looksay.models.export import export  # noqa: E402
from looksay.models.families._llava_layouts import from_transformers, load_projector  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
TOWERS = ["clip", "siglip"]
LANGUAGES = ["llama", "qwen2", "opt"]


def reference(vision: str, language: str) -> Any:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    words = word_tokenizer()
    text = tiny.language_config(language, len(words))
    if language == "opt":
        text.tie_word_embeddings = False  # the official class can tie models with embed_tokens only
    config = LlavaConfig(
        vision_config=tiny.vision_config(vision),
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default" if vision == "clip" else "full",
        tie_word_embeddings=text.tie_word_embeddings,
    )
    torch.manual_seed(3)
    return enliven(LlavaForConditionalGeneration(config), 3).eval()


def released(folder: Path, vision: str, language: str) -> Any:
    model = reference(vision, language)
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return model


def picture(seed: int, size: tuple[int, int] = (48, 32)) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def examples() -> list[Example]:
    """Different lengths, several turns, several images."""
    one = (
        Message("user", (picture(1), "what is this ?")),
        Message("assistant", ("a small red dog",)),
    )
    two = (
        Message("user", (picture(2), "and this ?", picture(3))),
        Message("assistant", ("two cat",)),
        Message("user", ("how many objects are there in the picture ?",)),
        Message("assistant", ("four",)),
    )
    return [Example("1", Conversation(one)), Example("2", Conversation(two))]


def theirs(model: Any, batch: Any) -> Any:
    with torch.inference_mode():
        return model(
            input_ids=batch.ids_BT,
            pixel_values=batch.pixels_ICHW,
            attention_mask=(batch.segments_BT > 0).long(),
            labels=batch.labels_BT,
        )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("vision", TOWERS)
def test_logits_loss_and_words_are_those_of_transformers(
    tmp_path: Path, vision: str, language: str
) -> None:
    hf = released(tmp_path, vision, language)
    ours = from_transformers(tmp_path)
    batch = pad([ours.encode(example) for example in examples()])
    expected = theirs(hf, batch)
    with torch.inference_mode():
        logits = ours.language.logits(ours.hidden(batch))
        loss = ours(batch)["lm"]
    real = batch.segments_BT > 0
    torch.testing.assert_close(logits[real], expected.logits[real], **CLOSE)
    torch.testing.assert_close(loss, expected.loss, **CLOSE)

    prompts = [Conversation(e.conversation.messages[:1]) for e in examples()]
    for prompt, answer in zip(prompts, ours.generate(prompts, Options(max_tokens=24)), strict=True):
        ready = ours.prepare(prompt)
        spoken = hf.generate(
            input_ids=torch.tensor([ready.ids]),
            attention_mask=torch.ones(1, len(ready.ids), dtype=torch.long),
            pixel_values=torch.stack(ready.pixels),
            max_new_tokens=24,
            do_sample=False,
        )[0, len(ready.ids) :]
        text = ours.tokenizer.decode(spoken, skip_special_tokens=True).strip()
        assert answer.text == text
        assert answer.completion_tokens == len(spoken)


def renamed(folder: Path, layout: str) -> None:
    """The file's weights under the names of another release of transformers."""
    path = folder / "model.safetensors"
    weights = {}
    for name, value in load_file(path).items():
        part, _, rest = name.partition(".")
        if part == "vision_tower":
            rest = f"vision_model.{rest}"
        if layout == "4.57 in memory":
            if rest.startswith("lm_head."):
                part, name = "lm_head", rest
            else:
                name = f"model.{part}.{rest.removeprefix('model.')}"
        else:
            name = f"{part}.{rest}"
        weights[name] = value
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("layout", ["released", "4.57 in memory"])
@pytest.mark.parametrize("language", ["llama", "opt"])
def test_every_layout_of_names_is_read(tmp_path: Path, layout: str, language: str) -> None:
    hf = released(tmp_path, "clip", language)
    before = set(load_file(tmp_path / "model.safetensors"))
    renamed(tmp_path, layout)
    assert set(load_file(tmp_path / "model.safetensors")) != before
    ours = from_transformers(tmp_path)
    batch = pad([ours.encode(examples()[0])])
    with torch.inference_mode():
        logits = ours.language.logits(ours.hidden(batch))
    torch.testing.assert_close(logits, theirs(hf, batch).logits, **CLOSE)


def test_a_file_that_lacks_weights_is_refused_with_counts(tmp_path: Path) -> None:
    released(tmp_path, "clip", "llama")
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    del weights["multi_modal_projector.linear_2.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 are missing \(connector\.layers\.2\.weight\)"):
        from_transformers(tmp_path)


@pytest.mark.parametrize(
    ("kind", "prefix"), [("mlp", "model."), ("linear", "base_model.model.model.")]
)
def test_the_original_projector_file(tmp_path: Path, kind: str, prefix: str) -> None:
    model = tiny_llava(connector=kind)
    torch.manual_seed(9)
    layers = {"mlp": {"0.": (32, 32), "2.": (32, 32)}, "linear": {"": (32, 32)}}[kind]
    file = {}
    for name, shape in layers.items():
        file[f"{prefix}mm_projector.{name}weight"] = torch.randn(shape)
        file[f"{prefix}mm_projector.{name}bias"] = torch.randn(shape[0])
    torch.save(file, tmp_path / "mm_projector.bin")
    load_projector(model, tmp_path / "mm_projector.bin")
    x = torch.randn(2, 3, 32)
    values = list(file.values())
    expected = torch.nn.functional.linear(x, values[0], values[1])
    if kind == "mlp":
        expected = torch.nn.functional.linear(
            torch.nn.functional.gelu(expected), values[2], values[3]
        )
    torch.testing.assert_close(model.connector(x), expected)


def test_a_projector_of_the_other_version_is_refused(tmp_path: Path) -> None:
    torch.save({"model.mm_projector.weight": torch.zeros(32, 32)}, tmp_path / "mm_projector.bin")
    with pytest.raises(InputError, match="v1 has one matrix"):
        load_projector(tiny_llava(connector="mlp"), tmp_path / "mm_projector.bin")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("vision", [*TOWERS, "vit"])
def test_what_is_exported_says_the_same_in_transformers(
    tmp_path: Path, vision: str, language: str
) -> None:
    from transformers import LlavaForConditionalGeneration

    ours = tiny_llava(vision, language)
    checkpoint.save(ours, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    hf = LlavaForConditionalGeneration.from_pretrained(tmp_path / "official").eval()
    batch = pad([ours.encode(example) for example in examples()])
    with torch.inference_mode():
        logits = ours.language.logits(ours.hidden(batch))
    real = batch.segments_BT > 0
    torch.testing.assert_close(theirs(hf, batch).logits[real], logits[real], **CLOSE)
    prompt = Conversation(examples()[0].conversation.messages[:1])
    ready = ours.prepare(prompt)
    spoken = hf.generate(
        input_ids=torch.tensor([ready.ids]),
        attention_mask=torch.ones(1, len(ready.ids), dtype=torch.long),
        pixel_values=torch.stack(ready.pixels),
        max_new_tokens=16,
        do_sample=False,
    )[0, len(ready.ids) :]
    (answer,) = ours.generate([prompt], Options(max_tokens=16))
    assert ours.tokenizer.decode(spoken, skip_special_tokens=True).strip() == answer.text
    again = from_transformers(tmp_path / "official", fit=ours.tower.fit)
    with torch.inference_mode():
        torch.testing.assert_close(again.language.logits(again.hidden(batch)), logits, **CLOSE)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_the_exported_processor_prepares_pictures_as_we_do(tmp_path: Path, fit: str) -> None:
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    ours = tiny_llava()
    ours.tower.fit = fit
    checkpoint.save(ours, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "official", backend="pil")
    for seed, size in enumerate([(48, 100), (200, 64), (32, 32), (77, 77)]):
        shown = picture(seed, size).source
        pixels = processor(images=shown, return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(ours.tower.prepare(shown), pixels, atol=1e-5, rtol=1e-4)


def test_a_placeholder_beyond_the_vocabulary_gets_a_row_that_never_wins(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, LlavaForConditionalGeneration

    from looksay.models.families.llava import Llava
    from looksay.models.language import Language

    words = word_tokenizer()
    ours = tiny_llava(tokenizer=words)
    short = tiny.language_config("llama", 7)  # "<image>" is id 7: the first that the model lacks
    torch.manual_seed(0)
    language = Language(enliven(AutoModelForCausalLM.from_config(short)))
    model = Llava(ours.tower, ours.connector, language, words).eval()
    checkpoint.save(model, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    hf = LlavaForConditionalGeneration.from_pretrained(tmp_path / "official").eval()
    ids = torch.tensor([[2, *[7] * 16, 4, 5]])
    pixels = torch.stack([model.pixels(picture(1))])
    with torch.inference_mode():
        images = model.connector(model.tower(pixels))
        hidden = model.language.hidden(
            model.embed(ids, images), torch.ones_like(ids), torch.arange(19)[None]
        )
        expected = model.language.logits(hidden)
        found = hf(input_ids=ids, pixel_values=pixels).logits
    assert found.shape[-1] == 8
    torch.testing.assert_close(found[..., :7], expected, **CLOSE)
    assert bool((found[..., 7] < expected.max(-1).values).all())


def test_what_has_no_official_layout_is_refused_with_the_reason(tmp_path: Path) -> None:
    for kind, reason in (
        ("linear", "connector is Linear"),
        ("qformer", "connector is QFormer"),
        ("resampler", "connector is Resampler"),
    ):
        checkpoint.save(tiny_llava(connector=kind), tmp_path / kind)
        with pytest.raises(InputError, match=reason):
            export(tmp_path / kind, tmp_path / f"{kind}-official")
        assert not (tmp_path / f"{kind}-official").exists()
    checkpoint.save(tiny_llava(layer=None), tmp_path / "last")
    with pytest.raises(InputError, match="last output"):
        export(tmp_path / "last", tmp_path / "last-official")


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    checkpoint.save(tiny_llava(), tmp_path / "ours")
    (tmp_path / "official").mkdir()
    (tmp_path / "official" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        export(tmp_path / "ours", tmp_path / "official")
    assert (tmp_path / "official" / "mine.txt").read_text() == "mine"


def test_exported_names_are_the_released_ones(tmp_path: Path) -> None:
    checkpoint.save(tiny_llava(), tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    names = set(load_file(tmp_path / "official" / "model.safetensors"))
    assert "language_model.model.embed_tokens.weight" in names
    assert "language_model.lm_head.weight" in names
    assert "vision_tower.vision_model.embeddings.class_embedding" in names
    assert "multi_modal_projector.linear_1.weight" in names
    config = json.loads((tmp_path / "official" / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]


TURNS = (
    Message("system", ("you see .",)),
    Message("user", ("what is this ?", picture(1), "and this ?", picture(2))),
    Message("assistant", ("a dog and a cat",)),
    Message("user", ("how many ?",)),
)


@pytest.mark.parametrize("template", [None, "v0", "v1", "llama_2", "mistral", "mpt"])
def test_the_exported_processor_writes_our_prompts(tmp_path: Path, template: str | None) -> None:
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    ours = tiny_llava(template=template, tokenizer=tiny.byte_tokenizer())
    checkpoint.save(ours, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    settings = json.loads((tmp_path / "official" / "processor_config.json").read_text())
    settings.pop("processor_class")
    chat = (tmp_path / "official" / "chat_template.jinja").read_text()
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        ours.tokenizer,
        chat_template=chat,
        **settings,
    )
    for turns in (TURNS, TURNS[1:], TURNS[1:2], TURNS[3:]):
        messages = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                    for part in turn.parts
                ],
            }
            for turn in turns
        ]
        shown = [image.source for turn in turns for image in turn.images]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        found = processor(images=shown or None, text=text, add_special_tokens=False)
        conversation = Conversation(turns)
        assert found["input_ids"][0] == ours.prompter.prompt(conversation, template)


def test_the_hub_backend_says_of_an_export_what_the_model_says(tmp_path: Path) -> None:
    from looksay.backends import hub
    from looksay.backends.base import LoadOptions

    ours = tiny_llava()
    checkpoint.save(ours, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    backend = hub.load(str(tmp_path / "official"), LoadOptions(dtype="float32", device="cpu"))
    options = Options(max_tokens=16)
    for seed in range(3):
        buffer = io.BytesIO()
        picture(seed).source.save(buffer, "PNG")
        prompt = Conversation.ask(Image(buffer.getvalue()), "what is this ?")
        (completion,) = backend.complete([prompt], options)
        assert completion.error is None
        assert completion.text == ours.generate([prompt], options)[0].text
