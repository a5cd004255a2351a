"""Dual encoders in miniature: what transformers itself computes, batch by batch the same, faults in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: no dual encoders")
pytest.importorskip("transformers", reason="no transformers: no dual encoders")

import numpy as np
import torch
from checkpoints.common import bert_tokenizer, save_preprocessor
from pictures import jpeg, picture, put

from looksay.backends.base import LoadOptions, Matcher
from looksay.backends.encoders import load
from looksay.errors import BackendError, InputError
from looksay.types import Image

pytestmark = pytest.mark.local

TEXTS = ["a dog on the street", "two red birds", "a", "the small house with one large window " * 9]
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 48,
    "patch_size": 16,
}


def text(words: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(words) + 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 40,
        "eos_token_id": words.sep_token_id,
        "bos_token_id": words.cls_token_id,
        "pad_token_id": words.pad_token_id,
    }


def wide(model: Any) -> Any:
    """Random weights under which different inputs get different embeddings."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "norm" not in name:
                weight.normal_(0.0, 1.2 / weight[0].numel() ** 0.5, generator=generator)
    return model.eval()


def clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    words = bert_tokenizer()
    config = CLIPConfig(text_config=text(words), vision_config=VISION, projection_dim=24)
    wide(CLIPModel(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}
    )
    save_preprocessor(folder, images)


