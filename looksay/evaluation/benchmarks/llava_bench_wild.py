"""LLaVA-Bench (In-the-Wild): 60 questions about 24 pictures of all kinds, each described by a person.

One line of the context: {"id": "001", "image": "001.jpg", "caption": ["A close-up photo of …"]}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _llava_bench
from looksay.evaluation.benchmarks._llava_bench import judge
from looksay.evaluation.measures import Measure
from looksay.types import Image

__all__ = ["CARD", "judge", "read", "score"]

CARD = Card(
    title="LLaVA-Bench (In-the-Wild)",
    measures="How near answers come to those of GPT-4, which was told a person's description; a judge rates both.",
    needs={
        "questions.jsonl": "60 questions",
        "answers_gpt4.jsonl": "GPT-4's answers",
        "context.jsonl": "descriptions",
        "rule.json": "what the judge is asked (LLaVA's repository, llava/eval/table)",
        "images/": "24 pictures",
    },
    where="liuhaotian/llava-bench-in-the-wild on the hub; rule.json: https://github.com/haotian-liu/LLaVA",
    licence="research only (pictures from many sources; GPT-4's answers: OpenAI's terms)",
    loader="haotian-liu/LLaVA: llava/eval/eval_gpt_review_bench.py, summarize_gpt_review.py",
    paper="Liu et al., Visual Instruction Tuning, NeurIPS 2023",
)


def read(folder: Path, variant: str = "") -> list[Item]:
    """The 60 questions; kind: conv, detail or complex."""
    questions, references, contexts, rules, images = (folder / name for name in CARD.needs)

    def find(place: Place, name: str) -> Image:
        return place.image(images, name)

    told = _contexts(contexts)
    return _llava_bench.items(questions, references, rules, told, find, "llava_bench_")


def _contexts(path: Path) -> dict[str, str]:
    rows = load_json(path, lines=True)
    found = {}
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row)
        # The script joins a list of sentences by lines; a plain text is taken as one.
        caption = place.get(row, "caption", (list, str), "a list of sentences")
        lines = [caption] if isinstance(caption, str) else caption
        found[place.words(row, "image")] = "\n".join(map(str, lines))
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """See `_llava_bench.score`."""
    return _llava_bench.score(answers, verdicts)
