"""Multiple choice: the letter that an answer chooses, and asking with the options in every order.

Sources: Liu et al., "MMBench: Is Your Multi-modal Model an All-around Player?", ECCV 2024, section 4
(CircularEval); open-compass/VLMEvalKit, vlmeval/utils/matching_util.py (`can_infer`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from looksay.errors import InputError
from looksay.evaluation.metrics.verdicts import Verdict

Compat = Literal["vlmevalkit", "strict"]
"""Whose reading of an answer; strict is ours."""

REFUSED = "Z"
"""What VLMEvalKit reads from a refusal, and from the letter itself."""

_SPACED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_FAILED_CALL = "Failed to obtain answer via API"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_LAST_WORDS = 4
"""VLMEvalKit takes a letter only among the last four words."""
_STATED_THERE = re.compile(r"answer\s+is\s+\**([A-D])\**", re.I)

_ENDS = r"(?=\s*(?:$|[.,;:!?)\]}*。，；：）】\n]|because\b|since\b|as it\b))"
_ONE = rf"[\s(\[{{*（【]*([A-Z])(?![^\W_]){_ENDS}"
_ALONE = re.compile(r"[\W_]*([A-Z])[\W_]*")
_LEADING = re.compile(r"[\s(\[{*（【]*([A-Z])[)\]}*）】]*[.:)\]}*、．：）】]+\s*(.*)", re.S)
_A_COLON = re.compile(r"[\W_]*A[\W_]*?[:：]")
"""Short for "Answer:" as well; "A: I am not sure" chooses nothing."""
_MARKED = re.compile(r"(?<![\w'])([A-Z])[.:)\]}、．：）】]")
_STATED = re.compile(
    r"(?:(?i:\banswer(?:\s+is|\s*:)(?:\s+option)?|\b(?:choose|chose|pick|select)(?:\s+option)?|\boption)"
    rf"|答案(?:是|为|：|:)|选(?:择|项)?){_ONE}",
)
_HEDGED = re.compile(r"\b[A-Z]\b[\s)\]*]*(?:or|and|/|,|&)[\s(\[*]*[A-HJ-Z]\b")


def letter(answer: str, options: Mapping[str, str], compat: Compat = "strict") -> str | None:
    """The option that an answer chooses: its letter, or None where that cannot be read.

    `options`: letter → text. strict: `strict`; vlmevalkit: `vlmevalkit`.

    >>> options = {"A": "cat", "B": "dog"}
    >>> letter("A dog", options), letter("A dog", options, "vlmevalkit")
    (None, 'A')
    """
    return vlmevalkit(answer, options) if compat == "vlmevalkit" else strict(answer, options)


def strict(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter where an answer names exactly one option, in a form that nothing else has.

    Forms: the letter alone ("(C)"); the letter with a mark before its text ("C. cat"); "the answer is C",
    "option C", "选C"; the option's own text and nothing else. What they name must agree, and be an
    option: "A rabbit", "A or B", "C. dog" where C is cat, and "E" of four are failed parses.
    """
    plain = answer.strip()
    alone = _ALONE.fullmatch(plain)
    if alone:
        return alone[1] if alone[1] in options else None
    texts: dict[str, list[str]] = {}
    for name, text in options.items():
        texts.setdefault(_bare(text), []).append(name)
    named = set(_STATED.findall(_HEDGED.sub(" ", plain)))
    named.update(texts.get(_bare(plain), ()))
    leading = _LEADING.match(plain)
    # A list of the options, as in the question, chooses none of them.
    listed = len(options.keys() & set(_MARKED.findall(plain))) > 1
    if leading and not listed and not _HEDGED.match(plain):
        if _A_COLON.match(plain) and not _begins(leading[2], options.get("A", "")):
            return None
        named.add(leading[1])
        named.update(texts.get(_bare(leading[2]), ()))
    return named.pop() if len(named) == 1 and named <= options.keys() else None


def _begins(said: str, option: str) -> bool:
    """Whether nothing is said, or first the option's text."""
    return not said or re.match(rf"\W*{re.escape(_bare(option))}(?!\w)", said, re.I) is not None


def _bare(text: str) -> str:
    return text.strip().strip(".。!\"'*").casefold()


def vlmevalkit(answer: str, options: Mapping[str, str]) -> str | None:
    """As VLMEvalKit without a judge (exact_matching); "Z" is a refusal, None what it leaves unread.

    Quirks kept: any "A" among the last four words counts, so "A rabbit" chooses A (its guard against the
    article works only where the environment sets VERBOSE); a letter further from the end counts only
    after "answer is", and only A to D there; the text of an option counts wherever it occurs, so "no" in
    "I do not know" can choose No; full-width marks are not marks; and a failed call has its text read.
    """
    if _FAILED_CALL not in answer:
        if any(words in answer for words in _REFUSALS):
            return REFUSED
        words = answer.translate(_SPACED).split()
        there = [name for name in options if name in words]
        if len(there) == 1 and words.index(there[0]) >= len(words) - _LAST_WORDS:
            return there[0]
        if not there and REFUSED in words:
            return REFUSED
        stated = _STATED_THERE.search(answer)
        if stated and stated[1].upper() in options:
            return stated[1].upper()
    lower = answer.lower()
    if len(lower) > 2 * sum(len(text) for text in options.values()):
        return None
    named = [name for name, text in options.items() if text.lower() in lower]
    return named[0] if len(named) == 1 else None


def rotated(options: Sequence[str], answer: int, by: int) -> tuple[tuple[str, ...], int]:
    """The options shifted by so many places, and where the right one is then.

    >>> rotated(["cat", "dog", "bus"], 2, 1)
    (('dog', 'bus', 'cat'), 1)
    """
    by %= len(options)
    return (*options[by:], *options[:by]), (answer - by) % len(options)


@dataclass(frozen=True, slots=True)
class Circle:
    """One question asked once for every shift of its options, verdicts in the order of the shifts."""

    verdicts: tuple[Verdict, ...]

    @property
    def verdict(self) -> Verdict:
        """True where all are right; None where none is wrong but some could not be read; else False."""
        if False in self.verdicts:
            return False
        return None if None in self.verdicts else True

    @property
    def first(self) -> Verdict:
        """On the options as they are given: what is scored without circling."""
        return self.verdicts[0]


def circles(
    rows: Iterable[tuple[Hashable, int, int, Verdict]],
) -> dict[Hashable, Circle]:
    """Questions put together from (question, shift, number of options, verdict on one answer).

    Raises InputError where a shift is missing or comes twice: credit asks for all of them.
    """
    found: defaultdict[Hashable, dict[int, Verdict]] = defaultdict(dict)
    sizes: dict[Hashable, int] = {}
    for question, shift, size, verdict in rows:
        if shift in found[question]:
            raise InputError(f"Question {question}: shift {shift} is there twice; expected once.")
        if sizes.setdefault(question, size) != size:
            raise InputError(f"Question {question} has {sizes[question]} options, and then {size}.")
        found[question][shift] = verdict
    for question, verdicts in found.items():
        missing = sorted(set(range(sizes[question])) - verdicts.keys())
        if missing or len(verdicts) != sizes[question]:
            raise InputError(
                f"Question {question} with {sizes[question]} options has the shifts "
                f"{sorted(verdicts)}; expected 0 to {sizes[question] - 1}, each once."
            )
    return {
        question: Circle(tuple(verdicts[shift] for shift in range(sizes[question])))
        for question, verdicts in found.items()
    }
