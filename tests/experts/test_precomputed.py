"""What others found already, from COCO's own format and from our records."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import jpeg, picture
from PIL import Image

from looksay.errors import InputError
from looksay.experts import verbalise
from looksay.experts.base import Detection, Findings, Relation
from looksay.experts.loading import load
from looksay.experts.maps import crayon
from looksay.experts.records import to_json

# Ids as COCO's PNGs have them: R + 256 G + 256² B.
PERSON, HORSE, SKY = 3, 300, 8_000_000
COCO: dict[str, Any] = {
    "images": [{"id": 139, "file_name": "000000000139.jpg", "height": 4, "width": 6}],
    "annotations": [
        {
            "image_id": 139,
            "file_name": "000000000139.png",
            "segments_info": [
                {"id": SKY, "category_id": 187, "iscrowd": 0, "bbox": [0, 0, 6, 2], "area": 12},
                {"id": PERSON, "category_id": 1, "iscrowd": 0, "bbox": [0, 2, 2, 2], "area": 4},
                {"id": HORSE, "category_id": 19, "iscrowd": 0, "bbox": [3, 2, 3, 2], "area": 6},
            ],
        }
    ],
    "categories": [
        {"id": 187, "name": "sky-other-merged", "isthing": 0, "supercategory": "sky-stuff"},
        {"id": 1, "name": "person", "isthing": 1, "supercategory": "person"},
        {"id": 19, "name": "horse", "isthing": 1, "supercategory": "animal"},
    ],
}
IDS = np.array([[SKY] * 6, [SKY] * 6, [PERSON, PERSON, 0, HORSE, HORSE, HORSE]])[[0, 1, 2, 2]]


def coco(folder: Path, content: Any = COCO, ids: np.ndarray = IDS) -> Path:
    """A release in miniature; the path of its JSON."""
    path = folder / "panoptic_val2017.json"
    (folder / "panoptic_val2017").mkdir(parents=True, exist_ok=True)
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "panoptic_val2017/000000000139.png")
    path.write_text(json.dumps(content))
    picture(1, (6, 4)).save(folder / "000000000139.jpg")
    return path


def test_coco_panoptic_is_read(tmp_path: Path) -> None:
    expert = load(f"precomputed:{coco(tmp_path)}")
    found = expert.find(tmp_path / "000000000139.jpg")
    assert (found.ids == IDS).all()
    assert verbalise.crayon(found) == (
        "The image includes (#1 sky) [0.00, 0.00, 1.00, 0.50], (#1 person) [0.00, 0.50, 0.33, 1.00], "
        "(#1 horse) [0.50, 0.50, 1.00, 1.00]."
    )
    # Classes are numbered in the order of their ids, not of the list: person 0, horse 1, sky 2.
    semantic, _ = crayon(found, 4, 6, classes=3)
    assert semantic[3].tolist() == [1, 1, 0, 2, 2, 2]
    assert semantic[0].tolist() == [3] * 6


@pytest.mark.slow
def test_boxes_and_areas_are_those_of_pycocotools(tmp_path: Path) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    draws = np.random.default_rng(0)
    ids = draws.choice([0, PERSON, HORSE, SKY], (40, 30))
    expert = load(f"precomputed:{coco(tmp_path, ids=ids)}")
    picture(1, (30, 40)).save(tmp_path / "000000000139.jpg")
    for one in expert.find(tmp_path / "000000000139.jpg").segments:
        code = tools.encode(np.asfortranarray(ids == one.id, np.uint8))
        x, y, width, height = tools.toBbox(code)
        wanted = (x / 30, y / 40, (x + width) / 30, (y + height) / 40)
        assert one.box == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.pop("images"), "not in COCO's panoptic format: KeyError 'images'"),
        (lambda c: c["annotations"][0].pop("segments_info"), "KeyError 'segments_info'"),
        (lambda c: c["annotations"][0].update(image_id=7), "KeyError 7"),
        (lambda c: c["annotations"][0].update(file_name="no.png"), "no.png cannot be read"),
        (
            lambda c: c["annotations"][0]["segments_info"][1].update(category_id=90),
            "image 139: there is no category 90; the file has 3",
        ),
        (
            lambda c: c["annotations"][0]["segments_info"][1].update(id=77),
            "image 139: segment 77 has no pixel in 000000000139.png",
        ),
        (
            lambda c: c["annotations"][0]["segments_info"].pop(0),
            f"image 139: The map holds pixels of {SKY}, which no segment has",
        ),
    ],
)
def test_faults_of_coco_files_are_told(tmp_path: Path, change: Any, told: str) -> None:
    content = copy.deepcopy(COCO)
    change(content)
    with pytest.raises(InputError, match=told):
        load(f"precomputed:{coco(tmp_path, content)}").find(tmp_path / "000000000139.jpg")


def test_findings_of_another_size_are_refused(tmp_path: Path) -> None:
    expert = load(f"precomputed:{coco(tmp_path)}")
    picture(1, (12, 8)).save(tmp_path / "000000000139.jpg")
    with pytest.raises(
        InputError, match=r"of 6 × 4 px, but this one has 12 × 8. Expected findings of"
    ):
        expert.find(tmp_path / "000000000139.jpg")


def record(file: str, name: str) -> dict[str, Any]:
    found = Findings((96, 72), detections=(Detection(name, (0, 0, 0.5, 1.0)),))
    return {"file": file, **to_json(found)}


@pytest.mark.parametrize("lines", [True, False])
def test_records_are_found_by_the_end_of_the_path(tmp_path: Path, lines: bool) -> None:
    records = [record("a/one.jpg", "dog"), record("b/one.jpg", "cat"), record("two.jpg", "cow")]
    if lines:
        path = tmp_path / "findings.jsonl"
        path.write_text("\n".join(map(json.dumps, records)) + "\n")
    else:
        path = tmp_path / "findings.json"
        path.write_text(json.dumps(records))
    expert = load(f"precomputed:{path}")
    for place in ("a/one.jpg", "b/one.jpg", "c/two.jpg", "c/one.jpg", "three.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(jpeg(1))
    names = [expert.find(tmp_path / p).detections[0].name for p in ("a/one.jpg", "b/one.jpg")]
    assert names == ["dog", "cat"]
    assert expert.find(tmp_path / "c/two.jpg").detections[0].name == "cow"
    with pytest.raises(
        InputError, match=r"nothing on three.jpg. It has 2 pictures, such as one.jpg"
    ):
        expert.find(tmp_path / "three.jpg")
    with pytest.raises(InputError, match=r"nothing on one.jpg"):
        expert.find(tmp_path / "c/one.jpg")
    with pytest.raises(InputError, match="by their file names, and this one has none"):
        expert.find(jpeg(1))


def test_one_record_is_a_file_too_and_two_for_one_picture_are_none(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(jpeg(1))
    path = tmp_path / "found.json"
    related = Findings((96, 72), relations=(Relation("person", 1, "riding", "horse", 1),))
    path.write_text(json.dumps({"file": "one.jpg", **to_json(related)}))
    assert load(f"precomputed:{path}").find(tmp_path / "one.jpg") == related
    path.write_text(json.dumps([record("one.jpg", "dog"), record("one.jpg", "cat")]))
    with pytest.raises(InputError, match=r"has 2 entries for one.jpg; expected one"):
        load(f"precomputed:{path}").find(tmp_path / "one.jpg")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "It has no pictures"),
        ('["one.jpg"]', 'entry 1 of 1: expected an object with "file"'),
        ('[{"size_px": [96, 72]}]', 'entry 1 of 1: expected an object with "file"'),
        ('{"file": "one.jpg", "size": [96, 72]}', "entry 1 of 1: unknown keys: size, probably a"),
    ],
)
def test_faults_of_records_are_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "one.jpg").write_bytes(jpeg(1))
    (tmp_path / "found.json").write_text(text)
    with pytest.raises(InputError, match=told):
        load(f"precomputed:{tmp_path / 'found.json'}").find(tmp_path / "one.jpg")


def test_the_file_itself_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.json cannot be read: No such file"):
        load(f"precomputed:{tmp_path / 'no.json'}")
    with pytest.raises(InputError, match=r"--expert precomputed:findings.json"):
        load("precomputed")
