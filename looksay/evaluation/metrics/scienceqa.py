"""ScienceQA: the option that an answer chooses, and the slices that its tables have.

Sources: Lu et al., "Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question
Answering", NeurIPS 2022 (slices: tools/evaluate_acc.py of its repository); LLaVA's
llava/eval/eval_science_qa.py (reading an answer). The authors' own script for GPT-3 puts a random option
in the place of an answer that it cannot read; that is not offered here.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Literal

from looksay.errors import InputError
from looksay.evaluation.metrics import choices
from looksay.evaluation.metrics.verdicts import Verdict

Compat = Literal["official", "lmms-eval", "strict"]
"""Whose reading of an answer: official is LLaVA's, strict is ours."""

SLICES = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12")
"""Natural, social and language science; with a hint in words; with a picture; with neither; grades.

"SQA" in the tables of LLaVA-1.5 and later is IMG alone."""

_SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
_LETTERS = "ABCDE"
"""LLaVA's options."""
# The period is not escaped there either: any one character may follow the letter, but one must.
_SAID = re.compile(r"The answer is ([A-Z]).")


def parse(answer: str, options: Sequence[str], compat: Compat = "official") -> int | None:
    """The place of the option that an answer chooses, from 0; None is a failed parse.

    official: the whole answer is a letter; else it opens with "B. "; else it says "The answer is B."
    exactly once. A letter beyond the options fails. lmms-eval: the letter alone, or at the beginning
    before a period. strict: as multiple choice (`looksay.evaluation.metrics.choices.strict`).

    >>> parse("Ice melts. The answer is B.", ["cold", "hot"])
    1
    """
    names = string.ascii_uppercase[: len(options)]
    if compat == "strict":
        said = choices.strict(answer, dict(zip(names, options, strict=True)))
    elif compat == "lmms-eval":
        alone = len(answer) == 1 or answer[1:2] == "."
        said = answer[0] if alone else None
    else:
        said = _llava(answer)
    return names.index(said) if said and said in names else None


def _llava(answer: str) -> str | None:
    if len(answer) == 1 and answer in _LETTERS:
        return answer
    if answer[:1] in _LETTERS and answer[1:3] == ". ":
        return answer[0]
    said = _SAID.findall(answer)
    return said[0] if len(said) == 1 else None


def verdict(said: int | None, answer: int) -> Verdict:
    """Whether the option chosen is the right one; None where none could be read."""
    return None if said is None else said == answer


def slices(*, subject: str, grade: str, hint: str, image: bool) -> tuple[str, ...]:
    """The slices that a question belongs to, from the fields of problems.json.

    `grade` as "grade8", `hint` empty where there is none. Raises InputError for another subject or grade.

    >>> slices(subject="natural science", grade="grade8", hint="", image=True)
    ('NAT', 'IMG', 'G7-12')
    """
    number = grade.removeprefix("grade")
    if subject not in _SUBJECTS or not number.isdecimal() or not 1 <= int(number) <= 12:
        raise InputError(
            f"subject {subject!r}, grade {grade!r}: expected one of {', '.join(_SUBJECTS)}, "
            "and grade1 to grade12, as in ScienceQA's problems.json."
        )
    found = [_SUBJECTS[subject]]
    found += ["TXT"] if hint else []
    found += ["IMG"] if image else []
    found += [] if hint or image else ["NO"]
    return (*found, "G1-6" if int(number) <= 6 else "G7-12")
