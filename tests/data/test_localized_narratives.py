"""Localized Narratives, in the lines that their page documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

from looksay.data.dataset import problems
from looksay.data.opening import LINE_BYTES, open_source
from looksay.data.sources import localized_narratives as narratives
from looksay.errors import InputError


def line(dataset: str, image: str, caption: str, annotator: int = 93, points: int = 3) -> Any:
    trace = [{"x": 0.2086, "y": -0.0533, "t": n / 100} for n in range(points)]
    return {
        "dataset_id": dataset,
        "image_id": image,
        "annotator_id": annotator,
        "caption": caption,
        "timed_caption": [{"utterance": "In this", "start_time": 0.0, "end_time": 0.4}],
        "traces": [trace],
        "voice_recording": f"{dataset}/{dataset}_{image}_{annotator}.ogg",
    }


LINES = [
    line("mscoco_val2017", "137576", "In this image there are cows. They eat grass. "),
    line("mscoco_val2017", "137576", "Two cows — “friends”.", 12),
    line("Flickr30k_test", "1007129816", "A man in a hat."),
    line("ADE20k_val", "ADE_val_00000001", "A room."),
    line("open_images_val", "0001eeaf4aed83f9", "A plane."),
]
FILES = ("000000137576.jpg", "1007129816.jpg", "ADE_val_00000001.jpg", "0001eeaf4aed83f9.jpg")


def saved(folder: Path, lines: Any = LINES, name: str = "narratives.jsonl") -> Path:
    for number, file in enumerate(FILES):
        put(folder / file, jpeg(number))
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
    return put(folder / name, text)


def test_each_narrative_is_a_description(tmp_path: Path) -> None:
    source = narratives.read(saved(tmp_path))
    assert source.size == 5
    example = source.example(0)
    asked, answer = example.conversation.messages
    assert asked.text == "Describe the image in detail."
    assert answer.text == "In this image there are cows. They eat grass."
    assert example.truth == {
        "dataset_id": "mscoco_val2017",
        "image_id": "137576",
        "annotator_id": 93,
    }
    pictures = [source.example(n).conversation.images[0].source for n in range(5)]
    assert pictures == [tmp_path / name for name in (FILES[0], *FILES)]
    assert source.example(1).conversation.messages[1].text == "Two cows — “friends”."
    assert len({source.example(n).id for n in range(5)}) == 5
    assert list(problems(source, decode=True)) == []


@pytest.mark.parametrize("split", ["train2014", "val2014"])
def test_pictures_of_coco_2014_do_too(tmp_path: Path, split: str) -> None:
    path = saved(tmp_path, LINES[:1])
    name = f"COCO_{split}_{FILES[0]}"
    (tmp_path / FILES[0]).rename(tmp_path / name)
    assert narratives.read(path).example(0).conversation.images[0].source == tmp_path / name


def test_data_knows_it_by_its_content(tmp_path: Path) -> None:
    """Also where the first line is longer than what is looked at, and where captions alone were released."""
    long = line("mscoco_val2017", "137576", "Cows.", points=4000)
    assert len(json.dumps(long)) > LINE_BYTES
    short = {k: LINES[0][k] for k in ("dataset_id", "image_id", "annotator_id", "caption")}
    for first in (LINES[0], long, short):
        source = open_source(str(saved(tmp_path, [first, *LINES[1:]])))
        assert isinstance(source, narratives.LocalizedNarratives)
        assert source.size == 5
        assert list(problems(source)) == []
    path = saved(tmp_path / "lines")
    elsewhere = open_source(str(path), tmp_path)
    assert list(problems(elsewhere)) == []
    assert elsewhere.fingerprint != open_source(str(path)).fingerprint


def test_blank_lines_and_marks_of_windows_say_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path)
    plain = narratives.read(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    again = narratives.read(path)
    assert [again.example(n) for n in range(5)] == [plain.example(n) for n in range(5)]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"caption": "\n"}, r"narratives\.jsonl, entry 2 of 2 \(image_id '137576'\): 'caption' is empty"),
        ({"caption": None}, "'caption' should be text; found null"),
        ({"image_id": 3.5}, "'image_id' should be the picture's name in its data set; found a number"),
        ({"image_id": "1"}, r"the image '000000000001\.jpg' is not in"),
        ({"image_id": "../../etc"}, "leads out of"),
        ({"dataset_id": ""}, "'dataset_id' is empty"),
        ({"annotator_id": "93"}, "'annotator_id' should be a number; found text"),
    ],
)  # fmt: skip
def test_defects_are_named(tmp_path: Path, change: Any, fault: str) -> None:
    source = narratives.read(saved(tmp_path, [LINES[0], LINES[0] | change]))
    (told,) = problems(source)
    with pytest.raises(InputError, match=fault):
        source.example(1)
    assert "entry 2 of 2" in told


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    path = saved(tmp_path)
    for content, fault in (
        (b"", r"narratives\.jsonl is empty; expected one narrative per line"),
        (b'{"dataset_id": "a"}\n{"dataset_id"\n', r"is not JSON: .* in line 2, column"),
        (b'{"dataset_id": "a"}\n\xff\n', r"is not UTF-8 text \(line 2\)"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=fault):
            narratives.read(path)
    with pytest.raises(InputError, match=r"There is no file .*others\.jsonl"):
        narratives.read(tmp_path / "others.jsonl")
    put(path, "[3]\n")
    with pytest.raises(InputError, match="entry 1 of 1: expected an object; found a list"):
        narratives.read(path).example(0)
