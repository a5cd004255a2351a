"""Flamingo (arXiv 2204.14198): gated cross-attention between a frozen tower and a frozen language model, trained in
one stage on pictures with words and on words with pictures between them."""

from __future__ import annotations

from typing import Any, NamedTuple

from looksay.data.dataset import Mixture, Source
from looksay.data.scenes.asking import TYPES
from looksay.data.sources import scenes as talks
from looksay.data.sources.interleaved import Interleaved
from looksay.errors import InputError, UnknownName
from looksay.models.connectors import Resampler
from looksay.models.families import flamingo as family
from looksay.models.families.flamingo import Flamingo
from looksay.models.gated import Gates, Marks, every
from looksay.models.language import Language
from looksay.models.small_tower import SmallTower
from looksay.training.recipes import _small
from looksay.training.recipes._published import Outline
from looksay.training.stages import Stage

PUBLISHED = {
    "3b": family.flamingo_3b,
    "9b": family.flamingo_9b,
    "80b": family.flamingo_80b,
    "openflamingo_3b": family.openflamingo_3b,
    "openflamingo_4b": family.openflamingo_4b,
    "openflamingo_9b": family.openflamingo_9b,
}
"""The models before training, by size: released towers and language models, or such as stand for the paper's."""


class Geometry(NamedTuple):
    """A published size: the language model's layers, their width, heads, words; every which layer is gated."""

    layers: int
    width: int
    heads: int
    words: int
    interval: int
    as_paper: bool = False


GEOMETRY = {
    "3b": Geometry(24, 2048, 16, 32_000, 1, as_paper=True),
    "9b": Geometry(40, 4096, 32, 32_000, 4, as_paper=True),
    "80b": Geometry(80, 8192, 64, 32_000, 7, as_paper=True),
    "openflamingo_3b": Geometry(24, 2048, 16, 50_434, 1),
    "openflamingo_4b": Geometry(32, 2560, 32, 50_434, 2),
    "openflamingo_9b": Geometry(32, 4096, 32, 50_434, 4),
}
"""Table 1 and appendix B.1.1 of the paper (Chinchilla's words: SentencePiece, 32,000); MPT-1B, RedPajama-3B, MPT-7B."""
RATE = 1e-4
SHARES = {"interleaved": 1.0, "pairs": 0.2, "long_pairs": 0.2, "video": 0.03}
"""Weights of M3W, ALIGN, LTIP and VTP (section 3.2 and appendix B.1.1)."""


def scenes(size: str = "mini", seed: int = 0, gated: bool = True) -> tuple[Flamingo, list[Stage]]:
    """Flamingo on scenes: a tower that recognises (already trained where one of that size ships), a language
    model that reads lists, then the paper's one stage over both, frozen.

    A third of that stage are conversations about one picture, the rest up to five questions of one type, each of a
    picture of its own. `gated` False is the ablation without tanh gates.
    """
    import torch

    torch.manual_seed(seed)
    tokenizer = _small.tokenizer()
    tower, language = _small.seeing(size), _small.language(size, tokenizer)
    model = over(tower, language, tokenizer, size, gated)
    stages = _small.eyes_first(size, seed)
    return model, [*stages, _small.language_stage(seed), flamingo_stage(seed)]


def over(
    tower: SmallTower, language: Language, tokenizer: Any, size: str = "mini", gated: bool = True
) -> Flamingo:
    """New gates and a new resampler between a tower and a language model that are there."""
    chosen = _small.size(size)
    width, each = language.width, language.width // chosen.heads
    connector = Resampler(
        tower.width, width, layers=2, heads=chosen.heads, width=width, projects=False
    )
    places = every(1, chosen.layers)
    gates = Gates(width, width, places, chosen.heads, each, gated=gated)
    return Flamingo(tower, connector, gates, Marks(width), language, tokenizer)


