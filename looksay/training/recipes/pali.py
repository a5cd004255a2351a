"""PaLI (arXiv 2209.06794): a frozen tower, and all that is asked of it in several languages; larger pictures last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from looksay.data.dataset import Mixture, Source
from looksay.data.sources import languages
from looksay.data.sources import scenes as talks
from looksay.data.sources.drawing import Curriculum
from looksay.errors import UnknownName
from looksay.models.connectors import Linear
from looksay.models.families.pali import Pali, pali_3b, pali_15b, pali_17b
from looksay.models.seq2seq import READ_AND_WRITE
from looksay.training.recipes import _small, llava
from looksay.training.recipes._published import Outline, published
from looksay.training.stages import Stage

PUBLISHED = {"3b": pali_3b, "15b": pali_15b, "17b": pali_17b}
"""The model before training, by size: mT5 as released, and an open tower in the place of the paper's."""
VOCABULARY = 2560
"""Words of two languages, Korean ones with the particles that hang on them."""
CARD: dict[str, Any] = {
    "languages": list(languages.TONGUES),
    "describe": {
        code: tongue.queries["description"].format(language=tongue.names[code])
        for code, tongue in languages.TONGUES.items()
    },
}
"""What the card of a model of scenes says: its languages, and how it is asked for a description in each."""
VITS: dict[str, dict[str, int]] = {
    "G": {"hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48},
    "e": {"hidden_size": 1792, "intermediate_size": 15360, "num_hidden_layers": 56},
}
"""ViT-G (Zhai et al., arXiv 2106.04560, table 2) and ViT-e (PaLI, table 1); 16 heads, patches of 14 px.
Recalled; the sizes that the paper gives (1.8 and 3.9 billion) agree."""
MT5S: dict[str, dict[str, int]] = {
    "large": {"d_model": 1024, "d_ff": 2816, "num_heads": 16},
    "xxl": {"d_model": 4096, "d_ff": 10240, "num_heads": 64},
}
"""24 layers in the encoder and in the decoder, heads of 64, 250,112 words."""
GEOMETRY = {"3b": ("G", "large"), "15b": ("G", "xxl"), "17b": ("e", "xxl")}


def scenes(size: str = "mini", seed: int = 0) -> tuple[Pali, list[Stage]]:
    """PaLI on scenes in English and Korean: a tower that recognises (already trained where one of that size
    ships), an encoder–decoder that reads lists and translates, words for places, then everything at once over
    the frozen tower: captions, descriptions, questions and translations, asked in either language.

    The first stages make what the paper downloads (mT5, a ViT that has met words). The paper's last, larger
    pictures, has no counterpart: scenes are 128 px.
    """
    import torch

    torch.manual_seed(seed)
    tokenizer = _small.tokenizer(texts=languages.texts(1000), vocabulary=VOCABULARY)
    tokenizer.chat_template = READ_AND_WRITE
    tower, language = _small.seeing(size), _small.seq2seq(size, tokenizer)
    model = Pali(tower, Linear(tower.width, language.width), language, tokenizer)
    fresh = _small.eyes_first(size, seed)
    curriculum: Curriculum = {"sign_share": 0.3, "invented": 0.5}
    lists = talks.read(seed + 1, mix={"listing": 1.0}, **curriculum)
    translations = languages.read(seed + 5, mix=languages.TRANSLATE, **curriculum)
    return model, [
        *fresh,
        replace(
            _small.language_stage(seed), data=Mixture([(lists, 0.6), (translations, 0.4)], seed)
        ),
        next(stage for stage in llava.joining(seed, **_small.SHOWN) if stage.name == "ground"),
        Stage(
            "main",
            trains={"connector": 2e-4, "language": 2e-3},
            data=languages.read(seed, **_small.SHOWN),
            cache_features=True,
            steps=2000,
            **_small.SPEAKING,
        ),
    ]


def paper(
    main: Source,
    high: Source | None = None,
    *,
    size: str = "17b",
    devices: int = 64,
    examples_per_device: int = 16,
) -> list[Stage]:
    """The paper's stages (section 3.3): one epoch at 224 px with the tower frozen, then 10,000 steps of all
    weights at 588 px, for the model of `looksay.models.families.pali.enlarged(model, 588)`: a run of its
    own, which only PaLI-17B was given. Of the other sizes there is no such stage, whatever `high` is.

    Batches of 4,096 and 1,024, recalled. Adafactor at 1e-2 is AdamW at 1e-4 here (1e-5 for all weights): ours,
    as are the settings of `published`. Raises InputError where a batch does not divide, UnknownName for a size.
    """
    if size not in PUBLISHED:
        raise UnknownName("published size of pali", size, PUBLISHED)
    split: dict[str, Any] = {
        "devices": devices,
        "examples_per_device": examples_per_device,
        "template": None,
    }
    both = {"connector": 1e-4, "language": 1e-4}
    stages = [published("main", main, both, batch=4096, epochs=1, **split)]
    if high is not None and size == "17b":
        every = {"tower": 1e-5, "connector": 1e-5, "language": 1e-5}
        stage = published("high", high, every, batch=1024, epochs=1, **split)
        stages.append(replace(stage, steps=10_000))
    return stages


def outline(size: str = "17b", side_px: int = 224) -> Outline:
    """A published model without weights: sizes 3b, 15b and 17b; 224 px, or the 588 of the last stage."""
    import torch
    from transformers import MT5Config, MT5ForConditionalGeneration, ViTConfig, ViTModel

    if size not in GEOMETRY:
        raise UnknownName("published size of pali", size, GEOMETRY)
    vit, mt5 = (VITS[GEOMETRY[size][0]], MT5S[GEOMETRY[size][1]])
    with torch.device("meta"):
        tower = ViTModel(
            ViTConfig(image_size=side_px, patch_size=14, num_attention_heads=16, **vit),
            add_pooling_layer=False,
        )
        language = MT5ForConditionalGeneration(
            MT5Config(vocab_size=250_112, num_layers=24, d_kv=64, **mt5)
        )
        # transformers (5.24) makes it the embedding; the released weights have one of their own.
        language.lm_head = torch.nn.Linear(mt5["d_model"], 250_112, bias=False)
        connector = Linear(vit["hidden_size"], mt5["d_model"])
    tokens = (side_px // 14) ** 2
    parts = {"tower": tower, "connector": connector, "language": language}
    return Outline(parts, tokens, tokens + 1)
