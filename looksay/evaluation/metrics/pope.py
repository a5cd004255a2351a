"""POPE: whether a model says that objects are there which are not.

Source: Li et al., "Evaluating Object Hallucination in Large Vision-Language Models", EMNLP 2023, and
evaluate.py of its repository (RUCAIBox/POPE). Saying yes is the positive class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from looksay.evaluation.metrics import yes_no
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.evaluation.metrics.yes_no import YesNo

Compat = Literal["official", "lmms-eval", "vlmevalkit", "strict"]
"""Whose reading of an answer; strict is ours."""

CELLS: tuple[tuple[YesNo | None, YesNo], ...] = (
    ("yes", "yes"),
    ("yes", "no"),
    ("no", "no"),
    ("no", "yes"),
    (None, "yes"),
    (None, "no"),
)
"""What can have been said, and the label: the counts of `Pope`, in its order."""

_NO = frozenset({"No", "no", "not"})


def parse(answer: str, compat: Compat = "official") -> YesNo | None:
    """Yes or no as an answer says it; None is a failed parse.

    official: no where the words before the first period hold No, no or not, else *yes*: "None", "Unsure"
    and an empty answer are yes, and nothing ever fails. lmms-eval: the whole answer, lower-cased and
    stripped, is yes or no: "Yes." fails. vlmevalkit and strict: `looksay.evaluation.metrics.yes_no`.

    >>> [parse("Unsure.", rule) for rule in ("official", "lmms-eval", "strict")]
    ['yes', None, None]
    """
    if compat == "official":
        return "no" if _NO & set(answer.partition(".")[0].replace(",", "").split(" ")) else "yes"
    if compat == "lmms-eval":
        plain = answer.lower().strip()
        return "yes" if plain == "yes" else "no" if plain == "no" else None
    return yes_no.vlmevalkit(answer) if compat == "vlmevalkit" else yes_no.strict(answer)


def verdict(said: YesNo | None, label: YesNo) -> Verdict:
    """Whether one answer is right; None where it could not be read."""
    return None if said is None else said == label


def row(said: YesNo | None, label: YesNo) -> tuple[int, ...]:
    """One answer's part in every count of `Pope`: rows of samples add up to it."""
    return tuple(int(cell == (said, label)) for cell in CELLS)


@dataclass(frozen=True, slots=True)
class Pope:
    """Answers counted, and the figures of the counts: 0 to 1, and 0 where there is nothing to divide."""

    true_yes: int
    false_yes: int
    true_no: int
    false_no: int
    unparsed_yes: int
    """Failed parses where the label is yes: not right, and not said no either."""
    unparsed_no: int
    compat: Compat = field(default="official", kw_only=True)

    @property
    def n(self) -> int:
        return self.true_yes + self.false_yes + self.true_no + self.false_no + self.unparsed

    @property
    def unparsed(self) -> int:
        return self.unparsed_yes + self.unparsed_no

    @property
    def accuracy(self) -> float:
        return _share(self.true_yes + self.true_no, self.n)

    @property
    def precision(self) -> float:
        return _share(self.true_yes, self.true_yes + self.false_yes)

    @property
    def recall(self) -> float:
        """Of the questions whose label is yes. lmms-eval leaves failed parses out of them."""
        missed = self.false_no + (0 if self.compat == "lmms-eval" else self.unparsed_yes)
        return _share(self.true_yes, self.true_yes + missed)

    @property
    def f1(self) -> float:
        precision, recall = self.precision, self.recall
        return _share(2 * precision * recall, precision + recall)

    @property
    def yes_ratio(self) -> float:
        """Share of answers that say yes. lmms-eval prints the share of *labels* that are yes."""
        if self.compat == "lmms-eval":
            return _share(self.true_yes + self.false_no + self.unparsed_yes, self.n)
        return _share(self.true_yes + self.false_yes, self.n)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
