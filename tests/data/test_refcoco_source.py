"""RefCOCO as REFER has it: both ways, nothing told twice in one conversation, each defect by its entry."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

from looksay.data.dataset import problems
from looksay.data.grounding import FORM
from looksay.data.opening import open_source
from looksay.data.sources import refcoco
from looksay.errors import InputError, UnknownName
from looksay.evaluation.metrics.boxes import parse

FILES = {1: "COCO_train2014_000000581857.jpg", 2: "COCO_train2014_000000000009.jpg"}


def entry(ref: int, note: int, image: int, split: str, *sentences: str) -> dict[str, Any]:
    """One reference as refer.py documents it: file_name is the cut picture's, sent_ids number the sentences."""
    return {
        "sent_ids": [100 * ref + n for n in range(len(sentences))],
        "file_name": FILES[image].replace(".jpg", f"_{note}.jpg"),
        "ann_id": note,
        "ref_id": ref,
        "image_id": image,
        "split": split,
        "sentences": [
            {"tokens": said.split(), "raw": said, "sent_id": 100 * ref + n, "sent": said}
            for n, said in enumerate(sentences)
        ],
        "category_id": 17,
    }


REFS = [
    entry(0, 9, 1, "train", "left cat", "the cat that sits", "cat by the lamp"),
    entry(1, 8, 1, "train", "right cat"),
    entry(2, 7, 2, "train", "a sleeping cat", "cat"),
    entry(3, 6, 1, "testA", "the cat behind"),
]
INSTANCES: dict[str, Any] = {
    "info": {},
    "licenses": [],
    "images": [
        {"id": 1, "file_name": FILES[1], "width": 200, "height": 100},
        {"id": 2, "file_name": FILES[2], "width": 100, "height": 200},
    ],
    "annotations": [
        {"id": 9, "image_id": 1, "category_id": 17, "bbox": [20, 10, 60.0, 80], "iscrowd": 0},
        {"id": 8, "image_id": 1, "category_id": 17, "bbox": [100, 0, 100.4, 50], "iscrowd": 0},
        {"id": 7, "image_id": 2, "category_id": 17, "bbox": [0, 150, 50, 50], "iscrowd": 0},
        {"id": 6, "image_id": 1, "category_id": 17, "bbox": [90, 0, 10, 10], "iscrowd": 0},
    ],
    "categories": [{"id": 17, "name": "cat", "supercategory": "animal"}],
}
BOXES = {
    "left cat": "[0.10, 0.10, 0.40, 0.90]",
    "the cat that sits": "[0.10, 0.10, 0.40, 0.90]",
    "cat by the lamp": "[0.10, 0.10, 0.40, 0.90]",
    "right cat": "[0.50, 0.00, 1.00, 0.50]",  # cut at the edge
    "a sleeping cat": "[0.00, 0.75, 0.50, 1.00]",
    "cat": "[0.00, 0.75, 0.50, 1.00]",
}


def saved(folder: Path, refs: Any = REFS, instances: Any = INSTANCES, form: str = "p") -> Path:
    data = json.dumps(refs) if form == "json" else pickle.dumps(refs, 0 if form == "0" else 2)
    put(folder / "instances.json", json.dumps(instances))
    for number, name in FILES.items():
        put(folder / name, jpeg(number, (200, 100) if number == 1 else (100, 200)))
    return put(folder / f"refs(unc).{'json' if form == 'json' else 'p'}", data)


def turns(source: refcoco.RefCoco) -> list[list[tuple[str, str]]]:
    found = []
    for number in range(source.size or 0):
        messages = source.example(number).conversation.messages
        pairs = list(zip(messages[::2], messages[1::2], strict=True))
        found.append([(q.text.removeprefix(f"{FORM} "), a.text) for q, a in pairs])
    return found


@pytest.mark.parametrize("form", ["p", "0", "json"])
def test_each_phrase_comes_once_each_way(tmp_path: Path, form: str) -> None:
    source = refcoco.read(saved(tmp_path, form=form))
    said = Counter(pair for talk in turns(source) for pair in talk)
    wanted = Counter()
    for words, box in BOXES.items():
        wanted[f"Give the box of what this describes, and nothing else: {words}", box] += 1
        wanted[f"Say in a few words what is in this box: {box}", words] += 1
    assert said == wanted
    assert list(problems(source, decode=True)) == []


def test_no_conversation_asks_for_an_object_twice(tmp_path: Path) -> None:
    source = refcoco.read(saved(tmp_path))
    for number in range(source.size or 0):
        example = source.example(number)
        assert len(set(example.truth["boxes"])) == len(example.truth["boxes"])
        assert len(example.conversation.images) == 1
        assert example.conversation.messages[0].text.startswith(FORM)
        # One box after the other: in both ways where there are two.
        assert len(set(example.truth["ways"])) == min(2, len(example.truth["ways"]))
    ids = [source.example(n).id for n in range(source.size or 0)]
    assert len(set(ids)) == len(ids)


