"""Relative scores from a judge's reviews, as LLaVA-Bench and the evaluations before it keep them.

A line: {"question_id": 1, "category": "conv", "content": "8 9\\nBoth assistants …", "tuple": [8.0, 9.0]}; older
files have "text" and "score" in place of the last two. The reference answer's rating is the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from looksay.data.reading import Place
from looksay.errors import InputError
from looksay.evaluation.benchmark import Compat
from looksay.evaluation.benchmarks import _llava_bench
from looksay.evaluation.metrics.relative import HIGHEST, LOWEST, ratings
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import File
from looksay.evaluation.scoring import Scored

ABOUT = "A model's answers beside reference answers, as a judge rated both (LLaVA-Bench)."
EXPECTS = (
    'reviews {"question_id", "content", "tuple": [8.0, 9.0]} by lines, "category" where there are some',
    'or {"question_id", "text", "score": [8.0, 9.0]}; without the pair it is read from the first line of the text',
)
COMPAT: tuple[Compat, ...] = ("official", "strict")
_TEXTS, _PAIRS = ("content", "text"), ("tuple", "score")


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """Each file of reviews is a set. official: ratings as they are stored, except those of failed calls, which
    are an error; strict: read from the review's first line, where anything but two numbers is an error.

    `partial`: reviews without ratings are left out.
    """
    files = _files.gathered(paths)
    keys = [("question_id", key) for key in (*_PAIRS, *_TEXTS)]
    given = [file for file in files if any(file.has(*pair) for pair in keys)]
    if not given:
        raise _files.unknown(files, "relative", "There are no reviews.", EXPECTS)
    return [_scored(file, compat, partial) for file in given]


def _scored(file: File, compat: Compat, partial: bool) -> Scored:
    pairs: dict[str, tuple[float, float]] = {}
    kinds: dict[str, list[str]] = {}
    left, prose = 0, 0
    for name, (place, row) in _files.by_id(file, file.rows, "question_id").items():
        try:
            pair, stated = _pair(place, row, compat)
        except InputError as error:
            if not partial:
                raise InputError(f"{error} To leave out what has no ratings: --partial") from error
            left += 1
            continue
        pairs[name] = pair
        prose += not stated
        kinds.setdefault(str(row.get("category", "")), []).append(name)
    if not pairs:
        raise InputError(f"{file.path}: no review has ratings.")
    measures = _llava_bench.figures(pairs)
    if len(kinds) > 1:
        for kind in sorted(kinds):
            own = {name: pairs[name] for name in kinds[kind]}
            measures += [replace(one, kind=kind or "other") for one in _llava_bench.figures(own)]
    notes = []
    if left:
        notes.append(f"{left} of {left + len(pairs)} reviews left out: they have no ratings.")
    if prose:
        notes.append(
            f"Reviews that do not say their ratings in their first line: {prose}; the stored ones were taken."
        )
    return Scored(file.path.stem, measures, notes=tuple(notes), files=(file.path,))


def _pair(place: Place, row: Any, compat: Compat) -> tuple[tuple[float, float], bool]:
    """The ratings, and whether the review says them too. Raises InputError."""
    text = next((row[key] for key in _TEXTS if isinstance(row.get(key), str)), None)
    stored = next((row[key] for key in _PAIRS if key in row), None)
    said, fault = None, None
    if text is not None:
        try:
            said = ratings(text)
        except InputError as error:
            fault = error
    if compat == "strict" or stored is None:
        if said is None:
            place.fail(str(fault or "there is no review: expected 'content' or 'text'."), fault)
        return said, True
    if not (
        isinstance(stored, list)
        and len(stored) == 2
        and all(isinstance(one, int | float) and LOWEST <= one <= HIGHEST for one in stored)
    ):
        told = f" The review begins {text[:80]!r}." if text is not None else ""
        place.fail(
            f"the ratings are {stored}; expected two numbers from 1 to 10. A call that failed has no rating: "
            f"ask the judge again.{told}"
        )
    first, second = map(float, stored)
    if said is not None and said != (first, second):
        place.fail(f"the ratings are {stored}, but the review says {said[0]:g} and {said[1]:g}.")
    return (first, second), said is not None or text is None
