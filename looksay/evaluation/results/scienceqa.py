"""ScienceQA: the options that answers choose, and the slices of its tables.

LLaVA's answers by lines: {"question_id": "4", "prompt": "…", "text": "… The answer is B."}; its results, and those
of ScienceQA's own scripts: {"acc": 90.9, "results": {"4": 1}, "outputs": {"4": "… The answer is B."}}; or a list
[{"id": "4", "output": "…", "ref_index": 1}]. The truth is problems.json. Without it there is no accuracy, only
how far our reading agrees with the index that a file has beside an output.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, kind
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Compat
from looksay.evaluation.benchmarks import _scienceqa
from looksay.evaluation.measures import of_samples, of_verdicts
from looksay.evaluation.metrics import scienceqa
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import Entry, File
from looksay.evaluation.scoring import Scored

ABOUT = (
    "Answers to ScienceQA's questions, in all and by its eight slices (SQA of LLaVA-1.5 is IMG)."
)
EXPECTS = (
    'answers by lines {"question_id", "text"}, or results {"outputs": {"id": "text"}, "results": {"id": 1}},',
    'or [{"id", "output", "ref_index"}]; beside them problems.json (without it: agreement with the indices alone)',
)
COMPAT: tuple[Compat, ...] = ("official", "strict", "lmms-eval")
_UNNAMED = tuple(f"option {letter}" for letter in string.ascii_uppercase[:5])
"""Options of which nothing is known but that there are five at most."""


@dataclass(frozen=True, slots=True)
class _Output:
    place: Place
    text: str
    index: int | None
    """What the file itself says was chosen, where it does."""


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """Each file of answers is a set; what must be answered is the split that its questions are of."""
    files = _files.gathered(paths)
    problems = [file for file in files if file.maps("choices", "answer", "subject")]
    given = [(file, found) for file in files if (found := _outputs(file))]
    if not given:
        raise _files.unknown(files, "scienceqa", "There are no answers.", EXPECTS)
    rules: scienceqa.Compat = compat if compat != "vlmevalkit" else "official"
    if problems:
        return [_scored(file, found, problems[0], rules, partial) for file, found in given]
    return [_agreement(file, found, rules) for file, found in given]


def _outputs(file: File) -> dict[str, _Output]:
    if file.has("question_id", "text"):
        rows = _files.by_id(file, file.rows, "question_id")
        return {
            one: _Output(at, at.get(row, "text", str, "text"), None)
            for one, (at, row) in rows.items()
        }
    if file.has("id", "output"):
        rows = _files.by_id(file, file.rows, "id")
        return {
            one: _Output(at, at.get(row, "output", str, "text"), _index(at, row.get("ref_index")))
            for one, (at, row) in rows.items()
        }
    outputs = file.content.get("outputs") if isinstance(file.content, dict) else None
    if not isinstance(outputs, dict):
        return {}
    indices = file.content.get("results")
    indices = indices if isinstance(indices, dict) else {}
    found = {}
    for one, (place, text) in _files.keyed(file, outputs).items():
        if not isinstance(text, str):
            place.fail(f"expected an output as text; found {kind(text)}.")
        found[one] = _Output(place, text, _index(place, indices.get(one)))
    return found


def _index(place: Place, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        place.fail(f"the index of an option should be a number; found {kind(value)}.")
    return value


def _scored(
    file: File,
    outputs: Mapping[str, _Output],
    problems: File,
    compat: scienceqa.Compat,
    partial: bool,
) -> Scored:
    known = _files.keyed(problems, problems.content)
    said: dict[str, Entry] = {name: (one.place, one.text) for name, one in outputs.items()}
    names, _ = _files.paired(said, known, problems.path, file.path, True)
    splits = {str(known[name][1].get("split", "")) for name in names}
    wanted = {
        name: entry for name, entry in known.items() if str(entry[1].get("split", "")) in splits
    }
    names, notes = _files.paired(said, wanted, problems.path, file.path, partial)
    answers: list[Answer] = []
    chosen: dict[str, int | None] = {}
    verdicts: dict[str, Verdict] = {}
    for name in names:
        place, row = known[name]
        choices = place.get(row, "choices", list, "a list of texts")
        answer = place.get(row, "answer", int, "the number of the right choice")
        # As it stands: LLaVA's script for answers strips them, its script for scores does not.
        chosen[name] = scienceqa.parse(outputs[name].text, list(map(str, choices)), compat)
        verdicts[name] = scienceqa.verdict(chosen[name], answer)
        truth = {"slices": _slices(place, row)}
        answers.append(_files.answer(name, outputs[name].text, truth))
    accuracy, unreadable = of_verdicts(verdicts)
    measures = [accuracy, *_scienceqa.by_slice(answers, verdicts), unreadable]
    told = {name: outputs[name].index for name in names if chosen[name] is None}
    guessed = sum(index is not None and index >= 0 for index in told.values())
    if guessed:
        notes = (
            *notes,
            f"Outputs that cannot be read, with an index in the file all the same: {guessed}. These are guesses, "
            "and count for nothing here.",
        )
    return Scored(file.path.stem, measures, notes=notes, files=(file.path, problems.path))


def _slices(place: Place, row: Any) -> tuple[str, ...]:
    try:
        return scienceqa.slices(
            subject=place.words(row, "subject"),
            grade=place.words(row, "grade"),
            hint=str(row.get("hint") or ""),
            image=bool(row.get("image")),
        )
    except InputError as error:
        place.fail(str(error), error)


def _agreement(file: File, outputs: Mapping[str, _Output], compat: scienceqa.Compat) -> Scored:
    read_ = {name: scienceqa.parse(one.text, _UNNAMED, compat) for name, one in outputs.items()}
    told = {name: one.index for name, one in outputs.items() if one.index is not None}
    if not told:
        raise InputError(
            f"{file.path} can be scored with ScienceQA's problems.json alone, which is not there. "
            "Name it, or its folder, after the answers."
        )
    # LLaVA's newer script writes -1 where it could not read an output.
    same = {
        name: float(read_[name] == index or (read_[name] is None and index < 0))
        for name, index in told.items()
    }
    unreadable = of_verdicts({name: None if one is None else True for name, one in read_.items()})[
        1
    ]
    note = "Without problems.json nothing says which option is right: this is no accuracy."
    measures = [of_samples("agreement with the file's indices", same, better=0), unreadable]
    return Scored(file.path.stem, measures, notes=(note,), files=(file.path,))
