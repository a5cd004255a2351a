"""MME: a folder with a text file for each task, as its evaluation tool wants them.

One line of existence.txt, tabs between: "000000006040.jpg	Is there a skateboard in this image? Please answer
yes or no.	Yes	Yes, there is."; the two questions about a picture follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Compat
from looksay.evaluation.benchmarks import mme as benchmark
from looksay.evaluation.metrics.mme import COGNITION, PERCEPTION
from looksay.evaluation.results import _files
from looksay.evaluation.scoring import Scored, of_answers

ABOUT = "MME's points for perception (2,000) and cognition (800), and for each of the 14 tasks."
EXPECTS = (
    "a text file for each task (existence.txt, count.txt, …), in each line, with tabs between:",
    "picture, question, Yes or No, and what was answered",
)
COMPAT: tuple[Compat, ...] = ("official", "strict", "lmms-eval", "vlmevalkit")
_TASKS = (*PERCEPTION, *COGNITION)


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """Every folder's tasks are a set; with `partial` some tasks may be missing, and a total says so."""
    folders: dict[Path, dict[str, Path]] = {}
    for path in _files.listed(paths, ".txt"):
        if path.stem not in _TASKS:
            raise InputError(
                f"{path} is of no task of MME ({', '.join(_TASKS)}). Move it elsewhere, or name the files."
            )
        folders.setdefault(path.parent, {})[path.stem] = path
    found = []
    for folder, tasks in folders.items():
        missing = [task for task in _TASKS if task not in tasks]
        if missing and not partial:
            raise InputError(
                f"{folder} has no {missing[0]}.txt; {len(missing)} of {len(_TASKS)} tasks are missing. "
                "To score those that are there: --partial"
            )
        answers = [one for task in _TASKS if task in tasks for one in _answers(tasks[task])]
        files = [tasks[task] for task in _TASKS if task in tasks]
        name = folder.resolve().name
        found.append(of_answers(name, answers, lambda a: benchmark.score(a, compat), files))
    return found


def _answers(path: Path) -> list[Answer]:
    found: list[Answer] = []
    seen: dict[str, int] = {}
    asked: dict[str, int] = {}
    lines = _files.lines(path)
    for number, line in enumerate(lines, 1):
        parts = line.split("\t")
        if len(parts) != 4:
            raise InputError(
                f"{path}, line {number}: expected four parts with tabs between (picture, question, Yes or No, "
                f"answer); found {len(parts)}: {line[:80]!r}."
            )
        picture, question, label, text = parts
        place = Place(path, number - 1, len(lines), {})
        truth = place.one_of({"label": label.lower()}, "label", ("yes", "no"))
        name = f"{path.stem}/{picture}"
        key = f"{picture}\t{question}"
        if key in asked:
            raise InputError(
                f"{path}, line {number}: {picture} is asked {question!r} in line {asked[key]} too; "
                "expected once."
            )
        asked[key] = number
        seen[name] = seen.get(name, 0) + 1
        found.append(
            _files.answer(f"{name} {seen[name]}", text, {"answer": truth}, name, path.stem)
        )
    if not found:
        raise InputError(f"{path} is empty; expected two lines for every picture.")
    return found
