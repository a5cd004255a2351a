"""Thumbnails: made once, of exactly the photo that was scanned."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from pictures import jpeg, put
from PIL import Image as Pillow

from looksay.errors import InputError, UnreadablePhoto
from looksay.library.thumbnails import SIZES, Thumbnails


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_thumbnail_is_made_once(tmp_path: Path) -> None:
    photo = put(tmp_path / "a.jpg", jpeg(1, (2000, 1000)))
    kept = Thumbnails(tmp_path / "cache")
    sha = digest(photo)
    for size, side in SIZES.items():
        assert kept.kept(sha, size) is None
        data = kept.get(photo, sha, size)
        assert Pillow.open(io.BytesIO(data)).size == (side, side // 2)
        assert kept.kept(sha, size) == data
    photo.unlink()
    assert kept.get(photo, sha, "large"), "the file is not asked for again"
    assert kept.made == len(SIZES)
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_no_other_picture_is_shown_in_its_place(tmp_path: Path) -> None:
    photo = put(tmp_path / "a.jpg", jpeg(1))
    sha = digest(photo)
    kept = Thumbnails(tmp_path / "cache")
    put(photo, jpeg(2))
    with pytest.raises(UnreadablePhoto, match="changed since the last scan"):
        kept.get(photo, sha, "small")
    photo.unlink()
    with pytest.raises(UnreadablePhoto, match="gone"):
        kept.get(photo, sha, "small")
    broken = put(tmp_path / "b.jpg", b"no picture")
    with pytest.raises(UnreadablePhoto, match="not a picture"):
        kept.get(broken, digest(broken), "small")


def test_a_thumbnail_that_is_cut_off_on_disk_is_made_anew(tmp_path: Path) -> None:
    photo = put(tmp_path / "a.jpg", jpeg(1))
    kept = Thumbnails(tmp_path / "cache")
    kept.get(photo, digest(photo), "small")
    (found,) = (tmp_path / "cache").rglob("*.jpg")
    found.write_bytes(b"")
    assert kept.get(photo, digest(photo), "small").startswith(b"\xff\xd8")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    photo = put(tmp_path / "a.jpg", jpeg(1))
    put(tmp_path / "cache", "a file")
    with pytest.raises(InputError, match="--cache DIR"):
        Thumbnails(tmp_path / "cache").get(photo, digest(photo), "small")
