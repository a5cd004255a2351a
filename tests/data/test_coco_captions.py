"""COCO captions: what is written opens in pycocotools, and what COCO releases is read."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from PIL import Image as Pillow

from looksay.data.dataset import Part, problems
from looksay.data.sources import coco_captions, scenes
from looksay.errors import InputError

FOOD = {"id": 9, "file_name": "000000000009.jpg", "width": 8, "height": 6, "license": 3}
SAID = {"id": 661611, "image_id": 9, "caption": "Closeup of bins of food. "}


def saved(folder: Path, **changes: Any) -> Path:
    Pillow.new("RGB", (8, 6), "red").save(folder / "000000000009.jpg")
    content = {
        "info": {},
        "licenses": [],
        "images": [FOOD],
        "annotations": [SAID, SAID | {"id": 661977, "caption": "A meal in a box."}],
    }
    path = folder / "captions_val2017.json"
    path.write_text(json.dumps(content | changes), "utf-8")
    return path


def test_an_example_per_caption_or_per_image(tmp_path: Path) -> None:
    path = saved(tmp_path)
    source = coco_captions.read(path)
    assert source.size == 2
    example = source.example(1)
    assert example.id == "661977"
    assert example.conversation.messages[1].text == "A meal in a box."
    assert example.conversation.images[0].source == tmp_path / "000000000009.jpg"
    assert example.truth == {
        "captions": ["Closeup of bins of food.", "A meal in a box."],
        "image_id": 9,
    }
    assert coco_captions.read(path, per="image").size == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": [SAID | {"caption": " "}]}, r"entry 1 of 1 \(id 661611\): 'caption' is empty"),
        ({"annotations": [SAID | {"caption": 5}]}, "'caption' should be text; found a number"),
        ({"annotations": [SAID | {"image_id": 10}]}, "image_id 10 is not among the 1 'images'"),
        ({"images": [FOOD | {"file_name": "000000000008.jpg"}]}, "Near names there: 000000000009.jpg"),
        ({"images": [{"id": 9}]}, "there is no 'file_name'"),
        ({"annotations": {}}, "expected 'annotations' to be a list"),
        ({"annotations": []}, "'annotations' is an empty list"),
    ],
)  # fmt: skip
def test_defects_are_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        coco_captions.read(saved(tmp_path, **changes)).example(0)


def test_a_file_of_another_kind_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"questions": []}')
    with pytest.raises(InputError, match="key 'annotations'; found questions"):
        coco_captions.read(path)


def test_pycocotools_reads_what_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need(find_spec("pycocotools"), "the reference loader is not installed")
    coco = import_module("pycocotools.coco")
    drawn = Part(scenes.read(mix={"caption": 1.0}), 0, 6)
    examples = [drawn.example(n) for n in range(6)]
    path = tmp_path / "captions_train2017.json"
    assert coco_captions.write(examples, path, tmp_path / "train2017") == 30
    theirs = coco.COCO(str(path))
    assert len(theirs.getImgIds()) == 6
    for number, image_id in enumerate(theirs.getImgIds()):
        annotations = theirs.loadAnns(theirs.getAnnIds(imgIds=[image_id]))
        assert [a["caption"] for a in annotations] == examples[number].truth["captions"]
        (image,) = theirs.loadImgs([image_id])
        with Pillow.open(tmp_path / "train2017" / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])
            assert opened.format == "JPEG"

    back = coco_captions.read(path, tmp_path / "train2017", per="image")
    assert list(problems(back, decode=True)) == []
    assert [back.example(n).truth["captions"] for n in range(6)] == [
        e.truth["captions"] for e in examples
    ]
    capsys.readouterr()  # pycocotools prints


def test_real_photos_go_through_unchanged(tmp_path: Path, shared_data: Path) -> None:
    from looksay.types import Conversation, Example, Image, Message

    photos = sorted((shared_data / "coco" / "images").glob("*.jpg"))[:5]
    need(len(photos) == 5, "the reference photos are not beside this checkout")
    examples = [
        Example(
            str(n), Conversation((Message("user", (Image(p),)), Message("assistant", ("Food.",))))
        )
        for n, p in enumerate(photos)
    ]
    coco_captions.write(examples, tmp_path / "captions.json")
    back = coco_captions.read(tmp_path / "captions.json")
    for number, photo in enumerate(photos):
        source = back.example(number).conversation.images[0].source
        assert isinstance(source, Path)
        assert source.read_bytes() == photo.read_bytes()