def siglip(folder: Path) -> None:
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    words = bert_tokenizer()
    config = SiglipConfig(text_config={**text(words), "projection_size": 32}, vision_config=VISION)
    wide(SiglipModel(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    save_preprocessor(folder, SiglipImageProcessorPil(size={"height": 48, "width": 48}))


def blip(folder: Path) -> None:
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessorPil

    words = bert_tokenizer()
    # As released: [DEC] and [ENC] come behind BERT's vocabulary, and the config names the first.
    both = {**text(words), "bos_token_id": len(words), "encoder_hidden_size": 32}
    config = BlipConfig(text_config=both, vision_config=VISION, image_text_hidden_size=24)
    wide(BlipForImageTextRetrieval(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    save_preprocessor(folder, BlipImageProcessorPil(size={"height": 48, "width": 48}))


BUILD: dict[str, Callable[[Path], None]] = {"clip": clip, "siglip": siglip, "blip": blip}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind, build in BUILD.items():
        folders[kind] = tmp_path_factory.mktemp(kind)
        build(folders[kind])
    return folders


def on_cpu(folder: Path, **more: Any) -> Any:
    return load(f"hub:{folder}", LoadOptions(device="cpu", **more))


def shown(tmp_path: Path) -> list[Image]:
    wide_one = Image(put(tmp_path / "wide.jpg", jpeg(1, (120, 60))))
    return [wide_one, Image(picture(2)), Image(jpeg(3, (50, 90)))]


def reference(kind: str, folder: Path, images: list[Image]) -> tuple[Any, Any]:
    """Cosines as transformers' own example for the type computes them."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, BlipForImageTextRetrieval

    from looksay.images import load_rgb

    auto: Any = BlipForImageTextRetrieval if kind == "blip" else AutoModel
    model = auto.from_pretrained(folder)
    words = AutoTokenizer.from_pretrained(folder)(
        TEXTS,
        padding="max_length",
        truncation=True,
        max_length=35 if kind == "blip" else 40,
        return_tensors="pt",
    )
    words.pop("token_type_ids", None)
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(
        [load_rgb(image.source) for image in images], return_tensors="pt"
    )
    with torch.inference_mode():
        if kind == "blip":
            return model, model(**pixels, **words, use_itm_head=False).itm_score
        found = model(**pixels, **words)
    return model, found.image_embeds @ found.text_embeds.T


@pytest.mark.parametrize("kind", BUILD)
def test_cosines_are_those_of_transformers_whatever_the_batch(
    kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    images = shown(tmp_path)
    _, expected = reference(kind, checkpoints[kind], images)
    found = []
    for batch_size in (1, 2, 16):
        encoder = on_cpu(checkpoints[kind], batch_size=batch_size)
        seen, told = encoder.embed_images(iter(images)), encoder.embed_texts(TEXTS)
        assert seen.dtype == told.dtype == np.float32
        assert np.linalg.norm(np.concatenate([seen, told]), axis=1) == pytest.approx(1, abs=1e-6)
        found.append(seen @ told.T)
    for cosines in found:
        assert cosines == pytest.approx(expected.numpy(), abs=2e-6)
    assert np.ptp(found[0], axis=1).min() > 1e-3  # the texts do differ
    assert np.ptp(found[0], axis=0).max() > 1e-3
    assert isinstance(encoder, Matcher) == (kind == "blip")


@pytest.mark.parametrize("kind", BUILD)
def test_nothing_to_embed_is_no_rows(kind: str, checkpoints: dict[str, Path]) -> None:
    encoder = on_cpu(checkpoints[kind])
    assert len(encoder.embed_images([])) == len(encoder.embed_texts([])) == 0


def test_the_fingerprint_is_of_weights_and_precision(checkpoints: dict[str, Path]) -> None:
    plain = on_cpu(checkpoints["clip"]).fingerprint
    assert plain.endswith("-float32")
    assert plain == on_cpu(checkpoints["clip"]).fingerprint
    assert plain != on_cpu(checkpoints["clip"], dtype="bfloat16").fingerprint
    assert plain != on_cpu(checkpoints["siglip"]).fingerprint


def test_blip_s_head_is_that_of_transformers_with_its_own_first_token(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    images = shown(tmp_path)
    encoder = on_cpu(checkpoints["blip"], batch_size=3)
    model, _ = reference("blip", checkpoints["blip"], images)
    for image in images:
        words, pixels = encoder._words(TEXTS), encoder._pixels([image])
        words["input_ids"][:, 0] = len(bert_tokenizer()) + 1
        with torch.inference_mode():
            expected = model(pixel_values=pixels.expand(len(TEXTS), -1, -1, -1), **words).itm_score[
                :, 1
            ]
        assert encoder.match([image], TEXTS) == pytest.approx(expected.numpy(), abs=1e-5)
    # Of a video every frame is seen, and their order among the tokens does not matter to attention.
    two = encoder.match(images[:2], TEXTS)
    assert two == pytest.approx(encoder.match(images[1::-1], TEXTS), abs=1e-5)
    assert not np.allclose(two, encoder.match(images[:1], TEXTS), atol=1e-4)


def test_a_picture_that_cannot_be_read_is_named(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    broken = put(tmp_path / "broken.jpg", jpeg(1)[:200])
    with pytest.raises(BackendError, match=r"cannot embed .*broken\.jpg: "):
        on_cpu(checkpoints["clip"]).embed_images([Image(jpeg(1)), Image(broken)])


def test_what_is_no_dual_encoder_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import BertConfig, BertModel

    for name in ("ollama:llava", "hub:", "echo"):
        with pytest.raises(InputError, match="is no dual encoder: expected hub:OWNER/NAME"):
            load(name)
    with pytest.raises(InputError, match="device = 'gpu'"):
        load(f"hub:{checkpoints['clip']}", LoadOptions(device="gpu"))
    with pytest.raises(BackendError, match="There is no folder"):
        load(f"hub:{tmp_path / 'gone'}")
    small = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertModel(small).save_pretrained(tmp_path / "bert")
    with pytest.raises(BackendError, match="'bert', which does not embed both"):
        on_cpu(tmp_path / "bert")
    clip(tmp_path / "part")
    weights = load_file(tmp_path / "part" / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, tmp_path / "part" / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackendError, match=r"1 tensors are missing, text_projection\.weight"):
        on_cpu(tmp_path / "part")
    clip(tmp_path / "damaged")
    put(tmp_path / "damaged" / "tokenizer.json", "{")
    with pytest.raises(BackendError, match="could not be loaded"):
        on_cpu(tmp_path / "damaged")


def test_the_batch_changes_no_score(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from looksay.evaluation import embedding
    from looksay.evaluation.benchmarks import _retrieval, flickr30k

    items = _retrieval.in_order(
        [
            item
            for n in range(24)
            for item in _retrieval.items(str(n), [Image(picture(n))], [TEXTS[n % 4], f"dog {n}"])
        ]
    )
    found = []
    for batch_size in (1, 7):
        encoder = on_cpu(checkpoints["clip"], batch_size=batch_size)
        result = embedding.evaluate(
            encoder, "flickr30k", flickr30k, items, tmp_path / str(batch_size), samples=20
        )
        found.append({one.measure.name: one.measure.rows for one in result.figures})
    assert found[0] == found[1]
    assert 0 < sum(hit for hit, _ in found[0]["IR R@10"].values()) < len(found[0]["IR R@10"])
