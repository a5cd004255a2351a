"""MiniGPT-4's four tasks: explain a meme, give a recipe, draft an advertisement, write a poem.

Pictures lie in meme/, recipe/, advert/ and poem/, 25 each in the paper; the layout is ours, see `_tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _tasks
from looksay.evaluation.benchmarks._tasks import judge
from looksay.evaluation.measures import Measure

__all__ = ["CARD", "REQUESTS", "judge", "read", "score"]

CARD = Card(
    title="MiniGPT-4: four tasks",
    measures="Whether long answers do what was asked about a picture, as a judge says.",
    needs={
        "meme/": "pictures that are funny",
        "recipe/": "pictures of food",
        "advert/": "pictures of products",
        "poem/": "pictures of any kind",
    },
    where="your own pictures: the paper's hundred are not in its repository",
    licence="that of the pictures",
    loader="none; requests and question as in the paper, section 4.2 (people answered it there)",
    paper="Zhu et al., MiniGPT-4: Enhancing Vision-Language Understanding, ICLR 2024",
)
REQUESTS = {
    "meme": "Explain why this meme is funny.",
    "recipe": "How should I make something like this?",
    "advert": "Help me draft a professional advertisement for this.",
    "poem": "Can you craft a beautiful poem about this image?",
}
_TOKENS = 512


def read(folder: Path, variant: str = "") -> list[Item]:
    """Every picture of the four folders with its task's request; kind: the task."""
    return _tasks.items(folder, REQUESTS, _TOKENS)


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """The share done. People said 65 of 100 of MiniGPT-4 and 5 of BLIP-2; a judge's figure is another."""
    return _tasks.score(answers, verdicts)