def flamingo_stage(seed: int, steps: int = 1600) -> Stage:
    """The paper's stage at this scale: resampler, gates and the mark of a picture learn, nothing else."""
    about_one = talks.read(seed, mix={"everything": 0.6, "description": 0.4}, **_small.SHOWN)
    tasks: list[Source] = [
        talks.read(seed + number, mix={"question": 1.0}, types=frozenset({kind}), **_small.SHOWN)
        for number, kind in enumerate(TYPES)
    ]
    tasks.append(talks.read(seed, mix={"caption": 1.0}, **_small.SHOWN))
    return Stage(
        "flamingo",
        trains={"connector": 2e-3, "gates": 2e-3, "marks": 2e-3},
        data=Mixture([(about_one, 0.35), (Interleaved(tasks, most=5, seed=seed), 0.65)], seed),
        steps=steps,
        cache_features=True,
        **_small.SPEAKING,
    )


def paper(
    pairs: Source,
    interleaved: Source | None = None,
    long_pairs: Source | None = None,
    video: Source | None = None,
    *,
    devices: int = 64,
    examples_per_device: int = 16,
    batch: int = 2048,
    steps: int = 500_000,
) -> list[Stage]:
    """The paper's one stage (section 3.2, appendix B.1.1): AdamW at 1e-4, constant after 5,000 steps of warm-up, weight
    decay 0.1, gradients clipped to 1, 500,000 steps, four data sets weighted 1 (pages: `interleaved`), 0.2
    (`pairs`: ALIGN), 0.2 (`long_pairs`: LTIP) and 0.03 (`video`: VTP, its frames side by side).

    Deviations: the weights are shares of the examples in one batch, where the paper weighs the losses of four
    batches; the resampler decays as the gates do (the paper: not); the batch is OpenFlamingo's 32 pages on
    each of 64 devices, the paper names none of its own. Raises InputError where it does not divide.
    """
    at_once = devices * examples_per_device
    if batch % at_once:
        raise InputError(
            f"A batch of {batch} does not divide into {devices} devices × {examples_per_device} examples. "
            "Choose divisors."
        )
    given = {
        "interleaved": interleaved,
        "pairs": pairs,
        "long_pairs": long_pairs,
        "video": video,
    }
    parts = [(source, SHARES[name]) for name, source in given.items() if source is not None]
    return [
        Stage(
            "flamingo",
            trains={"connector": RATE, "gates": RATE, "marks": RATE},
            data=Mixture(parts),
            steps=steps,
            template="flamingo",
            examples_per_batch=examples_per_device,
            accumulate=batch // at_once,
            pack=False,  # MPT counts positions by itself
            max_length=2048,
            overlong="cut",
            schedule="constant",
            warmup=5000 / max(steps, 5000),
            weight_decay=0.1,
            checkpoint_activations=True,
        )
    ]


def outline(size: str = "3b") -> Outline:
    """A published model without weights, from its geometry. The paper's NFNet-F6 (435M) and Chinchilla have no class
    in transformers: CLIP ViT-L/14 and an OPT of the same layers stand for them."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, OPTConfig, OPTForCausalLM

    from looksay.models.vision import TransformersTower

    if size not in GEOMETRY:
        raise UnknownName("published size of flamingo", size, GEOMETRY)
    chosen = GEOMETRY[size]
    with torch.device("meta"):
        tower = TransformersTower(
            CLIPVisionModel(
                CLIPVisionConfig(
                    hidden_size=1024,
                    intermediate_size=4096,
                    num_hidden_layers=24,
                    num_attention_heads=16,
                    image_size=224,
                    patch_size=14,
                )
            ),
            layer=-1,
        )
        language = Language(
            OPTForCausalLM(
                OPTConfig(
                    vocab_size=chosen.words,
                    hidden_size=chosen.width,
                    word_embed_proj_dim=chosen.width,
                    ffn_dim=4 * chosen.width,
                    num_hidden_layers=chosen.layers,
                    num_attention_heads=chosen.heads,
                )
            )
        )
        parts = family.joined(tower, language, chosen.interval, chosen.as_paper)
    return Outline(parts, 1, tower.tokens + tower.leading)
