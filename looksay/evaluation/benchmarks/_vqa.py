"""What benchmarks scored by the VQA accuracy share: items of VQA v2's files, and the figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from looksay.data.reading import Place
from looksay.data.sources import vqa as official
from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics.vqa import vqa_accuracy
from looksay.types import Conversation, Example


def items(questions: Path, annotations: Path, images: Path) -> list[Item]:
    """Every question of VQA v2's files. `truth`: answers (ten). kind: the answer's type."""
    found = []
    for _, example in examples(questions, annotations, images):
        asked = Conversation(example.conversation.messages[:1])
        truth = {"answers": example.truth["answers"]}
        found.append(
            Item(
                example.id,
                asked,
                truth,
                image=str(example.truth["image_id"]),
                kind=str(example.truth["answer_type"]),
                max_tokens=SHORT,
            )
        )
    return found


def examples(
    questions: Path, annotations: Path | None, images: Path
) -> Iterator[tuple[Place, Example]]:
    """Every question with its place, each once, worded for a short answer."""
    source = official.read(questions, annotations, images, SHORTLY)
    seen: set[str] = set()
    for index in range(source.size or 0):
        example = source.example(index)
        place = Place(questions, index, source.size or 0, example.truth, "question_id")
        place.once(example.id, seen, "question")
        yield place, example


def accuracy(answers: Sequence[Answer]) -> Measure:
    """The VQA accuracy over items whose truth has `answers`."""
    return of_samples(
        "VQA accuracy", {a.item.id: vqa_accuracy(a.text, a.item.truth["answers"]) for a in answers}
    )
