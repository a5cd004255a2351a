"""MME: fourteen tasks of yes and no, two questions about every picture.

A task is a folder of pictures and texts of the same name (five tasks keep them in images/ and
questions_answers_YN/). One text, existence/000000006040.txt, two lines with a tab in each:
"Is there a skateboard in this image? Please answer yes or no.	Yes".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from looksay.data.reading import Place
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _text
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, by_kind, of_verdicts
from looksay.evaluation.metrics import mme
from looksay.evaluation.metrics.mme import COGNITION, PERCEPTION
from looksay.types import Conversation

CARD = Card(
    title="MME",
    measures="Perception (2,000 points) and cognition (800) by paired questions of yes and no.",
    needs={
        "MME_Benchmark_release_version/": "a folder for each of the fourteen tasks",
    },
    where="https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation",
    licence="none stated; academic use",
    loader="MME's eval_tool: calculation.py; folders: haotian-liu/LLaVA, convert_answer_to_mme.py of its MME data; "
    "prompt: lmms-eval, tasks/mme",
    paper="Fu et al., MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models, 2023",
    compat=("strict", "official", "lmms-eval", "vlmevalkit"),
)

_YES_OR_NO = "Please answer yes or no."
"""What MME ends its questions with; LLaVA-1.5 and lmms-eval put their own words in its place."""


def read(folder: Path, variant: str = "") -> list[Item]:
    """The questions, tasks in MME's order and files by name. `truth`: answer (yes or no). kind: the task."""
    root = folder / "MME_Benchmark_release_version"
    missing = [task for task in (*PERCEPTION, *COGNITION) if not (root / task).is_dir()]
    if missing:
        raise InputError(f"{root} has no folder {missing[0]!r}; MME has one for each of 14 tasks.")
    return [item for task in (*PERCEPTION, *COGNITION) for item in _of_task(root / task)]


def _of_task(folder: Path) -> Iterator[Item]:
    apart = (folder / "images").is_dir()
    pictures = folder / "images" if apart else folder
    texts = sorted((folder / "questions_answers_YN" if apart else folder).glob("*.txt"))
    if not texts:
        raise InputError(f"{folder} holds no questions: expected a .txt file for every picture.")
    for path in texts:
        lines = _text.lines(path)
        names = [f"{path.stem}{suffix}" for suffix in (".jpg", ".png", ".jpeg")]
        for number, line in enumerate(lines):
            place = Place(path, number, len(lines), line)
            if len(lines) != 2:
                place.fail(f"expected two questions about the picture; found {len(lines)}.")
            question, _, answer = line.rpartition("\t")
            if not question.strip() or answer.strip() not in ("Yes", "No"):
                place.fail(f"expected a question, a tab, and Yes or No; found {line[:80]!r}.")
            asked = f"{question.replace(_YES_OR_NO, '').strip()}\n{SHORTLY}"
            yield Item(
                f"{folder.name}/{path.stem} {number + 1}",
                Conversation.ask(place.image(pictures, *names), asked),
                {"answer": answer.strip().lower()},
                image=f"{folder.name}/{path.stem}",
                kind=folder.name,
                max_tokens=SHORT,
            )


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Points of perception, then of cognition with its tasks; accuracy, accuracy+, what was not read.

    A task's points are accuracy and accuracy+ in percent, added. Where tasks are missing, the name of a
    total says so. Raises InputError where one of a picture's two answers is missing.
    """
    said = {a.item.id: _verdict(a, compat) for a in answers}
    mme.mme((a.item.kind, a.item.image, said[a.item.id]) for a in answers)
    pairs: dict[str, list[str]] = {}
    for a in answers:
        pairs.setdefault(a.item.image, []).append(a.item.id)
    # A picture's pair counts under the id of its first question.
    both = {min(pair): float(all(said[one] is True for one in pair)) for pair in pairs.values()}
    kinds = {a.item.id: a.item.kind for a in answers}
    totals = [
        _points(name, [task for task in tasks if task in kinds.values()], tasks, kinds, said, both)
        for name, tasks in (("perception", PERCEPTION), ("cognition", COGNITION))
    ]
    right, unreadable = of_verdicts(said)
    plus = Measure("accuracy+", {one: (value, 1.0) for one, value in both.items()})
    found = [one for one in totals if one.rows]
    cognition = [part for one in found[1:] for part in by_kind(one, kinds)]
    return [*found, *cognition, right, plus, unreadable]


def _verdict(answer: Answer, compat: Compat) -> bool | None:
    said = mme.parse(answer.text, compat)
    return None if said is None else said == answer.item.truth["answer"]


def _points(
    name: str,
    there: Sequence[str],
    tasks: Sequence[str],
    kinds: dict[str, str],
    said: dict[str, bool | None],
    both: dict[str, float],
) -> Measure:
    """Points summed over tasks; a sample adds (right, questions, pairs right, pairs) in its task's place."""
    rows: dict[str, tuple[float, ...]] = {}
    for one, task in kinds.items():
        if task in there:
            before, after = there.index(task), len(there) - there.index(task) - 1
            own = (float(said[one] is True), 1.0, both.get(one, 0.0), float(one in both))
            rows[one] = (0.0,) * 4 * before + own + (0.0,) * 4 * after
    shown = name if len(there) == len(tasks) else f"{name}, {len(there)} of {len(tasks)} tasks"
    return Measure(shown, rows, _sum_of_tasks)


def _sum_of_tasks(*sums: float) -> float:
    """Accuracy and accuracy+, added up over the tasks that have any question; each 0 to 1."""
    total = 0.0
    for at in range(0, len(sums), 4):
        right, questions, pairs_right, pairs = sums[at : at + 4]
        if questions:
            total += right / questions + (pairs_right / pairs if pairs else 0.0)
    return total
