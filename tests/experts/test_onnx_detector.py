"""Detectors in ONNX files: small ones of every layout that find squares, and FastestDet on photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
from experts.onnx_file import CELL_PX, SIDE_PX, detector, field, write
from PIL import Image

from looksay.errors import InputError
from looksay.experts.base import Detection, Options
from looksay.experts.boxes import Box, overlap
from looksay.experts.loading import load

pytest.importorskip("onnxruntime", reason="the extra facts is not installed")

LAYOUTS = ["grid", "rows", "columns", "final"]


def squares(width: int = 64, height: int = 64, **at: tuple[int, int]) -> Image.Image:
    """A grey picture with a red and a blue square, each of a cell, at columns and rows of the 4 × 4 grid."""
    picture = Image.new("RGB", (width, height), (114, 114, 114))
    for name, (column, row) in at.items():
        wide = CELL_PX * width // SIDE_PX
        high = CELL_PX * height // SIDE_PX
        colour = {"red": (255, 0, 0), "blue": (0, 0, 255)}[name]
        picture.paste(colour, (column * wide, row * high, (column + 1) * wide, (row + 1) * high))
    return picture


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_read(tmp_path: Path, layout: str) -> None:
    expert = load(f"detection:{detector(tmp_path / 'squares.onnx', layout)}")
    found = expert.find(squares(red=(1, 2), blue=(3, 0)))
    where = {one.name: one.box for one in found.detections}
    assert where == {
        "red": pytest.approx((0.25, 0.5, 0.5, 0.75), abs=1e-5),
        "blue": pytest.approx((0.75, 0.0, 1.0, 0.25), abs=1e-5),
    }
    assert all(one.score > 0.9 for one in found.detections)
    assert expert.find(squares()).detections == ()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(128, 64), (64, 128), (320, 320)])
def test_boxes_are_shares_of_the_picture_whatever_its_shape(
    tmp_path: Path, layout: str, size: tuple[int, int]
) -> None:
    """A picture that keeps its shape (YOLO) fills a part of the input only."""
    expert = load(f"detection:{detector(tmp_path / 'squares.onnx', layout)}")
    scale = 1 if layout == "grid" else max(size) / SIDE_PX
    picture = Image.new("RGB", size, (114, 114, 114))
    wide = CELL_PX * (size[0] / SIDE_PX if layout == "grid" else scale)
    high = CELL_PX * (size[1] / SIDE_PX if layout == "grid" else scale)
    picture.paste((255, 0, 0), (int(wide), 0, int(2 * wide), int(high)))
    (one,) = expert.find(picture).detections
    assert one.name == "red"
    assert one.box == pytest.approx(
        (wide / size[0], 0, 2 * wide / size[0], high / size[1]), abs=1e-5
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_overlapping_boxes_of_one_name_are_one_object_and_clipped(
    tmp_path: Path, layout: str
) -> None:
    expert = load(f"detection:{detector(tmp_path / 'wide.onnx', layout, wide=3.5)}")
    found = expert.find(squares(red=(0, 0), blue=(1, 0)))
    assert sorted(one.name for one in found.detections) == ["blue", "red"]
    for one in found.detections:
        assert min(one.box) >= 0
        assert max(one.box) <= 1
    picture = squares(red=(0, 0))
    picture.paste((230, 0, 0), (CELL_PX, 0, 2 * CELL_PX, CELL_PX))
    (one,) = expert.find(picture).detections
    assert one.box[2] == pytest.approx((0.5 + 1.75) / 4)  # the surer, which is the left one


def test_names_come_from_the_user_the_file_or_beside_it(tmp_path: Path) -> None:
    told = detector(tmp_path / "told.onnx", "rows")
    assert load(f"detection:{told}").find(squares(red=(0, 0))).detections[0].name == "red"
    mine = Options(names=("rouge", "bleu"))
    assert load(f"detection:{told}", mine).find(squares(red=(0, 0))).detections[0].name == "rouge"
    silent = detector(tmp_path / "silent.onnx", "rows", told=False)
    with pytest.raises(InputError, match=r"there is no silent.names beside it. Type --names"):
        load(f"detection:{silent}")
    (tmp_path / "silent.names").write_text("rot\nblau\n")
    expert = load(f"detection:{silent}")
    assert expert.find(squares(blue=(0, 0))).detections[0].name == "blau"
    assert expert.fingerprint != load(f"detection:{silent}", mine).fingerprint


@pytest.mark.parametrize("layout", LAYOUTS[:3])
def test_a_wrong_number_of_names_is_told_with_the_shapes(tmp_path: Path, layout: str) -> None:
    path = detector(tmp_path / "squares.onnx", layout)
    with pytest.raises(
        InputError, match=r"gives 1 × .* and has 3 names of classes. Expected, with C = 3"
    ):
        load(f"detection:{path}", Options(names=("a", "b", "c"))).find(squares())


def test_a_class_without_a_name_is_told(tmp_path: Path) -> None:
    expert = load(f"detection:{detector(tmp_path / 'f.onnx', 'final', first=2)}")
    with pytest.raises(InputError, match="found class 2, but there are 2 names"):
        expert.find(squares(red=(1, 1)))


def test_files_that_are_no_detectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        load(f"detection:{tmp_path / 'none.onnx'}")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match="cannot be loaded"):
        load(f"detection:{tmp_path / 'text.onnx'}")
    flat = write(
        tmp_path / "flat.onnx",
        [field(1, "picture") + field(2, "found") + field(4, "Identity")],
        {},
        ([1, 7], [1, 7]),
        {"names": "['a']"},
    )
    with pytest.raises(
        InputError, match=r"takes picture: tensor\(float\) \[1, 7\]. Expected one pic"
    ):
        load(f"detection:{flat}")


def truth(path: Path, names: list[str]) -> list[tuple[str, Box]]:
    """Boxes of a file of YOLO's: class, centre, width and height in shares."""
    found = []
    for line in path.read_text().splitlines():
        kind, x, y, width, height = map(float, line.split())
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        found.append((names[int(kind)], box))
    return found


