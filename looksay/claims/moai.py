"""MoAI's claims (arXiv 2403.07508): each vision expert helps with its own type of question, and gates add to mixing.

An expert is taken away when the model is asked: it learned with all of them. So nearly all of these claims are about
one model of each seed. Two say what a model comes to that learned without the expert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from looksay.claims import released
from looksay.claims.base import QUESTIONS, Arm, Claim, Source
from looksay.claims.measuring import Asking, asked, informed

if TYPE_CHECKING:
    from looksay.training.stages import Stage
    from looksay.types import Image

_PAPER = "Lee et al., MoAI: Mixture of All Intelligence for Large Language and Vision Models, 2024"
_SOURCE = Source(
    _PAPER, "https://arxiv.org/abs/2403.07508", "no figure of it was read", checked=False
)
_ALL = "all experts"
_KINDS = (
    *("what", "how many", "where", "is there", "which word", "colour", "size"),
    *("relation: yes or no", "relation: which", "reasoning"),
)
_WRONG = (0.0, 0.1, 0.3)
_SHARED = (
    "once per seed, for all claims of moai: experts and gates (600 steps each), over `mini` as it ships; the arms are "
    "the same model"
)


class Expert(NamedTuple):
    """What one of `looksay.data.scenes.finding.EXPERTS` is for."""

    says: str
    kinds: tuple[str, ...]
    """Of questions, its own."""
    note: str = ""


_PLACES = ("is there", "where", "how many")
_TWICE = "Segments and detections tell the same things, and either stays when the other goes, so little may be lost."
EXPERTS: Mapping[str, Expert] = {
    "text": Expert(
        "Text that was read (OCR) helps to say which word is on a sign", ("which word",)
    ),
    "relations": Expert(
        "A scene graph helps with questions of relations",
        ("relation: yes or no", "relation: which"),
    ),
    "segments": Expert(
        "Panoptic segments help to say what is there, where and how often", _PLACES, _TWICE
    ),
    "detections": Expert(
        "Detections help to say what is there, where and how often", _PLACES, _TWICE
    ),
}


def _recipe(
    size: str, seed: int, *, gated: bool = True, lacking: str = ""
) -> tuple[Any, list[Stage]]:
    """The recipe for scenes. Not `gated`: the gates stay as they begin, a third for each expert. `lacking`: an expert
    that does not look while the model learns."""
    import torch

    from looksay.data.dataset import Pictured
    from looksay.training.recipes import moai

    base, before = released.talking(size)
    torch.manual_seed(seed)
    model = moai.over(base)
    stages = []
    for stage in moai.joining(seed, experts=0.0):
        if not gated:
            stage = replace(stage, trains={k: v for k, v in stage.trains.items() if k != "gates"})
        if lacking:
            less = partial(_without, lacking)
            stage = replace(stage, data=Pictured(stage.data, less, f"without {lacking}"))
        stages.append(stage)
    return model, [*before, *stages]


def _without(expert: str, image: Image) -> Image:
    from looksay.data.scenes.finding import without

    return replace(image, findings=without(image.findings, expert))


def _arm(name: str, measure: Asking, **how: Any) -> Arm:
    return Arm(name, partial(_recipe, **how), released.ALONE, measure)


def _helps(name: str, wrong: float) -> Claim:
    """With the true experts, or with worse ones."""
    one = EXPERTS[name]
    worse = f", also where {wrong * 100:.0f} % of all findings are wrong" if wrong else ""
    ask = partial(informed, *one.kinds, wrong=wrong)
    learned = " It learned from the truth, and meets faults when it is asked." if wrong else ""
    return Claim(
        f"{name}-{wrong * 100:.0f}" if wrong else name,
        f"{one.says}{worse}.",
        (_arm(f"without {name}", ask(lacking=name)), _arm(_ALL, ask())),
        QUESTIONS,
        budget=_SHARED,
        source=_SOURCE,
        note=f"Asked: {', '.join(one.kinds)}. The expert is taken away when the model is asked; it learned with all "
        f"four.{learned} {one.note}".rstrip(),
    )


def _learned(name: str) -> Claim:
    one = EXPERTS[name]
    ask = partial(informed, *one.kinds)
    return Claim(
        f"learned-{name}",
        f"{one.says}, also beside a model that learned without it.",
        (
            _arm(f"learned without {name}", ask(lacking=name), lacking=name),
            _arm(_ALL, ask()),
        ),
        QUESTIONS,
        budget=f"once per seed: experts and gates (600 steps each) without {name}; and the model of all claims of moai",
        source=_SOURCE,
        note=f"Asked: {', '.join(one.kinds)}. A model that misses what it learned with may fall for that alone; this "
        "one never had it.",
    )


_EVERYTHING = partial(informed, *_KINDS)

CLAIMS = (
    Claim(
        "experts",
        "What vision experts found, mixed in, makes the answers of a LLaVA better.",
        (_arm("no findings", Asking(partial(asked, kinds=_KINDS))), _arm(_ALL, _EVERYTHING())),
        QUESTIONS,
        budget=_SHARED,
        source=_SOURCE,
        note="Without findings the mixers rest and the base answers, `mini` as it ships; it has had no steps of training "
        "since. The experts are the scenes' exact truth.",
    ),
    *(_helps(name, wrong) for name in EXPERTS for wrong in _WRONG),
    Claim(
        "faults",
        "The fewer findings are wrong, the better the answers; with three in ten wrong they are still better than with "
        "none.",
        (
            _arm("no findings", Asking(partial(asked, kinds=_KINDS))),
            *(
                _arm(f"{wrong * 100:.0f} % wrong" if wrong else _ALL, _EVERYTHING(wrong=wrong))
                for wrong in reversed(_WRONG)
            ),
        ),
        QUESTIONS,
        budget=_SHARED,
        note="It learned from the truth, and meets faults when it is asked: each name, box, relation and word is wrong "
        "by itself.",
    ),
    Claim(
        "gates",
        "Gates that weigh the experts of a mixer for each place add to mixing them in equal parts.",
        (_arm("equal parts", _EVERYTHING(), gated=False), _arm(_ALL, _EVERYTHING())),
        QUESTIONS,
        budget="once per seed: the second stage without gates (600 steps), over the first of all claims of moai",
        source=_SOURCE,
        note="Both arms go on from the same first step, in which one expert of three is drawn, and take as many steps of "
        "the second.",
    ),
    *(_learned(name) for name in ("text", "relations")),
)
