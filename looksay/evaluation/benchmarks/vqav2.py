"""VQA v2: short answers to questions about COCO photographs, ten people's answers to each.

One question: {"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _vqa
from looksay.evaluation.measures import Measure

CARD = Card(
    title="VQA v2",
    measures="Short answers to open questions about photographs.",
    needs={
        "v2_OpenEnded_mscoco_val2014_questions.json": "questions",
        "v2_mscoco_val2014_annotations.json": "ten answers to each",
        "val2014/": "images of COCO 2014",
    },
    where="https://visualqa.org/download.html",
    licence="CC BY 4.0 (questions, answers); images: Flickr's terms",
    loader="GT-Vision-Lab/VQA: PythonHelperTools/vqaTools/vqa.py, PythonEvaluationTools/vqaEvaluation/vqaEval.py",
    paper="Goyal et al., Making the V in VQA Matter, CVPR 2017",
)


def read(folder: Path, variant: str = "") -> list[Item]:
    """The 214,354 questions of val2014 (test's answers are not public)."""
    questions, annotations, images = (folder / name for name in CARD.needs)
    return _vqa.items(questions, annotations, images)


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """VQA accuracy, normalised and averaged as the official tool does."""
    return [_vqa.accuracy(answers)]
