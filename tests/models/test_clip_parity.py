"""CLIP held to transformers' CLIP and SigLIP, and to open_clip's layout of the same weights."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.test_clip import CLOSE, EXAMPLES, PICTURES, TEXTS, text_config  # noqa: E402
from models.tiny import enliven, vision_config, word_tokenizer  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import pad  # noqa: E402
from looksay.models.families import clip  # noqa: E402
from looksay.models.families._clip_layouts import open_clip_weights  # noqa: E402
from looksay.models.families.clip import Clip  # noqa: E402

pytestmark = pytest.mark.local


def released(kind: str, folder: Path) -> Any:
    """A tiny CLIPModel or SiglipModel in the layout of transformers, tokenizer beside it."""
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    torch.manual_seed(1)
    parts = {
        "text_config": text_config(kind).to_dict(),
        "vision_config": vision_config(kind).to_dict(),
    }
    if kind == "clip":
        model: Any = CLIPModel(CLIPConfig(**parts, projection_dim=24))
    else:
        model = SiglipModel(SiglipConfig(**parts))
        with torch.no_grad():
            model.logit_bias.fill_(-3.0)
    enliven(model)
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return model.eval()


def asked(model: Clip, theirs: Any) -> tuple[Any, Any]:
    """What transformers makes of the same pictures and texts: padded to one length, as its processors do."""
    ids = [model.encode(example).ids for example in EXAMPLES]
    width = model.text.context if model.text.whole else max(map(len, ids))
    filler = model.text.pad_id
    table = torch.tensor([one + [filler] * (width - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in ids])
    pixels = torch.stack([model.pixels(shown) for shown in PICTURES])
    extra = {} if model.text.whole else {"attention_mask": mask}
    with torch.no_grad():
        found = theirs(input_ids=table, pixel_values=pixels, return_loss=True, **extra)
    return found, pixels


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_released_model_gives_transformers_embeddings_logits_and_loss(
    kind: str, tmp_path: Path
) -> None:
    theirs = released(kind, tmp_path)
    ours = clip.from_folder(tmp_path)
    wanted, _ = asked(ours, theirs)
    torch.testing.assert_close(ours.embed_images(PICTURES), wanted.image_embeds, **CLOSE)
    torch.testing.assert_close(ours.embed_texts(TEXTS), wanted.text_embeds, **CLOSE)
    torch.testing.assert_close(ours.scores(PICTURES, TEXTS), wanted.logits_per_image, **CLOSE)
    with torch.no_grad():
        loss = ours(pad([ours.encode(example) for example in EXAMPLES]))["itc"]
    torch.testing.assert_close(loss, wanted.loss, **CLOSE)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_checkpoint_of_a_released_model_says_the_same(kind: str, tmp_path: Path) -> None:
    released(kind, tmp_path / "released")
    ours = clip.from_folder(tmp_path / "released")
    again = checkpoint.load(checkpoint.save(ours, tmp_path / "own"))
    torch.testing.assert_close(ours.scores(PICTURES, TEXTS), again.scores(PICTURES, TEXTS))
    assert {k: v.fingerprint for k, v in (("tower", again.tower), ("text", again.text))} == {
        k: v.fingerprint for k, v in (("tower", ours.tower), ("text", ours.text))
    }


def in_open_clip(theirs: Any) -> dict[str, Any]:
    """A CLIPModel's weights as open_clip lays them out, written from its model.py alone."""
    own = theirs.state_dict()
    found = {
        "logit_scale": own["logit_scale"],
        "visual.proj": own["visual_projection.weight"].T,
        "text_projection": own["text_projection.weight"].T,
        "visual.class_embedding": own["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": own["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": own["vision_model.embeddings.position_embedding.weight"],
        "positional_embedding": own["text_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": own["text_model.embeddings.token_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        found[f"visual.ln_pre.{kind}"] = own[f"vision_model.pre_layrnorm.{kind}"]
        found[f"visual.ln_post.{kind}"] = own[f"vision_model.post_layernorm.{kind}"]
        found[f"ln_final.{kind}"] = own[f"text_model.final_layer_norm.{kind}"]
        for side, prefix, layers in (("vision_model", "visual.", 3), ("text_model", "", 2)):
            for n in range(layers):
                block = f"{side}.encoder.layers.{n}"
                to = f"{prefix}transformer.resblocks.{n}"
                found[f"{to}.attn.in_proj_{kind}"] = torch.cat(
                    [own[f"{block}.self_attn.{p}_proj.{kind}"] for p in "qkv"]
                )
                for new, old in (
                    ("attn.out_proj", "self_attn.out_proj"),
                    ("ln_1", "layer_norm1"),
                    ("ln_2", "layer_norm2"),
                    ("mlp.c_fc", "mlp.fc1"),
                    ("mlp.c_proj", "mlp.fc2"),
                ):
                    found[f"{to}.{new}.{kind}"] = own[f"{block}.{old}.{kind}"]
    return found


def open_clip_folder(theirs: Any, folder: Path, file: str, **changed: Any) -> Path:
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in in_open_clip(theirs).items()}
    folder.mkdir(exist_ok=True)
    if file.endswith(".safetensors"):
        save_file(state, folder / file)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, folder / file)
    seeing = {"image_size": 32, "layers": 3, "width": 32, "patch_size": 8, "head_width": 8}
    reading = {
        "context_length": 16,
        "vocab_size": len(word_tokenizer()),
        "width": 32,
        "heads": 4,
        "layers": 2,
        "mlp_ratio": 2.0,
    }
    content = {
        "model_cfg": {
            "embed_dim": 24,
            "quick_gelu": True,
            "vision_cfg": {**seeing, "mlp_ratio": 2.0, **changed},
            "text_cfg": reading,
        },
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.3]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(content), "utf-8")
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_open_clips_layout_gives_the_same_as_transformers(file: str, tmp_path: Path) -> None:
    theirs = released("clip", tmp_path / "hf")
    ours = clip.from_folder(open_clip_folder(theirs, tmp_path / "open", file))
    assert ours.tower.mean_rgb == (0.5, 0.4, 0.3)
    wanted, _ = asked(ours, theirs)
    torch.testing.assert_close(ours.scores(PICTURES, TEXTS), wanted.logits_per_image, **CLOSE)
    torch.testing.assert_close(ours.embed_images(PICTURES), wanted.image_embeds, **CLOSE)
    torch.testing.assert_close(ours.embed_texts(TEXTS), wanted.text_embeds, **CLOSE)


def program(file: Path) -> None:
    """A file as OpenAI's are written, by what torch means to give up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
        torch.jit.save(traced, file)


@pytest.mark.parametrize("what", ["a TorchScript archive", "weights alone"])
def test_the_files_of_openai_are_refused_with_what_to_type(what: str, tmp_path: Path) -> None:
    file = tmp_path / "ViT-B-32.pt"
    if what == "weights alone":
        torch.save(torch.nn.Linear(2, 2).state_dict(), file)
    else:
        program(file)
    for given in (file, str(file), tmp_path):
        with pytest.raises(InputError, match=f"{what}.*Expected a folder") as told:
            clip.from_folder(given)
        assert "from_folder('openai/clip-vit-base-patch32')" in str(told.value)
        assert f"pretrained='{file}'" in str(told.value)


def test_a_program_among_open_clips_weights_is_refused_as_one(tmp_path: Path) -> None:
    theirs, file = released("clip", tmp_path / "hf"), "open_clip_pytorch_model.bin"
    folder = open_clip_folder(theirs, tmp_path / "open", file)
    program(folder / file)
    with pytest.raises(InputError, match="is a TorchScript archive, which is a program"):
        clip.from_folder(folder)


def test_another_architecture_in_open_clips_layout_is_refused(tmp_path: Path) -> None:
    theirs = released("clip", tmp_path / "hf")
    odd = open_clip_folder(
        theirs, tmp_path / "a", "open_clip_model.safetensors", timm_model_name="vit_base"
    )
    with pytest.raises(InputError, match=r"vision_cfg has timm_model_name='vit_base'"):
        clip.from_folder(odd)
    with pytest.raises(
        InputError, match=r"'visual.layer1.0.conv1.weight', which no ViT of CLIP has"
    ):
        open_clip_weights({"visual.layer1.0.conv1.weight": torch.zeros(1)})
    shallow = open_clip_folder(theirs, tmp_path / "b", "open_clip_model.safetensors", layers=2)
    with pytest.raises(InputError, match=r"16 are unknown \(tower.model.encoder.layers.2"):
        clip.from_folder(shallow)
    bare = open_clip_folder(theirs, tmp_path / "c", "open_clip_model.safetensors")
    (bare / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="holds no weights of open_clip; expected open_clip_model"):
        clip.from_folder(bare)


def test_a_folder_of_something_else_or_with_weights_missing_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(InputError, match=r"neither a transformers checkpoint nor open_clip_config"):
        clip.from_folder(tmp_path / "nothing")
    vision_config().save_pretrained(tmp_path / "vision")
    with pytest.raises(InputError, match="of type clip_vision_model; expected clip or siglip"):
        clip.from_folder(tmp_path / "vision")
    released("clip", tmp_path / "less")
    file = tmp_path / "less" / "model.safetensors"
    tensors = load_file(file)
    del tensors["text_projection.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights are missing, text_projection.weight"):
        clip.from_folder(tmp_path / "less")
