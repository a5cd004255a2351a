"""SEED-Bench, its questions about pictures: nine kinds of understanding, four options.

One question: {"answer": "A", "choice_a": "One", "choice_b": "Two", "choice_c": "Three", "choice_d": "Four",
"data_id": "1454426_2591111986", "data_type": "image", "question": "How many towels are in the image?",
"question_id": "101669", "question_type_id": 5}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, entries, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _letters
from looksay.evaluation.benchmarks._asking import SHORT
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.types import Conversation

CARD = Card(
    title="SEED-Bench (image)",
    measures="Lettered questions about photographs, by kind of understanding.",
    needs={
        "SEED-Bench.json": "questions; those about videos are left out",
        "SEED-Bench-image/": "images, named without a suffix",
    },
    where="https://huggingface.co/datasets/AILab-CVC/SEED-Bench",
    licence="CC BY-NC 4.0, and OpenAI's terms; images: those of Conceptual Captions",
    loader="AILab-CVC/SEED-Bench: eval.py, DATASET.md; prompt and folders: haotian-liu/LLaVA, docs/Evaluation.md",
    paper="Li et al., SEED-Bench: Benchmarking Multimodal LLMs with Generative Comprehension, CVPR 2024",
    variants=("letters", "ranked"),
    compat=("strict", "lmms-eval", "vlmevalkit"),
    likelihood=True,
)
"""letters: options in the question, a letter wanted (LLaVA-1.5). ranked: the question alone, the options' texts
ranked by likelihood, as SEED-Bench's own eval.py does."""

_FIELDS = ("choice_a", "choice_b", "choice_c", "choice_d")


def read(folder: Path, variant: str = "letters") -> list[Item]:
    """The questions about pictures. `truth`: options, answer (a letter). kind: the kind's name."""
    path = folder / "SEED-Bench.json"
    content = load_json(path)
    rows = entries(path, content, "questions")
    kinds = content.get("question_type")
    if not isinstance(kinds, dict):
        raise InputError(f"{path}: expected names of kinds with numbers under 'question_type'.")
    names = {number: name for name, number in kinds.items()}
    found = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row, "question_id")
        if place.one_of(row, "data_type", ("image", "video")) == "video":
            continue
        name = str(place.get(row, "question_id", (str, int), "text or a number"))
        place.once(name, seen, "question")
        kind = place.get(row, "question_type_id", int, "a number")
        if kind not in names:
            place.fail(f"'question_type_id' is {kind}; 'question_type' has {sorted(names)}.")
        options = _letters.lettered([_option(place, row, field) for field in _FIELDS])
        answer = place.one_of(row, "answer", tuple(options))
        file = place.words(row, "data_id")
        image = place.image(folder / "SEED-Bench-image", file)
        question = place.words(row, "question")
        ranked = variant == "ranked"
        found.append(
            Item(
                name,
                Conversation.ask(image, question if ranked else _letters.asked(question, options)),
                {"options": options, "answer": answer},
                image=file,
                kind=names[kind],
                choices=tuple(options.values() if ranked else options),
                max_tokens=SHORT,
            )
        )
    return found


def _option(place: Place, row: object, field: str) -> str:
    """An option's text; some are numbers in the file."""
    value = place.get(row, field, (str, int, float), "text or a number")
    return str(value).strip()


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy over all questions (not the mean over kinds), as SEED-Bench and LLaVA-1.5 print it.

    lmms-eval takes the first character for the letter, so that "Dogs" chooses D.
    """
    return of_verdicts({a.item.id: _verdict(a, compat) for a in answers})


def _verdict(answer: Answer, compat: Compat) -> Verdict:
    if compat != "lmms-eval" or _letters.ranked(answer.item):
        return _letters.verdict(answer, compat)
    said = answer.text.strip()[:1]
    truth = answer.item.truth
    return said == truth["answer"] if said in truth["options"] else None
