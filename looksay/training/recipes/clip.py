"""CLIP (arXiv 2103.00020): pictures and captions find each other; on scenes over a tower that sees already."""

from __future__ import annotations

from typing import Any

from looksay.data.dataset import Source
from looksay.errors import InputError, UnknownName
from looksay.models.families.clip import (
    Clip,
    Heads,
    Loss,
    TextTower,
    vit_b16,
    vit_b32,
    vit_l14,
    vit_l14_336,
)
from looksay.training.recipes import _small
from looksay.training.recipes._published import Outline
from looksay.training.stages import Stage

PUBLISHED = {"b32": vit_b32, "b16": vit_b16, "l14": vit_l14, "l14-336": vit_l14_336}
"""The model of the paper before training, by size. Trained ones are read by `families.clip.from_folder`."""
RATES = {"b32": 5e-4, "b16": 5e-4, "l14": 4e-4, "l14-336": 2e-5}
"""Table 20. At 336 px the paper goes on from ViT-L/14 for one epoch."""
BATCH, WARMUP_STEPS, EPOCHS = 32_768, 2000, 32


def scenes(size: str = "mini", seed: int = 0, loss: Loss = "softmax") -> tuple[Clip, list[Stage]]:
    """CLIP on scenes: over a tower that was trained to recognise (of the size mini the one that ships; any other
    is trained first), a new text encoder and new heads learn from captions.

    Not as in the paper: the tower rests. From nothing, pairs alone teach it what tells scenes apart most cheaply,
    which is their backgrounds and counts.
    """
    import torch

    torch.manual_seed(seed)
    tokenizer = _small.tokenizer()
    tower, text = _small.seeing(size), _text(size, tokenizer)
    heads = Heads(tower.width, text.width, 256, loss, pool=1024)
    before = _small.eyes_first(size, seed)
    return Clip(tower, text, heads, tokenizer), [*before, pairs_stage(seed)]


def pairs_stage(seed: int, steps: int = 3000) -> Stage:
    """The one stage."""
    return _small.contrast_stage(seed, "pairs", {"text": 3e-3, "heads": 2e-3}, "itc", steps)


def _text(size: str, tokenizer: Any) -> TextTower:
    """A new causal encoder of texts, CLIP's own in small."""
    from transformers import CLIPTextConfig, CLIPTextModel

    chosen = _small.size(size)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=chosen.width,
        intermediate_size=4 * chosen.width,
        num_hidden_layers=2,
        num_attention_heads=chosen.heads,
        max_position_embeddings=_small.CONTEXT,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return TextTower(CLIPTextModel(config), attention="eager")


def paper(
    pairs: Source,
    _whole: Source | None = None,
    *,
    size: str = "b32",
    devices: int = 256,
    examples_per_device: int = 128,
) -> list[Stage]:
    """The paper's one stage (section 2.5, tables 19 and 20): 400 M pairs, 32 epochs in batches of 32,768; of the
    size l14-336 one epoch.

    A batch lies on all devices at once: contrast is with what it holds, so accumulating smaller ones would
    be another loss. Another product than 32,768 keeps the paper's rate. ε is torch's 1e-8, where the paper has
    1e-6. Raises InputError where the data have no end, UnknownName for a size.
    """
    if size not in RATES:
        raise UnknownName("published size of CLIP", size, RATES)
    if pairs.size is None:
        raise InputError("The stage 'pairs' counts epochs, so its data need an end.")
    epochs = 1 if size == "l14-336" else EPOCHS
    steps = max(1, pairs.size * epochs // (devices * examples_per_device))
    rate = RATES[size]
    return [
        Stage(
            "pairs",
            trains={"tower": rate, "text": rate, "heads": rate},
            objectives=("itc",),
            data=pairs,
            steps=steps,
            examples_per_batch=examples_per_device,
            pack=False,
            max_length=77,
            warmup=min(0.5, WARMUP_STEPS / steps),
            weight_decay=0.2,
            betas=(0.9, 0.98),
            clip=0.0,
            checkpoint_activations=True,
        )
    ]


def outline(size: str = "b32") -> Outline:
    """The published model without weights."""
    import torch

    if size not in PUBLISHED:
        raise UnknownName("published size of CLIP", size, PUBLISHED)
    with torch.device("meta"):
        model = PUBLISHED[size](_small.tokenizer(scenes=1))
    side = model.tower.size_px // int(model.tower.model.config.patch_size)
    return Outline(model.parts, 0, side**2 + 1)
