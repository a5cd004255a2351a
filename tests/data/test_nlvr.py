"""NLVR in its released layout: a model trains on the very words that the benchmark asks."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from pictures import encoded, picture, put

from looksay.data.dataset import problems
from looksay.data.opening import open_source
from looksay.data.sources import llava_instruct, nlvr
from looksay.errors import InputError
from looksay.evaluation.benchmarks import nlvr as benchmark
from looksay.types import Image

ROWS: list[dict[str, Any]] = [
    {
        "sentence": "There is a tower with four blocks.",
        "label": "true",
        "identifier": "3125-0",
        "directory": "2",
        "evals": {"r1": "true"},
        "structured_rep": [[{"y_loc": 80, "type": "square", "color": "Yellow"}], [], []],
    },
    {
        "sentence": "There is a tower with four blocks.",
        "label": "false",
        "identifier": "3125-1",
        "directory": "2",
        "evals": {},
        "structured_rep": [[], [], []],
    },
]


def drawn(folder: Path, split: str = "dev", name: str = "") -> Path:
    """The file of a split, its pictures in images/{directory}/ beside it, as lil-lab/nlvr has them."""
    for row in ROWS:
        for order in range(6):
            file = f"{split}-{row['identifier']}-{order}.png"
            path = folder / split / "images" / row["directory"] / file
            put(path, encoded(picture(order, (40, 10)), "PNG"))
    return saved(folder / split / (name or f"{split}.json"), ROWS)


def saved(path: Path, rows: list[dict[str, Any]]) -> Path:
    put(path, "".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_picture_is_asked_about_and_answered(tmp_path: Path) -> None:
    source = nlvr.read(drawn(tmp_path))
    assert source.size == 12
    example = source.example(7)
    asked, answer = example.conversation.messages
    image, words = asked.parts
    assert isinstance(image, Image)
    assert Path(str(image.source)) == tmp_path / "dev" / "images" / "2" / "dev-3125-1-1.png"
    assert words == (
        "Is this sentence true or false of the picture?\n"
        '"There is a tower with four blocks."\nAnswer with true or false.'
    )
    assert (answer.role, answer.text) == ("assistant", "false")
    assert (example.id, example.truth) == ("dev-3125-1-1", {"answer": False, "about": "dev-3125"})
    assert [source.example(n).conversation.messages[1].text for n in (0, 5, 6)] == [
        "true",
        "true",
        "false",
    ]


def test_what_is_learned_is_what_the_benchmark_asks(tmp_path: Path) -> None:
    source = nlvr.read(drawn(tmp_path))
    items = benchmark.read(tmp_path)
    examples = [source.example(n) for n in range(source.size or 0)]
    assert [item.conversation.messages for item in items] == [
        example.conversation.messages[:1] for example in examples
    ]
    said = [example.conversation.messages[1].text for example in examples]
    assert all(text in item.choices for text, item in zip(said, items, strict=True))
    assert said == [item.kind for item in items]


@pytest.mark.parametrize("name", ["dev.json", "dev.jsonl"])
def test_it_is_known_by_its_first_line(tmp_path: Path, name: str) -> None:
    path = drawn(tmp_path, name=name)
    path.write_text(f"\n{path.read_text('utf-8')}", "utf-8")
    source = open_source(str(path))
    assert isinstance(source, nlvr.Nlvr)
    assert list(problems(source, decode=True)) == []
    moved = path.rename(tmp_path / name)
    with pytest.raises(InputError, match="which is no folder"):
        open_source(str(moved)).example(0)
    assert open_source(str(moved), tmp_path / "dev" / "images").example(0).id == "dev-3125-0-0"


def test_lines_of_other_kinds_are_not_taken_for_it(tmp_path: Path) -> None:
    talk = {"id": "a", "conversations": [{"from": "human", "value": "Why?"}]}
    path = saved(tmp_path / "talks.jsonl", [talk])
    assert isinstance(open_source(str(path)), llava_instruct.LlavaInstruct)
    pairs = [{k: v for k, v in ROWS[0].items() if k != "directory"} | {"left_url": "https://…"}]
    path = saved(tmp_path / "train.jsonl", pairs)  # NLVR2's
    assert isinstance(open_source(str(path)), llava_instruct.LlavaInstruct)
    path.write_text('{"sentence": "cut', "utf-8")
    with pytest.raises(InputError, match="is not JSON"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "True"}, r"dev\.json, entry 2 of 2 .*'label' should be true or false"),
        ({"identifier": "3125"}, "'identifier' should be two numbers"),
        ({"directory": "7"}, r"'7/dev-3125-1-0\.png' is not in .*images"),
        ({"directory": "../2"}, "leads out of"),
        ({"sentence": " "}, "'sentence' is empty"),
        ({"sentence": None}, "'sentence' should be text; found null"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = saved(drawn(tmp_path), [ROWS[0], ROWS[1] | change])
    source = nlvr.read(path)
    assert source.example(0).id == "dev-3125-0-0"
    with pytest.raises(InputError, match=said):
        source.example(6)
    assert len(list(problems(source))) == 6


def test_a_line_twice_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"entry 3 of 3 \(identifier '3125-0'\).* before"):
        nlvr.read(saved(drawn(tmp_path), [*ROWS, ROWS[0]]))
    with pytest.raises(InputError, match="expected at least one entry"):
        nlvr.read(saved(tmp_path / "none.json", []))


def test_another_file_other_pictures_or_split_is_another_source(tmp_path: Path) -> None:
    path = drawn(tmp_path)
    images = path.parent / "images"
    first = {nlvr.read(path).fingerprint, nlvr.read(path, images, "dev").fingerprint}
    others = {nlvr.read(path, tmp_path).fingerprint, nlvr.read(path, split="test").fingerprint}
    others.add(nlvr.read(saved(path, ROWS[:1])).fingerprint)
    assert len(first) == 1
    assert len(first | others) == 4


def test_dev_and_the_part_of_test_whose_pictures_are_there(
    shared_data: Path, tmp_path: Path
) -> None:
    """As docs/data.md says: the lines whose pictures one has are a file of their own."""
    folder = shared_data / "nlvr"
    with zipfile.ZipFile(folder / "images.zip") as pictures:
        pictures.extractall(tmp_path)  # nlvr/dev/images/0 to 5, nlvr/test/images/0
    dev = tmp_path / "nlvr" / "dev" / "dev.json"
    dev.write_bytes((folder / "dev.jsonl").read_bytes())
    source = open_source(str(dev))
    assert source.size == 6 * 989
    assert list(problems(source)) == []
    said = [source.example(n).conversation.messages[1].text for n in range(0, source.size, 6)]
    assert (said.count("true"), said.count("false")) == (547, 442)

    lines = (folder / "test.jsonl").read_text("utf-8").splitlines(keepends=True)
    test = tmp_path / "nlvr" / "test" / "test.json"
    test.write_text("".join(lines), "utf-8")
    with pytest.raises(InputError, match=r"entry 1 of 990 .*'2/test-3776-0-0\.png' is not in"):
        benchmark.read(tmp_path / "nlvr", "test")
    test.write_text("".join(line for line in lines if '"directory":"0"' in line), "utf-8")
    items = benchmark.read(tmp_path / "nlvr", "test")
    assert len(items) == 6 * 143
    assert sum(item.kind == "true" for item in items) == 6 * 84


@pytest.mark.slow
@pytest.mark.local
def test_it_can_be_trained_on_and_then_measured(tmp_path: Path) -> None:
    for package in ("torch", "peft", "matplotlib"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    from typer.testing import CliRunner

    from looksay.cli import app

    data, out = str(drawn(tmp_path / "nlvr")), str(tmp_path / "model")
    words = ["train", "llava15", "--data", data, "--size", "tiny", "--steps", "3", "--batch", "4"]
    done = CliRunner().invoke(app, [*words, "--out", out, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    words = ["evaluate", f"local:{out}", "--on", "nlvr", "--data", str(tmp_path)]
    words += ["--mode", "likelihood", "--out", str(tmp_path / "figures"), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert '"asked": 12' in done.output
