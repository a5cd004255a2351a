"""CoLLaVO's claims (arXiv 2402.11248): a crayon makes a model see objects, numbers in it help, and two adapters keep two
skills."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from looksay.claims import released
from looksay.claims.base import QUESTIONS, Arm, Claim, Figure, Reported, Source
from looksay.claims.measuring import Asking, informed, only

if TYPE_CHECKING:
    from looksay.training.recipes.collavo import Adapters, Kind
    from looksay.training.stages import Stage

STEPS = {"read": 600, "crayon": 800, "dual": 800}
"""Some four and six minutes of a core."""
_OBJECTS = ("is there", "where", "how many")
"""Types of question about objects."""
_PAPER = "Lee et al., CoLLaVO: Crayon Large Language and Vision mOdel, 2024"
_ADDRESS = "https://arxiv.org/abs/2402.11248"
_QUERIES = Source(_PAPER, _ADDRESS, "the table of queries", checked=False)


def _reading(size: str, seed: int) -> tuple[Any, list[Stage]]:
    """What all arms of a seed go on from: a LLaVA that talks, and has learned to read sentences of findings."""
    from looksay.models.families.collavo import Collavo
    from looksay.training.recipes import collavo

    base, before = released.talking(size)
    model = Collavo(base.tower, base.connector, base.language, base.tokenizer, base.template)
    instruct = next(s for s in collavo.joining(seed, crayon="text") if s.name == "instruct")
    rates = {"connector": 2e-4, "language": 1e-3}
    stage = replace(instruct, name="read", trains=rates, steps=STEPS["read"])
    return model, [*before, stage]


def _recipe(
    size: str, seed: int, *, crayon: Kind = "both", adapters: Adapters = "dual"
) -> tuple[Any, list[Stage]]:
    """The paper's two steps, shorter."""
    import torch

    from looksay.training.recipes import collavo

    base, _ = released.talking(size)
    torch.manual_seed(seed)
    model = collavo.over(base.tower, base.language, base.tokenizer, crayon=crayon)
    stages = collavo.joining(seed, crayon=crayon, adapters=adapters)
    return model, [replace(s, steps=STEPS[s.name]) for s in stages if s.name in ("crayon", "dual")]


def _arm(name: str, measure: Asking | None = None, **how: Any) -> Arm:
    measure = measure or informed(*_OBJECTS)
    return Arm(name, partial(_recipe, **how), released.ALONE, measure, over=_reading)


_WHOLE = _arm("classes and numbers")
_DUAL = replace(_WHOLE, name="two adapters")
_ONE = _arm("one adapter", adapters="one")
_BUDGET = (
    f"once per seed, for all claims of collavo: read ({STEPS['read']} steps), over `mini` as it ships; once per arm and "
    f"seed: crayon ({STEPS['crayon']}), where there is one, and dual ({STEPS['dual']})"
)
_ASKED = f"Asked: {', '.join(_OBJECTS)}. The expert is the scenes' exact truth."
_LISTS = only("description", "crayon")

CLAIMS = (
    Claim(
        "crayon",
        "A crayon makes answers about objects better: whether they are there, where, and how many.",
        (_arm("no crayon", crayon="none"), _WHOLE),
        QUESTIONS,
        budget=_BUDGET,
        source=_QUERIES,
        reported=(
            Reported(
                "MME, existence and position",
                {"no crayon": "288.3", "classes and numbers": "341.6"},
            ),
            Reported("MME, count", {"no crayon": "141", "classes and numbers": "160"}),
            Reported("MME-P", {"no crayon": "1553.4", "classes and numbers": "1689.7"}),
        ),
        note=f"{_ASKED} The arm without has no sentence of findings either, so it learns from the picture alone; it "
        "takes as many steps of dual. What the sentence alone does is the claim `drawing`.",
    ),
    Claim(
        "numbering",
        "Numbers add to classes: which of several equal things lies where.",
        (_arm("classes alone", crayon="semantic"), _WHOLE),
        QUESTIONS,
        budget=_BUDGET,
        source=_QUERIES,
        reported=(
            Reported(
                "MME, existence and position",
                {"classes alone": "310.6", "classes and numbers": "341.6"},
            ),
            Reported("MME, count", {"classes alone": "147", "classes and numbers": "160"}),
            Reported("MME-P", {"classes alone": "1636.7", "classes and numbers": "1689.7"}),
        ),
        note=f"{_ASKED} The sentence of findings, which has the numbers, stands before the question in both.",
    ),
    Claim(
        "drawing",
        "What is drawn on the picture's places adds to the same findings in the text.",
        (_arm("sentence alone", crayon="text"), _WHOLE),
        QUESTIONS,
        budget=_BUDGET,
        note=_ASKED,
    ),
    Claim(
        "dual",
        "After crayon instructions and talks a model with an adapter for each answers best about objects, one with a "
        "single adapter worse, and one that learned from talks alone the worst.",
        (_arm("talks alone", adapters="talk"), _ONE, _DUAL),
        QUESTIONS,
        budget=_BUDGET,
        source=Source(_PAPER, _ADDRESS, "the table of instruction tuning", checked=False),
        reported=(
            Reported(
                "MME, existence and position",
                {"talks alone": "298.6", "one adapter": "308.3", "two adapters": "341.6"},
            ),
            Reported(
                "MME, count", {"talks alone": "145", "one adapter": "146", "two adapters": "160"}
            ),
            Reported(
                "MME-P",
                {"talks alone": "1599.2", "one adapter": "1620.5", "two adapters": "1689.7"},
            ),
        ),
        note=_ASKED,
    ),
    Claim(
        "skills",
        "A single adapter loses of the other skill, following crayon instructions, what two keep.",
        (replace(_ONE, measure=_LISTS), replace(_DUAL, measure=_LISTS)),
        Figure("crayon", "named"),
        budget=_BUDGET,
        source=Source(_PAPER, _ADDRESS, "section 3.3", checked=False),
        benchmark="scenes/crayon",
        beside=(Figure("crayon", "placed"),),
        note="Asked to name what is there with numbers and boxes, as in training without the sentence that holds the "
        "answer. Named: by name and number. The paper measures no such thing; the claim follows from why it has two.",
    ),
)
