"""Frames of real videos: how many, which, upright, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from looksay.errors import InputError
from looksay.video import frames

av = pytest.importorskip("av", reason="needs the extra video")


def video(path: Path, count: int) -> Path:
    """Frame number n is grey of the value 5 n + 20, with a white upper left quarter."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.gop_size, stream.bit_rate = 12, 4_000_000
        for number in range(count):
            pixels = np.full((48, 64, 3), 5 * number + 20, np.uint8)
            pixels[:24, :32] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def numbers(found: list) -> list[int]:
    greys = [np.asarray(image.source)[40, 50].mean() for image in found]
    return [round((grey - 20) / 5) for grey in greys]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_frames_lie_at_even_distances(tmp_path: Path, suffix: str) -> None:
    path = video(tmp_path / f"a.{suffix}", 40)
    assert numbers(frames(path, 8)) == [0, 5, 10, 15, 20, 25, 30, 35]
    assert numbers(frames(path, 3)) == [0, 13, 26]
    assert numbers(frames(path, 1)) == [0]


def test_a_short_video_gives_each_frame_once(tmp_path: Path) -> None:
    assert numbers(frames(video(tmp_path / "a.mp4", 3), 8)) == [0, 1, 2]


def test_frames_are_pictures_of_the_videos_size(tmp_path: Path) -> None:
    (first, *_) = frames(video(tmp_path / "a.mp4", 4), 2)
    assert isinstance(first.source, Pillow.Image)
    assert first.source.size == (64, 48)
    assert first.source.mode == "RGB"
    assert np.asarray(first.source)[5, 5].mean() > 240


def test_a_video_that_was_filmed_lying_is_put_upright(tmp_path: Path) -> None:
    """The matrix of a phone held upright: what is stored is shown a quarter turn clockwise."""
    path = video(tmp_path / "a.mp4", 2)
    data = path.read_bytes()
    place = data.index(b"tkhd") + 4 + 40  # the matrix, nine numbers of 32 bits
    assert struct.unpack(">9i", data[place : place + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    turned = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 2**30)
    path.write_bytes(data[:place] + turned + data[place + 36 :])
    picture = frames(path, 1)[0].source
    assert picture.size == (48, 64)
    assert np.asarray(picture)[5, 43].mean() > 240
    assert np.asarray(picture)[5, 5].mean() < 100


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no video"):
        frames(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(InputError, match="cannot be read as a video"):
        frames(tmp_path / "text.mp4")
    Pillow.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert len(frames(tmp_path / "a.png")) == 1  # a picture is a video of one frame
    whole = video(tmp_path / "a.mkv", 40).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    assert 1 <= len(frames(tmp_path / "cut.mkv", 8)) <= 8
    with pytest.raises(InputError, match="expected 1 or more"):
        frames(tmp_path / "a.mkv", 0)


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            out.mux(packet)
    with pytest.raises(InputError, match="holds no video"):
        frames(path)
