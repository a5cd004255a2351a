"""Abilities that MiniGPT-4 shows by examples: a web page from a sketch, handwriting, what is odd, a story.

Pictures lie in website/, handwriting/, odd/ and story/; the layout is ours, see `_tasks`.
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
    title="MiniGPT-4: abilities shown",
    measures="Whether a model can do what MiniGPT-4 was shown to do, as a judge says.",
    needs={
        "website/": "drawn drafts of web pages",
        "handwriting/": "handwritten text; notes.json says what it reads",
        "odd/": "pictures of something unusual; notes.json says of what",
        "story/": "pictures of any kind",
    },
    where="your own pictures; the paper shows one example of most",
    licence="that of the pictures",
    loader="none; the paper shows examples and counts nothing, so the requests here are ours",
    paper="Zhu et al., MiniGPT-4: Enhancing Vision-Language Understanding, ICLR 2024",
)
REQUESTS = {
    "website": "Write the HTML and JavaScript of a working web page that looks like this draft.",
    "handwriting": "Read out what is written by hand here, word by word.",
    "odd": "What is unusual about this picture?",
    "story": "Write a short story about what happens in this picture.",
}
_TOKENS = 1024
"""A page takes more than an answer."""


def read(folder: Path, variant: str = "") -> list[Item]:
    """Every picture of the four folders with its ability's request; kind: the ability."""
    return _tasks.items(folder, REQUESTS, _TOKENS)


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """The share done; the paper gives no figure for these."""
    return _tasks.score(answers, verdicts)
