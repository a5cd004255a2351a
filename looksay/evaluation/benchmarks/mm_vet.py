"""MM-Vet: open questions that need several abilities at once; a judge compares with the reference answer.

mm-vet.json: {"v1_0": {"imagename": "v1_0.png", "question": "What is x in the equation?", "answer": "-1<AND>-5",
"capability": ["ocr", "math"], …}, …}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, kind, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks._judging import verdicts_of
from looksay.evaluation.measures import Measure, of_samples
from looksay.types import Conversation

CARD = Card(
    title="MM-Vet",
    measures="Open questions that need recognition, knowledge, reading, space, language and arithmetic together.",
    needs={"mm-vet.json": "questions, reference answers, capabilities", "images/": "pictures"},
    where="https://github.com/yuweihao/MM-Vet/releases/download/v1/mm-vet.zip",
    licence="non-commercial research and education (LICENSE_DATASET, after ImageNet's)",
    loader="yuweihao/MM-Vet: mm-vet_evaluator.py",
    paper="Yu et al., MM-Vet: Evaluating Large Multimodal Models for Integrated Capabilities, ICML 2024",
)

_MEME = (
    "This meme is poking fun at the fact that the names of the countries Iceland and Greenland are misleading. "
    "Despite its name, Iceland is known for its beautiful green landscapes, while Greenland is mostly covered in "
    "ice and snow. The meme is saying that the person has trust issues because the names of these countries do "
    "not accurately represent their landscapes."
)
_SHOTS = (
    *(
        ("What is x in the equation?", "-1 <AND> -5", f"x = {said}", score)
        for said, score in (
            ("3", "0.0"),
            ("-1", "0.5"),
            ("-5", "0.5"),
            ("-5 or 5", "0.5"),
            ("-1 or x = -5", "1.0"),
        )
    ),
    (
        "Can you explain this meme?",
        _MEME,
        "The meme talks about Iceland and Greenland. It's pointing out that despite their names, Iceland is not "
        "very icy and Greenland isn't very green.",
        "0.4",
    ),
    (
        "Can you explain this meme?",
        _MEME,
        "The meme is using humor to point out the misleading nature of Iceland's and Greenland's names. Iceland, "
        "despite its name, has lush green landscapes while Greenland is mostly covered in ice and snow. The text "
        "'This is why I have trust issues' is a playful way to suggest that these contradictions can lead to "
        "distrust or confusion. The humor in this meme is derived from the unexpected contrast between the names "
        "of the countries and their actual physical characteristics.",
        "1.0",
    ),
)
"""The evaluator's seven graded answers, which fix the scale: another prompt would be another benchmark."""
_REQUEST = (
    "Compare the ground truth and prediction from AI models, to give a correctness score for the prediction. "
    "<AND> in the ground truth means it is totally right only when all elements in the ground truth are present "
    "in the prediction, and <OR> means it is totally right when any one element in the ground truth is present "
    "in the prediction. The correctness score is 0.0 (totally wrong), 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, "
    "0.9, or 1.0 (totally right). Just complete the last space of the correctness score."
)
_HEAD = ("Question | Ground truth | Prediction | Correctness", "--- | --- | --- | ---")
PROMPT = "\n".join([_REQUEST, "", *_HEAD, *map(" | ".join, _SHOTS), ""])

_VERDICT_TOKENS = 16
"""The evaluator allows 3, which is "0.5" for GPT-4; other vocabularies need more for the same."""


def read(folder: Path, variant: str = "") -> list[Item]:
    """The 218 questions as they stand. `truth`: question, answer, capabilities; kind: their combination."""
    path, images = (folder / name for name in CARD.needs)
    content = load_json(path)
    if not isinstance(content, dict) or not content:
        raise InputError(
            f"{path}: expected an object with an entry per question; found {kind(content)}."
        )
    items = []
    for number, (name, row) in enumerate(content.items()):
        shown = {"id": name, **row} if isinstance(row, dict) else row
        place = Place(path, number, len(content), shown)
        image = place.words(row, "imagename")
        needed = place.get(row, "capability", list, "a list of capabilities")
        if not needed or not all(isinstance(one, str) for one in needed):
            place.fail(f"'capability' should be a list of words; found {needed!r}.")
        capabilities = sorted(set(needed))
        question = place.words(row, "question")
        truth = {
            "question": question,
            "answer": place.words(row, "answer"),
            "capabilities": capabilities,
        }
        asked = Conversation.ask(place.image(images, image), question)
        # One capability alone is a combination too, and is not that capability's column.
        combined = " + ".join(capabilities) if len(capabilities) > 1 else f"{capabilities[0]} alone"
        items.append(Item(name, asked, truth, image=image, kind=combined))
    return items


def judge(answers: Sequence[Answer]) -> list[Item]:
    """The evaluator's table with its last cell open."""
    asked = []
    for answer in answers:
        truth = answer.item.truth
        reference = truth["answer"].replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
        row = " | ".join([truth["question"], reference, answer.text, ""])
        conversation = Conversation.ask(f"{PROMPT}\n{row}")
        asked.append(Item(answer.item.id, conversation, max_tokens=_VERDICT_TOKENS))
    return asked


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """The mean score, all and by capability (run adds the combinations).

    The evaluator asks a judge again whose reply it cannot read, up to five times at a rising temperature,
    and then takes 0.0; here such a reply is an error. It averages five runs in the paper; here is one.
    """
    found = verdicts_of(answers, verdicts, correctness)
    parts: dict[str, dict[str, float | None]] = {}
    for answer in answers:
        for capability in answer.item.truth["capabilities"]:
            parts.setdefault(capability, {})[answer.item.id] = found[answer.item.id]
    whole = of_samples("score", dict(found))
    return [whole, *(of_samples("score", parts[one], kind=one) for one in sorted(parts))]


def correctness(reply: str) -> float:
    """The number, 0 to 1, that a reply begins with, as the evaluator reads it. Raises InputError.

    >>> correctness(" 0.7"), correctness("1.0 | right")
    (0.7, 1.0)
    """
    first = (reply.split() or [""])[0]
    try:
        number = float(first)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise InputError(
            f"The judge wrote {reply[:80]!r}; expected a number from 0.0 to 1.0 first. "
            "Choose a judge that answers as it is asked."
        )
    return number
