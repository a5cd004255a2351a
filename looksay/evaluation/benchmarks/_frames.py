"""Videos as folders of frames: frames/<video>/000001.jpg and on, every frame or evenly many of them."""

from __future__ import annotations

import re
from pathlib import Path

from looksay.data.reading import Place
from looksay.images import PHOTO_SUFFIXES
from looksay.types import Image

FOLDER = "frames/"
WHAT = (
    "a folder of frames for each video; video files are not read: take the frames out with ffmpeg"
)
COUNT = 8
"""Frames of a video that BLIP looks at for retrieval (its paper, section on video)."""


def frames(place: Place, folder: Path, video: str) -> list[Image]:
    """So many frames of a video, evenly from the first on: number i is frame ⌊i · frames / COUNT⌋.

    BLIP's loader rounds the distance down before it multiplies (numpy's arange with dtype=int), so that on
    short videos it sees the beginning alone. Videos of fewer frames give all they have.
    """
    home = place.inside(folder, video)
    if not home.is_dir():
        place.fail(
            f"the video {video!r} has no folder of frames {home}. Make one, for example with: "
            f"ffmpeg -i {video}.mp4 -qscale:v 2 {video}/%06d.jpg"
        )
    files = sorted(
        (p.name for p in home.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES), key=_order
    )
    if not files:
        place.fail(f"{home} holds no frame.")
    count = min(COUNT, len(files))
    chosen = [files[number * len(files) // count] for number in range(count)]
    return [place.image(home, name) for name in chosen]


def _order(name: str) -> list[tuple[int, str]]:
    """Frame 10 comes after frame 9, with leading zeros or without."""
    return [(int(part or 0), word) for word, part in re.findall(r"(\D*)(\d*)", name)]
