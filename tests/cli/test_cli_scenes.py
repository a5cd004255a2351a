"""`looksay scenes`: a sheet to look at, and files that every reader of the real formats takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from test_cli import looksay

pytest.importorskip("numpy", reason="scenes need numpy")


def test_a_contact_sheet(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = looksay("scenes", "--sheet", sheet, "--rows", "2", "--columns", "3")
    assert done.returncode == 0, done.stderr
    assert "6 scenes" in done.stdout
    from looksay.data.scenes import Scenes

    with Image.open(sheet) as drawn:
        assert drawn.width > 3 * 128
        for column in range(3):  # the first row shows the first scenes, pixel by pixel
            left = 8 + column * 188
            crop = drawn.convert("RGB").crop((left, 8, left + 128, 136))
            assert crop.tobytes() == Scenes().scene(column).image().tobytes()
        below = drawn.convert("L").crop((8, 140, 188, 154))
    assert below.getextrema()[0] < 128  # a caption stands there
    other = tmp_path / "pairs.png"
    looksay("scenes", "--sheet", other, "--rows", "2", "--columns", "3", "--split", "pairs")
    assert other.read_bytes() != sheet.read_bytes()
    alone = ["--rows", "1", "--columns", "1", "--no-captions", "--start", "3"]
    looksay("scenes", "--sheet", other, *alone)
    with Image.open(other) as drawn:
        assert drawn.tobytes() == Scenes().scene(3).image().tobytes()


def test_the_files_are_read_back(tmp_path: Path) -> None:
    from looksay.data.scenes import Scenes, captions
    from looksay.data.sources import coco_captions, llava_instruct, vqa, webdataset

    for form in ("coco_captions", "llava_instruct", "vqa", "webdataset"):
        done = looksay("scenes", "--write", form, tmp_path / form, "--count", "5", "--start", "7")
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            assert Path(line.removeprefix("Wrote ")).is_file()
    captioned = coco_captions.read(tmp_path / "coco_captions" / "captions.json")
    assert captioned.size == 25
    assert captioned.example(0).conversation.messages[-1].text in captions(Scenes().scene(7))
    talks = llava_instruct.read(tmp_path / "llava_instruct" / "conversations.json")
    assert talks.size == 5
    (image,) = talks.example(0).conversation.images
    assert isinstance(image.source, Path)
    with Image.open(image.source) as written:
        assert written.tobytes() == Scenes().scene(7).image().tobytes()
    folder = tmp_path / "vqa"
    asked = vqa.read(folder / "questions.json", folder / "annotations.json")
    assert asked.size is not None
    assert asked.size >= 10
    assert asked.example(0).conversation.messages[-1].role == "assistant"
    assert webdataset.read(tmp_path / "webdataset").size == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--sheet FILE.png, or --write"),
        (["--sheet", "a.doc"], "no picture file"),
        (["--sheet", "gone/a.png"], "cannot be written"),
        (["--sheet", "a.png", "--split", "tests"], "Known: train, test, pairs, words"),
        (["--write", "coco", "x"], "Known: coco_captions, llava_instruct"),
    ],
)
def test_mistakes_with_scenes_are_told(words: list[str], said: str, tmp_path: Path) -> None:
    done = looksay("scenes", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
