"""ScienceQA: school questions with options, about half of them with a picture.

One problem, by number: "4": {"question": "Which figure of speech is used in this text?", "choices": ["chiasmus",
"apostrophe"], "answer": 1, "hint": "Sing, O goddess …", "image": null, "subject": "language science", "grade":
"grade11", "split": "test", …}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _letters, _scienceqa
from looksay.evaluation.benchmarks._asking import SHORT
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.metrics import scienceqa
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.types import Conversation

CARD = Card(
    title="ScienceQA",
    measures="Lettered school questions by subject, context and grade.",
    needs=_scienceqa.NEEDS,
    where="https://github.com/lupantech/ScienceQA",
    licence="CC BY-NC-SA 4.0",
    loader="haotian-liu/LLaVA: llava/eval/eval_science_qa.py; slices: lupantech/ScienceQA, tools/evaluate_acc.py; "
    "question: lmms-eval, tasks/scienceqa/utils.py (LLaVA-1.5's form)",
    paper="Lu et al., Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question Answering, "
    "NeurIPS 2022",
    variants=("test", "test-image"),
    compat=("strict", "official", "lmms-eval"),
    likelihood=True,
)
"""test: all 4,241; test-image: those with a picture alone, which is "SQA" in LLaVA-1.5's tables."""


def read(folder: Path, variant: str = "test") -> list[Item]:
    """The questions of the test split. `truth`: choices, answer (its place), slices."""
    found = []
    for problem in _scienceqa.problems(folder):
        if variant == "test-image" and not problem.image:
            continue
        options = _letters.lettered(problem.truth["choices"])
        context = f"Context: {problem.hint}\n" if problem.hint else ""
        asked = _letters.asked(f"{context}{problem.question}", options)
        found.append(
            Item(
                problem.id,
                Conversation.ask(*problem.conversation.images, asked),
                problem.truth,
                image=problem.id if problem.image else "",
                choices=tuple(options),
                max_tokens=SHORT,
            )
        )
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy in all and by the slices of ScienceQA's tables; the share that could not be read."""
    said = {a.item.id: verdict(a, compat) for a in answers}
    accuracy, unreadable = of_verdicts(said)
    return [accuracy, *_scienceqa.by_slice(answers, said), unreadable]


def verdict(answer: Answer, compat: Compat) -> Verdict:
    """Whether the option chosen is the right one. LLaVA strips an answer before it is read."""
    truth = answer.item.truth
    return scienceqa.verdict(place(answer.text, truth["choices"], compat), truth["answer"])


def place(text: str, options: Sequence[str], compat: Compat) -> int | None:
    """The place of the option that a text chooses, by the rules named."""
    how: scienceqa.Compat = "strict"
    if compat in ("official", "lmms-eval"):
        how = "official" if compat == "official" else "lmms-eval"
    return scienceqa.parse(text.strip(), options, how)
