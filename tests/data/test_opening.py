"""What docs/data.md shows is read as it stands there, and `--data` knows each format by its content."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow

from looksay.data.dataset import Part, problems
from looksay.data.grounding import FORM
from looksay.data.opening import open_source
from looksay.data.sources import (
    coco_captions,
    llava_instruct,
    localized_narratives,
    nlvr,
    preferences,
    refcoco,
    scenes,
    scienceqa,
    visual_genome,
    vqa,
    webdataset,
)
from looksay.errors import InputError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text("utf-8")
NAMES = (  # of the page's JSON blocks, in their order
    "conversations.json",
    "faulty.json",
    "captions.json",
    "v2_OpenEnded_mscoco_train2014_questions.json",
    "v2_mscoco_train2014_annotations.json",
    "problems.json",
    "dev.json",
    "refs(unc).json",
    "instances.json",
    "region_descriptions.json",
    "image_data.json",
    "narratives.jsonl",
    "preferences.jsonl",
)
SHOWN = dict(zip(NAMES, re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S), strict=True))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with the page's records, and the images that they name."""
    folder = tmp_path / "mine"
    (folder / "images" / "2").mkdir(parents=True)
    for order in range(nlvr.ORDERS):
        Pillow.new("RGB", (8, 6)).save(folder / "images" / "2" / f"dev-3125-1-{order}.png")
    for name in (
        "images/harbour.jpg",
        "images/market.jpg",
        "harbour.jpg",
        "COCO_train2014_000000000042.jpg",
        "1.jpg",
    ):
        Pillow.new("RGB", (8, 6), "red").save(folder / name)
    (folder / "images" / "notes.jpg").write_text("no picture")
    for name, body in SHOWN.items():
        (folder / name).write_text(body, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("conversations.json", llava_instruct.LlavaInstruct, 3),
        ("captions.json", coco_captions.CocoCaptions, 2),
        ("v2_OpenEnded_mscoco_train2014_questions.json", vqa.Vqa, 1),
        ("problems.json", scienceqa.ScienceQa, 1),
        ("dev.json", nlvr.Nlvr, 6),
        ("refs(unc).json", refcoco.RefCoco, 4),
        ("region_descriptions.json", visual_genome.VisualGenome, 2),
        ("narratives.jsonl", localized_narratives.LocalizedNarratives, 1),
        ("preferences.jsonl", preferences.Preferences, 1),
        (".", scienceqa.ScienceQa, 1),
    ],
)
def test_each_shown_record_is_known_by_its_content(
    mine: Path, name: str, kind: type, size: int
) -> None:
    source = open_source(str(mine / name))
    assert type(source) is kind
    assert source.size == size
    assert list(problems(source, decode=True)) == []


def test_the_shown_questions_about_boxes_are_the_real_ones(mine: Path) -> None:
    """And conversations that have such keys of their own stay conversations."""
    rows = re.findall(r"^\| (?:phrase|box) to (?:box|phrase) \| (.*) \| (.*) \|$", PAGE, re.M)
    source = refcoco.read(mine / "refs(unc).json")
    first = [source.example(n).conversation.messages for n in range(2)]
    said = [(m[0].text.removeprefix(f"{FORM} "), m[1].text) for m in first]
    assert said == rows
    entry = {"objects": [], **json.loads(SHOWN["conversations.json"])[2]}
    (mine / "mine.json").write_text(json.dumps([entry]), "utf-8")
    assert isinstance(open_source(str(mine / "mine.json")), llava_instruct.LlavaInstruct)


def test_scenes_shards_and_lines(tmp_path: Path) -> None:
    source = open_source("scenes", seed=5, split="test")
    assert source.example(3).id.startswith("1-test-5-3-")
    drawn = Part(scenes.read(mix={"caption": 1.0}), 0, 3)
    webdataset.write([drawn.example(n) for n in range(3)], tmp_path / "shards" / "a.tar")
    assert open_source(str(tmp_path / "shards")).size == 3
    assert open_source(str(tmp_path / "shards" / "a.tar")).size == 3
    lines = tmp_path / "chats.jsonl"
    lines.write_text("".join(json.dumps(e) + "\n" for e in json.loads(SHOWN["conversations.json"])))
    assert open_source(str(lines)).size == 3


def test_what_is_nothing_of_these(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"weather": 3}')
    with pytest.raises(InputError, match=r"an object with weather\. Expected: scenes; LLaVA"):
        open_source(str(tmp_path / "x.json"))
    (tmp_path / "one.json").write_text(
        json.dumps(json.loads(SHOWN["conversations.json"])[0], indent=2)
    )
    with pytest.raises(InputError, match=r"one\.json: .*Put it in a list: \[ … \]"):
        open_source(str(tmp_path / "one.json"))
    with pytest.raises(InputError, match=r"no file .*y\.json"):
        open_source(str(tmp_path / "y.json"))
    (tmp_path / "questions.json").write_text('{"questions": []}')
    with pytest.raises(InputError, match=r"looked for in .*annotations\.json, which is not there"):
        open_source(str(tmp_path / "questions.json"))


def test_the_shown_errors_are_the_real_ones(mine: Path) -> None:
    (shown,) = re.findall(r"^```text\n(faulty.*?)^```", PAGE, re.M | re.S)
    said = "\n".join(problems(llava_instruct.read(mine / "faulty.json"))) + "\n"
    said = said.replace(str(mine / "faulty.json"), "faulty.json").replace(str(mine), "mine")
    assert said.replace(os.sep, "/") == shown


def test_the_shown_python_runs(mine: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    (mine / "images" / "market.jpg").unlink()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=mine.parent, capture_output=True, text=True, check=True
    )
    assert "entry 2 of 3 (id 'pair-1'): the image 'images/market.jpg' is not in mine" in done.stdout
    assert len(done.stdout.splitlines()) == 1
