"""Flamingo's claims (arXiv 2204.14198): tanh gates keep the language model whole while it learns to look, and
examples in the prompt teach what training did not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from random import Random
from typing import TYPE_CHECKING, Any

from looksay.claims import released
from looksay.claims.base import QUESTIONS, Arm, Claim, Reported, Source
from looksay.claims.measuring import Asking

if TYPE_CHECKING:
    from looksay.evaluation.benchmark import Item
    from looksay.training.stages import Stage
    from looksay.types import Example

_PAPER = "Alayrac et al., Flamingo: a Visual Language Model for Few-Shot Learning, 2022"
_ADDRESS = "https://arxiv.org/abs/2204.14198"
_POOL, _POOL_SEED = 40, 9_000
"""Examples of each type that are shown, and the seed of their scenes, which no training has."""
_OPTIONS = "\nC. "
"""In a question that has more than two."""


def recipe(size: str, seed: int, gated: bool = True) -> tuple[Any, list[Stage]]:
    """The recipe for scenes over the tower and language model that all share."""
    import torch

    from looksay.training.recipes import flamingo

    found = released.parts(size)
    torch.manual_seed(seed)
    model = flamingo.over(found.tower, found.language, found.tokenizer, size, gated)
    stage = flamingo.flamingo_stage(seed)
    return model, [*found.tower_stages, *found.language_stages, stage]


def _arm(name: str, gated: bool = True, measure: Asking | None = None) -> Arm:
    return Arm(name, partial(recipe, gated=gated), released.ALONE, measure or Asking(one_each))


def one_each(items: Sequence[Item], fits: Callable[[Item], bool] = lambda item: True) -> list[Item]:
    """The descriptions, and one question of each scene, of the types in turn."""
    asked: dict[str, list[Item]] = {}
    for item in items:
        if "question" in item.truth and fits(item):
            asked.setdefault(item.image, []).append(item)
    chosen = [several[n % len(several)] for n, several in enumerate(asked.values())]
    return [*(item for item in items if item.kind == "description"), *chosen]


def lettered(items: Sequence[Item], shots: int) -> list[Item]:
    """As `one_each`, but questions have lettered options, which training does not have, and stand after so many
    answered ones of their type about other pictures. Questions of two options are left out."""
    chosen = one_each(items, lambda item: _OPTIONS in _choice(item)[0])
    return [_after(item, shots) if "question" in item.truth else item for item in chosen]


def _choice(item: Item) -> tuple[str, str]:
    """The question with options, and the letter of the right one."""
    from looksay.data.scenes import Question, Scenes, choices
    from looksay.evaluation.benchmarks.scenes import SEED

    scene = Scenes(SEED, str(item.truth["split"])).scene(int(item.truth["scene"]))
    question = Question(*(str(item.truth[key]) for key in ("type", "question", "answer")))
    return choices(scene, question)


def _after(item: Item, shots: int) -> Item:
    from looksay.data.sources.interleaved import few_shot
    from looksay.data.sources.scenes import CHOOSE
    from looksay.types import Conversation

    text, letter = _choice(item)
    pool = list(_pool(str(item.truth["type"])))
    draw = Random(f"{item.id}-shots").random
    shown = [pool.pop(int(draw() * len(pool))) for _ in range(shots)]
    asked = Conversation.ask(*item.conversation.images, f"{text}\n{CHOOSE}")
    truth = {**item.truth, "type": "choice", "answer": letter}
    return replace(item, conversation=few_shot(shown, asked), truth=truth)


@cache
def _pool(kind: str) -> tuple[Example, ...]:
    """Questions of a type with lettered options and the letter."""
    from looksay.data.sources import scenes as talks

    source = talks.read(_POOL_SEED, mix={"choice": 1.0}, types=frozenset({kind}))
    found: list[Example] = []
    number = 0
    while len(found) < _POOL:
        example = source.example(number)
        number += 1
        if example.truth["types"] == [kind] and _OPTIONS in example.conversation.messages[0].text:
            found.append(example)
    return tuple(found)


CLAIMS = (
    Claim(
        "gates",
        "Without tanh gates, which begin closed, the model answers worse.",
        (_arm("without tanh gates", gated=False), _arm("tanh gates")),
        QUESTIONS,
        budget="once per arm and seed: flamingo (1,600 steps); the language model is shared by all seeds and families",
        source=Source(_PAPER, _ADDRESS, "the table of ablations", checked=False),
        reported=(
            Reported(
                "overall score, against the whole model",
                {"without tanh gates": "-4.2", "tanh gates": "0"},
            ),
        ),
        note="One question of each scene, of all types in turn.",
    ),
    Claim(
        "shots",
        "Asked in a form that training did not have, the model answers better after four examples than after none.",
        (
            _arm("0 examples", measure=Asking(lambda items: lettered(items, 0))),
            _arm("4 examples", measure=Asking(lambda items: lettered(items, 4))),
        ),
        QUESTIONS,
        budget="once per seed: flamingo (1,600 steps), shared with `gates`; both arms are the same model",
        source=Source(_PAPER, _ADDRESS, "the table of few-shot results", checked=False),
        reported=(Reported("VQAv2 test-dev, 80B", {"0 examples": "56.3"}),),
        note="The form: lettered options, one question of each scene, right where the letter is. Neither the language "
        "model nor the stage over it has met any; the four examples are of the question's type, about other pictures. "
        "With 32 examples the paper's 80B reaches 67.6; its 0 is two examples without pictures, ours "
        "none at all.",
    ),
)
