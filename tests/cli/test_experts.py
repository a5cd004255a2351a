"""`looksay experts`: what is there, what is found, and records that come back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_cli import EXAMPLES, looksay

pytest.importorskip("rapidocr", reason="the extra facts is not installed")
from experts import onnx_file
from experts.test_onnx_detector import squares
from experts.test_precomputed import coco

PAGE = Path(__file__).resolve().parents[2] / "docs" / "experts.md"
SIGN = EXAMPLES / "images" / "fish-sign.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a detector and a picture of a red and a blue square."""
    onnx_file.detector(tmp_path / "squares.onnx", "grid")
    squares(256, 256, red=(0, 1), blue=(3, 1)).save(tmp_path / "squares.png")
    return tmp_path


def test_experts_are_listed_with_what_to_type() -> None:
    done = looksay("experts", LOOKSAY_PLAIN="1")
    assert done.returncode == 0, done.stderr
    assert "ocr here" in done.stdout
    assert re.search(r"detection needs a model: --expert detection:MODEL.onnx", done.stdout)
    assert "precomputed needs a file: --expert precomputed:findings.json" in done.stdout
    listed = json.loads(looksay("experts", "--json").stdout)
    assert {one["name"] for one in listed} >= {"ocr", "detection", "panoptic", "scene_graph"}


def test_text_is_read_without_naming_an_expert(tmp_path: Path) -> None:
    done = looksay("experts", SIGN, "--overlay", tmp_path / "found.png", LOOKSAY_PLAIN="1")
    assert done.returncode == 0, done.stderr
    assert 'The image includes text descriptions: "' in done.stdout
    assert "looksay experts" in done.stdout.splitlines()[-1]
    with Image.open(tmp_path / "found.png") as drawn, Image.open(SIGN) as seen:
        assert drawn.width / drawn.height == pytest.approx(seen.width / seen.height, rel=0.01)


def test_several_experts_and_their_relations(folder: Path) -> None:
    detector = "detection:squares.onnx"
    words = ["--expert", detector, "--expert", f"scene_graph:{detector}"]
    done = looksay("experts", "squares.png", *words, cwd=folder, LOOKSAY_PLAIN="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "detection:squares.onnx",
        "  The image includes bounding box coordinates and their objects: [0.00, 0.25, 0.25, 0.50] red, and "
        "[0.75, 0.25, 1.00, 0.50] blue.",
        "scene_graph:detection:squares.onnx",
        "  The image includes relationships between objects: red is left of blue.",
    ]
    named = looksay(
        "experts",
        "squares.png",
        *words[:2],
        "--names",
        "rouge, bleu",
        cwd=folder,
        LOOKSAY_PLAIN="1",
    )
    assert "rouge, and" in named.stdout
    (folder / "names.txt").write_text("rot\nblau\n")
    named = looksay(
        "experts", "squares.png", *words[:2], "--names", "names.txt", cwd=folder, LOOKSAY_PLAIN="1"
    )
    assert "rot, and" in named.stdout


def test_records_come_back_as_they_were_printed(folder: Path) -> None:
    shutil.copy(folder / "squares.png", folder / "other.png")
    asked = ["--expert", "detection:squares.onnx", "--json"]
    printed = looksay("experts", "squares.png", "other.png", *asked, cwd=folder)
    assert printed.returncode == 0, printed.stderr
    assert len(printed.stdout.splitlines()) == 2
    (folder / "found.jsonl").write_text(printed.stdout)
    kept = ["--expert", "precomputed:found.jsonl"]
    again = looksay("experts", "squares.png", "other.png", *kept, "--json", cwd=folder)
    assert again.stdout == printed.stdout
    related = looksay(
        "experts", "squares.png", "--expert", "scene_graph:precomputed:found.jsonl", cwd=folder
    )
    assert "red is left of blue" in related.stdout


def test_segments_of_coco_in_both_forms_and_drawn(tmp_path: Path) -> None:
    coco(tmp_path)
    words = ["--expert", "precomputed:panoptic_val2017.json", "--overlay", "found.png"]
    done = looksay("experts", "000000000139.jpg", *words, cwd=tmp_path, LOOKSAY_PLAIN="1")
    assert done.returncode == 0, done.stderr
    assert "[0.00, 0.00, 1.00, 0.50] sky, and" in done.stdout
    assert "The image includes (#1 sky) [0.00, 0.00, 1.00, 0.50], (#1 person)" in done.stdout
    assert (tmp_path / "found.png").is_file()


def test_what_is_kept_is_not_looked_at_again(folder: Path) -> None:
    words = ["squares.png", "--expert", "detection:squares.onnx", "--cache", "kept", "--json"]
    first = looksay("experts", *words, cwd=folder)
    (file,) = (folder / "kept").rglob("*.json")
    record = json.loads(file.read_text("utf-8"))
    record["findings"]["detections"][0]["name"] = "kept"
    file.write_text(json.dumps(record), "utf-8")
    again = looksay("experts", *words, cwd=folder)
    assert '"name": "red"' in first.stdout
    assert '"name": "kept"' in again.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.png"], "none.png cannot be read: the file is gone"),
        (
            ["squares.png", "--expert", "detektion"],
            "no expert 'detektion'. Did you mean 'detection'",
        ),
        (["squares.png", "--expert", "detection"], "Type a file, --expert detection:MODEL.onnx"),
        (["squares.png", "--expert", "scene_graph"], "--expert scene_graph:detection:MODEL.onnx"),
        (
            ["squares.png", "squares.png", "--overlay", "x.png"],
            "--overlay draws one picture; 2 were",
        ),
        (["squares.png", "--overlay", "x.xyz"], "ends in .png"),
        (["squares.onnx"], "not a picture in any format"),
        (["squares.png", "--expert", "detection:squares.onnx", "--names", "a"], "has 1 names"),
    ],
)
def test_mistakes_are_told_without_a_traceback(folder: Path, words: list[str], told: str) -> None:
    done = looksay("experts", *words, cwd=folder)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_one_bad_picture_of_several_stops_none(folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    asked = ["--expert", "detection:squares.onnx"]
    done = looksay("experts", "bad.png", "squares.png", *asked, cwd=folder, LOOKSAY_PLAIN="1")
    assert done.returncode == 1
    assert "bad.png cannot be read" in done.stderr
    assert "] red, and" in done.stdout


def test_the_python_of_the_page_runs_and_its_record_is_read(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    shutil.copytree(EXAMPLES, tmp_path / "site")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "(#1 taxi) [0.52, 0.09, 0.70, 0.21]" in done.stdout
    (record,) = re.findall(r"^```json\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "found.jsonl").write_text(record, "utf-8")
    Image.new("RGB", (640, 480)).save(tmp_path / "dogs.jpg")
    read = looksay(
        "experts", "dogs.jpg", "--expert", "precomputed:found.jsonl", "--json", cwd=tmp_path
    )
    assert json.loads(read.stdout) == json.loads(record)
