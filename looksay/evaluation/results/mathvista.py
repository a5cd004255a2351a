"""MathVista: extracted answers, normalised and held to the truth as its calculate_score.py does.

Its output: {"1": {"question_type": "free_form", "answer_type": "float", "choices": null, "precision": 1,
"answer": "1.2", "extraction": "0.5", "metadata": {"source": "SciBench", "task": "…", "skills": ["…"], …}, …}, …},
or a list of such objects with "pid". Where there is no "answer" it comes from testmini.json, of the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from looksay.data.reading import Place
from looksay.errors import InputError
from looksay.evaluation.benchmark import Compat
from looksay.evaluation.measures import by_slices, of_verdicts
from looksay.evaluation.metrics import mathvista
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import Entry, File
from looksay.evaluation.scoring import Scored

ABOUT = "Extracted answers to MathVista's questions, in all and by every kind that its tables have."
EXPECTS = (
    'output of extract_answer.py: {"pid": {"question_type", "answer_type", "choices", "precision", "extraction",',
    '"answer", "metadata"}}, or a list of these with "pid"; beside it testmini.json, where "answer" is missing',
)
COMPAT: tuple[Compat, ...] = ("official", "strict")
_OF_METADATA = ("language", "source", "category", "task", "context", "grade", "skills")


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """Each file of extractions is a set; a file of problems without extractions is the truth for all."""
    files = _files.gathered(paths)
    keys = ("question_type", "answer_type")
    problems = [file for file in files if file.has("pid", *keys) or file.maps(*keys)]
    given = [f for f in problems if f.has("extraction") or f.maps("extraction")]
    truths = [file for file in problems if file not in given and _answered(file)]
    if not given:
        lacking = (
            "No entry has an 'extraction': a language model extracts answers first (extract_answer.py)."
            if problems
            else "There are no results."
        )
        raise _files.unknown(files, "mathvista", lacking, EXPECTS)
    rules: mathvista.Compat = "strict" if compat == "strict" else "official"
    return [_scored(file, truths, rules, partial) for file in given]


def _answered(file: File) -> bool:
    said = file.has("response") or file.maps("response")
    return not said and (file.has("answer") or file.maps("answer"))


def _rows(file: File) -> dict[str, Entry]:
    if isinstance(file.content, dict):
        return _files.keyed(file, file.content)
    return _files.by_id(file, file.rows, "pid")


def _scored(
    file: File, truths: Sequence[File], compat: Literal["official", "strict"], partial: bool
) -> Scored:
    said = _rows(file)
    notes: tuple[str, ...] = ()
    known = {name: entry for one in truths for name, entry in _rows(one).items()}
    names = list(said)
    if known:
        names, notes = _files.paired(said, known, truths[0].path, file.path, partial, "problem")
    verdicts: dict[str, Verdict] = {}
    slices: dict[str, list[str]] = {}
    for name in names:
        place, row = said[name]
        found = _normal(place, row, compat)
        own = row if "answer" in row else known[name][1] if name in known else row
        verdicts[name] = mathvista.verdict(found, place.get(own, "answer", str, "text"))
        slices[name] = _slices(row)
    accuracy, unreadable = of_verdicts(verdicts)
    measures = [accuracy, *by_slices(accuracy, slices), unreadable]
    paths = (file.path, *(one.path for one in truths))
    return Scored(file.path.stem, measures, notes=notes, files=paths)


def _normal(place: Place, row: Any, compat: Literal["official", "strict"]) -> str | None:
    kind = place.one_of(row, "question_type", ("multi_choice", "free_form"))
    choices = None
    if kind == "multi_choice":
        choices = place.get(row, "choices", list, "a list of choices")
        if not choices:
            place.fail("'choices' is empty; a question of type multi_choice has some.")
    try:
        return mathvista.normalize(
            place.get(row, "extraction", str, "text, as a language model extracted it"),
            answer_type=place.words(row, "answer_type"),
            choices=choices,
            precision=_precision(row),
            compat=compat,
        )
    except InputError as error:
        place.fail(str(error), error)


def _precision(row: Mapping[str, Any]) -> int | None:
    given = row.get("precision")
    return int(given) if isinstance(given, int | float) else None


def _slices(row: Mapping[str, Any]) -> list[str]:
    about = row.get("metadata")
    told = dict(about) if isinstance(about, Mapping) else dict(row)
    found = [f"{key} {row[key]}" for key in ("question_type", "answer_type")]
    for key in _OF_METADATA:
        values = told.get(key)
        several = values if isinstance(values, list) else [values]
        found += [f"{key} {value}" for value in several if value]
    return found
