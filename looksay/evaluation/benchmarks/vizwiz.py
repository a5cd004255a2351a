"""VizWiz-VQA: questions that blind people asked about photographs they took; some cannot be answered.

One entry of val.json: {"image": "VizWiz_val_00000028.jpg", "question": "What is this?", "answers": [{"answer":
"candle", "answer_confidence": "yes"}, …], "answer_type": "other", "answerable": 1}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, entries, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics.vqa import (
    normalize,
    textvqa_accuracy,
    vizwiz_accuracy,
    vqa_accuracy,
)
from looksay.types import Conversation

CARD = Card(
    title="VizWiz-VQA",
    measures="Short answers to blind people's questions, and saying so where there is none.",
    needs={
        "val.json": "4,319 questions, ten answers to each (Annotations.zip)",
        "val/": "their images (val.zip)",
    },
    where="https://vizwiz.org/tasks-and-datasets/vqa/",
    licence="CC BY 4.0",
    loader="VizWiz's API: vqa.py, vqaEval.py (evaluate, evaluate_unanswerability)",
    paper="Gurari et al., VizWiz Grand Challenge: Answering Visual Questions from Blind People, CVPR 2018",
    compat=("strict", "official", "lmms-eval"),
)
TYPES = ("yes/no", "number", "other", "unanswerable")
INSUFFICIENT = "When the provided information is insufficient, respond with 'Unanswerable'."
"""What LLaVA-1.5 adds before its request for a short answer."""


def read(folder: Path, variant: str = "") -> list[Item]:
    """The questions of val (test's answers are not public). `truth`: answers, answerable. kind: answer's type."""
    path = folder / "val.json"
    rows = entries(path, load_json(path))
    items = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "image")
        file = place.words(row, "image")
        if file in seen:
            place.fail(
                "a question about this image was there before; the official tool allows one."
            )
        seen.add(file)
        image = place.image(folder / "val", file)
        given = place.get(row, "answers", list, "a list of answers")
        if not given:
            place.fail("'answers' is empty.")
        answerable = place.get(row, "answerable", int, "0 or 1")
        if answerable not in (0, 1):
            place.fail(f"'answerable' should be 0 or 1; found {answerable}.")
        truth = {
            "answers": [place.get(one, "answer", str, "text") for one in given],
            "answerable": bool(answerable),
        }
        question = f"{place.words(row, 'question')}\n{INSUFFICIENT}\n{SHORTLY}"
        kind = place.one_of(row, "answer_type", TYPES)
        items.append(
            Item(file, Conversation.ask(image, question), truth, file, kind, max_tokens=SHORT)
        )
    return items


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """VQA accuracy, and F1 of saying "unanswerable" where people did.

    strict: as VQA v2's tool; official: people's answers are not normalised; lmms-eval: all are, by M4C's
    rules. The official F1 takes a classifier's confidence; here an answer that is "unanswerable" says so.
    """
    rules = {"official": vizwiz_accuracy, "lmms-eval": textvqa_accuracy}
    accuracy = rules.get(compat, vqa_accuracy)
    scores = {a.item.id: accuracy(a.text, a.item.truth["answers"]) for a in answers}
    rows = {}
    for a in answers:
        said, there = normalize(a.text) == "unanswerable", not a.item.truth["answerable"]
        rows[a.item.id] = (
            float(said and there),
            float(said and not there),
            float(there and not said),
        )
    return [of_samples("VQA accuracy", scores), Measure("unanswerable F1", rows, _f1)]


def _f1(hits: float, false: float, missed: float) -> float:
    return 2 * hits / (2 * hits + false + missed) if hits + false + missed else math.nan
