"""LLaVA-Bench (COCO): 30 photographs, each asked about in conversation, in detail and for reasons.

One line of the context: {"id": "000000052312", "image": "000000052312.jpg", "captions": ["An old man …", …],
"instances": [{"category": "person", "bbox": [0.0, 0.03, 1.0, 0.99]}, …]}; boxes are x1, y1, x2, y2 of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _llava_bench
from looksay.evaluation.benchmarks._llava_bench import judge
from looksay.evaluation.measures import Measure
from looksay.types import Image

__all__ = ["CARD", "judge", "read", "score"]

CARD = Card(
    title="LLaVA-Bench (COCO)",
    measures="How near answers come to those of GPT-4, which was told captions and boxes; a judge rates both.",
    needs={
        "qa90_questions.jsonl": "90 questions (playground/data/coco2014_val_qa_eval)",
        "qa90_gpt4_answer.jsonl": "GPT-4's answers, beside them",
        "caps_boxes_coco2014_val_80.jsonl": "captions and boxes (llava/eval/table)",
        "rule.json": "what the judge is asked (llava/eval/table)",
        "val2014/": "images of COCO 2014, with or without COCO_val2014_ before their names",
    },
    where="https://github.com/haotian-liu/LLaVA",
    licence="Apache 2.0; GPT-4's answers: OpenAI's terms; captions and boxes: CC BY 4.0; images: Flickr's terms",
    loader="haotian-liu/LLaVA: llava/eval/eval_gpt_review_visual.py, summarize_gpt_review.py",
    paper="Liu et al., Visual Instruction Tuning, NeurIPS 2023",
)


def read(folder: Path, variant: str = "") -> list[Item]:
    """The 90 questions; kind: conv, detail or complex."""
    questions, references, contexts, rules, images = (folder / name for name in CARD.needs)

    def find(place: Place, name: str) -> Image:
        return place.image(images, name, f"COCO_val2014_{name}")

    return _llava_bench.items(questions, references, rules, _contexts(contexts), find)


def _contexts(path: Path) -> dict[str, str]:
    rows = load_json(path, lines=True)
    found = {}
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row)
        captions = place.get(row, "captions", list, "a list of captions")
        boxes = [_box(place, one) for one in place.get(row, "instances", list, "a list of objects")]
        told = ["\n".join(map(str, captions)), "\n".join(boxes)]
        found[place.words(row, "image")] = "\n\n".join(told)
    return found


def _box(place: Place, entry: Any) -> str:
    name = place.words(entry, "category")
    return f"{name}: {place.get(entry, 'bbox', list, 'four numbers')}"


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """See `_llava_bench.score`."""
    return _llava_bench.score(answers, verdicts)
