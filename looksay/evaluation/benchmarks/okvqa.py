"""OK-VQA: questions about photographs that take knowledge from outside them.

One question: {"image_id": 297147, "question": "What sport can you use this for?", "question_id": 2971475}; one
annotation: {"question_id": 2971475, "image_id": 297147, "question_type": "four", "answer_type": "other",
"answers": [{"answer_id": 1, "raw_answer": "racing", "answer_confidence": "yes", "answer": "race"}, …]}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _vqa
from looksay.evaluation.benchmarks._asking import SHORT
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics.vqa import vqa_accuracy
from looksay.types import Conversation

CARD = Card(
    title="OK-VQA",
    measures="Short answers to questions that the photograph alone does not answer.",
    needs={
        "OpenEnded_mscoco_val2014_questions.json": "5,046 questions",
        "mscoco_val2014_annotations.json": "ten answers to each (version 1.1)",
        "val2014/": "images of COCO 2014",
    },
    where="https://okvqa.allenai.org/download.html",
    licence="CC BY 4.0 (questions, answers); images: Flickr's terms",
    loader="GT-Vision-Lab/VQA: PythonHelperTools/vqaTools/vqa.py, PythonEvaluationTools/vqaEvaluation/vqaEval.py",
    paper="Marino et al., OK-VQA: A Visual Question Answering Benchmark Requiring External Knowledge, "
    "CVPR 2019",
)


def read(folder: Path, variant: str = "") -> list[Item]:
    """The questions of val2014. `truth`: answers (stemmed, ten), raw_answers. kind: the question's type."""
    questions, annotations, images = (folder / name for name in CARD.needs)
    content = load_json(annotations)
    truths = _truths(annotations, entries(annotations, content, "annotations"))
    # The file names its types by number words and explains them, as far as memory goes, in this key.
    types = content.get("question_types")
    names = types if isinstance(types, dict) else {}
    items = []
    for place, example in _vqa.examples(questions, None, images):
        if example.id not in truths:
            place.fail(f"{annotations} has no answer to it.")
        kind, truth = truths[example.id]
        items.append(
            Item(
                example.id,
                Conversation(example.conversation.messages[:1]),
                truth,
                image=str(example.truth["image_id"]),
                kind=str(names.get(kind, kind)),
                max_tokens=SHORT,
            )
        )
    return items


def _truths(path: Path, rows: list[Any]) -> dict[str, tuple[str, dict[str, list[str]]]]:
    """Question's id → its type and answers."""
    found: dict[str, tuple[str, dict[str, list[str]]]] = {}
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "question_id")
        name = str(place.get(row, "question_id", int, "a number"))
        if name in found:
            place.fail("this question was answered before.")
        given = place.get(row, "answers", list, "a list of answers")
        if not given:
            place.fail("'answers' is empty.")
        found[name] = (
            place.words(row, "question_type"),
            {
                "answers": [place.words(one, "answer") for one in given],
                "raw_answers": [place.words(one, "raw_answer") for one in given],
            },
        )
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """VQA accuracy against the file's answers, and against what people wrote.

    The file's answers are stemmed ("racing" is "race") and the tool stems no prediction, so the first is what
    the official files give and too low for a model that inflects; BLIP-2 lemmatises its answers first, which
    raised it from 35 to 40 (salesforce/LAVIS#156).
    """
    return [
        of_samples(name, {a.item.id: vqa_accuracy(a.text, a.item.truth[key]) for a in answers})
        for name, key in (("VQA accuracy", "answers"), ("VQA accuracy, unstemmed", "raw_answers"))
    ]
