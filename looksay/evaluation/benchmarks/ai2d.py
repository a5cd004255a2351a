"""AI2D: lettered questions about diagrams of school science.

One row of the table: index 0, question "What is letter A …?", A to D, answer "B", category, image (base64).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _letters, _tsv
from looksay.evaluation.benchmarks._asking import SHORT
from looksay.evaluation.measures import Measure
from looksay.types import Conversation

_FILES = {"mask": "AI2D_TEST.tsv", "no_mask": "AI2D_TEST_NO_MASK.tsv"}

CARD = Card(
    title="AI2D",
    measures="Lettered questions about diagrams of school science.",
    needs={
        "AI2D_TEST.tsv": "mask: words in the diagrams are covered by letters (lmms-eval: ai2d)",
        "AI2D_TEST_NO_MASK.tsv": "no_mask: the words are left to be read (lmms-eval: ai2d_no_mask)",
    },
    where="https://opencompass.openxlab.space/utils/VLMEval/AI2D_TEST.tsv (and AI2D_TEST_NO_MASK.tsv)",
    licence="not stated in the table; see https://allenai.org/data/diagrams",
    loader="open-compass/VLMEvalKit: vlmeval/dataset/image_mcq.py; prompt: lmms-eval, tasks/ai2d/ai2d.yaml",
    paper="Kembhavi et al., A Diagram Is Worth A Dozen Images, ECCV 2016",
    variants=tuple(_FILES),
    compat=("strict", "vlmevalkit"),
    likelihood=True,
)
"""Figures with and without the mask are not comparable: name the variant."""


def read(folder: Path, variant: str = "mask") -> list[Item]:
    """The questions of the test split. `truth`: options, answer (a letter)."""
    found = []
    for row in _tsv.read(folder / _FILES[variant], ("question", "answer", "A", "B")):
        options = row.options()
        answer = row.place.one_of(row.cells, "answer", tuple(options))
        question = _letters.asked(row.place.words(row.cells, "question"), options)
        index = row.place.words(row.cells, "index")
        found.append(
            Item(
                index,
                Conversation.ask(row.image, question),
                {"options": options, "answer": answer},
                image=row.shown,
                kind=row.cells.get("category", ""),
                choices=tuple(options),
                max_tokens=SHORT,
            )
        )
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy, and the share of answers that could not be read."""
    return _letters.accuracy(answers, compat)