def test_a_first_example_by_hand(tmp_path: Path) -> None:
    example = refcoco.read(saved(tmp_path)).example(0)
    assert [m.text for m in example.conversation.messages] == [
        f"{FORM} Give the box of what this describes, and nothing else: left cat",
        "[0.10, 0.10, 0.40, 0.90]",
        "Say in a few words what is in this box: [0.50, 0.00, 1.00, 0.50]",
        "right cat",
    ]
    assert example.conversation.images[0].source == tmp_path / FILES[1]
    assert example.truth["ways"] == ["find", "name"]
    assert example.truth["sent_ids"] == [0, 100]
    assert parse(example.conversation.messages[1].text) == (0.1, 0.1, 0.4, 0.9)


def test_one_way_turns_and_other_splits(tmp_path: Path) -> None:
    path = saved(tmp_path)
    source = refcoco.read(path, chosen=("find",), turns=1)
    assert source.size == len(BOXES)
    assert all(len(talk) == 1 and talk[0][1].startswith("[") for talk in turns(source))
    assert refcoco.read(path, split="testA").size == 2
    with pytest.raises(UnknownName, match=r"'val'.*testA, train"):
        refcoco.read(path, split="val")
    prints = {
        refcoco.read(path, **how).fingerprint for how in ({}, {"turns": 1}, {"chosen": ("name",)})
    }  # type: ignore[arg-type]
    assert len(prints) == 3


@pytest.mark.parametrize("form", ["p", "json"])
def test_data_knows_it_by_its_content(tmp_path: Path, form: str) -> None:
    path = saved(tmp_path, form=form)
    source = open_source(str(path))
    assert isinstance(source, refcoco.RefCoco)
    assert source.size == 10
    elsewhere = tmp_path / "train2014"
    elsewhere.mkdir()
    for name in FILES.values():
        (tmp_path / name).rename(elsewhere / name)
    assert list(problems(open_source(str(path), elsewhere))) == []
    assert "Name the folder with --images" in next(problems(open_source(str(path))))


def without(content: Any, key: str) -> Any:
    return {k: v for k, v in content.items() if k != key}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ann_id": 77}, r"entry 1 of 1 \(ref_id 0\): 'ann_id' is 77, which is not among the annotations of inst"),
        ({"image_id": 3}, r"\(ref_id 0\): 'image_id' is 3, which is not among the images"),
        ({"category_id": "cat"}, "'category_id' should be a number; found text"),
        ({"sentences": []}, "'sentences' is empty"),
        ({"sentences": "left cat"}, "'sentences' should be a list; found text"),
        ({"sentences": [{"sent_id": 1, "sent": " "}]}, "'sent' is empty"),
        ({"sentences": [{"sent": "cat"}]}, "there is no 'sent_id', which should be a number"),
        ({"sentences": REFS[1]["sentences"] * 2}, r"this sentence \(100\) was there before"),
        ({"split": 3}, "'split' should be text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["p", "json"])
def test_defects_of_references_are_named(
    tmp_path: Path, change: Any, fault: str, form: str
) -> None:
    path = saved(tmp_path, [REFS[0] | change], form=form)
    with pytest.raises(InputError, match=rf"refs\(unc\)\.{form}, entry 1 of 1.*{fault}|{fault}"):
        refcoco.read(path)


@pytest.mark.parametrize(
    ("table", "change", "fault"),
    [
        ("annotations", {"bbox": [1, 2, 3]}, r"'bbox' should be \[x, y, width, height\] in pixels"),
        ("annotations", {"bbox": [200, 0, 5, 5]}, "lies outside its picture of 200 × 100 px"),
        ("annotations", {"bbox": [20, 10, 0, 5]}, "lies outside"),
        ("images", {"width": 0}, "said to have 0 × 100 px"),
        ("images", {"file_name": "../a.jpg"}, "leads out of"),
        ("images", {"file_name": "other.jpg"}, "'other.jpg' is not in"),
        ("categories", {"name": ""}, "'name' is empty"),
    ],
)
def test_defects_of_instances_are_named(
    tmp_path: Path, table: str, change: Any, fault: str
) -> None:
    rows = INSTANCES[table]
    path = saved(tmp_path, REFS[:1], {**INSTANCES, table: [rows[0] | change, *rows[1:]]})
    with pytest.raises(InputError, match=rf"refs\(unc\)\.p, entry 1 of 1 \(ref_id 0\): .*{fault}"):
        refcoco.read(path).example(0)


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (tmp_path / "instances.json").unlink()
    with pytest.raises(
        InputError, match=r"boxes were looked for in .*instances\.json, which is not"
    ):
        refcoco.read(path)
    saved(tmp_path, REFS, without(INSTANCES, "images"))
    with pytest.raises(
        InputError, match=r"instances\.json: expected an object with the key 'images'"
    ):
        refcoco.read(path)
    saved(tmp_path, {"refs": REFS})
    with pytest.raises(InputError, match="expected the file to be a list of entries"):
        refcoco.read(path)
    saved(tmp_path)
    put(path, path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"refs\(unc\)\.p is no pickle of references: "):
        open_source(str(path))
