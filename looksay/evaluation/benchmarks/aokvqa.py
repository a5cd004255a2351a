"""A-OKVQA: questions that take knowledge and reasoning, answered freely or by choosing one of four.

One entry: {"split": "val", "image_id": 461751, "question_id": "22jbM6gDxdaMaunuzgrsBB", "question": "What is in
the motorcyclist's mouth?", "choices": ["toothpick", "food", "popsicle stick", "cigarette"],
"correct_choice_idx": 3, "direct_answers": ["cigarette", …], "difficult_direct_answer": false, …}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _letters
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics.vqa import normalize
from looksay.types import Conversation, Image

CARD = Card(
    title="A-OKVQA",
    measures="Answers that take common sense and knowledge of the world besides the photograph.",
    needs={
        "aokvqa_v1p0_val.json": "1,145 questions of validation",
        "val2017/": "images of COCO 2017",
    },
    where="https://github.com/allenai/aokvqa",
    licence="Apache-2.0 (questions, as the repository); images: Flickr's terms",
    loader="allenai/aokvqa: load_aokvqa.py, evaluation/eval_predictions.py",
    paper="Schwenk et al., A-OKVQA: A Benchmark for Visual Question Answering using World Knowledge, "
    "ECCV 2022",
    variants=("direct", "multiple-choice"),
    compat=("strict", "official"),
    likelihood=True,
)


def read(folder: Path, variant: str = "direct") -> list[Item]:
    """The questions of val (test's answers are not public).

    direct: without the questions that are marked as too difficult for it, as the leaderboard has it; `truth`:
    answers. multiple-choice: all of them, with letters; `truth`: answer (its letter), options.
    """
    path = folder / "aokvqa_v1p0_val.json"
    rows = entries(path, load_json(path))
    items = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "question_id")
        name = place.words(row, "question_id")
        place.once(name, seen, "question")
        if variant == "direct" and place.get(row, "difficult_direct_answer", bool, "true or false"):
            continue
        number = place.get(row, "image_id", int, "a number")
        file = f"{number:012d}.jpg"
        image = place.image(folder / "val2017", file)
        make = _direct if variant == "direct" else _chosen
        items.append(make(place, row, name, image, file))
    return items


def _direct(place: Place, row: Any, name: str, image: Image, file: str) -> Item:
    given = place.get(row, "direct_answers", list, "a list of answers")
    if not given or not all(isinstance(one, str) for one in given):
        place.fail("'direct_answers' should be texts, at least one.")
    asked = Conversation.ask(image, f"{place.words(row, 'question')}\n{SHORTLY}")
    return Item(name, asked, {"answers": given}, image=file, max_tokens=SHORT)


def _chosen(place: Place, row: Any, name: str, image: Image, file: str) -> Item:
    given = place.get(row, "choices", list, "a list of texts")
    right = place.get(row, "correct_choice_idx", int, "the number of the right choice")
    if not 0 <= right < len(given) or not all(isinstance(one, str) for one in given):
        place.fail(f"'correct_choice_idx' is {right}, but 'choices' holds {given!r}.")
    options = _letters.lettered(given)
    return Item(
        name,
        Conversation.ask(image, _letters.asked(place.words(row, "question"), options)),
        {"answer": tuple(options)[right], "options": options},
        image=file,
        choices=tuple(options),
        max_tokens=SHORT,
    )


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """direct: min(1, people who said the same / 3), not leaving one out as VQA does; multiple-choice: accuracy.

    official: an answer is the same where the strings are equal, so "Cigarette." is not "cigarette"; strict:
    where they are once both are normalised as VQA's tool does. A choice is read in one way by both, for the
    official scorer takes the choice itself.
    """
    if not all("answers" in a.item.truth for a in answers):
        return _letters.accuracy(answers, "strict")
    return [of_samples("accuracy", {a.item.id: _matched(a, compat) for a in answers})]


def _matched(answer: Answer, compat: Compat) -> float:
    said, given = answer.text, answer.item.truth["answers"]
    if compat == "strict":
        said, given = normalize(said.strip()), [normalize(one) for one in given]
    same: int = sum(one == said for one in given)
    return min(1.0, same / 3)
