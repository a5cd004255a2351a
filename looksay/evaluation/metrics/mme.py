"""MME: fourteen tasks of yes and no, two questions about every picture.

Source: Fu et al., "MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models", 2023,
and calculation.py of its evaluation tool.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from looksay.errors import InputError, UnknownName
from looksay.evaluation.metrics import yes_no
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.evaluation.metrics.yes_no import YesNo

Compat = Literal["official", "lmms-eval", "vlmevalkit", "strict"]
"""Whose reading of an answer; strict is ours."""

PERCEPTION = (
    "existence", "count", "position", "color", "posters",
    "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
COGNITION = (
    "commonsense_reasoning",
    "numerical_calculation",
    "text_translation",
    "code_reasoning",
)

_START = 4
"""Letters at the beginning in which the tool looks for yes, then for no."""


def parse(answer: str, compat: Compat = "official") -> YesNo | None:
    """Yes or no as an answer says it; None is a failed parse ("other" in the tool, which is wrong there).

    official: "yes", else "no", within the first four letters, whatever they belong to: "not" and "know"
    are no. lmms-eval: the same once white space and all periods are gone, and "y" and "n" alone count.
    vlmevalkit and strict: `looksay.evaluation.metrics.yes_no`.

    >>> parse("Know"), parse("The answer is yes"), parse("Know", "strict")
    ('no', None, None)
    """
    if compat == "vlmevalkit":
        return yes_no.vlmevalkit(answer)
    if compat == "strict":
        return yes_no.strict(answer)
    plain = answer.lower()
    if compat == "lmms-eval":
        plain = plain.strip().replace(".", "")
        if plain in ("y", "n"):
            return "yes" if plain == "y" else "no"
    start = plain[:_START]
    return "yes" if "yes" in start else "no" if "no" in start else None


@dataclass(frozen=True, slots=True)
class Task:
    """One task's answers. Example: Task(questions=60, right=55, images=30, both=26, unparsed=0)."""

    questions: int
    right: int
    images: int
    both: int
    """Pictures whose two questions are both answered rightly."""
    unparsed: int

    @property
    def accuracy(self) -> float:
        """Right answers of all, 0 to 1."""
        return self.right / self.questions

    @property
    def accuracy_plus(self) -> float:
        """Pictures with both answers right of all, 0 to 1."""
        return self.both / self.images

    @property
    def score(self) -> float:
        """What the field prints: accuracy and accuracy+ in percent, added; 0 to 200."""
        return self.accuracy * 100 + self.accuracy_plus * 100


@dataclass(frozen=True, slots=True)
class Mme:
    """Scores by task. The totals are None unless all of their tasks are there."""

    tasks: Mapping[str, Task]

    @property
    def perception(self) -> float | None:
        """Sum over the ten tasks, 0 to 2000."""
        return self._total(PERCEPTION)

    @property
    def cognition(self) -> float | None:
        """Sum over the four tasks, 0 to 800."""
        return self._total(COGNITION)

    @property
    def unparsed(self) -> int:
        return sum(task.unparsed for task in self.tasks.values())

    def _total(self, names: Sequence[str]) -> float | None:
        if any(name not in self.tasks for name in names):
            return None
        return sum(self.tasks[name].score for name in names)


def mme(rows: Iterable[tuple[str, Hashable, Verdict]]) -> Mme:
    """Scores from (task, picture, verdict on one answer), two rows for every picture of a task.

    Raises InputError where a picture has another number of questions, UnknownName for no task of MME.
    """
    tasks: dict[str, defaultdict[Hashable, list[Verdict]]] = {}
    for task, image, verdict in rows:
        tasks.setdefault(task, defaultdict(list))[image].append(verdict)
    known = (*PERCEPTION, *COGNITION)
    for task, images in tasks.items():
        if task not in known:
            raise UnknownName("task of MME", task, known)
        for image, verdicts in images.items():
            if len(verdicts) != 2:
                raise InputError(
                    f"MME, {task}, {image}: {len(verdicts)} answers; expected two, "
                    "since accuracy+ asks whether both questions about a picture are answered rightly."
                )
    return Mme({name: _task(tasks[name]) for name in known if name in tasks})


def _task(images: Mapping[Hashable, Sequence[Verdict]]) -> Task:
    answers = [verdict for pair in images.values() for verdict in pair]
    return Task(
        questions=len(answers),
        right=answers.count(True),
        images=len(images),
        both=sum(pair == [True, True] for pair in images.values()),
        unparsed=answers.count(None),
    )
