"""METEOR and SPICE: what surrounds the Java programs, with programs of our own in their place, and METEOR
itself against the reference's figures where the extra is installed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from looksay.errors import InputError, MissingDependency
from looksay.evaluation.metrics import coco_java
from looksay.evaluation.metrics.coco_java import JavaScores, meteor, spice

CAPTIONS = [["a", "dog"], [], ["two", "cats"], ["a", "bus"]]
REFERENCES = [[["a", "dog"]], [["a", "bird"]], [["two", "dogs"], []], [[], []]]

CHILD = """
import pathlib, sys, time
while True:
    with open(sys.argv[1], "a") as file:
        file.write(".")
    time.sleep(0.02)
"""
METEOR = """
import subprocess, sys, time
mode, child, beats = sys.argv[1:4]
subprocess.Popen([sys.executable, child, beats])
scores = []
for line in sys.stdin:
    kind, *fields = line.rstrip("\\n").split(" ||| ")
    if mode == "hang":
        time.sleep(600)
    if mode == "crash":
        print("Error: specify Meteor stats", file=sys.stderr)
        sys.exit(1)
    if kind == "SCORE":
        *references, caption = fields
        print(float(caption in references) if mode == "ok" else "what?", flush=True)
    else:
        for field in [*fields, "0.25"]:
            print(field, flush=True)
"""
SPICE = """
import json, subprocess, sys, time
mode, child, beats, source = sys.argv[1:5]
subprocess.Popen([sys.executable, child, beats])
if mode == "hang":
    time.sleep(600)
if mode == "crash":
    sys.exit("java.lang.OutOfMemoryError")
rows = json.load(open(source))
said = [
    {"image_id": r["image_id"], "scores": {"All": {"f": float(r["test"] in r["refs"]) or None}}}
    for r in rows
]
if mode == "fewer":
    said.pop()
json.dump(said, open(sys.argv[sys.argv.index("-out") + 1], "w"))
"""


class Fake:
    """A scorer of our own, which starts a child that leaves a mark every 20 ms for as long as it lives."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.beats = folder, folder / "beats"
        (folder / "child.py").write_text(CHILD)
        (folder / "scorer.py").write_text(program)

    def command(self, mode: str) -> list[str]:
        program, child = self.folder / "scorer.py", self.folder / "child.py"
        return [sys.executable, str(program), mode, str(child), str(self.beats)]

    def is_silent(self) -> bool:
        before = self.beats.read_bytes() if self.beats.exists() else b""
        time.sleep(0.3)
        return before == (self.beats.read_bytes() if self.beats.exists() else b"")


def test_meteor_skips_the_empty_and_counts_them(tmp_path: Path) -> None:
    fake = Fake(tmp_path, METEOR)
    found = meteor(CAPTIONS, REFERENCES, command=fake.command("ok"))
    assert found == JavaScores((1.0, None, 0.0, None), 0.25, 2)
    assert fake.is_silent()


def test_spice_skips_the_empty_and_what_has_no_figure(tmp_path: Path) -> None:
    fake = Fake(tmp_path, SPICE)
    found = spice(CAPTIONS, REFERENCES, command=fake.command("ok"))
    assert found == JavaScores((1.0, None, None, None), 1.0, 3)
    assert fake.is_silent()


@pytest.mark.parametrize(
    ("program", "mode", "message"),
    [
        (METEOR, "crash", "METEOR broke off.*specify Meteor stats"),
        (METEOR, "garbage", "METEOR broke off.*could not convert"),
        (SPICE, "crash", "SPICE broke off.*status 1.*OutOfMemoryError"),
        (SPICE, "fewer", "asked of 2 captions and answered of 1"),
    ],
)
def test_a_scorer_that_fails_is_an_error_and_leaves_nothing_running(
    tmp_path: Path, program: str, mode: str, message: str
) -> None:
    fake = Fake(tmp_path, program)
    with pytest.raises(InputError, match=message):
        (meteor if program is METEOR else spice)(CAPTIONS, REFERENCES, command=fake.command(mode))
    assert fake.is_silent()


@pytest.mark.parametrize("program", [METEOR, SPICE], ids=["meteor", "spice"])
def test_a_scorer_that_hangs_is_stopped_with_its_children(tmp_path: Path, program: str) -> None:
    fake = Fake(tmp_path, program)
    score = meteor if program is METEOR else spice
    began = time.monotonic()
    with pytest.raises(InputError, match="had not answered after 2 s"):
        score(CAPTIONS, REFERENCES, command=fake.command("hang"), timeout_s=2)
    assert time.monotonic() - began < 60
    assert fake.beats.exists(), "the child had begun"
    assert fake.is_silent()


def test_a_set_of_empty_captions_starts_nothing() -> None:
    nobody = ["no-such-program"]
    empty = JavaScores((None, None), None, 2)
    assert meteor([[], []], [[["a"]], [["b"]]], command=nobody) == empty
    assert spice([[], ["a"]], [[["a"]], [[]]], command=nobody) == empty


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be started"):
        meteor([["a"]], [[["a"]]], command=[str(tmp_path / "nothing")])
    with pytest.raises(InputError, match="1 captions, but references of 0"):
        spice([["a"]], [])
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "pycocoevalcap", raising=False)
    with pytest.raises(MissingDependency, match=r"\.\[coco-java\]"):
        meteor([["a"]], [[["a"]]])
    package = tmp_path / "pycocoevalcap"
    (package / "spice").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(InputError, match="get_stanford_models"):
        spice([["a"]], [[["a"]]])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no java on the PATH"):
        meteor([["a"]], [[["a"]]])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clipscore-example/good", "caption-coco80/given"])
def test_meteor_is_the_reference_s(shared_data: Path, name: str) -> None:
    pytest.importorskip("pycocoevalcap", reason="the extra coco-java is not installed")
    if not coco_java.shutil.which("java"):
        pytest.skip("there is no Java on this machine")
    folder = shared_data.parent / "golden" / name
    tokens = json.loads((folder / "ptb_tokens.json").read_text("utf-8"))
    golden = json.loads((folder / "golden.json").read_text("utf-8"))
    keys = list(golden["per_sample"])
    found = meteor(
        [tokens["candidates"][key][0].split() for key in keys],
        [[one.split() for one in tokens["references"][key]] for key in keys],
    )
    assert found.skipped == 0
    assert found.corpus == pytest.approx(golden["overall"]["METEOR"], abs=1e-6)
    expected = [golden["per_sample"][key]["METEOR"] for key in keys]
    assert list(found.scores) == pytest.approx(expected, abs=1e-6)