def hits(true: list[tuple[str, Box]], found: tuple[Detection, ...]) -> list[bool]:
    """For each true box, whether a detection of its name that no other took overlaps it by half, the surest first."""
    right = [False] * len(true)
    for one in found:
        free = [
            (overlap(box, one.box), place)
            for place, (name, box) in enumerate(true)
            if name == one.name and not right[place]
        ]
        share, place = max(free, default=(0.0, 0))
        if share >= 0.5:
            right[place] = True
    return right


@pytest.mark.slow
def test_fastestdet_finds_the_objects_of_photographs(shared_data: Path) -> None:
    """Measured on all 256 photographs, at the default of 0.5 (docs/experts.md)."""
    names = (shared_data / "weights/coco.names").read_text().split("\n")
    names = [name for name in names if name]
    options = Options(names=tuple(names), threads=1)
    expert = load(f"detection:{shared_data / 'weights/FastestDet.onnx'}", options)
    found, large, claimed = [], [], 0
    for picture in sorted((shared_data / "coco/images").glob("*.jpg")):
        true = truth(picture.with_suffix(".txt"), names)
        detections = expert.find(picture).detections
        right = hits(true, detections)
        claimed += len(detections)
        found += right
        large += [
            hit
            for hit, (_, box) in zip(right, true, strict=True)
            if (box[2] - box[0]) * (box[3] - box[1]) > 0.1
        ]
    told = (
        f"recall {sum(found)}/{len(found)}, large {sum(large)}/{len(large)}, of {claimed} claimed"
    )
    print(told)
    assert sum(found) / len(found) > 0.32, told
    assert sum(large) / len(large) > 0.68, told
    assert sum(found) / claimed > 0.41, told
