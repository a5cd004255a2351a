"""What the two LLaVA-Benches share: questions beside a reference answer, and a judge who sees text alone.

A question: {"question_id": 0, "image": "000000441147.jpg", "text": "What is the color of the two suitcases?",
"category": "conv"}; an answer: {"question_id": 0, "text": "They are black and brown.", …}; rule.json: {"conv":
{"role": "Assistant", "prompt": "We would like to request your feedback …"}, …}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.benchmarks._judging import verdicts_of
from looksay.evaluation.measures import Measure
from looksay.evaluation.metrics.relative import ratings
from looksay.types import Conversation, Image

CATEGORIES = ("conv", "detail", "complex")
SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
"""What both scripts tell the judge first."""
TOKENS = 1024
"""For answers (model_vqa.py) and for reviews (the scripts' --max-tokens)."""


def items(
    questions: Path,
    references: Path,
    rules: Path,
    contexts: Mapping[str, str],
    find: Callable[[Place, str], Image],
    prefix: str = "",
) -> list[Item]:
    """The questions with all that their judge is told. `truth`: question, reference, context, role, rule.

    `contexts`: image's name → what the judge knows of it; `find` gives the picture; `prefix` stands before
    the category in rule.json. The scripts pair questions and answers by their place in the files; here it
    is by question_id, which comes to the same in the official files.
    """
    answers = _answers(references)
    told = load_json(rules)
    if not isinstance(told, dict):
        raise InputError(f"{rules}: expected an object with a rule per category.")
    rows = load_json(questions, lines=True)
    found = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        place = Place(questions, number, len(rows), row, "question_id")
        name = str(place.get(row, "question_id", (int, str), "a number"))
        place.once(name, seen, "question")
        category = place.one_of(row, "category", CATEGORIES)
        file = place.words(row, "image")
        question = place.words(row, "text")
        if file not in contexts:
            place.fail(f"the image {file!r} has no context; {len(contexts)} images have one.")
        if name not in answers:
            place.fail(f"{references} has no answer to this question.")
        rule = told.get(prefix + category)
        if not isinstance(rule, dict) or not isinstance(rule.get("prompt"), str):
            place.fail(f"{rules} has no rule {prefix + category!r} with a prompt.")
        truth: dict[str, Any] = {
            "question": question,
            "reference": answers[name],
            "context": contexts[file],
            "role": str(rule.get("role", "Assistant")),
            "rule": rule["prompt"],
        }
        asked = Conversation.ask(find(place, file), question)
        found.append(Item(name, asked, truth, image=file, kind=category, max_tokens=TOKENS))
    return found


def _answers(path: Path) -> dict[str, str]:
    rows = load_json(path, lines=True)
    found: dict[str, str] = {}
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row, "question_id")
        name = str(place.get(row, "question_id", (int, str), "a number"))
        if name in found:
            place.fail("an earlier entry answers the same question.")
        found[name] = place.words(row, "text")
    return found


def judge(answers: Sequence[Answer]) -> list[Item]:
    """The review as the scripts ask for it, the reference answer first. They ask at temperature 0.2; here
    the judge's is 0."""
    asked = []
    for answer in answers:
        truth = answer.item.truth
        role = truth["role"]
        blocks = [
            f"[Context]\n{truth['context']}",
            f"[Question]\n{truth['question']}",
            f"[{role} 1]\n{truth['reference']}\n\n[End of {role} 1]",
            f"[{role} 2]\n{answer.text}\n\n[End of {role} 2]",
            f"[System]\n{truth['rule']}\n\n",
        ]
        conversation = Conversation.ask("\n\n".join(blocks), system=SYSTEM)
        asked.append(Item(answer.item.id, conversation, max_tokens=TOKENS))
    return asked


def score(answers: Sequence[Answer], verdicts: Sequence[Answer]) -> list[Measure]:
    """The relative score (a ratio of means, which can pass 100), and both ratings, 1 to 10.

    Scores compare within one judge alone. The scripts count a review that they cannot read as the ratings
    -1 and -1; here it is an error.
    """
    return figures(verdicts_of(answers, verdicts, ratings))


def figures(pairs: Mapping[str, tuple[float, float]]) -> list[Measure]:
    """The same from pairs of ratings, the reference answer's first."""
    rows = {name: (*pair, 1.0) for name, pair in pairs.items()}

    def ratio(reference: float, candidate: float, number: float) -> float:
        # Means are rounded to three decimals before they are divided, as summarize_gpt_review.py does.
        return round(candidate / number, 3) / round(reference / number, 3)

    def mean(place: int) -> Callable[..., float]:
        return lambda *sums: float(sums[place] / sums[2])

    return [
        Measure("relative score", rows, ratio),
        Measure("rating of the reference", rows, mean(0), scale=1.0, better=0),
        Measure("rating", rows, mean(1), scale=1.0),
    ]
