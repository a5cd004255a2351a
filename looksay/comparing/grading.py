"""Grades of single texts: what a rater sees in one, the points that follow, and the order in which a person sees them.

Criteria and points are those of `looksay.evaluation.metrics.rubric`; purpose, language and length stand beside them here,
because only where a text is used do they have a meaning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from looksay.comparing.board import Board, Text
from looksay.errors import InputError
from looksay.evaluation.metrics import rubric
from looksay.evaluation.metrics.rubric import Criteria
from looksay.library.ratings import Rating
from looksay.texts.language import in_language

PERSON = "person:"
JUDGE = "judge:"
PURPOSE_POINTS = 1.0
"""Taken away where the text does not do what the picture is there for (a link: to say where it leads)."""
LENGTH_POINTS = 1.0
"""Taken away where it is longer than `LONGEST`."""
LONGEST = 250
"""Characters; looksay's own limit of an alt text."""
ENOUGH = 12
"""Key objects, invented details: more than that nobody counts."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a rater saw in one text. Example: Grade(Criteria(2, 3, True, False, False, 0), purpose=True).

    `purpose` is None where the rater was not asked about it.
    """

    criteria: Criteria
    purpose: bool | None = None
    language: bool = True
    """It is in the language that was asked for."""
    length: bool = True
    """It is no longer than `LONGEST`."""

    @property
    def points(self) -> float:
        """0 to 5; 0 in a language that was not asked for: its reader may not know it."""
        if not self.language:
            return 0.0
        lost = PURPOSE_POINTS * (self.purpose is False) + LENGTH_POINTS * (not self.length)
        return max(0.0, rubric.points(self.criteria) - lost)

    def as_verdict(self) -> str:
        """As a rating keeps it."""
        return json.dumps(asdict(self), sort_keys=True)


def of_verdict(verdict: str) -> Grade | None:
    """What `as_verdict` wrote; None for a letter without criteria."""
    found = json.loads(verdict)
    if "criteria" not in found:
        return None
    return Grade(Criteria(**found.pop("criteria")), **found)


def grade(criteria: Criteria, purpose: bool | None, text: Text, language: str) -> Grade:
    """The criteria with what a machine can tell of the text: its language and its length."""
    return Grade(
        criteria,
        purpose,
        language=text.decorative or in_language(text.words, language),
        length=len(text.words) <= LONGEST,
    )


def from_form(form: Mapping[str, Any], text: Text, language: str) -> Grade:
    """A person's answers: the fields of `Criteria`, and `purpose`. Raises InputError for what cannot be."""
    counts = {"named", "objects", "hallucinations"}
    wanted = {field.name: int if field.name in counts else bool for field in fields(Criteria)}
    wanted["purpose"] = bool
    if form.keys() != wanted.keys() or any(type(form[k]) is not kind for k, kind in wanted.items()):
        raise InputError(
            f"A grade has {', '.join(sorted(wanted))}; found {', '.join(sorted(map(str, form))) or 'nothing'}, or "
            "values of another kind."
        )
    if any(form[name] > ENOUGH for name in counts):
        raise InputError(f"A count above {ENOUGH} was given; expected at most that.")
    criteria = Criteria(**{k: v for k, v in form.items() if k != "purpose"})
    rubric.points(criteria)
    return grade(criteria, form["purpose"], text, language)


def order(board: Board, rater: str) -> list[Text]:
    """The texts as this rater sees them: photos shuffled, and the texts of each photo among themselves, in another
    order for everyone. Photos in which there is nothing to grade are left out."""

    def lot(*what: object) -> str:
        said = "\0".join(map(str, (board.comparison.token, rater, *what)))
        return hashlib.sha256(said.encode()).hexdigest()

    return sorted(board.texts, key=lambda t: (lot(t.place), lot(t.place, t.words, t.decorative)))


def graded(board: Board, rater: str) -> dict[int, Rating]:
    """The rater's grades by the first generation of the text graded."""
    return {
        board.of_generation[one.generation_id].generations[0]: one
        for one in board.ratings
        if one.rater == rater and one.other_id is None
    }


def points(board: Board) -> dict[str, dict[tuple[int, int], float]]:
    """Rater → (place, entrant) → points, for all that was graded."""
    found: dict[str, dict[tuple[int, int], float]] = {}
    for one in board.ratings:
        if one.other_id is None and one.points is not None:
            text = board.of_generation[one.generation_id]
            mine = found.setdefault(one.rater, {})
            mine |= {(text.place, entrant): one.points for entrant in text.entrants}
    return found


def criteria(board: Board, raters: Sequence[str]) -> dict[int, dict[str, tuple[float, int]]]:
    """Entrant → criterion → (sum, number of grades): what the points are made of."""
    found: dict[int, dict[str, tuple[float, int]]] = {}
    for one in board.ratings:
        # What nobody could read has no points.
        if one.other_id is not None or one.points is None or one.rater not in raters:
            continue
        seen = of_verdict(one.verdict)
        if seen is None:
            continue
        values = {
            "key objects named": seen.criteria.named / seen.criteria.objects,
            "mood": float(seen.criteria.mood),
            "purpose": None if seen.purpose is None else float(seen.purpose),
            "faults of grammar": float(seen.criteria.grammar),
            "repetition": float(seen.criteria.repetition),
            "invented details": float(seen.criteria.hallucinations),
            "right language": float(seen.language),
            "right length": float(seen.length),
        }
        for entrant in board.of_generation[one.generation_id].entrants:
            mine = found.setdefault(entrant, {})
            for name, value in values.items():
                if value is not None:
                    total, number = mine.get(name, (0.0, 0))
                    mine[name] = total + value, number + 1
    return found


def rater_name(rater: str) -> str:
    """As people call it: "Kim" for "person:Kim", "mini" for "judge:mini 3f9c01ab".

    >>> rater_name("judge:http://127.0.0.1:8000/v1#any 3f9c01ab")
    'http://127.0.0.1:8000/v1#any'
    """
    kind, _, name = rater.partition(":")
    return name.rpartition(" ")[0] if kind + ":" == JUDGE else name
