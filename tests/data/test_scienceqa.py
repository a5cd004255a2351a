"""ScienceQA in its released layout, in the words of LLaVA's converter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from looksay.data.sources import scienceqa
from looksay.errors import LooksayError

STATES = {
    "question": "Which of these states is farthest north?",
    "choices": ["West Virginia", "Louisiana"],
    "answer": 0,
    "hint": "",
    "image": "image.png",
    "task": "closed choice",
    "grade": "grade2",
    "subject": "social science",
    "lecture": "Maps have four cardinal directions.",
    "solution": "Look at the compass rose.",
    "split": "train",
}
SOLID = STATES | {
    "question": "Is ice a solid?",
    "choices": ["no", "yes"],
    "answer": 1,
    "hint": "Ice is cold.",
    "image": None,
    "lecture": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images" / "train" / "1"
    place.mkdir(parents=True)
    Pillow.new("RGB", (8, 6)).save(place / "image.png")
    return saved(tmp_path, {"1": STATES, "2": SOLID, "3": SOLID | {"split": "test"}})


def saved(folder: Path, problems: Any) -> Path:
    (folder / "problems.json").write_text(json.dumps(problems), "utf-8")
    return folder


def test_the_words_of_the_converter(folder: Path) -> None:
    source = scienceqa.read(folder)
    assert source.size == 2
    question, answer = source.example(0).conversation.messages
    words, image = question.parts
    assert words == (
        "Which of these states is farthest north?\nContext: N/A\n"
        "Options: (A) West Virginia (B) Louisiana"
    )
    assert image == question.images[0]
    assert answer.text == (
        "Maps have four cardinal directions. Look at the compass rose. The answer is A."
    )
    text_only = source.example(1)
    assert text_only.conversation.images == []
    assert "Context: Ice is cold." in text_only.conversation.messages[0].text
    assert text_only.truth["letter"] == "B"
    assert text_only.truth["subject"] == "social science"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("LEA", "L. E. The answer is A."),
        ("ALE", "The answer is A. BECAUSE: L. E."),
        ("A", "The answer is A."),
        ("LEPA", "LECTURE: L.\nSOLUTION: E.\n###\nANSWER: A."),
    ],
)
def test_orders_of_an_answer(order: scienceqa.Order, said: str) -> None:
    assert scienceqa.answered("A", "L.", "E.", order) == said
    bare = scienceqa.answered("A", "", "", order)
    assert bare == ("###\nANSWER: A." if order == "LEPA" else "The answer is A.")


def test_splits_by_their_list_and_without_one(folder: Path) -> None:
    assert scienceqa.read(folder / "problems.json", "test").example(0).id == "3"
    (folder / "pid_splits.json").write_text(json.dumps({"train": ["2", "1"], "minival": [3]}))
    assert [scienceqa.read(folder).example(n).id for n in range(2)] == ["2", "1"]
    assert scienceqa.read(folder, "minival").size == 1
    with pytest.raises(LooksayError, match=r"no ScienceQA split 'minitest'.*minival, train"):
        scienceqa.read(folder, "minitest")
    (folder / "pid_splits.json").write_text(json.dumps({"train": ["9"]}))
    with pytest.raises(LooksayError, match="problem '9' is not in"):
        scienceqa.read(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": 2}, r"entry 1 of 1 \(id '1'\): 'answer' is 2, but there are 2 choices"),
        ({"answer": "A"}, "'answer' should be the number of the right choice; found text"),
        ({"choices": "west"}, "'choices' should be a list"),
        ({"question": " "}, "'question' is empty"),
        ({"image": "photo.png"}, "'train/1/photo.png' is not in .*images"),
    ],
)
def test_defects_are_named(folder: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(LooksayError, match=said):
        scienceqa.read(saved(folder, {"1": STATES | change})).example(0)


def test_an_unknown_order_and_an_empty_file(folder: Path) -> None:
    with pytest.raises(LooksayError, match=r"'LAE'.*Known: A, ALE, LEA, LEPA"):
        scienceqa.read(folder, order="LAE")  # type: ignore[arg-type]
    with pytest.raises(LooksayError, match="expected problems by number"):
        scienceqa.read(saved(folder, []))
