"""What kind of picture it is: photo, screenshot, chart, logo, image of text; or nothing, when unsure.

Rules over a few measured numbers, set so that a kind is rarely named wrongly; many pictures get none.
`benchmarks/kinds.py` on 860 pictures, right where named: photo 435 of 452, screenshot 26 of 27 (of 84),
chart 9 of 10 (of 13), logo 3 of 3 (of 4), image of text 13 of 13, graphic 113 of 119. The rules were set
while looking at these pictures, and apart from photos and graphics they are too few to promise a rate.
What is called a photo and is none is mostly a painting (13 of the 17): the rules ask for a colour picture,
since engravings and old prints have hardly any, but a painting in colour has everything that is measured.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow

from looksay.experts.ocr import Line

_LABEL = re.compile(
    r"(sign (in|up|out)|log ?(in|out)|search( .{0,12})?|home|help|menu|settings|submit|username|password|reply"
    r"|view (all|more)|edit|share|download|subscribe|register|contact( us)?|about( us)?|cancel|save"
    r"|(add )?comments?|file|next|previous|show more|learn more|get started|buy a ticket|tickets|timetable"
    r"|code|pull requests?|issues|members|로그인|로그아웃|검색|메뉴|홈|설정|저장|취소)",
    re.IGNORECASE,
)
_PART = re.compile(
    r"https?:|www\.|\b[\w-]+\.(com|org|net|gov|edu|io|info|co|de|fr|kr|jp|uk|example)(/|\b)"
    r"|\b\d{1,2}:\d\d ?[AP]M\b|\b(minutes?|hours?|days?|months?) ago\b"
    r"|\.(html|js|py|md|css)\b|^[$>] |[{};]$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[$€£₩]?\s?(-?\d{1,3}(?:[, ]\d{3})+|-?\d+(?:\.\d+)?)\s?([%kKmM]|bn)?")


@dataclass(frozen=True, slots=True)
class Kind:
    """Example: Kind(name="photo", natural=True, why="a camera's exposure is recorded")."""

    name: str
    """photo, screenshot, chart, logo, text page, graphic; empty when unsure."""
    natural: bool
    """Not drawn by a machine: a photo, a painting, a scan. Faces are only looked for in these."""
    why: str


@dataclass(frozen=True, slots=True)
class Texture:
    """Numbers of a picture shrunk to 384 px; shares are 0..1."""

    flat: float
    """Pixels that equal all of their neighbours exactly."""
    textured: float
    """Pixels that differ from their neighbours a little, as everything does before a lens."""
    largest_colour: float
    colours: int
    """How many colours (16 steps per channel) make up nine tenths of it."""

    @property
    def graphic(self) -> bool:
        return self.flat > 0.3 or self.largest_colour > 0.6 or self.colours < 8

    @property
    def photographic(self) -> bool:
        return (
            self.flat < 0.15
            and self.largest_colour < 0.3
            and self.textured >= 0.3
            and self.colours >= 15
        )


def decide(
    image: Pillow.Image, lines: Sequence[Line], *, coloured: bool, camera: bool = False
) -> Kind:
    """Name the kind of an upright RGB image, given the lines that `ocr.Reader` found in it.

    `coloured`: it has several colours (`appearance.Appearance.tone`). `camera`: its EXIF data record an
    exposure.
    """
    texture = measure(image)
    if texture.graphic and not (camera and texture.textured >= 0.3):
        if has_axis(lines):
            return Kind("chart", False, "evenly spaced numbers along an axis")
        if is_interface(lines, image.size):
            return Kind("screenshot", False, "labels and layout of a user interface")
        if is_text(image, lines):
            return Kind("text page", False, "nearly all edges belong to lines of text")
        if len(lines) <= 4 and is_logo(image):
            return Kind("logo", False, "one compact mark in few strong colours on an even ground")
        if texture.flat > 0.35 and texture.colours <= 20:
            return Kind("graphic", False, "flat areas and few colours")
        return Kind("", False, "unsure")  # a photo cut out on white, say
    if camera:
        return Kind("photo", True, "a camera's exposure is recorded")
    if texture.photographic and coloured and sum(line.certain for line in lines) < 5:
        return Kind("photo", True, "texture, colours and few flat areas")
    return Kind("", texture.flat < 0.3, "unsure")


def measure(image: Pillow.Image) -> Texture:
    small = image.convert("RGB")
    small.thumbnail((384, 384))
    pixels = np.asarray(small)
    around: Any = np.ones((3, 3), np.uint8)
    spread = (cv2.dilate(pixels, around).astype(int) - cv2.erode(pixels, around)).max(axis=2)
    steps = (pixels >> 4).astype(int)
    codes = steps[..., 0] * 256 + steps[..., 1] * 16 + steps[..., 2]
    shares = np.sort(np.unique(codes, return_counts=True)[1])[::-1] / codes.size
    return Texture(
        flat=float((spread == 0).mean()),
        textured=float(((spread > 5) & (spread <= 40)).mean()),
        largest_colour=float(shares[0]),
        colours=int((np.cumsum(shares) < 0.9).sum()) + 1,
    )


def has_axis(lines: Sequence[Line]) -> bool:
    """Whether numbers stand at even distances, in proportion to their values, as on a chart's axis.

    Upwards on the left or right, or along the bottom; steps of one from small numbers are left out
    there, since page numbers and days look the same.
    """
    numbers = []
    for line in lines:
        match = _NUMBER.fullmatch(line.text.strip())
        if match and line.score >= 0.8:
            left, top, width, height = line.box
            value = float(re.sub(r"[, ]", "", match[1]))
            numbers.append((value, left + width / 2, top + height / 2, height, left + width))
    for anchor in numbers:
        column = [
            n
            for n in numbers
            if min(abs(n[4] - anchor[4]), abs(n[1] - anchor[1])) <= 0.6 * anchor[3]
        ]
        upward = sorted((n[2], n[0]) for n in column)
        if _proportional([(y, -value) for y, value in upward]):
            return True
        row = sorted((n[1], n[0]) for n in numbers if abs(n[2] - anchor[2]) <= 0.6 * anchor[3])
        if max((value for _, value in row), default=0.0) >= 10 and _proportional(row):
            return True
    return False


def _proportional(points: Sequence[tuple[float, float]]) -> bool:
    """At least four (place, value) with rising values that lie on one line, and none in the same place."""
    if len(points) < 4:
        return False
    if any(b[0] - a[0] < 4 or b[1] <= a[1] for a, b in itertools.pairwise(points)):
        return False
    places, values = np.array(points, dtype=float).T
    return float(np.corrcoef(places, values)[0, 1]) > 0.999


def is_interface(lines: Sequence[Line], size_px: tuple[int, int]) -> bool:
    """Two labels that interfaces have ("Search", an address, "3 days ago") and lines that share a left
    edge; or one such label and much small print."""
    cues = set()
    for line in lines:
        text = line.text.strip(" >›▾+•·|").lower()
        if line.score >= 0.95 and (_LABEL.fullmatch(text) or _PART.search(line.text)):
            cues.add(text)
    lefts = [line.box[0] for line in lines]
    aligned = max((sum(abs(a - b) <= 0.006 * size_px[0] for b in lefts) for a in lefts), default=0)
    heights = sorted(min(line.box[2:]) / max(size_px) for line in lines)
    small = bool(heights) and heights[len(heights) // 2] < 0.025
    return (len(cues) >= 2 and aligned >= 4) or (len(cues) >= 1 and aligned >= 8 and small)


def is_text(image: Pillow.Image, lines: Sequence[Line]) -> bool:
    """At least eight lines that cover a seventh of the picture and hold nine tenths of its edges."""
    covered = sum(line.box[2] * line.box[3] for line in lines) / (image.width * image.height)
    if len(lines) < 8 or covered < 0.15:
        return False
    small = image.convert("L")
    small.thumbnail((640, 640))
    grey = np.asarray(small)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 48
    outside = edges.copy()
    scale = small.width / image.width
    for line in lines:
        left, top, width, height = (value * scale for value in line.box)
        pad = 0.25 * min(width, height) + 2
        rows = slice(max(0, int(top - pad)), int(top + height + pad))
        outside[rows, max(0, int(left - pad)) : int(left + width + pad)] = False
    return bool(edges.any()) and float(outside.sum() / edges.sum()) <= 0.1


def is_logo(image: Pillow.Image) -> bool:
    """An even ground all around, and on it a compact shape in few, strong colours."""
    small = image.convert("RGB")
    small.thumbnail((256, 256))
    pixels = np.asarray(small).astype(int)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(border, axis=0)
    even = float((np.abs(border - ground).max(axis=1) <= 24).mean())
    mark: Any = np.abs(pixels - ground).max(axis=2) > 48
    if even < 0.9 or mark.mean() < 0.15:
        return False
    ys, xs = np.nonzero(mark)
    filled = float(mark[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].mean())
    lab = cv2.cvtColor(np.asarray(small, dtype=np.float32) / 255, cv2.COLOR_RGB2LAB)
    chroma = float(np.hypot(lab[..., 1], lab[..., 2])[mark].mean())
    steps = np.asarray(small)[mark] >> 5
    codes = steps[:, 0].astype(int) * 64 + steps[:, 1] * 8 + steps[:, 2]
    counts = np.sort(np.unique(codes, return_counts=True)[1])[::-1]
    return 0.4 <= filled <= 0.9 and chroma >= 25 and float(counts[:3].sum() / counts.sum()) >= 0.78
