"""POPE: read from the official lines, asked as LLaVA-1.5 asks, scored without kinds that mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, checked
from looksay.evaluation.benchmarks import pope
from looksay.evaluation.measures import interval

SNOWBOARD: dict[str, Any] = {
    "question_id": 1,
    "image": "COCO_val2014_000000310196.jpg",
    "text": "Is there a snowboard in the image?",
    "label": "yes",
}
DOG = {**SNOWBOARD, "question_id": 2, "text": "Is there a dog in the image?", "label": "no"}


def files(folder: Path, *rows: Any, part: str = "random") -> Path:
    put(folder / f"coco_pope_{part}.json", "".join(json.dumps(row) + "\n" for row in rows))
    put(folder / "val2014" / SNOWBOARD["image"], jpeg(1))
    return folder


def test_pope_by_hand(tmp_path: Path) -> None:
    items = checked(pope.read(files(tmp_path, SNOWBOARD, DOG, part="popular"), "popular"), "pope")
    assert [(item.id, item.truth["answer"]) for item in items] == [("1", "yes"), ("2", "no")]
    assert items[0].conversation.messages[0].text == (
        "Is there a snowboard in the image?\nAnswer the question using a single word or phrase."
    )
    found = pope.score([Answer(item, "Yes") for item in items])
    values = {one.name: interval(one, samples=20).value for one in found}
    assert values["accuracy"] == values["precision"] == 50
    assert values["recall"] == values["yes ratio"] == 100
    assert values["F1"] == pytest.approx(200 / 3)


def test_no_figure_by_the_right_answer(tmp_path: Path) -> None:
    # F1 of the questions whose answer is no is 0 whatever is said.
    assert {item.kind for item in pope.read(files(tmp_path, SNOWBOARD, DOG))} == {""}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([SNOWBOARD, {**DOG, "label": "maybe"}], r"entry 2 of 2 \(question_id 2\): 'label' should"),
        ([{**SNOWBOARD, "image": "other.jpg"}], r"entry 1 of 1 .*'other\.jpg' is not in"),
        (
            [SNOWBOARD, SNOWBOARD],
            r"entry 2 of 2 \(question_id 1\): this question_id was there before",
        ),
    ],
)
def test_faults_name_file_and_entry(rows: list[Any], fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"coco_pope_random\.json, {fault}"):
        pope.read(files(tmp_path, *rows))
