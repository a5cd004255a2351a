"""Findings that are kept: no expert looks twice, and what is kept is never wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, picture
from PIL import Image

from looksay.errors import InputError
from looksay.experts.base import Detection, Findings
from looksay.experts.cache import Cached
from looksay.images import load_rgb


class Counting:
    """Finds one thing, and counts how often it looks."""

    name = "counting:model"

    def __init__(self, fingerprint: str = "1") -> None:
        self.fingerprint, self.looks = fingerprint, 0

    def find(self, source: Any) -> Findings:
        self.looks += 1
        size = load_rgb(source).size
        return Findings(size, detections=(Detection(f"thing {self.fingerprint}", (0, 0, 1, 0.1)),))


def test_the_same_picture_is_looked_at_once(tmp_path: Path) -> None:
    expert = Counting()
    cached = Cached(expert, tmp_path / "kept")
    photo = tmp_path / "a.jpg"
    photo.write_bytes(jpeg(1))
    first = cached.find(photo)
    (tmp_path / "b.jpg").write_bytes(jpeg(1))
    assert cached.find(tmp_path / "b.jpg") == cached.find(jpeg(1)) == first
    assert (expert.looks, cached.asked) == (1, 1)
    assert Cached(Counting(), tmp_path / "kept").find(photo) == first
    photo.write_bytes(jpeg(2))
    cached.find(photo)
    cached.find(picture(3))
    cached.find(picture(3))
    assert expert.looks == 3
    assert (cached.name, cached.fingerprint) == ("counting:model", "1")


def test_another_fingerprint_looks_again(tmp_path: Path) -> None:
    assert Cached(Counting("1"), tmp_path).find(jpeg(1)).detections[0].name == "thing 1"
    assert Cached(Counting("2"), tmp_path).find(jpeg(1)).detections[0].name == "thing 2"
    other = Counting("1")
    other.name = "other"
    Cached(other, tmp_path).find(jpeg(1))
    assert other.looks == 1
    # Where a model lies is not what it is: that says the fingerprint.
    moved = Counting("1")
    moved.name = "counting:elsewhere/model"
    Cached(moved, tmp_path).find(jpeg(1))
    assert moved.looks == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"findings": 3}', b"\xff\xfe"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    expert = Counting()
    cached = Cached(expert, tmp_path)
    found = cached.find(jpeg(1))
    (file,) = tmp_path.rglob("*.json")
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert cached.find(jpeg(1)) == found
    assert file.read_bytes() == whole
    assert expert.looks == 2


def test_a_record_that_contradicts_itself_is_made_anew(tmp_path: Path) -> None:
    cached = Cached(Counting(), tmp_path)
    found = cached.find(jpeg(1))
    (file,) = tmp_path.rglob("*.json")
    file.write_text(file.read_text().replace("0.1", "1.1"))
    assert cached.find(jpeg(1)) == found


def test_errors_are_not_kept(tmp_path: Path) -> None:
    class Failing(Counting):
        def find(self, source: Any) -> Findings:
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        Cached(Failing(), tmp_path / "kept").find(jpeg(1))
    assert not (tmp_path / "kept").exists()
    with pytest.raises(InputError, match=r"none.jpg cannot be read: No such file"):
        Cached(Counting(), tmp_path / "kept").find(tmp_path / "none.jpg")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"Findings cannot be kept in .*Choose a folder"):
        Cached(Counting(), tmp_path / "file").find(jpeg(1))


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from experts.test_cached import Counting
from looksay.experts.cache import Cached
from pictures import jpeg
cached = Cached(Counting(), Path(sys.argv[1]))
for _ in range(3):
    for seed in range(40):
        found = cached.find(jpeg(seed))
        assert found.detections[0].name == "thing 1" and found.size_px == (96, 72)
print(cached.asked)
"""


@pytest.mark.slow
def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Three at once, on the same pictures: every answer is whole, and nothing unfinished stays."""
    tests = str(Path(__file__).parents[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path / "kept"), tests],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for one in running:
        out, err = one.communicate(timeout=120)
        assert one.returncode == 0, err
        assert int(out) <= 40
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert len(files) == 40
    assert {path.suffix for path in files} == {".json"}


def test_a_decoded_picture_is_known_by_its_pixels(tmp_path: Path) -> None:
    expert = Counting()
    cached = Cached(expert, tmp_path)
    cached.find(Image.new("RGB", (8, 4), "red"))
    cached.find(Image.new("RGB", (8, 4), "red"))
    cached.find(Image.new("RGB", (4, 8), "red"))
    assert expert.looks == 2
