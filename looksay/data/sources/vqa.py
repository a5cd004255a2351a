"""VQA v2: a file of questions and a file of ten human answers to each.

One question {"image_id": 458752, "question": "What is this photo taken looking through?",
"question_id": 458752000} and one annotation {"question_id": 458752000, "image_id": 458752,
"question_type": "what is this", "answer_type": "other", "multiple_choice_answer": "net", "answers":
[{"answer": "net", "answer_confidence": "maybe", "answer_id": 1}, ...]}. An image is called
COCO_{data_subtype}_{image_id, 12 digits}.jpg.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from looksay.data.reading import (
    Place,
    bytes_of,
    entries,
    fingerprint,
    kind,
    load_json,
    numbers,
    save_json,
)
from looksay.data.reading import write as write_file
from looksay.errors import InputError
from looksay.types import Conversation, Example, Image, Message

SUFFIX = "Answer the question using a single word or phrase."
"""What LLaVA-1.5 adds to a question that wants a short answer."""
PEOPLE = 10
"""Answers per question."""


class Vqa:
    """Questions in the order of their file; without annotations, questions without answers."""

    def __init__(
        self, questions: Path, annotations: Path | None, images: Path | None, suffix: str
    ) -> None:
        self._path, self._images = questions, questions.parent if images is None else images
        self._suffix = suffix
        content = load_json(questions)
        self._questions = entries(questions, content, "questions")
        self._subtype = str(content.get("data_subtype", ""))
        self._annotations_path = annotations
        self._answers: dict[Any, tuple[int, Any]] = {}
        if annotations is not None:
            found = entries(annotations, load_json(annotations), "annotations")
            for number, entry in enumerate(found):
                place = Place(annotations, number, len(found), entry, "question_id")
                name = place.get(entry, "question_id", int, "a number")
                if name in self._answers:
                    place.fail(
                        f"this question was answered before, in entry {self._answers[name][0] + 1}."
                    )
                self._answers[name] = number, entry
        self.size: int | None = len(self._questions)
        files = [path for path in (questions, annotations) if path is not None]
        self.fingerprint = fingerprint(*files, also=(str(self._images), suffix))

    def example(self, index: int) -> Example:
        """Question number `index`. `truth`: answers (ten), question_type, answer_type, question_id,
        image_id."""
        entry = self._questions[index]
        place = Place(self._path, index, len(self._questions), entry, "question_id")
        question = place.words(entry, "question")
        name = place.get(entry, "question_id", int, "a number")
        image_id = place.get(entry, "image_id", int, "a number")
        image = place.image(self._images, *_file_names(self._subtype, image_id))
        asked = f"{question}\n{self._suffix}" if self._suffix else question
        messages = [Message("user", (image, asked))]
        truth: dict[str, Any] = {"question_id": name, "image_id": image_id}
        if self._annotations_path is not None:
            answer, said = self._answer(name, place)
            messages.append(Message("assistant", (answer,)))
            truth |= said
        return Example(str(name), Conversation(tuple(messages)), truth)

    def _answer(self, name: int, asked: Place) -> tuple[str, dict[str, Any]]:
        if name not in self._answers:
            asked.fail(f"{self._annotations_path} has no answer to it.")
        number, entry = self._answers[name]
        assert self._annotations_path is not None
        place = Place(self._annotations_path, number, len(self._answers), entry, "question_id")
        answer = place.words(entry, "multiple_choice_answer")
        given = place.get(entry, "answers", list, "a list of answers")
        if not given:
            place.fail("'answers' is empty.")
        texts = [_text(item, place) for item in given]
        return answer, {
            "answers": texts,
            "question_type": entry.get("question_type", ""),
            "answer_type": entry.get("answer_type", ""),
        }


def read(
    path: Path, annotations: Path | None = None, images: Path | None = None, suffix: str = SUFFIX
) -> Vqa:
    """The questions of `path` with the answers of `annotations`; `images` is the folder of the images
    (the questions' own, where none is given). `suffix` follows each question on a line of its own."""
    return Vqa(path, annotations, images, suffix)


def write(
    examples: Iterable[Example],
    path: Path,
    annotations: Path,
    images: Path | None = None,
    subtype: str = "train2014",
) -> int:
    """Write every user's turn as a question and every assistant's as ten equal answers to it.

    The image is the example's first, as a JPEG file under its official name. `truth["types"]`, where
    there is one, names each question's type. Returns the number of questions.
    """
    folder = path.parent if images is None else images
    asked: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    for image_id, example in numbers(examples):
        found = example.conversation.images
        if len(found) != 1:
            raise InputError(f"Example {example.id} has {len(found)} images; VQA takes one.")
        write_file(folder / _file_names(subtype, image_id)[0], bytes_of(found[0], "JPEG"))
        for turn, (question, answer) in enumerate(_pairs(example)):
            name = image_id * 1000 + turn  # the official numbering
            types = example.truth.get("types", ())
            asked.append({"image_id": image_id, "question": question, "question_id": name})
            answered.append(
                {
                    "question_type": types[turn] if turn < len(types) else "",
                    "multiple_choice_answer": answer,
                    "answers": [
                        {"answer": answer, "answer_confidence": "yes", "answer_id": n}
                        for n in range(1, PEOPLE + 1)
                    ],
                    "image_id": image_id,
                    "answer_type": _answer_type(answer),
                    "question_id": name,
                }
            )
    if not asked:
        raise InputError(f"There is nothing to write to {path}: no questions.")
    head = {"info": {"description": "looksay"}, "license": {}, "data_subtype": subtype}
    head |= {"data_type": "mscoco"}
    save_json(annotations, head | {"annotations": answered})
    save_json(path, head | {"task_type": "Open-Ended", "questions": asked})
    return len(asked)


def _file_names(subtype: str, image_id: int) -> tuple[str, ...]:
    stem = f"COCO_{subtype}_{image_id:012d}"
    return f"{stem}.jpg", f"{stem}.png", f"{image_id:012d}.jpg"  # the last is COCO's name of 2017


def _text(item: Any, place: Place) -> str:
    if not isinstance(item, dict):
        place.fail(f"an answer should be an object; found {kind(item)}.")
    return str(place.get(item, "answer", str, "text"))


def _pairs(example: Example) -> list[tuple[str, str]]:
    turns = [m for m in example.conversation.messages if m.role != "system"]
    pairs = list(zip(turns[::2], turns[1::2], strict=False))
    if len(pairs) * 2 != len(turns):
        raise InputError(f"Example {example.id} has a question without an answer.")
    words = [
        " ".join(p for p in question.parts if not isinstance(p, Image)) for question, _ in pairs
    ]
    return [(text, answer.text) for text, (_, answer) in zip(words, pairs, strict=True)]


def _answer_type(answer: str) -> str:
    if answer in ("yes", "no"):
        return "yes/no"
    counted = ("zero", "one", "two", "three", "four", "five")
    return "number" if answer.isdigit() or answer in counted else "other"
