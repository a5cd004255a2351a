"""POPE: answers to questions whether an object is there, as POPE's and LLaVA's scripts write them.

A question: {"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a snowboard in the
image?", "label": "yes"}. POPE's answer: {"question": "Is there a snowboard in the image?", "answer": "No."}, in
the order of the questions. LLaVA's: {"question_id": 0, "prompt": "…", "text": "No", …}, for all parts together,
with a file of questions that names the part of each: {"question_id": 0, "text": "…", "category": "adversarial"}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from looksay.data.reading import Place
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Compat
from looksay.evaluation.benchmarks import pope as benchmark
from looksay.evaluation.measures import Measure
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import Entry, File
from looksay.evaluation.run import clusters
from looksay.evaluation.scoring import Scored

ABOUT = "Whether objects are said to be there which are not: F1, accuracy and the others."
EXPECTS = (
    'questions with labels by lines (coco_pope_random.json: {"question_id", "image", "text", "label"})',
    'with answers by lines: {"question", "answer"} in their order, or with "question_id"',
    '(three parts: name both files for the part, as answers_random.jsonl), or LLaVA\'s {"question_id", "text"}',
    'with its file of questions {"question_id", "text", "category"}',
)
COMPAT: tuple[Compat, ...] = ("official", "strict", "lmms-eval", "vlmevalkit")
_WORDS = re.compile(r"[\W_]+")


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """Parts of one set of answers belong together: their F1s are averaged, as LLaVA-1.5's tables do."""
    files = _files.gathered(paths)
    labels: dict[str, File] = {}
    for file in files:
        if file.has("text", "label"):
            _once(labels, _part(file.path), file)
    sorted_ = [file for file in files if file.has("question_id", "text", "category")]
    unlabelled = [file for file in files if not file.has("label")]
    given = [file for file in unlabelled if file.has("answer")]
    given += [f for f in unlabelled if f.has("question_id", "text") and f not in (*sorted_, *given)]
    if not labels or not given:
        lacking = "answers" if labels else "questions with labels"
        raise _files.unknown(files, "pope", f"There are no {lacking}.", EXPECTS)
    if sorted_:
        return [_of_llava(file, sorted_[0], labels, compat, partial) for file in given]
    if len(labels) == 1:
        return [
            _scored(f.path.stem, labels, dict.fromkeys(labels, f), compat, partial) for f in given
        ]
    return [
        _scored(name, labels, parts, compat, partial)
        for name, parts in _sets(given, labels).items()
    ]


def _part(path: Path) -> str:
    """coco_pope_random.json → random."""
    return _WORDS.split(path.stem)[-1]


def _once(found: dict[str, File], part: str, file: File) -> None:
    if part in found:
        raise InputError(
            f"{found[part].path} and {file.path} are both of the part {part!r}; expected one file. "
            "Name the files that belong together."
        )
    found[part] = file


def _sets(given: Sequence[File], labels: Mapping[str, File]) -> dict[str, dict[str, File]]:
    """Files of answers by what their names have beside the part: answers_random, answers_popular → answers."""
    found: dict[str, dict[str, File]] = {}
    for file in given:
        words = _WORDS.split(file.path.stem)
        parts = [word for word in words if word in labels]
        if len(parts) != 1:
            raise InputError(
                f"{file.path}: to which part does it answer? There are questions of {', '.join(labels)}; "
                "name the file for one of them, as answers_random.jsonl."
            )
        rest = "_".join(word for word in words if word != parts[0]) or "answers"
        _once(found.setdefault(rest, {}), parts[0], file)
    return found


def _scored(
    name: str,
    labels: Mapping[str, File],
    given: Mapping[str, File],
    compat: Compat,
    partial: bool,
) -> Scored:
    answers: dict[str, list[Answer]] = {}
    notes: list[str] = []
    for part, questions in labels.items():
        if part not in given and not partial:
            raise InputError(
                f"{name} has no answers to {questions.path}. To score only the parts that are answered: "
                "--partial"
            )
        if part in given:
            known = _files.by_id(questions, questions.rows, "question_id")
            said = _said(given[part], list(known), questions.path)
            names, left = _files.paired(said, known, questions.path, given[part].path, partial)
            answers[part] = [_answer(one, part, said[one], known[one]) for one in names]
            notes += left
    if not answers:
        raise InputError(f"{name} answers no part of POPE; there are {', '.join(labels)}.")
    files = [file.path for part in answers for file in (given[part], labels[part])]
    return _figures(name, answers, compat, files, notes)


