"""Pictures out of videos: frames at even distances (needs the extra `video`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from looksay.errors import InputError, MissingDependency, plainly
from looksay.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

FRAMES = 8
"""Frames of a video that BLIP looks at in retrieval (the paper, section 5.6; 16 for questions)."""


def frames(path: Path, count: int = FRAMES) -> list[Image]:
    """`count` frames (fewer where the video has fewer): numbers 0, n/count, 2n/count … of its n frames, upright.

    Read one after the other, since seeking lands on key frames only; frames are counted first where the file does
    not say how many it has. Raises InputError where there is no video in the file, or it cannot be read.
    """
    if count < 1:
        raise InputError(f"{count} frames were asked for; expected 1 or more.")
    try:
        import av
    except ImportError as error:
        raise MissingDependency("Reading videos", "video", error.name or "av") from error
    try:
        with av.open(str(path)) as opened:
            if not opened.streams.video:
                raise InputError(f"{path} holds no video.")
            told = int(opened.streams.video[0].frames)
        found = _chosen(av, path, count, told or _counted(av, path))
        if told and len(found) < min(count, told):  # the file promised more than it holds
            found = _chosen(av, path, count, _counted(av, path))
    except FileNotFoundError as error:
        raise InputError(f"There is no video {path}.") from error
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be read as a video: {error}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
    if not found:
        raise InputError(f"{path} holds no frame that can be read.")
    return [Image(picture) for picture in found]


def _chosen(av: Any, path: Path, count: int, total: int) -> list[Pillow]:
    wanted = {number * total // count for number in range(count)}
    kept = []
    for number, frame in enumerate(_read(av, path)):
        if number in wanted:
            picture = frame.to_image()
            # A phone held upright films lying, and says so; PIL turns against the clock, as FFmpeg counts.
            turn = int(getattr(frame, "rotation", 0)) % 360
            kept.append(picture.rotate(turn, expand=True) if turn else picture)
        if number >= max(wanted, default=0):
            break
    return kept


def _counted(av: Any, path: Path) -> int:
    return sum(1 for _ in _read(av, path))


def _read(av: Any, path: Path) -> Iterator[Any]:
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        stream.thread_type = "AUTO"
        yield from opened.decode(stream)
