"""MathVista: mathematics in pictures, diagrams and plots; a judge finds the answer in what was said.

One problem of testmini.json, by number: "3": {"question": "…", "image": "images/3.jpg", "choices": ["135°",
"140°", "145°", "150°"], "unit": null, "precision": null, "answer": "145°", "question_type": "multi_choice",
"answer_type": "text", "pid": "3", "metadata": {"task": "geometry problem solving", "skills": ["geometry
reasoning"], "language": "chinese", …}}. query.json has what is asked, by the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, kind, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks._judging import verdicts_of
from looksay.evaluation.measures import Measure, by_slices, of_verdicts
from looksay.evaluation.metrics import mathvista
from looksay.types import Conversation

CARD = Card(
    title="MathVista (testmini)",
    measures="Mathematical reasoning about pictures, by task and skill.",
    needs={
        "testmini.json": "1,000 problems",
        "query.json": "what is asked, with the hint on the form of the answer",
        "images/": "the pictures",
    },
    where="https://github.com/lupantech/MathVista/tree/main/data (pictures: "
    "https://huggingface.co/datasets/AI4Math/MathVista)",
    licence="CC BY-SA 4.0; not for training",
    loader="lupantech/MathVista: evaluation/build_query.py, extract_answer.py, calculate_score.py",
    paper="Lu et al., MathVista: Evaluating Mathematical Reasoning of Foundation Models in Visual Contexts, ICLR 2024",
    variants=("testmini",),
    compat=("strict", "official"),
)
"""The answers of the other 5,141 problems are not public."""

_TOKENS = 1024
_EXTRACTED_TOKENS = 64
_NOTHING = "none"


def read(folder: Path, variant: str = "testmini") -> list[Item]:
    """The problems. `truth`: answer, answer_type, choices, precision, skills, query. kind: the task."""
    path = folder / "testmini.json"
    problems = _object(path)
    queries = _object(folder / "query.json")
    found = []
    for number, (name, row) in enumerate(problems.items()):
        place = Place(path, number, len(problems), row, "pid")
        if name not in queries or not isinstance(queries[name], str):
            place.fail(f"query.json has no text for {name!r}.")
        about = place.get(row, "metadata", dict, "an object")
        found.append(
            Item(
                name,
                Conversation.ask(place.image(folder, place.words(row, "image")), queries[name]),
                {**_truth(place, row), "skills": about.get("skills", []), "query": queries[name]},
                image=place.words(row, "image"),
                kind=place.words(about, "task"),
                max_tokens=_TOKENS,
            )
        )
    return found


def _object(path: Path) -> dict[str, Any]:
    content = load_json(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected problems by number; found {kind(content)}.")
    return content


def _truth(place: Place, row: Any) -> dict[str, Any]:
    question = place.one_of(row, "question_type", ("multi_choice", "free_form"))
    choices = place.get(row, "choices", (list, type(None)), "a list of texts, or null")
    if (question == "multi_choice") != bool(choices):
        place.fail(f"the question is {question}, and 'choices' is {choices}.")
    answer = place.get(row, "answer", str, "text")
    if choices and answer not in choices:
        place.fail(f"'answer' is {answer!r}, which is not among the choices.")
    precision = place.get(row, "precision", (int, float, type(None)), "a number, or null")
    types = ("integer", "float", "list", "text")
    return {
        "answer": answer,
        "answer_type": place.one_of(row, "answer_type", types),
        "choices": choices,
        # A table of the problems turns whole numbers into decimals: 1.0 is one digit.
        "precision": None if precision is None else int(precision),
    }


def judge(answers: Sequence[Answer]) -> list[Item]:
    """What the judge is asked: to find the answer in every response that is not one by itself."""
    return [
        Item(a.item.id, Conversation.ask(_request(a)), max_tokens=_EXTRACTED_TOKENS)
        for a in answers
        if _plain(a) is None
    ]


def _request(answer: Answer) -> str:
    """The official script's way, a few examples and then the case, in our words and with our examples."""
    return (
        "Find the final answer in a response to a question. Write the answer alone, in the form that the "
        "question asks for: the letter of an option, a number without unit, or a list. Where the response "
        f'gives no answer, write "{_NOTHING}". Do not solve the question yourself.\n\n'
        "Question: How many birds sit on the wire?\n"
        "Response: On the left I see four birds and on the right two, so six birds sit there.\n"
        "Extracted answer: 6\n\n"
        "Question: Which line is longer?\nChoices:\n(A) red\n(B) blue\n"
        "Response: The blue line reaches further, so it is the longer one.\n"
        "Extracted answer: B\n\n"
        "Question: What is the area? (Unit: m^2) Answer with one decimal place.\n"
        "Response: I cannot read the side lengths in this picture.\n"
        f"Extracted answer: {_NOTHING}\n\n"
        f"{answer.item.truth['query']}\nResponse: {answer.text.strip()}\nExtracted answer:"
    )


def _plain(answer: Answer) -> str | None:
    """The extraction where a response is its own, as in the official script; None where a judge is needed."""
    said, truth = answer.text.strip(), answer.item.truth
    if not said or (truth["choices"] and said in truth["choices"]):
        return said
    try:
        if truth["answer_type"] == "integer":
            return str(int(said))
        if truth["answer_type"] == "float":
            return str(float(said))
    except ValueError:
        return None
    return None


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy in all and by skill (a problem has several); the share that could not be read.

    official: an extraction that is no option becomes the option nearest by spelling; strict: it is a failed
    parse. Raises InputError where the judge's extraction is missing or empty.
    """
    unclear = [a for a in answers if _plain(a) is None]
    extracted = verdicts_of(unclear, verdicts, _extraction)
    said = {a.item.id: _verdict(a, extracted, compat) for a in answers}
    accuracy, unreadable = of_verdicts(said)
    parts = by_slices(accuracy, {a.item.id: a.item.truth["skills"] for a in answers})
    return [accuracy, *parts, unreadable]


def _extraction(reply: str) -> str:
    found = reply.strip()
    if not found:
        raise InputError(f"The judge wrote nothing; expected an answer, or {_NOTHING}.")
    return found


def _verdict(answer: Answer, extracted: Mapping[str, str], compat: Compat) -> bool | None:
    truth, plain = answer.item.truth, _plain(answer)
    found = extracted[answer.item.id] if plain is None else plain
    if compat == "strict" and found.strip(".\"' ").casefold() in ("", _NOTHING):
        return None
    prediction = mathvista.normalize(
        found,
        answer_type=truth["answer_type"],
        choices=truth["choices"],
        precision=truth["precision"],
        compat="official" if compat == "official" else "strict",
    )
    return mathvista.verdict(prediction, truth["answer"])
