"""GQA: questions composed from scene graphs of photographs, one right answer each.

One entry of testdev_balanced_questions.json, by id: "201307251": {"imageId": "n161313", "question": "Is it
overcast?", "answer": "no", "types": {"structural": "verify", "semantic": "global", "detailed":
"weatherVerify"}, "isBalanced": true, …}.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, kind, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, of_samples
from looksay.types import Conversation

CARD = Card(
    title="GQA",
    measures="Reasoning over objects, their attributes and relations in a photograph.",
    needs={
        "testdev_balanced_questions.json": "12,578 questions",
        "images/": "their images",
    },
    where="https://cs.stanford.edu/people/dorarad/gqa/download.html",
    licence="CC BY 4.0 (from memory)",
    loader="GQA's eval.py; haotian-liu/LLaVA: scripts/convert_gqa_for_eval.py",
    paper="Hudson and Manning, GQA: A New Dataset for Real-World Visual Reasoning and Compositional "
    "Question Answering, CVPR 2019",
    compat=("strict", "official", "lmms-eval"),
)
STRUCTURES = ("query", "verify", "logical", "choose", "compare")
_UNMARKED = str.maketrans("", "", string.punctuation)


def read(folder: Path, variant: str = "") -> list[Item]:
    """The balanced questions of testdev. `truth`: answer. kind: the question's structure."""
    path = folder / "testdev_balanced_questions.json"
    content = load_json(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected questions by id; found {kind(content)}.")
    items = []
    for index, (name, row) in enumerate(content.items()):
        place = Place(path, index, len(content), {"id": name})
        photo = place.words(row, "imageId")
        image = place.image(folder / "images", f"{photo}.jpg")
        structure = place.one_of(
            place.get(row, "types", dict, "an object"), "structural", STRUCTURES
        )
        items.append(
            Item(
                name,
                Conversation.ask(image, f"{place.words(row, 'question')}\n{SHORTLY}"),
                {"answer": place.words(row, "answer")},
                image=photo,
                kind=structure,
                max_tokens=SHORT,
            )
        )
    return items


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy by exact match, and of binary and open questions as eval.py parts them.

    official: the strings are equal, as eval.py takes them; strict: once the answer is in lower case without
    periods at its end, which is how LLaVA hands its answers to eval.py; lmms-eval: once case and punctuation
    are gone from both.
    """
    scores = {a.item.id: float(_same(a.text, a.item.truth["answer"], compat)) for a in answers}
    open_ones = {a.item.id for a in answers if a.item.kind == "query"}
    return [
        of_samples("accuracy", scores),
        of_samples("binary", {one: s for one, s in scores.items() if one not in open_ones}),
        of_samples("open", {one: s for one, s in scores.items() if one in open_ones}),
    ]


def _same(said: str, answer: str, compat: Compat) -> bool:
    if compat == "official":
        return said == answer
    if compat == "lmms-eval":
        return said.lower().translate(_UNMARKED) == answer.lower().translate(_UNMARKED)
    return said.strip().rstrip(".").lower() == answer
