"""SimVLM (arXiv 2108.10904): everything from nothing by one objective, on weakly labelled pairs and on texts alone;
then the answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from looksay.data.dataset import Mixture, Source, named
from looksay.data.sources import scenes as talks
from looksay.errors import UnknownName
from looksay.models.conv_stem import ConvStem
from looksay.models.families.simvlm import (
    SIZES,
    STEMS,
    PrefixModel,
    SimVlm,
    configured,
    new,
    simvlm_base,
    simvlm_huge,
    simvlm_large,
)
from looksay.training.recipes import _small
from looksay.training.recipes._published import Outline, divided, published
from looksay.training.stages import Stage
from looksay.types import Conversation, Example, Message

PUBLISHED = {"base": simvlm_base, "large": simvlm_large, "huge": simvlm_huge}
"""The model before training, by size."""
PAIRS, TEXTS = 4096, 512
"""A batch of the paper: so many pairs (ALIGN) and so many documents (C4)."""
VOCABULARY = 32_000


class Bare:
    """A source without the user's words wherever there is an image: pairs as the web has them. The same example
    is cut at another place each time that all have come, by a round in its id (`SimVlm.encode`)."""

    def __init__(self, source: Source, rounds: int = 1) -> None:
        self._source = source
        self.size = None if source.size is None else source.size * rounds
        self.fingerprint = named("Bare", rounds, source.fingerprint)

    def example(self, index: int) -> Example:
        turn, place = divmod(index, self._source.size) if self._source.size else (0, index)
        example = self._source.example(place)
        messages = [
            Message(m.role, tuple(m.images)) if m.images else m
            for m in example.conversation.messages
        ]
        return replace(
            example,
            id=f"{example.id}-{turn}" if turn else example.id,
            conversation=Conversation(tuple(messages)),
        )


def scenes(size: str = "mini", seed: int = 0) -> tuple[SimVlm, list[Stage]]:
    """SimVLM on scenes: over a tower that was trained to recognise (of the size mini the one that ships; any other
    is trained first), an encoder–decoder from nothing by prefix LM over pictures with their captions (and one in nine
    examples without a picture, as in the paper), then the answers to questions.

    Not as in the paper, whose stem begins from nothing, too: so it learned backgrounds in 25 minutes of a core, and no
    objects (docs/models.md).
    """
    import torch

    torch.manual_seed(seed)
    chosen = _small.size(size)
    model = new(
        _small.tokenizer(),
        _small.seeing(size),
        chosen.width,
        chosen.layers,
        chosen.heads,
        chosen.hidden,
        attention="eager",
    )
    before = _small.eyes_first(size, seed)
    told = talks.read(seed + 1, mix={"description": 0.6, "caption": 0.4}, **_small.SHOWN)
    asked = talks.read(seed + 2, mix={"question": 1.0}, **_small.SHOWN)
    texts = talks.read(seed + 3, mix={"listing": 1.0}, **_small.SHOWN)
    pairs = PAIRS / (PAIRS + TEXTS)
    parts: list[tuple[Source, float]] = [
        (Bare(told), 0.6 * pairs),
        (asked, 0.4 * pairs),
        (texts, 1 - pairs),
    ]
    rates = {"connector": 2e-3, "language": 2e-3}
    shared: dict[str, Any] = {"cache_features": True, **_small.SPEAKING}
    return model, [
        *before,
        Stage(
            "prefix",
            trains=rates,
            objectives=("prefix_lm",),
            data=Mixture(parts, seed),
            steps=2500,
            **shared,
        ),
        Stage(
            "answers",
            trains={part: rate / 4 for part, rate in rates.items()},
            data=talks.read(
                seed + 4,
                mix={"question": 0.5, "description": 0.4, "caption": 0.1},
                **_small.SHOWN,
            ),
            steps=500,
            **shared,
        ),
    ]


def paper(
    pairs: Source,
    tune: Source | None = None,
    texts: Source | None = None,
    *,
    devices: int = 8,
    examples_per_device: int = 16,
    steps: int = 1_000_000,
) -> list[Stage]:
    """The paper's stages (section 4.1): a million steps of prefix LM from nothing, of 4,096 pairs and 512
    documents each; then, on `tune`, the answers of a task, batch 128, ten epochs.

    Recalled: AdamW at 5e-4, weight decay 0.01, warm-up over 2% and a linear end. Ours: the rate and the batch
    of `tune`. Without `texts` all examples are pairs. Raises InputError where a batch does not divide.
    """
    data: Source = Bare(pairs, rounds=16)
    if texts is not None:
        data = Mixture([(data, PAIRS), (texts, TEXTS)])
    rates = {"tower": 5e-4, "connector": 5e-4, "language": 5e-4}
    stages = [
        Stage(
            "prefix",
            trains=rates,
            objectives=("prefix_lm",),
            data=data,
            steps=steps,
            examples_per_batch=examples_per_device,
            accumulate=divided(PAIRS + TEXTS, devices, examples_per_device),
            max_length=512,
            overlong="cut",
            schedule="linear",
            warmup=0.02,
            weight_decay=0.01,
            checkpoint_activations=True,
        )
    ]
    if tune is not None:
        stages.append(
            published(
                "tune",
                tune,
                dict.fromkeys(rates, 1e-5),
                batch=128,
                epochs=10,
                devices=devices,
                examples_per_device=examples_per_device,
                template=None,
            )
        )
    return stages


def outline(size: str = "base") -> Outline:
    """A published model without weights: sizes base, large and huge."""
    import torch

    from looksay.models.connectors import Linear

    if size not in SIZES:
        raise UnknownName("published size of simvlm", size, SIZES)
    with torch.device("meta"):
        stem = ConvStem(depths=STEMS[size])
        language = PrefixModel(configured(VOCABULARY, round(stem.tokens**0.5), **SIZES[size]))
        connector = Linear(stem.width, SIZES[size]["width"])
    parts = {"tower": stem, "connector": connector, "language": language}
    return Outline(parts, stem.tokens, stem.tokens)
