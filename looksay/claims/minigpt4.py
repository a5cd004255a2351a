"""MiniGPT-4's claims (arXiv 2304.10592): a few curated descriptions mend what many captions left, one matrix is enough,
and long texts say more, also of what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from looksay.claims import released
from looksay.claims.base import OBJECT_RECALL, Arm, Claim, Figure, Reported, Source
from looksay.claims.measuring import Asking, only

if TYPE_CHECKING:
    from looksay.evaluation.benchmark import Item
    from looksay.training.recipes.minigpt4 import Kind
    from looksay.training.stages import Stage

MARGIN = 3.0
"""Points of recall that count as little. Two models of different seeds differ by one (docs/claims.md, llava/align)."""
_PAPER = "Zhu et al., MiniGPT-4: Enhancing Vision-Language Understanding with Advanced Large Language Models, 2023"
_ADDRESS = "https://arxiv.org/abs/2304.10592"


def _recipe(
    size: str, seed: int, *, kind: Kind = "paper", last: str = "tune"
) -> tuple[Any, list[Stage]]:
    """The recipe for scenes up to the stage `last`, over a tower and a language model that talk already; the Q-Former
    is one for all seeds, as the one that the paper downloads."""
    import torch

    from looksay.training.recipes import minigpt4

    base, before = released.talking(size)
    made = []
    for draw in (0, seed):
        torch.manual_seed(draw)
        made.append(minigpt4.over(base.tower, base.language, base.tokenizer, size, kind=kind))
    model, other = made
    model.connector.load_state_dict(other.connector.state_dict())
    stages = [s for s in before if s.name in released.ALONE]
    stages += [s for s in minigpt4.joining(0, kind=kind) if s.name in _ALONE]
    stages += [s for s in minigpt4.joining(seed, kind=kind) if s.name not in _ALONE]
    names = [stage.name for stage in stages]
    return model, stages[: names.index(last) + 1]


_ALONE = released.ALONE | {"contrast", "represent"}


def _arm(name: str, measure: Asking | None = None, **how: Any) -> Arm:
    return Arm(name, partial(_recipe, **how), _ALONE, measure or only("description"))


def in_short(items: Sequence[Item]) -> list[Item]:
    """The descriptions, asked for as short captions."""
    from looksay.data.sources.scenes import CAPTION
    from looksay.types import Conversation

    return [
        replace(item, conversation=Conversation.ask(*item.conversation.images, CAPTION))
        for item in items
        if item.kind == "description"
    ]


_WHOLE = _arm("align and tune")
_WORDS = Figure("words")
_TABLE_4 = Source(_PAPER, _ADDRESS, "table 4", checked=False)
_SHARED = "once for all seeds and claims of minigpt4: contrast (600 steps) and represent (800); tower and language model are those of `mini`"
_ONCE = f"{_SHARED}. Once per arm and seed: align and tune (1,000 and 200 steps)"
_TALKS = (
    "The language model is that of `mini`, which has talked about pictures before, behind another connector. In 240 steps "
    "of align (no Q-Former, 40 scenes) one matrix taught it to name 39 % of what is there, and 4 % one that had only read "
    "lists."
)
_SIMPLER = (
    "The paper asks questions of photographs; here descriptions are held to all that is there."
)


def _as_good(name: str, says: str, arms: tuple[Arm, Arm], *reported: Reported) -> Claim:
    """One arm is about as good as the other."""
    return Claim(
        name,
        says,
        arms,
        OBJECT_RECALL,
        budget=_ONCE,
        source=_TABLE_4,
        reported=reported,
        margin=MARGIN,
        note=f"{_SIMPLER} {_TALKS}",
    )


CLAIMS = (
    Claim(
        "tune",
        "The second stage, a few hundred steps of detailed descriptions, makes descriptions fail less often: stay empty, "
        "repeat themselves, break off or miss the picture.",
        (_arm("align alone", last="align"), _WHOLE),
        Figure("failed"),
        budget=_ONCE,
        source=Source(_PAPER, _ADDRESS, "table 3", checked=False),
        reported=(
            Reported(
                "detailed captions that fail, in percent",
                {"align alone": "35", "align and tune": "2"},
            ),
            Reported("poems that fail, in percent", {"align alone": "32", "align and tune": "1"}),
        ),
        sighted=("align and tune",),
        beside=(
            _WORDS,
            *(Figure("failed", rule) for rule in ("empty", "repeated", "fragmentary", "off topic")),
        ),
        note="In the paper people counted; here rules do (`looksay.evaluation.metrics.minigpt4.failures`), of which one, "
        "off topic, says that nothing is named that is there. An arm that is blind fails by it, so the rule about blind "
        f"arms leaves the first out. {_TALKS}",
    ),
    Claim(
        "short",
        "Long descriptions name more that is not there than short ones.",
        (
            replace(_WHOLE, name="long"),
            replace(_WHOLE, name="short", measure=Asking(in_short)),
        ),
        Figure("CHAIRi"),
        budget=f"{_ONCE}, shared with `tune`; both arms are the same model, asked in other words",
        source=Source(_PAPER, _ADDRESS, "table 5", checked=False),
        reported=(
            Reported("CHAIRi", {"long": "9.6", "short": "7.2"}),
            Reported("mean length in words", {"long": "175", "short": "28.8"}),
        ),
        beside=(_WORDS, Figure("covered")),
        note='Asked "Describe the picture in detail." and "Write a short caption."; the second stage has taught detailed '
        f"descriptions alone. {_TALKS}",
    ),
    Claim(
        "coverage",
        "Descriptions by MiniGPT-4 cover more of what is there than those of BLIP-2.",
        (
            _arm("BLIP-2", kind="tuned-qformer", last="align"),
            replace(_WHOLE, name="MiniGPT-4"),
        ),
        Figure("covered"),
        budget=f"{_ONCE}. The arm BLIP-2 has align alone, shared with `tuned`",
        source=Source(_PAPER, _ADDRESS, "table 2 (first version)", checked=False),
        reported=(
            Reported("COCO, all covered, in percent", {"BLIP-2": "27.5", "MiniGPT-4": "66.2"}),
        ),
        sighted=("MiniGPT-4",),
        beside=(_WORDS,),
        note="BLIP-2 here is what its second stage makes of the same Q-Former: it learns on captions with its matrix, "
        "before the same frozen language model. In the paper a language model judges; here a description covers a "
        "scene that names all that is there and relates what a full description relates. That BLIP-2 may be blind is no "
        f"reason to leave the claim undecided. {_TALKS}",
    ),
    _as_good(
        "qformer",
        "Leaving out the Q-Former costs little: four patches joined tell a matrix nearly as much.",
        (_arm("Q-Former"), _arm("without Q-Former", kind="no-qformer")),
        Reported("AOK-VQA", {"Q-Former": "58.2", "without Q-Former": "56.9"}),
        Reported("GQA", {"Q-Former": "32.2", "without Q-Former": "33.4"}),
    ),
    _as_good(
        "layers",
        "Three layers instead of one matrix do not help.",
        (_arm("three layers", kind="three-layers"), _arm("one matrix")),
        Reported("AOK-VQA", {"three layers": "49.7", "one matrix": "58.2"}),
        Reported("GQA", {"three layers": "31.0", "one matrix": "32.2"}),
    ),
    _as_good(
        "tuned",
        "A Q-Former that learns with the matrix does not help.",
        (_arm("tuned Q-Former", kind="tuned-qformer"), _arm("Q-Former as it was")),
        Reported("AOK-VQA", {"tuned Q-Former": "52.1", "Q-Former as it was": "58.2"}),
        Reported("GQA", {"tuned Q-Former": "28.0", "Q-Former as it was": "32.2"}),
    ),
)
