"""Multiple choice with lettered options, circular or not, as VLMEvalKit writes MMBench and its like.

A row: {"index": 1000000, "g_index": 0, "options": {"A": "cat", "B": "dog"}, "answer": "B", "prediction": "B.",
"category": "attr"}, or with the options in columns A, B, … as in MMBench's tables. A shift of the options adds
1,000,000 to the question's index.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Compat
from looksay.evaluation.benchmarks import _letters, _mmbench, _tsv
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import File
from looksay.evaluation.scoring import Scored, of_answers

ABOUT = "Answers to questions with lettered options; credit for all shifts together where there are shifts."
EXPECTS = (
    'rows {"index", "options": {"A": …}, "answer", "prediction"} as JSON or by lines ("category" for parts)',
    "or a table with columns index, A, B, …, answer, prediction as .tsv (of an .xlsx: save it as one)",
)
COMPAT: tuple[Compat, ...] = ("official", "strict", "vlmevalkit")
ROUND = 10**6


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """official is VLMEvalKit's own rules. `partial`: questions of which shifts are missing are left out."""
    rules: Compat = "vlmevalkit" if compat == "official" else compat
    files = [
        File(path, _table(path) if path.suffix == ".tsv" else _files.content(path))
        for path in _files.listed(paths, ".json", ".jsonl", ".tsv")
    ]
    given = [file for file in files if file.has("index", "prediction")]
    if not given:
        raise _files.unknown(files, "multiple-choice", "There are no predictions.", EXPECTS)
    return [_scored(file, rules, partial) for file in given]


def _table(path: Path) -> list[dict[str, str]]:
    header, rows = _tsv.table(path)
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise InputError(
                f"{path}, row {number}: expected {len(header)} fields; found {len(row)}: is the file cut short?"
            )
    return [dict(zip(header, row, strict=True)) for row in rows]


def _scored(file: File, compat: Compat, partial: bool) -> Scored:
    groups: dict[str, dict[int, tuple[Place, Any]]] = {}
    for name, (place, row) in _files.by_id(file, file.rows, "index").items():
        if not name.isdecimal():
            place.fail(f"'index' should be a whole number; found {name!r}.")
        question, shift = str(row.get("g_index", int(name) % ROUND)), int(name) // ROUND
        groups.setdefault(question, {})[shift] = place, row
    circular = any(len(shifts) > 1 or 0 not in shifts for shifts in groups.values())
    answers, left = [], 0
    for question, shifts in groups.items():
        found = [_answer(question, shift, *shifts[shift]) for shift in sorted(shifts)]
        size = found[0].item.truth["size"]
        if circular and sorted(shifts) != list(range(size)):
            if not partial:
                shifts[min(shifts)][0].fail(
                    f"question {question} with {size} options has the shifts {sorted(shifts)}; credit asks for "
                    f"0 to {size - 1}. To leave such questions out: --partial"
                )
            left += 1
            continue
        answers += found
    if not answers:
        raise InputError(f"{file.path} has no question of which every shift is answered.")
    notes = [f"{left} of {len(groups)} questions left out: shifts are missing."] if left else []
    score = _mmbench.score if circular else _letters.accuracy
    return of_answers(file.path.stem, answers, lambda a: score(a, compat), [file.path], notes)


def _answer(question: str, shift: int, place: Place, row: Any) -> Answer:
    options = _options(place, row)
    said = place.get(row, "prediction", str, "text")
    truth = {
        "question": question,
        "shift": shift,
        "size": len(options),
        "options": options,
        "answer": place.one_of(row, "answer", tuple(options)),
        "ability": str(row.get("l2-category", "")),
    }
    # A question's figures stand under its first shift, as in looksay.evaluation.benchmarks.
    name, kind = f"{question} r{shift}", str(row.get("category", ""))
    return _files.answer(name, said, truth, question, kind)


def _options(place: Place, row: Any) -> dict[str, str]:
    given = row.get("options") if isinstance(row, dict) else None
    if given is None:
        given = {name: row[name] for name in string.ascii_uppercase if row.get(name)}
    if not isinstance(given, dict) or len(given) < 2:
        place.fail("expected at least two options, under 'options' or as 'A', 'B' and so on.")
    texts = {str(name): str(text) for name, text in given.items()}
    return {name: text for name, text in texts.items() if text not in ("", "nan")}
