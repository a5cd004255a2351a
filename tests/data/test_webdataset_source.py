"""WebDataset shards: the library reads what is written, and this reads what the library writes."""

from __future__ import annotations

import io
import json
import tarfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import need
from PIL import Image as Pillow

from looksay.data.dataset import Part, problems
from looksay.data.sources import scenes, webdataset
from looksay.errors import InputError
from looksay.types import Example


def png(colour: str = "red") -> bytes:
    stream = io.BytesIO()
    Pillow.new("RGB", (8, 6), colour).save(stream, "PNG")
    return stream.getvalue()


def shard(path: Path, *files: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def drawn(count: int = 6) -> list[Example]:
    part = Part(scenes.read(mix={"caption": 1.0, "questions": 1.0}), 0, count)
    return [part.example(n) for n in range(count)]


def test_captions_and_conversations(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bus."}]
    path = shard(
        tmp_path / "a.tar",
        ("./x/000.PNG", png()),
        ("./x/000.txt", b"Two boats.\n"),
        ("./x/000.cls", b"3"),
        ("001.json", b'{"caption": "A quay."}'),
        ("001.jpg", png()),
        ("002.png", png()),
        ("002.json", json.dumps({"id": "b7", "conversations": turns}).encode()),
    )
    source = webdataset.read(path)
    assert [source.example(n).id for n in range(3)] == ["./x/000", "001", "b7"]
    assert [source.example(n).conversation.messages[-1].text for n in range(3)] == [
        "Two boats.",
        "A quay.",
        "A bus.",
    ]


def test_a_folder_and_a_range_of_shards(tmp_path: Path) -> None:
    for number in range(12):
        data = (f"{number}.png", png()), (f"{number}.txt", b"x")
        shard(tmp_path / f"s-{number:03d}.tar", *data)
    assert [webdataset.read(tmp_path).example(n).id for n in range(12)] == [
        str(n) for n in range(12)
    ]
    some = webdataset.read(tmp_path / "s-{008..010}.tar")
    assert [some.example(n).id for n in range(3)] == ["8", "9", "10"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("0.txt", b"x")], r"a.tar, entry 1 of 1 \(key '0'\): there is no image .*it has \.txt"),
        ([("0.png", png())], r"there is no text \(\.txt or \.json\); it has \.png"),
        ([("0.png", png()), ("0.txt", b" \n")], "the text is empty"),
        ([("0.png", png()), ("0.txt", b"\xff\xfe")], r"0\.txt is not UTF-8"),
        ([("0.png", b"no"), ("0.txt", b"x")], r"the image 0\.png cannot be read"),
        ([("0.png", png()), ("0.json", b"{")], r"0\.json is not JSON"),
        ([("0.png", png()), ("0.json", b'{"title": "x"}')], "there is no 'caption'"),
        ([("0.png", png()), ("0.json", b'{"conversations": 3}')], "should be a list of turns"),
        ([("0.png", png()), ("0.txt", b"x"), ("0.txt", b"y")], "there twice"),
        ([("readme", b"x")], "There is no sample"),
    ],
)
def test_defects_are_named(tmp_path: Path, files: list[tuple[str, bytes]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        webdataset.read(shard(tmp_path / "a.tar", *files)).example(0)


def test_what_is_no_shard_or_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shard"):
        webdataset.read(tmp_path / "none.tar")
    with pytest.raises(InputError, match=r"no \.tar file in"):
        webdataset.read(tmp_path)
    (tmp_path / "a.tar").write_bytes(b"PK\3\4" + bytes(2000))
    with pytest.raises(InputError, match="no tar file, or compressed or damaged"):
        webdataset.read(tmp_path / "a.tar")
    webdataset.write(drawn(), tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    for keep in (0.3, 0.5, 0.7):
        (tmp_path / "b.tar").write_bytes(whole[: int(len(whole) * keep)])
        with pytest.raises(InputError, match=r"cut off|damaged"):
            webdataset.read(tmp_path / "b.tar")


def test_scenes_come_back_as_they_went(tmp_path: Path) -> None:
    examples = drawn(8)
    assert webdataset.write(examples, tmp_path / "s.tar") == 8
    back = webdataset.read(tmp_path / "s.tar")
    assert list(problems(back, decode=True)) == []
    for number, example in enumerate(examples):
        again = back.example(number)
        told = [m.text for m in again.conversation.messages]
        said = [m.text for m in example.conversation.messages]
        assert told[1:] == said[1:]  # a lone question is no part of the format
        if len(said) > 2:
            assert told == said
        ours, theirs = again.conversation.images[0].source, example.conversation.images[0].source
        assert isinstance(ours, bytes)
        assert isinstance(theirs, Pillow.Image)
        assert Pillow.open(io.BytesIO(ours)).tobytes() == theirs.tobytes()


@pytest.mark.filterwarnings("ignore")
def test_the_library_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    need(find_spec("webdataset"), "the reference library is not installed")
    library = import_module("webdataset")
    examples = drawn(5)
    webdataset.write(examples, tmp_path / "ours-000.tar")
    theirs = list(library.WebDataset(str(tmp_path / "ours-000.tar"), shardshuffle=False))
    assert len(theirs) == 5
    for sample, example in zip(theirs, examples, strict=True):
        assert Pillow.open(io.BytesIO(sample["png"])).size == (128, 128)
        if "txt" in sample:
            assert sample["txt"].decode() == example.conversation.messages[1].text
        else:
            talk = json.loads(sample["json"])["conversations"]
            assert talk[-1]["value"] == example.conversation.messages[-1].text

    with library.TarWriter(str(tmp_path / "theirs.tar")) as writer:
        for number in range(3):
            writer.write({"__key__": f"{number:05d}", "jpg": png(), "txt": f"Boat {number}."})
    back = webdataset.read(tmp_path / "theirs.tar")
    assert [back.example(n).conversation.messages[1].text for n in range(3)] == [
        "Boat 0.",
        "Boat 1.",
        "Boat 2.",
    ]


def test_a_failed_write_leaves_the_old_shard_and_nothing_else(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("0.png", png()), ("0.txt", b"x"))
    before = path.read_bytes()
    blind = scenes.read(mix={"listing": 1.0}).example(0)
    with pytest.raises(InputError, match="0 images"):
        webdataset.write([*drawn(2), blind], path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]
