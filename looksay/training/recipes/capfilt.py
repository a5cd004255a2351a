"""CapFilt (BLIP, arXiv 2201.12086, section 3.3): a pre-trained model becomes a captioner and a filter, these mend
the data, and a new model learns from them.

`looksay train capfilt` is the first step on scenes: pre-training on captions of which 40% are wrong. `rounds` is all
of it, with the paper's ablations as arms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from looksay.backends.base import LoadOptions
from looksay.data import capfilt
from looksay.data.dataset import Mixture, Part, Source
from looksay.data.scenes.corrupting import Corrupted
from looksay.data.sources import scenes as talks
from looksay.models.families.blip import Blip
from looksay.training.recipes import blip
from looksay.training.stages import Stage

PUBLISHED = blip.PUBLISHED
outline = blip.outline
PICTURES = 10_000
"""With a text of the web each."""
SHARE = 0.4
"""Of the web's captions that are made wrong."""
ARMS = {
    "both": (True, True),
    "captioner": (True, False),
    "filter": (False, True),
    "none": (False, False),
}
"""Whether captions are written, whether texts are filtered: the paper's table 1, in the order that it claims (both >
captioner only > filter only > none)."""


def web(seed: int = 0, share: float = SHARE) -> Source:
    """Endless scenes with one caption each, of which `share` are wrong."""
    return Corrupted(talks.read(seed + 2, mix={"caption": 1.0}), share, seed)


def human(seed: int = 0) -> Source:
    """Endless other scenes with true captions: what COCO is to the paper."""
    return talks.read(seed + 5, mix={"caption": 1.0})


def scenes(size: str = "mini", seed: int = 0) -> tuple[Blip, list[Stage]]:
    """A BLIP and its pre-training on wrong captions."""
    model, stages = blip.scenes(size, seed)
    return model, [
        replace(s, data=Part(web(seed), 0, PICTURES)) if s.name == "pretrain" else s
        for s in stages
        if s.name in ("tower", "pretrain")
    ]


def captioner(clean: Source, steps: int = 500, rate: float = 3e-4) -> list[Stage]:
    """The pre-trained model as a captioner: its text transformer, by the captions' loss alone."""
    return [Stage("captioner", {"text": rate}, clean, steps, **blip.LEARNING)]


def filter(clean: Source, steps: int = 500, rate: float = 3e-4) -> list[Stage]:
    """The pre-trained model as a filter: contrast and matching. It shares no weight with the captioner: a filter that
    does keeps what its captioner wrote (the paper, section 4.4)."""
    return [
        Stage(
            "filter",
            {"text": rate, "pairing": rate},
            clean,
            steps,
            objectives=("itc", "itm"),
            **blip.LEARNING,
        )
    ]


def again(found: Source, clean: Source | None, steps: int, share: float = 0.25) -> list[Stage]:
    """A new model from what was kept, mixed with `share` of true captions where there are some; from texts that no
    round has seen, what captioner and filter begin from, and the arm "none"."""
    data = found if clean is None else Mixture([(found, 1 - share), (clean, share)])
    return blip.joining(0, data, steps)[:2]


def paper(
    web: Source,
    human: Source,
    *,
    large: bool = False,
    devices: int = 32,
    examples_per_device: int | None = None,
) -> list[Stage]:
    """The published settings of the first step and of the captioner's and the filter's (each begins from the first:
    three runs); the new model is pre-trained by the first step's once more (`blip.paper`)."""
    plan = blip.paper(
        web,
        human,
        human,
        large=large,
        devices=devices,
        examples_per_device=examples_per_device,
    )
    names = {"caption": "captioner", "retrieval": "filter"}
    return [replace(s, name=names.get(s.name, s.name)) for s in plan]


Train = Callable[[str, Any, list[Stage]], Path]
"""Trains a model in stages, unless that was done before; name, model, stages → the folder of what came of it."""


def mended(
    arm: str,
    pretrained: Path,
    data: Source,
    clean: Source,
    out: Path,
    train: Train,
    *,
    tuned: int = 500,
    least: float = 0.0,
    device: str = "cpu",
) -> Source:
    """The texts that an arm's round keeps of `data`: captioner and filter are tuned from `pretrained` on `clean`.
    Captions and verdicts lie in `out`, where arms share them. Raises InputError where all were rejected."""
    from looksay.backends import local
    from looksay.models import checkpoint

    writes, filters = ARMS[arm]
    options = LoadOptions(dtype="float32", device=device)
    writer = judge = None
    if writes:
        folder = train("captioner", checkpoint.load(pretrained), captioner(clean, tuned))
        writer = local.open_folder(f"local:{folder}", folder, options)
    if filters:
        folder = train("filter", checkpoint.load(pretrained), filter(clean, tuned))
        judge = capfilt.load_filter(f"local:{folder}", options, least)
    found = capfilt.bootstrap(data, out, captioner=writer, filter=judge)
    return capfilt.Bootstrapped(data, found.verdicts)


def rounds(
    out: Path,
    size: str = "mini",
    seed: int = 0,
    arm: str = "both",
    *,
    pictures: int = PICTURES,
    people: int = 2_000,
    steps: int = 3000,
    tuned: int = 500,
    tower_steps: int = 2000,
    share: float = SHARE,
    tell: Callable[[str], None] = lambda words: None,
    **running: Any,
) -> Blip:
    """One arm from beginning to end: pre-training on `pictures` with texts of the web and `people` true captions,
    captioner and filter from it by these, the round, a new model. Steps that arms share lie in `out` once, whatever
    the arm; a run that was broken off goes on. `tower_steps`: of sizes whose tower does not ship. `running` goes to
    `looksay.training.loop.train`.
    """
    import torch

    from looksay.training.loop import train

    data, clean = Part(web(seed, share), 0, pictures), Part(human(seed), 0, people)

    def fresh() -> Blip:
        torch.manual_seed(seed)
        return blip.model(size, seed)

    def made(name: str, model: Any, stages: list[Stage]) -> Path:
        tell(f"{arm}: {name}")
        train(model, stages, out / name, seed=seed, **running)
        return out / name

    before = [replace(s, steps=tower_steps) for s in scenes(size, seed)[1] if s.name == "tower"]
    pretrained = made("pretrain", fresh(), [*before, *again(data, clean, steps)])
    if arm == "none":
        return checkpoint_of(pretrained)
    kept = mended(arm, pretrained, data, clean, out / "round", made, tuned=tuned)
    digest = hashlib.sha256(kept.fingerprint.encode()).hexdigest()[:8]
    return checkpoint_of(made(f"{arm}-{digest}", fresh(), [*before, *again(kept, clean, steps)]))


def checkpoint_of(folder: Path) -> Blip:
    """The model that a run left."""
    from looksay.models import checkpoint

    found: Blip = checkpoint.load(folder)
    return found
