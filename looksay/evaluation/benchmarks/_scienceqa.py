"""What ScienceQA's forms share: its problems, and the slices of its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looksay.data.reading import load_json
from looksay.data.sources import scienceqa as official
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics import scienceqa
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.types import Conversation

NEEDS = {
    "problems.json": "questions, options, answers, hints",
    "pid_splits.json": "which of them are the test split's",
    "images/": "images/test/NUMBER/image.png",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of the test split. `truth`: choices, answer (its place), slices."""

    id: str
    question: str
    hint: str
    conversation: Conversation
    """LLaVA's first wording of it: question, context, options, then the image where there is one."""
    truth: Mapping[str, Any]

    @property
    def image(self) -> bool:
        return bool(self.conversation.images)


def problems(folder: Path) -> Iterator[Problem]:
    """The test split in its order. Raises InputError that names file and problem."""
    path = folder / "problems.json"
    source = official.read(path, "test", folder / "images")
    entries = load_json(path)
    for index in range(source.size or 0):
        example = source.example(index)
        asked = Conversation(example.conversation.messages[:1])
        hint = str(entries[example.id].get("hint") or "").strip()
        try:
            slices = scienceqa.slices(
                subject=str(example.truth.get("subject", "")),
                grade=str(example.truth.get("grade", "")),
                hint=hint,
                image=bool(asked.images),
            )
        except InputError as error:
            raise InputError(f"{path}, problem {example.id!r}: {error}") from error
        truth = {
            "choices": [str(text) for text in example.truth["choices"]],
            "answer": example.truth["answer"],
            "slices": list(slices),
        }
        question = str(entries[example.id]["question"]).strip()
        yield Problem(example.id, question, hint, asked, truth)


def by_slice(
    answers: Sequence[Answer], verdicts: Mapping[str, Verdict], name: str = "accuracy"
) -> Iterator[Measure]:
    """The share of right answers for each slice, in the tables' order; a problem is in several."""
    for kind in scienceqa.SLICES:
        ids = [a.item.id for a in answers if kind in a.item.truth["slices"]]
        if ids:
            yield of_samples(name, {one: float(bool(verdicts[one])) for one in ids}, kind=kind)
