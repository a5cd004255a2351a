"""BLIP-2's claims (arXiv 2301.12597): the first stage is what the second stands on, and writing in it helps finding."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from looksay.claims import released
from looksay.claims.base import OBJECT_RECALL, Arm, Claim, Figure, Reported, Source
from looksay.claims.measuring import FOUND_FIRST, Measuring, Retrieving, only

if TYPE_CHECKING:
    from looksay.training.stages import Stage

_PAPER = "Li et al., BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models, 2023"
_ADDRESS = "https://arxiv.org/abs/2301.12597"


def recipe(
    size: str, seed: int, *, last: str = "generate", first_stage: bool = True, itg: bool = True
) -> tuple[Any, list[Stage]]:
    """The recipe for scenes up to the stage `last`, over the tower and language model that all share."""
    import torch

    from looksay.training.recipes import blip2

    found = released.parts(size)
    torch.manual_seed(seed)
    model = blip2.over(found.tower, found.language, found.tokenizer, size)
    stages = blip2.joining(seed, first_stage=first_stage, itg=itg)
    names = [stage.name for stage in stages]
    kept = stages[: names.index(last) + 1]
    return model, [*found.tower_stages, *found.language_stages, *kept]


def _arm(name: str, measure: Measuring, **how: Any) -> Arm:
    return Arm(name, partial(recipe, **how), released.ALONE, measure)


_TELLING = only("description")

CLAIMS = (
    Claim(
        "first",
        "Without the first stage (contrast, matching, writing: here contrast and represent) the queries tell the language model less: "
        "its descriptions name less of what is there.",
        (
            _arm("without represent", _TELLING, first_stage=False),
            _arm("both stages", _TELLING),
        ),
        OBJECT_RECALL,
        budget="once per arm and seed: generate (1,000 steps), after contrast (600) and represent (800) or "
        "without them; the language model is shared by all seeds and families",
        source=Source(_PAPER, _ADDRESS, "figure 5", checked=False),
        sighted=("both stages",),
        note="The paper's figure shows zero-shot answers to questions (VQAv2); ours were trained on captions and "
        "descriptions, and are measured by these. Both arms take as many steps of generate, so the one without "
        "represent takes fewer in all, as in the paper. It may be blind, which is what the claim says, so the rule about "
        "blind arms leaves it out.",
    ),
    Claim(
        "itg",
        "A first stage that also writes (ITG) retrieves better than one of contrast and matching alone.",
        (
            _arm("ITC and ITM", Retrieving(), last="represent", itg=False),
            _arm("ITG too", Retrieving(), last="represent"),
        ),
        Figure(FOUND_FIRST),
        budget="once per seed: contrast (600 steps); once per arm and seed: represent (800); the language model, which takes no part, "
        "is shared by all seeds and families",
        source=Source(_PAPER, _ADDRESS, "table 6", checked=False),
        reported=(
            Reported("COCO retrieval, TR@1", {"ITC and ITM": "84.5", "ITG too": "85.4"}),
            Reported("COCO retrieval, IR@1", {"ITC and ITM": "67.2", "ITG too": "68.3"}),
        ),
        benchmark="scenes_retrieval/test",
        sight=Figure("noun recall, same background"),
        sighted=(),
        note="The paper tunes both on COCO and ranks the first candidates again by matching; here contrast alone ranks: "
        "of a picture's queries the one that is most like the text.",
    ),
)