def _said(file: File, names: Sequence[str], questions: Path) -> dict[str, Entry]:
    """Answers by question; POPE's own have no ids and stand in the order of the questions."""
    if file.has("question_id"):
        return _files.by_id(file, file.rows, "question_id")
    if len(file.rows) != len(names):
        raise InputError(
            f"{file.path} has {len(file.rows)} answers without question_id, {questions} has {len(names)} "
            "questions; expected as many, in the same order."
        )
    return dict(zip(names, _files.placed(file, file.rows, "question_id"), strict=True))


def _answer(name: str, part: str, said: Entry, known: Entry) -> Answer:
    place, row = said
    asked, question = known
    text = place.get(
        row, "text" if "text" in row and "answer" not in row else "answer", str, "text"
    )
    _same(place, row, asked.words(question, "text"))
    truth = {"answer": asked.one_of(question, "label", ("yes", "no"))}
    return _files.answer(f"{part} {name}", text, truth, str(question.get("image", "")), part)


def _same(place: Place, row: Mapping[str, object], question: str) -> None:
    """The parts of POPE number their questions alike: only the words show a mix-up."""
    told = row.get("question", row.get("prompt"))
    if isinstance(told, str) and not told.strip().casefold().startswith(question.casefold()):
        place.fail(
            f"it answers {told[:80]!r}, but the question of that number is {question!r}: "
            "are these the answers to another part?"
        )


def _of_llava(
    file: File, questions: File, labels: Mapping[str, File], compat: Compat, partial: bool
) -> Scored:
    """As LLaVA's eval_pope.py: the questions of a category are those of the labels' file, in its order."""
    asked = _files.by_id(questions, questions.rows, "question_id")
    said = _files.by_id(file, file.rows, "question_id")
    known: dict[str, tuple[str, Entry]] = {}
    taken = dict.fromkeys(labels, 0)
    for name, (place, row) in asked.items():
        part = place.one_of(row, "category", tuple(labels))
        rows = labels[part].rows
        if taken[part] == len(rows):
            place.fail(
                f"{labels[part].path} has labels of {len(rows)} questions, and this is one more."
            )
        label = Place(labels[part].path, taken[part], len(rows), rows[taken[part]], "question_id")
        _same(place, {"prompt": row["text"]}, label.words(rows[taken[part]], "text"))
        known[name] = part, (label, rows[taken[part]])
        taken[part] += 1
    names, notes = _files.paired(said, known, questions.path, file.path, partial)
    answers: dict[str, list[Answer]] = {}
    for name in names:
        part, label_of = known[name]
        answers.setdefault(part, []).append(_answer(name, part, said[name], label_of))
    files = [file.path, questions.path, *(label_file.path for label_file in labels.values())]
    return _figures(file.path.stem, answers, compat, files, notes)


def _figures(
    name: str,
    answers: Mapping[str, Sequence[Answer]],
    compat: Compat,
    files: Sequence[Path],
    notes: Sequence[str],
) -> Scored:
    every = [one for said in answers.values() for one in said]
    parts = {part: benchmark.score(said, compat) for part, said in answers.items()}
    found = next(iter(parts.values()))
    if len(parts) > 1:
        unreadable = benchmark.score(every, compat)[-1]
        found = [
            mean_of("F1, mean of the parts", [one[0] for one in parts.values()]),
            *(replace(one, kind=part) for part, several in parts.items() for one in several),
            unreadable,
        ]
    shared = clusters([one.item for one in every])
    return Scored(name, found, shared, notes=tuple(notes), files=tuple(files))


def mean_of(name: str, parts: Sequence[Measure]) -> Measure:
    """The mean of measures of different samples, as a measure: sums stand side by side."""
    widths = [len(next(iter(part.rows.values()))) for part in parts]
    rows: dict[str, tuple[float, ...]] = {}
    for place, part in enumerate(parts):
        before, after = (0.0,) * sum(widths[:place]), (0.0,) * sum(widths[place + 1 :])
        rows |= {one: (*before, *row, *after) for one, row in part.rows.items()}

    def value(*sums: float) -> float:
        total, start = 0.0, 0
        for part, width in zip(parts, widths, strict=True):
            total += part.value(*sums[start : start + width])
            start += width
        return total / len(parts)

    return Measure(name, rows, value, parts[0].scale, parts[0].better)
