"""Vision towers: which layer is read, what is left out, and pictures prepared as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models import tiny  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.families import llava  # noqa: E402
from looksay.models.fingerprint import fingerprint  # noqa: E402
from looksay.models.vision import CLIP_MEAN, TransformersTower, make_square  # noqa: E402
from looksay.types import Conversation, Options  # noqa: E402

pytestmark = pytest.mark.local


def model_of(kind: str) -> Any:
    from transformers import AutoModel, Dinov2WithRegistersConfig

    if kind == "dinov2":
        config: Any = Dinov2WithRegistersConfig(
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
            num_register_tokens=4,
        )
    else:
        config = tiny.vision_config(kind)
    torch.manual_seed(0)
    return tiny.enliven(AutoModel.from_config(config)).eval()


@pytest.mark.parametrize("layer", [None, -1, -2, 0])
@pytest.mark.parametrize(
    ("kind", "leading"), [("clip", 1), ("siglip", 0), ("vit", 1), ("dinov2", 5)]
)
def test_the_layer_that_is_read(kind: str, leading: int, layer: int | None) -> None:
    model = model_of(kind)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        output = model(pixels, output_hidden_states=True)
        wanted = output.last_hidden_state if layer is None else output.hidden_states[layer]
        for drop in (True, False):
            tower = TransformersTower(model, layer, drop_cls=drop)
            found = tower(pixels)
            assert found.shape == (2, tower.tokens, tower.width)
            assert torch.equal(found, wanted[:, leading if drop else 0 :])
            assert tower.leading == leading


def test_pictures_of_another_size_are_refused_with_both_counts() -> None:
    tower = TransformersTower(model_of("dinov2"))  # takes any size; CLIP refuses by itself
    with pytest.raises(InputError, match=r"gave 36 features per image; 16 were expected"):
        tower(torch.randn(1, 3, 48, 48))


def test_padding_is_the_mean_colour_on_both_sides() -> None:
    wide = Pillow.new("RGB", (64, 32), (255, 0, 0))
    square = np.asarray(make_square(wide, 64, "pad", CLIP_MEAN))
    mean = tuple(int(value * 255) for value in CLIP_MEAN)
    assert tuple(square[0, 0]) == tuple(square[-1, -1]) == mean
    assert tuple(square[32, 32]) == (255, 0, 0)
    assert (square[:, 0] == mean).all(axis=-1).sum() == 32


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (33, 32)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_any_picture_becomes_a_square(fit: Any, size: tuple[int, int]) -> None:
    for mode in ("RGB", "L", "RGBA", "P"):
        assert make_square(Pillow.new(mode, size), 32, fit, CLIP_MEAN).size == (32, 32)


def clip_folder(folder: Path) -> Any:
    from transformers import CLIPConfig, CLIPModel

    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 20,
    }
    config = CLIPConfig(text_config=text, vision_config=tiny.vision_config("clip").to_dict())
    torch.manual_seed(1)
    model = tiny.enliven(CLIPModel(config)).eval()
    model.save_pretrained(folder)
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return model


def test_a_whole_clip_gives_its_vision_half(tmp_path: Path) -> None:
    model = clip_folder(tmp_path)
    tower = TransformersTower.from_folder(tmp_path, layer=-2).eval()
    assert tower.mean_rgb == (0.5, 0.4, 0.3)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        expected = model.vision_model(pixels, output_hidden_states=True).hidden_states[-2]
        torch.testing.assert_close(tower(pixels), expected[:, 1:])


@pytest.mark.parametrize("preset", ["llava_7b", "llava15_7b", "llava15_13b"])
def test_presets_compose_released_parts(tmp_path: Path, preset: str) -> None:
    clip_folder(tmp_path / "clip")
    words = tiny.word_tokenizer()
    source = tiny.tiny_llava(tokenizer=words)
    source.language.model.save_pretrained(tmp_path / "llm")
    words.save_pretrained(tmp_path / "llm")
    model = getattr(llava, preset)(str(tmp_path / "clip"), str(tmp_path / "llm"))
    one_matrix = preset == "llava_7b"
    assert type(model.connector).__name__ == ("Linear" if one_matrix else "MLP")
    assert (model.tower.fit, model.tower.layer) == ("crop" if one_matrix else "pad", -2)
    assert model.template == "v1"
    assert model.language.fingerprint == source.language.fingerprint
    checkpoint.save(model, tmp_path / "out")
    loaded = checkpoint.load(tmp_path / "out")
    asked = Conversation.ask("how many ?")
    options = Options(max_tokens=6)
    assert loaded.generate([asked], options) == model.eval().generate([asked], options)


def test_fingerprints_follow_the_weights_not_their_precision() -> None:
    model = model_of("clip")
    first = fingerprint(model)
    assert fingerprint(model_of("clip")) == first
    assert fingerprint(model.bfloat16()) == first
    assert fingerprint(model.float()) == first
    with torch.no_grad():
        next(model.encoder.layers[2].parameters()).add_(0.5)
    assert fingerprint(model) != first


def test_a_name_on_the_hub_gives_its_own_mean_and_deviation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants
    import transformers.utils.hub

    home = tmp_path / "models--me--tower"
    clip_folder(home / "snapshots" / "abc")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(transformers.utils.hub, "HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr(transformers.utils.hub, "is_offline_mode", lambda: True, raising=False)
    assert TransformersTower.from_folder("me/tower").mean_rgb == (0.5, 0.4, 0.3)


def test_a_cropped_picture_is_as_long_as_transformers_makes_it() -> None:
    from transformers.image_transforms import get_resize_output_image_size

    wide = Pillow.new("RGB", (100, 61))
    for shape in [(100, 61), (333, 334), (640, 427), (97, 1000)]:
        height, width = get_resize_output_image_size(
            np.zeros((*shape, 3)), size=224, default_to_square=False
        )
        assert sorted((224, 224 * max(shape) // min(shape))) == sorted((height, width))
    assert make_square(wide, 32, "crop", (0.5, 0.5, 0.5)).size == (32, 32)
