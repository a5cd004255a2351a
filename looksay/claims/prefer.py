"""Claims of ours on preference training: a model that learns which of its own captions names less that is not there
names less that is not there, and no less of what is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from looksay.claims import released
from looksay.claims.base import OBJECT_RECALL, Arm, Claim, Figure
from looksay.claims.measuring import only
from looksay.errors import InputError

if TYPE_CHECKING:
    from looksay.claims.build import Trainer
    from looksay.data import dataset
    from looksay.training.stages import Stage
    from looksay.types import Example

PICTURES, SAMPLES = 1000, 8
"""Scenes that no other data show (of other seeds), and captions of each."""
STEPS = 250
"""Of 16 pairs; about three rounds of what so many captions give."""
WORLD = 20
"""The seed of the scenes is the arm's and so much more: the stages of recipes take those up to 7."""
MARGIN = 1.0
"""Points of recall that count as none. Two models of different seeds differ by one (docs/claims.md, llava/align)."""


def _before(size: str, seed: int) -> tuple[Any, list[Stage]]:
    """The model that the others begin from. It takes one step at the rate 0, which changes nothing: an arm is what its
    last stage leaves."""
    from looksay.data.sources import scenes
    from looksay.training.stages import Stage

    model, stages = released.talking(size)
    rest = Stage("before", {"connector": 0.0}, scenes.read(0), 1, warmup=0.0, max_length=1024)
    return model, [*stages, rest]


def _after(*objectives: str) -> Callable[[str, int], tuple[Any, list[Stage]]]:
    """The same model with a stage on the pairs, or (with "lm") on the chosen captions alone."""

    def make(size: str, seed: int) -> tuple[Any, list[Stage]]:
        from looksay.data.dataset import Examples
        from looksay.training.recipes._published import prefer

        model, stages = released.talking(size)
        # The pairs take this one's place once a model has made them (`_pairs`).
        stage = prefer(Examples(list(_made_up(1))), ("connector", "language"), small=True)
        chosen = replace(stage, objectives=objectives or stage.objectives, steps=STEPS)
        return model, [*stages, chosen]

    return make


def _pairs(size: str, seed: int, train: Trainer) -> dataset.Source:
    """Pairs of captions that the model before writes of scenes, by CHAIR."""
    from looksay.backends import local
    from looksay.backends.base import LoadOptions
    from looksay.data.contexts import Scenes
    from looksay.data.dataset import Examples
    from looksay.evaluation import preferring
    from looksay.training.stages import TrainingError

    before = train(*_before(size, seed))
    options = LoadOptions(device=train.how.get("device", "auto"), dtype="float32")
    contexts = Scenes(seed + WORLD)
    preferrer = preferring.Preferrer(
        train.folder / f"pairs-{seed}-{before.name}",
        local.open_folder("before", before, options),
        preferring.Chair(contexts),
        preferring.usual("scenes"),
        SAMPLES,
        replace(preferring.SAMPLED, seed=seed),
    )
    count = max(4, round(PICTURES * train.share))
    found = preferrer.run(preferring.known(contexts, count))
    if found.failures:
        raise InputError(f"{len(found.failures)} captions failed: {found.failures[0][1]}")
    pairs = list(preferring.examples(found, preferrer.question))
    if not pairs and train.share == 1:
        raise TrainingError(f"None of {count} scenes gave a pair of captions.")
    # A trial's model may have learned nothing, and say nothing that could be compared.
    return Examples(pairs or list(_made_up(8)))


def _made_up(count: int) -> Iterator[Example]:
    """Pairs for trials: a scene's description, and another's."""
    from looksay.data.sources import scenes

    drawn = scenes.read(WORLD, mix={"description": 1.0})
    for number in range(count):
        example, other = drawn.example(number), drawn.example(number + 1)
        yield replace(example, truth={"rejected": other.conversation.messages[-1].text})


_SAID = only("description")
_BEFORE = Arm("before", _before, released.ALONE, _SAID)
_CHOSEN = Arm("chosen captions alone", _after("lm"), released.ALONE, _SAID, _pairs)
_PREFERRED = Arm("preferred", _after(), released.ALONE, _SAID, _pairs)
_MADE = (
    f"once per seed: {SAMPLES} captions of each of {PICTURES:,} scenes by `mini` (the hours leave them out), and "
    f"{STEPS} steps of 16 pairs"
)
_NOTE = (
    "The model before is `mini`. Which caption is the better one CHAIR says, by what is known of the scenes; the better "
    "one names no less of what is there and is about as long (`looksay prefer`). Preference training also learns the "
    "chosen caption itself (`anchor`)."
)
_BESIDE = (Figure("words"), Figure("counts"), Figure("strictly correct"))

CLAIMS = (
    Claim(
        "chair",
        "A model that has learned which of its own captions has fewer false objects names less that is not there.",
        (_BEFORE, _PREFERRED),
        Figure("CHAIRi"),
        budget=_MADE,
        beside=_BESIDE,
        note=f"{_NOTE} That it names no less of what is there is `recall`.",
    ),
    Claim(
        "recall",
        "It names as much of what is there as before.",
        (_BEFORE, _PREFERRED),
        OBJECT_RECALL,
        budget=f"nothing more than `chair`: {_MADE}",
        margin=MARGIN,
        beside=(Figure("CHAIRi"), *_BESIDE),
        note=_NOTE,
    ),
    Claim(
        "pairs",
        "Pairs teach more than their better captions alone: after as many steps of supervised training on these the "
        "model names more that is not there.",
        (_CHOSEN, _PREFERRED),
        Figure("CHAIRi"),
        budget=f"{_MADE}; the same for the better captions alone",
        beside=_BESIDE,
        note=_NOTE,
    ),
)
