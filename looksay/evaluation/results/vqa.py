"""VQA accuracy of results in the form of the VQA tool: [{"question_id": 262148000, "answer": "down"}, …]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries
from looksay.evaluation import measures
from looksay.evaluation.benchmark import Answer, Compat
from looksay.evaluation.benchmarks import _vqa
from looksay.evaluation.measures import Measure
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import Entry, File
from looksay.evaluation.scoring import Scored, of_answers

ABOUT = "Short answers held to those of ten people, as the VQA tool does."
EXPECTS = (
    'results [{"question_id", "answer"}], beside the official questions and annotations',
    'or rows [{"question_id", "prediction", "answers", "answer_type", "question_type"}]',
)
COMPAT: tuple[Compat, ...] = ("official",)


@dataclass(frozen=True, slots=True)
class _Question:
    answers: list[str]
    types: tuple[str, str]
    """Of the answer, of the question."""
    image: str


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """Each file of results is a set of its own; annotations (and questions) are for all of them."""
    files = _files.gathered(paths)
    alone = [file for file in files if file.has("question_id", "prediction", "answers")]
    told = [file for file in files if file.under("annotations", "question_id", "answers")]
    asked = [file for file in files if file.under("questions", "question_id")]
    given = [file for file in files if file.has("question_id", "answer")]
    if not alone and not (told and given):
        lacking = "annotations" if given else "results"
        raise _files.unknown(files, "vqa", f"There are no {lacking}.", EXPECTS)
    return [_of_rows(file) for file in alone] + [
        _of_results(file, told, asked, partial) for file in given if told
    ]


def _of_rows(file: File) -> Scored:
    found = []
    for name, (place, row) in _files.by_id(file, file.rows, "question_id").items():
        found.append((name, _text(place, row, "prediction"), _question(place, row)))
    return _scored(file.path.stem, found, [file.path])


def _of_results(file: File, told: Sequence[File], asked: Sequence[File], partial: bool) -> Scored:
    known: dict[str, Entry] = {}
    for one in told:
        known |= _files.by_id(one, entries(one.path, one.content, "annotations"), "question_id")
    # The tool takes the questions' file for the list of what is asked; without one it is the annotations'.
    wanted, where = list(known), told[0].path
    if asked:
        rows = {one.path: entries(one.path, one.content, "questions") for one in asked}
        where = asked[0].path
        listed = [_files.by_id(File(path, row), row, "question_id") for path, row in rows.items()]
        wanted = [name for questions in listed for name in questions]
        for questions in listed:
            for name, (place, _) in questions.items():
                if name not in known:
                    place.fail(f"{told[0].path} has no answers to question {name}.")
    said = _files.by_id(file, file.rows, "question_id")
    names, notes = _files.paired(said, dict.fromkeys(wanted), where, file.path, partial)
    found = [(name, _text(*said[name], "answer"), _question(*known[name])) for name in names]
    return _scored(file.path.stem, found, [file.path, *(f.path for f in (*told, *asked))], notes)


def _text(place: Place, row: Any, key: str) -> str:
    text: str = place.get(row, key, str, "text")
    return text


def _question(place: Place, row: Any) -> _Question:
    given = place.get(row, "answers", list, "a list of answers")
    if not given:
        place.fail("'answers' is empty; expected those of ten people.")
    texts: list[str] = []
    for one in given:
        text = one.get("answer") if isinstance(one, Mapping) else one
        if not isinstance(text, str):
            place.fail("'answers' should be texts, or objects with an 'answer'.")
        texts.append(text)
    types = str(row.get("answer_type", "")), str(row.get("question_type", ""))
    return _Question(texts, types, str(row.get("image_id", "")))


def _scored(
    name: str,
    found: Sequence[tuple[str, str, _Question]],
    files: Sequence[Path],
    notes: Sequence[str] = (),
) -> Scored:
    answers = [
        _files.answer(one, text, {"answers": question.answers}, question.image)
        for one, text, question in found
    ]

    def score(answers: Sequence[Answer]) -> list[Measure]:
        whole = _vqa.accuracy(answers)
        parts = []
        for place in (0, 1):
            types = {one: question.types[place] for one, _, question in found}
            parts += measures.by_kind(whole, types) if any(types.values()) else []
        empty = {a.item.id: float(not a.text.strip()) for a in answers}
        return [whole, *parts, measures.of_samples("empty", empty, better=-1)]

    return of_answers(name, answers, score, files, notes)
