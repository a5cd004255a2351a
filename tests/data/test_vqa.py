"""VQA v2: questions and ten answers, in the two files of the release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from looksay.data.dataset import Part, problems
from looksay.data.sources import scenes, vqa
from looksay.errors import InputError

ASKED = {"image_id": 42, "question": "What is it?", "question_id": 42000}
GIVEN = ["net"] * 7 + ["netting", "mesh", "net"]
ANSWERED = {
    "question_type": "what is",
    "multiple_choice_answer": "net",
    "answers": [
        {"answer": a, "answer_confidence": "yes", "answer_id": n} for n, a in enumerate(GIVEN, 1)
    ],
    "image_id": 42,
    "answer_type": "other",
    "question_id": 42000,
}


def saved(folder: Path, questions: Any, annotations: Any) -> tuple[Path, Path]:
    Pillow.new("RGB", (8, 6), "red").save(folder / "COCO_val2014_000000000042.jpg")
    head = {"info": {}, "license": {}, "data_type": "mscoco", "data_subtype": "val2014"}
    one = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    two = folder / "v2_mscoco_val2014_annotations.json"
    one.write_text(json.dumps(head | {"task_type": "Open-Ended", "questions": questions}), "utf-8")
    two.write_text(json.dumps(head | {"annotations": annotations}), "utf-8")
    return one, two


def test_the_released_files(tmp_path: Path) -> None:
    example = vqa.read(*saved(tmp_path, [ASKED], [ANSWERED])).example(0)
    question, answer = example.conversation.messages
    assert question.text == "What is it?\nAnswer the question using a single word or phrase."
    assert question.images[0].source == tmp_path / "COCO_val2014_000000000042.jpg"
    assert answer.text == "net"
    assert example.truth["answers"] == GIVEN
    assert (example.id, example.truth["question_type"]) == ("42000", "what is")


def test_questions_alone_have_no_answers(tmp_path: Path) -> None:
    questions, _ = saved(tmp_path, [ASKED], [ANSWERED])
    example = vqa.read(questions, suffix="").example(0)
    assert [m.role for m in example.conversation.messages] == ["user"]
    assert example.conversation.messages[0].text == "What is it?"


@pytest.mark.parametrize(
    ("asked", "answered", "said"),
    [
        (ASKED | {"question": ""}, ANSWERED, r"questions.json, entry 1 of 1 \(question_id 42000\): 'question' is empty"),
        (ASKED | {"image_id": 43}, ANSWERED, "COCO_val2014_000000000043.jpg' is not in .*Near names there"),
        (ASKED | {"image_id": "42"}, ANSWERED, "'image_id' should be a number; found text"),
        (ASKED, ANSWERED | {"question_id": 1}, "annotations.json has no answer to it"),
        (ASKED, ANSWERED | {"answers": []}, "annotations.json, entry 1 of 1 .*'answers' is empty"),
        (ASKED, ANSWERED | {"answers": ["net"]}, "an answer should be an object; found text"),
        (ASKED, {k: v for k, v in ANSWERED.items() if k != "answers"}, "there is no 'answers'"),
    ],
)  # fmt: skip
def test_defects_are_named(tmp_path: Path, asked: Any, answered: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        vqa.read(*saved(tmp_path, [asked], [answered])).example(0)


def test_a_question_that_is_answered_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"entry 2 of 2 .*answered before, in entry 1"):
        vqa.read(*saved(tmp_path, [ASKED], [ANSWERED, ANSWERED]))


def test_the_official_evaluation_finds_everything_that_is_written(tmp_path: Path) -> None:
    """What VQA's own API looks up (vqa.py: createIndex, showQA; vqaEval.py: evaluate)."""
    drawn = Part(scenes.read(mix={"questions": 1.0}), 0, 6)
    examples = [drawn.example(n) for n in range(6)]
    files = tmp_path / "questions.json", tmp_path / "annotations.json"
    count = vqa.write(examples, *files, images=tmp_path / "train2014")
    questions, annotations = (json.loads(f.read_text("utf-8")) for f in files)
    assert len(questions["questions"]) == len(annotations["annotations"]) == count
    by_id = {q["question_id"]: q for q in questions["questions"]}
    assert len(by_id) == count
    for annotation in annotations["annotations"]:
        question = by_id[annotation["question_id"]]
        assert question["image_id"] == annotation["image_id"]
        assert len(annotation["answers"]) == 10
        assert {"answer_type", "question_type", "multiple_choice_answer"} <= set(annotation)
        name = f"COCO_{annotations['data_subtype']}_{str(question['image_id']).zfill(12)}.jpg"
        with Pillow.open(tmp_path / "train2014" / name) as image:
            assert image.size == (128, 128)

    back = vqa.read(*files, images=tmp_path / "train2014", suffix="")
    assert list(problems(back, decode=True)) == []
    said = [back.example(n) for n in range(count)]
    pairs = [
        (q.text, a.text)
        for e in examples
        for q, a in zip(*[iter(e.conversation.messages)] * 2, strict=True)
    ]
    assert [
        (e.conversation.messages[0].text, e.conversation.messages[1].text) for e in said
    ] == pairs
    assert [e.truth["question_type"] for e in said] == [
        t for e in examples for t in e.truth["types"]
    ]
