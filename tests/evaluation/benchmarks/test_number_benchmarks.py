"""MME, counting, RefCOCO and ImageNet: read from the official formats, scored by what papers print."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

from looksay.errors import InputError, UnknownName
from looksay.evaluation.benchmark import Answer, Item, checked
from looksay.evaluation.benchmarks import counting, imagenet, mme, refcoco
from looksay.evaluation.measures import Measure, by_kind, interval
from looksay.evaluation.metrics.mme import COGNITION, PERCEPTION
from looksay.evaluation.metrics.mme import mme as official


def measures(
    benchmark: Any, items: list[Item], say: Callable[[Item], str], compat: Any = "strict"
) -> list[Measure]:
    found: list[Measure] = benchmark.score([Answer(item, say(item)) for item in items], compat)
    return found


def figures(
    benchmark: Any, items: list[Item], say: Callable[[Item], str], compat: Any = "strict"
) -> dict[str, float]:
    found = measures(benchmark, items, say, compat)
    return {f"{m.name} {m.kind}".strip(): interval(m, samples=20).value for m in found}


def told(item: Item) -> str:
    return item.conversation.messages[0].text


# MME

APART = ("artwork", "celebrity", "landmark", "posters", "scene")


def mme_files(folder: Path) -> Path:
    """Two pictures for each task, in both layouts of the release."""
    for number, task in enumerate((*PERCEPTION, *COGNITION)):
        root = folder / "MME_Benchmark_release_version" / task
        pictures, texts = root, root
        if task in APART:
            pictures, texts = root / "images", root / "questions_answers_YN"
        for name, suffix in (("0001", ".jpg"), ("0002", ".png")):
            put(pictures / f"{name}{suffix}", jpeg(number))
            put(
                texts / f"{name}.txt",
                "Is this a cat? Please answer yes or no.\tYes\n"
                "Is this a dog?  Please answer yes or no.\tNo\n",
            )
    return folder


def right(item: Item) -> str:
    return str(item.truth["answer"])


def test_mme_is_read_in_both_of_its_layouts(tmp_path: Path) -> None:
    items = checked(mme.read(mme_files(tmp_path)), "mme")
    assert len(items) == 14 * 4
    first = items[0]
    assert (first.id, first.kind, first.image) == (
        "existence/0001 1",
        "existence",
        "existence/0001",
    )
    assert told(first) == "Is this a cat?\nAnswer the question using a single word or phrase."
    assert first.truth == {"answer": "yes"}
    assert [item.truth["answer"] for item in items[:4]] == ["yes", "no", "yes", "no"]
    assert list(dict.fromkeys(item.kind for item in items)) == [*PERCEPTION, *COGNITION]


def test_mme_has_2800_points(tmp_path: Path) -> None:
    items = mme.read(mme_files(tmp_path))
    found = figures(mme, items, right)
    assert next(iter(found)) == "perception"
    assert (found["perception"], found["cognition"]) == (2000, 800)
    assert found["cognition text_translation"] == 200
    assert (found["accuracy"], found["accuracy+"], found["unreadable"]) == (100, 100, 0)


def test_mme_points_are_those_of_its_tool(tmp_path: Path) -> None:
    items = mme.read(mme_files(tmp_path))
    draw = random.Random(3)
    said = {item.id: draw.choice(["yes", "no", "No.", "perhaps"]) for item in items}

    def verdict(item: Item) -> bool | None:
        word = said[item.id].lower().rstrip(".")
        return None if word == "perhaps" else word == item.truth["answer"]

    expected = official((item.kind, item.image, verdict(item)) for item in items)
    found = measures(mme, items, lambda item: said[item.id], "official")
    shown = {(m.name, m.kind): interval(m, samples=20).value for m in found}
    assert shown["perception", ""] == pytest.approx(expected.perception)
    assert shown["cognition", ""] == pytest.approx(expected.cognition)
    tasks = by_kind(found[0], {item.id: item.kind for item in items})
    for part in tasks:
        assert interval(part, samples=20).value == pytest.approx(expected.tasks[part.kind].score)
    assert len(tasks) == 10
    shuffled = draw.sample(items, len(items))
    again = measures(mme, shuffled, lambda item: said[item.id], "official")
    assert {(m.name, m.kind): interval(m, samples=20).value for m in again} == pytest.approx(shown)


def test_mme_always_yes_gets_half_and_no_plus(tmp_path: Path) -> None:
    found = figures(mme, mme.read(mme_files(tmp_path)), lambda item: "yes")
    assert (found["perception"], found["accuracy"], found["accuracy+"]) == (500, 50, 0)


def test_rules_differ_on_what_is_not_said_outright(tmp_path: Path) -> None:
    items = mme.read(mme_files(tmp_path))
    assert figures(mme, items, lambda item: "I do not know")["unreadable"] == 100
    unsure = {c: figures(mme, items, lambda item: "Not sure", c) for c in mme.CARD.compat}
    assert unsure["strict"]["unreadable"] == unsure["vlmevalkit"]["unreadable"] == 100
    assert unsure["official"]["accuracy"] == unsure["lmms-eval"]["accuracy"] == 50


def test_a_part_of_mme_says_that_it_is_one(tmp_path: Path) -> None:
    items = [i for i in mme.read(mme_files(tmp_path)) if i.kind in ("count", "color", "OCR")]
    found = figures(mme, items, right)
    assert found["perception, 3 of 10 tasks"] == 600
    assert not any(name.startswith("cognition") for name in found)
    with pytest.raises(InputError, match="count/0001: 1 answers; expected two"):
        figures(mme, [i for i in items if i.id != "count/0001 2"], right)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Is this a cat?\tYes\n", r"0001.txt, entry 1 of 1: expected two questions"),
        ("Is this a cat?\tYes\nIs it a dog?\tMaybe\n", r"entry 2 of 2: expected a question, a tab"),
        ("Is this a cat?\tYes\nIs it a dog? No\n", r"entry 2 of 2: expected a question, a tab"),
    ],
)
def test_faults_of_mme_files_are_told(tmp_path: Path, text: str, fault: str) -> None:
    root = mme_files(tmp_path) / "MME_Benchmark_release_version"
    put(root / "count" / "0001.txt", text)
    with pytest.raises(InputError, match=fault):
        mme.read(tmp_path)


def test_missing_parts_of_mme_are_told(tmp_path: Path) -> None:
    root = mme_files(tmp_path) / "MME_Benchmark_release_version"
    (root / "scene" / "images" / "0001.jpg").unlink()
    with pytest.raises(InputError, match=r"entry 1 of 2: the image '0001.jpg' is not in .*scene"):
        mme.read(tmp_path)
    (root / "OCR").rename(root / "ocr-away")
    with pytest.raises(InputError, match="has no folder 'OCR'"):
        mme.read(tmp_path)


# Counting

COUNTS = [
    {"image": "a.jpg", "question": "How many dice are there?", "count": 3, "kind": "dice"},
    {"image": "a.jpg", "question": "How many pips are shown?", "count": 11, "kind": "pips"},
    {"image": "b.jpg", "question": "How many dice are there?", "count": 0, "kind": "dice", "id": 7},
]


def counted(folder: Path, rows: Any = COUNTS) -> Path:
    put(folder / "counts.json", json.dumps(rows))
    for name in ("a", "b"):
        put(folder / "images" / f"{name}.jpg", jpeg(ord(name)))
    return folder


def test_counting_by_hand(tmp_path: Path) -> None:
    items = checked(counting.read(counted(tmp_path)), "counting")
    assert [item.id for item in items] == ["1", "2", "7"]
    assert told(items[0]) == "How many dice are there?\nAnswer with a number only."
    perfect = figures(counting, items, lambda item: str(item.truth["count"]))
    assert perfect == {"exact match": 100, "mean absolute error of those read": 0, "unreadable": 0}
    said = {"1": "three", "2": "9", "7": "two or three"}
    found = figures(counting, items, lambda item: said[item.id])
    assert found["exact match"] == pytest.approx(100 / 3)
    assert found["mean absolute error of those read"] == 1
    assert found["unreadable"] == pytest.approx(100 / 3)
    assert figures(counting, items[::-1], lambda item: said[item.id]) == found


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"count": "3"}, r"counts.json, entry 1 of 1: 'count' should be a whole number"),
        ({"count": -1}, "'count' is -1"),
        ({"image": "c.jpg"}, "the image 'c.jpg' is not in"),
        ({"question": " "}, "'question' is empty"),
    ],
)
def test_faults_of_counts_are_told(tmp_path: Path, change: Any, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        counting.read(counted(tmp_path, [{**COUNTS[0], **change}]))


def test_an_id_counts_once(tmp_path: Path) -> None:
    rows = [{**COUNTS[0], "id": "x"}, {**COUNTS[1], "id": "x"}]
    with pytest.raises(InputError, match=r"entry 2 of 2 \(id 'x'\): another entry has the same id"):
        counting.read(counted(tmp_path, rows))


# RefCOCO

FILE = "COCO_train2014_000000581857.jpg"
# As Python 2 wrote them, texts as bytes: [{'ref_id': 0, 'ann_id': 9, 'split': 'val', 'image_id': 1, …}].
WRITTEN = (
    b"(lp0\n(dp1\nS'ref_id'\nI0\nsS'ann_id'\nI9\nsS'split'\nS'val'\nsS'image_id'\nI1\n"
    b"sS'category_id'\nI17\nsS'file_name'\nS'COCO_train2014_000000581857_9.jpg'\n"
    b"sS'sentences'\n(lp2\n(dp3\nS'sent_id'\nI4\nsS'sent'\nS'the left caf\\xc3\\xa9 cat'\nsasa."
)


def reference(ref: int, note: int, split: str, *sentences: str) -> dict[str, Any]:
    return {
        "ref_id": ref,
        "ann_id": note,
        "image_id": 1,
        "category_id": 17,
        "split": split,
        "file_name": FILE.replace(".jpg", f"_{note}.jpg"),
        "sent_ids": [10 * ref + n for n in range(len(sentences))],
        "sentences": [
            {"sent_id": 10 * ref + n, "sent": said, "raw": said, "tokens": said.split()}
            for n, said in enumerate(sentences)
        ],
    }


REFERENCES = [
    reference(0, 9, "val", "left cat", "the cat that sits"),
    reference(1, 8, "val", "right cat"),
    reference(2, 8, "testA", "sleeping cat"),
]
INSTANCES = {
    "images": [{"id": 1, "file_name": FILE, "width": 200, "height": 100}],
    "annotations": [
        {"id": 9, "image_id": 1, "category_id": 17, "bbox": [20, 10, 60.0, 80]},
        {"id": 8, "image_id": 1, "category_id": 17, "bbox": [100, 0, 100, 50]},
    ],
    "categories": [{"id": 17, "name": "cat", "supercategory": "animal"}],
}


def refer(folder: Path, written: bytes | None = None, name: str = "refcoco/refs(unc).p") -> Path:
    put(folder / name, pickle.dumps(REFERENCES, protocol=2) if written is None else written)
    put((folder / name).with_name("instances.json"), json.dumps(INSTANCES))
    put(folder / "train2014" / FILE, jpeg(5, (200, 100)))
    return folder


def in_box(item: Item) -> str:
    return str([round(n, 3) for n in item.truth["box"]])


def test_refcoco_has_an_item_for_every_sentence(tmp_path: Path) -> None:
    items = checked(refcoco.read(refer(tmp_path)), "refcoco")
    assert [item.id for item in items] == ["0", "1", "10"]
    assert items[0].truth == {"box": [0.1, 0.1, 0.4, 0.9]}
    assert items[2].truth == {"box": [0.5, 0.0, 1.0, 0.5]}
    assert told(items[0]).endswith("left cat")
    assert {(item.image, item.kind) for item in items} == {(FILE, "cat")}
    assert [item.id for item in refcoco.read(tmp_path, "refcoco-testA")] == ["20"]
    with pytest.raises(InputError, match=r"no reference of the split 'testB'"):
        refcoco.read(tmp_path, "refcoco-testB")
    with pytest.raises(UnknownName):
        refcoco.read(tmp_path, "refcocog-testA")


def test_files_of_python_2_and_of_the_other_sets(tmp_path: Path) -> None:
    items = refcoco.read(refer(tmp_path, WRITTEN, "refcocog/refs(umd).p"), "refcocog-val")
    assert told(items[0]).endswith("the left café cat")
    assert items[0].truth == {"box": [0.1, 0.1, 0.4, 0.9]}


def test_refcoco_by_hand(tmp_path: Path) -> None:
    items = refcoco.read(refer(tmp_path))
    perfect = figures(refcoco, items, in_box)
    assert perfect == pytest.approx({"accuracy at IoU 0.5": 100, "mean IoU": 100, "unreadable": 0})
    # A little over half of the first box; a box beside the second; no box.
    said = {"0": "[0.1, 0.1, 0.26, 0.9]", "1": "[0.5, 0.1, 0.9, 0.9]", "10": "on the right"}
    found = figures(refcoco, items, lambda item: said[item.id])
    assert found["accuracy at IoU 0.5"] == pytest.approx(100 / 3)
    assert found["mean IoU"] == pytest.approx(160 / 9)
    assert found["unreadable"] == pytest.approx(100 / 3)
    assert figures(refcoco, items[::-1], lambda item: said[item.id]) == pytest.approx(found)
    pixels = {"0": "[20, 10, 80, 90]", "1": "[20, 10, 80, 90]", "10": "[100, 0, 200, 50]"}
    assert figures(refcoco, items, lambda item: pixels[item.id])["unreadable"] == 100
    lmms = figures(refcoco, items, lambda item: pixels[item.id], "lmms-eval")
    assert (lmms["accuracy at IoU 0.5"], lmms["unreadable"]) == (0, 0)


class Evil:
    """A pickle of it asks whoever loads it to print."""

    def __reduce__(self) -> Any:
        # (Other libraries put functions of their own in the place of `print`.)
        return exec, ("print('run')",)


def test_nothing_in_a_pickle_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"refs\(unc\).p is no pickle .*__builtin__.exec.*was run"):
        refcoco.read(refer(tmp_path, pickle.dumps([Evil()], protocol=2)))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("cut", [0, 1, 20, 120])
def test_a_pickle_that_is_cut_short_is_told(tmp_path: Path, cut: int) -> None:
    with pytest.raises(InputError, match=r"refs\(unc\).p is no pickle"):
        refcoco.read(refer(tmp_path, WRITTEN[:cut]))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"ann_id": 77},
            r"entry 1 of 1 \(ref_id 0\): 'ann_id' is 77, which is not among the annot",
        ),
        ({"image_id": 2}, "'image_id' is 2"),
        ({"sentences": "left cat"}, "'sentences' should be a list"),
        ({"split": 3}, "'split' should be text"),
        (
            {"sentences": REFERENCES[0]["sentences"] * 2},
            r"entry 1 of 1 \(ref_id 0\): this sentence \(0\) was there before",
        ),
    ],
)
def test_faults_of_references_are_told(tmp_path: Path, change: Any, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        refcoco.read(refer(tmp_path, pickle.dumps([{**REFERENCES[0], **change}], protocol=2)))


def test_a_missing_photograph_of_refcoco_is_told(tmp_path: Path) -> None:
    (refer(tmp_path) / "train2014" / FILE).unlink()
    with pytest.raises(InputError, match=r"refs\(unc\).p, entry 1 of 3 .* is not in"):
        refcoco.read(tmp_path)


# ImageNet

NAMES = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn02124075 Egyptian cat\n"
SOLUTION = (
    "ImageId,PredictionString\n"
    "ILSVRC2012_val_00000001,n01440764 85 1 499 272 \n"
    "ILSVRC2012_val_00000002,n03126707 1 2 3 4 n03126707 5 6 7 8 \n"
    "ILSVRC2012_val_00000003,n02124075 1 2 3 4 \n"
)


def imagenet_files(folder: Path, names: str = NAMES, solution: str = SOLUTION) -> Path:
    put(folder / "LOC_synset_mapping.txt", names)
    put(folder / "LOC_val_solution.csv", solution)
    for n in (1, 2, 3):
        name = f"ILSVRC2012_val_{n:08d}.JPEG"
        put(folder / "ILSVRC" / "Data" / "CLS-LOC" / "val" / name, jpeg(n))
    return folder


def test_imagenet_by_hand(tmp_path: Path) -> None:
    items = checked(imagenet.read(imagenet_files(tmp_path)), "imagenet")
    assert [item.truth["names"] for item in items] == [
        ["tench", "Tinca tinca"],
        ["crane"],
        ["Egyptian cat"],
    ]
    # 1,860 names are too many to rank in one batch.
    assert not imagenet.CARD.likelihood
    assert items[0].choices == ("tench", "Tinca tinca", "crane", "Egyptian cat")
    for which in (0, -1):
        perfect = figures(imagenet, items, lambda item, n=which: item.truth["names"][n])  # type: ignore[misc]
        assert perfect == {"accuracy": 100, "unreadable": 0}
    said = ["A tinca  tinca.", "an Egyptian cat", "a cat"]
    answers = dict(zip([item.id for item in items], said, strict=True))
    found = figures(imagenet, items, lambda item: answers[item.id])
    assert found == pytest.approx({"accuracy": 100 / 3, "unreadable": 100 / 3})
    assert figures(imagenet, items[::-1], lambda item: answers[item.id]) == pytest.approx(found)


@pytest.mark.parametrize(
    ("names", "solution", "fault"),
    [
        (NAMES + "n1\n", SOLUTION, r"LOC_synset_mapping.txt, line 5: expected a class"),
        (NAMES * 2, SOLUTION, "line 5: expected a class that was not there before"),
        (NAMES[:20], SOLUTION, r"entry 2 of 3 .*'n03126707' is not in LOC_synset_mapping.txt"),
        (NAMES, SOLUTION + SOLUTION[25:], "entry 4 of 6 .*this ImageId was there before"),
        (NAMES, SOLUTION[:48], "'PredictionString' is empty"),
        (NAMES, "", "expected the columns ImageId"),
        (NAMES, SOLUTION + "ILSVRC2012_val_00000009,n02124075 1 2 3 4\n", "00009.JPEG' is not in"),
    ],
)
def test_faults_of_imagenet_files_are_told(
    tmp_path: Path, names: str, solution: str, fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        imagenet.read(imagenet_files(tmp_path, names, solution))


def test_a_folder_without_files_is_told(tmp_path: Path) -> None:
    for benchmark in (counting, imagenet, refcoco):
        with pytest.raises(InputError, match="There is no file"):
            benchmark.read(tmp_path, *benchmark.CARD.variants[:1])
