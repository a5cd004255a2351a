"""TextVQA: questions about the text in photographs.

One entry of TextVQA_0.5.1_val.json, in {"data": […]}: {"question": "what is the brand of this camera?",
"image_id": "003a8ae2ef43b901", "answers": ["nous les gosses", "dakota", …], "question_id": 34602, …}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics.vqa import textvqa_accuracy
from looksay.types import Conversation

CARD = Card(
    title="TextVQA",
    measures="Short answers that take reading the text in a photograph.",
    needs={
        "TextVQA_0.5.1_val.json": "5,000 questions, ten answers to each",
        "train_images/": "images of training and validation (train_val_images.zip)",
        "TextVQA_Rosetta_OCR_v0.2_val.json": "for the variant ocr: the texts that Rosetta read",
        "llava_textvqa_val_v051_ocr.jsonl": "for the variant llava: LLaVA-1.5's questions, of its eval.zip",
    },
    where="https://textvqa.org/dataset/",
    licence="CC BY 4.0 (questions, answers); images: CC BY 2.0 as Open Images lists them",
    loader="haotian-liu/LLaVA: llava/eval/eval_textvqa.py, with m4c_evaluator.py of facebookresearch/mmf",
    paper="Singh et al., Towards VQA Models That Can Read, CVPR 2019",
    variants=("plain", "ocr", "llava"),
)


def read(folder: Path, variant: str = "plain") -> list[Item]:
    """The questions of val. `truth`: answers (ten).

    plain: the question alone; ocr: with the texts that Rosetta read, in LLaVA's words; llava: as LLaVA-1.5's own
    file has it, which its published figures are of (58.2 for 7B). Name the variant beside a figure: texts in
    the question raise it.
    """
    path = folder / "TextVQA_0.5.1_val.json"
    rows = entries(path, load_json(path), "data")
    read_texts = _rosetta(folder) if variant == "ocr" else {}
    written = _llava(folder) if variant == "llava" else {}
    items = []
    seen: set[int] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "question_id")
        number = place.get(row, "question_id", int, "a number")
        place.once(number, seen, "question")
        name = place.words(row, "image_id")
        image = place.image(folder / "train_images", f"{name}.jpg")
        question = place.words(row, "question")
        given = place.get(row, "answers", list, "a list of answers")
        if not given or not all(isinstance(one, str) for one in given):
            place.fail("'answers' should be texts, at least one.")
        if variant == "llava":
            if (name, question.lower()) not in written:
                place.fail("LLaVA's file does not ask this question.")
            asked = written[name, question.lower()]
        else:
            if variant == "ocr" and name not in read_texts:
                place.fail(f"Rosetta's file has no image {name!r}.")
            texts = f"\nReference OCR token: {', '.join(read_texts[name])}" if read_texts else ""
            asked = f"{question}{texts}\n{SHORTLY}"
        items.append(
            Item(
                str(number),
                Conversation.ask(image, asked),
                {"answers": given},
                image=name,
                max_tokens=SHORT,
            )
        )
    return items


def _rosetta(folder: Path) -> dict[str, list[str]]:
    """Image's id → the texts read in it, from {"image_id": "…", "ocr_tokens": ["DAKOTA", …], …}."""
    path = folder / "TextVQA_Rosetta_OCR_v0.2_val.json"
    rows = entries(path, load_json(path), "data")
    found = {}
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "image_id")
        tokens = place.get(row, "ocr_tokens", list, "a list of texts")
        found[place.words(row, "image_id")] = [str(token) for token in tokens]
    return found


def _llava(folder: Path) -> dict[tuple[str, str], str]:
    """(image's id, question in lower case) → LLaVA's whole prompt, matched as its evaluator does.

    One line: {"question_id": "003a8ae2ef43b901", "image": "003a8ae2ef43b901.jpg", "text": "what is the brand of
    this camera?\\nReference OCR token: …\\nAnswer the question using a single word or phrase.", …}.
    """
    path = folder / "llava_textvqa_val_v051_ocr.jsonl"
    rows: list[Any] = load_json(path, lines=True)
    found = {}
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "question_id")
        text = place.words(row, "text")
        key = place.words(row, "question_id"), text.partition("\n")[0].strip().lower()
        found[key] = text
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """VQA accuracy, normalised as M4C's tool does."""
    return [
        of_samples(
            "VQA accuracy",
            {a.item.id: textvqa_accuracy(a.text, a.item.truth["answers"]) for a in answers},
        )
    ]
