"""LLaVA's JSON: read as released, written as released, and each defect named with its entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from looksay.data.dataset import Part, problems
from looksay.data.sources import llava_instruct, scenes
from looksay.errors import InputError
from looksay.types import Image

HUMAN, GPT = {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A bus."}
BUS = {"id": "000000033471", "image": "coco/bus.jpg", "conversations": [HUMAN, GPT]}


def talk(*turns: Any, **more: Any) -> dict[str, Any]:
    return {"id": "x7", "conversations": list(turns), **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "coco").mkdir()
    Pillow.new("RGB", (8, 6), "red").save(tmp_path / "coco" / "bus.jpg")
    Pillow.new("RGB", (8, 6), "blue").save(tmp_path / "coco" / "car.png")
    (tmp_path / "coco" / "notes.jpg").write_text("no picture")
    return tmp_path


def saved(folder: Path, content: Any) -> Path:
    path = folder / "chats.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_the_released_kinds_of_entries(folder: Path) -> None:
    text_only = talk({"from": "gpt", "value": "(left out)"}, {"from": "human", "value": "Hi"}, GPT)
    two = talk(
        {"from": "human", "value": "<image>\n<image>\nWhich is red?"},
        {"from": "gpt", "value": "The first."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes."},
        image=["coco/bus.jpg", "coco/car.png"],
    )
    source = llava_instruct.read(saved(folder, [BUS, text_only, two]))
    assert source.size == 3
    assert list(problems(source, decode=True)) == []
    first, second, third = (source.example(n) for n in range(3))
    assert first.id == "000000033471"
    image, words = first.conversation.messages[0].parts
    assert isinstance(image, Image)
    assert image.source == folder / "coco" / "bus.jpg"
    assert words == "What is it?"
    assert first.conversation.messages[1].text == "A bus."
    assert [m.text for m in second.conversation.messages] == ["Hi", "A bus."]
    assert [m.role for m in third.conversation.messages] == ["user", "assistant"] * 2
    assert len(third.conversation.images) == 2


def test_json_lines_and_a_folder_of_images(folder: Path) -> None:
    path = folder / "elsewhere" / "chats.jsonl"
    path.parent.mkdir()
    path.write_text(f"{json.dumps(BUS)}\n\n{json.dumps(BUS)}\n", "utf-8")
    assert llava_instruct.read(path, images=folder).size == 2
    assert llava_instruct.read(path, images=folder).example(1).conversation.images


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (talk(HUMAN, GPT, image="coco/bas.jpg"), r"'coco/bas.jpg' is not in .*Near names there: bus.jpg"),
        (talk(HUMAN, GPT, image="coco/notes.jpg"), r"notes.jpg cannot be read: not a picture"),
        (talk(HUMAN, GPT, image="https://x.org/a.jpg"), "is an address"),
        (talk(HUMAN, image="coco/bus.jpg"), "there is no answer: .*'gpt'; found human"),
        (talk(), "there is no answer: .*found no turns"),
        (talk(HUMAN, {"from": "bot", "value": "x"}, image="coco/bus.jpg"), "turn 2 is from 'bot'; expected 'human'"),
        (talk(HUMAN, HUMAN, GPT, image="coco/bus.jpg"), "do not alternate: 'human' where 'gpt'"),
        (talk(HUMAN, GPT), "0 images in 'image', but 1 times <image>"),
        (talk(HUMAN, GPT, image=["coco/bus.jpg", "coco/car.png"]), "2 images in 'image', but 1 times.*Write <image>"),
        (talk(HUMAN, {"from": "gpt", "value": "<image>"}, image="coco/bus.jpg"), "turn that is not human"),
        (talk(HUMAN, {"from": "gpt", "value": " "}, image="coco/bus.jpg"), "turn 2 .* empty 'value'"),
        (talk(HUMAN, {"from": "gpt", "value": 3}, image="coco/bus.jpg"), "'value' should be text; found a number"),
        (talk(HUMAN, {"form": "gpt", "value": "x"}, image="coco/bus.jpg"), "no 'from'.*Did you mean 'form'"),
        (talk(HUMAN, GPT, image=7), "'image' should be a file name"),
        (talk(HUMAN, GPT, image=""), "'image' should be a file name"),
        ({"id": "x7", "conversation": []}, "no 'conversations'.*Did you mean 'conversation'"),
        ({"id": "x7", "conversations": "hi"}, "'conversations' should be a list of turns; found text"),
    ],
)  # fmt: skip
def test_each_defect_names_its_entry(folder: Path, entry: Any, said: str) -> None:
    path = saved(folder, [BUS, entry])
    (problem,) = problems(llava_instruct.read(path))
    with pytest.raises(InputError, match=said):
        raise InputError(problem)
    assert problem.startswith(f"{path}, entry 2 of 2 (id 'x7'): ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"id": 1,}]', "is not JSON: .* in line 1, column"),
        ('{"id": 1}\n{"id": 2}', r"name the file \.jsonl"),
        ({"data": []}, "expected the file to be a list of entries; found an object"),
        (BUS, r"found an object .*\. One entry\? Put it in a list: \[ … \]"),
        ("null", r"found null\.$"),
        ([], "empty list"),
    ],
)
def test_a_file_that_is_none_of_these(folder: Path, content: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        llava_instruct.read(saved(folder, content))


def test_a_missing_file_and_a_missing_folder(folder: Path) -> None:
    saved(folder, [BUS])
    with pytest.raises(InputError, match=r"no file .*Near names there: chats\.json"):
        llava_instruct.read(folder / "chat.json")
    source = llava_instruct.read(folder / "chats.json", images=folder / "nowhere")
    with pytest.raises(
        InputError, match=r"nowhere, which is no folder\. Name the folder with --images"
    ):
        source.example(0)
    (folder / "nowhere").mkdir()
    with pytest.raises(InputError, match=r"is not in .*nowhere\. Name the folder with --images\.$"):
        source.example(0)


def test_a_cut_off_image_is_found_by_decoding(folder: Path) -> None:
    noisy = Pillow.effect_noise((64, 64), 90).convert("RGB")
    noisy.save(folder / "coco" / "car.png")
    whole = (folder / "coco" / "car.png").read_bytes()
    (folder / "coco" / "car.png").write_bytes(whole[: len(whole) // 2])
    source = llava_instruct.read(saved(folder, [BUS, talk(HUMAN, GPT, image="coco/car.png")]))
    assert list(problems(source)) == []
    assert [p.split(":")[0] for p in problems(source, decode=True)] == ["Example x7"]


def test_scenes_come_back_as_they_went(tmp_path: Path) -> None:
    mix = {"description": 1.0, "questions": 1.0, "listing": 1.0}
    drawn = Part(scenes.read(mix=mix), 0, 12)  # type: ignore[arg-type]
    examples = [drawn.example(n) for n in range(12)]
    path = tmp_path / "scenes.json"
    assert llava_instruct.write(examples, path) == 12
    back = llava_instruct.read(path)
    assert back.size == 12
    for number, example in enumerate(examples):
        again = back.example(number)
        assert again.id == example.id
        assert [(m.role, m.text) for m in again.conversation.messages] == [
            (m.role, m.text) for m in example.conversation.messages
        ]
        for ours, theirs in zip(
            again.conversation.images, example.conversation.images, strict=True
        ):
            assert isinstance(ours.source, Path)
            assert isinstance(theirs.source, Pillow.Image)
            assert Pillow.open(ours.source).tobytes() == theirs.source.tobytes()


def test_llavas_own_training_would_take_what_is_written(tmp_path: Path) -> None:
    """What LLaVA's train.py does with an entry, step by step (LazySupervisedDataset, preprocess_v1)."""
    path = tmp_path / "scenes.json"
    drawn = scenes.read(mix={"questions": 1.0})
    llava_instruct.write([drawn.example(n) for n in range(5)], path)
    for entry in json.loads(path.read_text("utf-8")):
        with Pillow.open(tmp_path / entry["image"]) as image:
            assert image.convert("RGB").size == (128, 128)
        for turn, sentence in enumerate(entry["conversations"]):
            assert set(sentence) == {"from", "value"}
            assert sentence["from"] == ("human", "gpt")[turn % 2]
            assert sentence["value"].count("<image>") == (turn == 0)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    path.write_text("old")
    with pytest.raises(InputError, match="nothing to write"):
        llava_instruct.write([], path)
    assert path.read_text() == "old"
