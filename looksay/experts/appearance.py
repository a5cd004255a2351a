"""What a picture looks like as a whole: its main colours, its light and its shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image as Pillow

Light = Literal["dark", "normal", "bright"]
Tone = Literal["colour", "muted", "black-and-white"]
Shape = Literal["landscape", "portrait", "square", "panorama"]

CLUSTERS = 6
GREYS = frozenset({"black", "grey", "white"})


@dataclass(frozen=True, slots=True)
class Appearance:
    """Example: Appearance({"blue": 0.55, "green": 0.3, "white": 0.15}, 61.0, "normal", "landscape", "colour")."""

    colours: dict[str, float]
    """Share of the picture (0..1) by plain colour name, largest first."""
    lightness: float
    """Mean CIELAB L*, 0 (black) to 100 (white)."""
    light: Light
    shape: Shape
    tone: Tone

    def main_colours(self) -> list[str]:
        """One or two chromatic colours that cover most of the picture, or nothing.

        Each covers at least a fifth and together at least 55 %, so that "mostly" is true.
        """
        largest = [name for name, share in self.colours.items() if share >= 0.2][:2]
        if self.tone != "colour" or not largest or GREYS & set(largest):
            return []
        first, total = self.colours[largest[0]], sum(self.colours[name] for name in largest)
        if first >= 0.55:
            return largest[:1] if len(largest) == 1 or self.colours[largest[1]] < 0.25 else largest
        return largest if total >= 0.55 else []

    def accents(self) -> list[str]:
        """One or two chromatic colours of a graphic, whose ground is mostly white or black."""
        return [n for n, share in self.colours.items() if share >= 0.08 and n not in GREYS][:2]


def measure(image: Pillow.Image) -> Appearance:
    """Measure an upright RGB image; it is shrunk to 96 px first, which decides all of this alike."""
    small = image.convert("RGB")
    small.thumbnail((96, 96), Pillow.Resampling.BOX)
    rgb = np.asarray(small, dtype=np.float32).reshape(1, -1, 3) / 255
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    lightness = float(lab[:, 0].mean())
    light: Light = "dark" if lightness < 25 else "bright" if lightness > 80 else "normal"
    return Appearance(
        colours=_shares(lab),
        lightness=lightness,
        light=light,
        shape=shape(*image.size),
        tone=_tone(lab),
    )


def shape(width_px: int, height_px: int) -> Shape:
    """Landscape and portrait from 15 % more in one direction, panorama from 2.2 : 1."""
    ratio = width_px / height_px
    if ratio >= 2.2:
        return "panorama"
    return "landscape" if ratio >= 1.15 else "portrait" if ratio <= 1 / 1.15 else "square"


def _shares(lab: Any) -> dict[str, float]:
    colours, counts = np.unique(np.round(lab), axis=0, return_counts=True)
    if len(colours) > CLUSTERS:
        cv2.setRNGSeed(1)  # per thread; the same picture gets the same words every time
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.5)
        _, labels, centres = cv2.kmeans(
            np.ascontiguousarray(lab), CLUSTERS, None, stop, 2, cv2.KMEANS_PP_CENTERS
        )
        counts = np.bincount(labels.ravel(), minlength=CLUSTERS)
    else:
        centres = colours
    shares: dict[str, float] = {}
    for centre, count in zip(centres, counts, strict=True):
        word = name(*(float(v) for v in centre))
        shares[word] = shares.get(word, 0.0) + float(count) / len(lab)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _tone(lab: Any) -> Tone:
    """Black-and-white has no colour at all; muted has hardly any, or one warm hue throughout.

    Old prints, engravings and brown scenes are alike in this, so nobody is told "sepia".
    """
    a, b = lab[:, 1], lab[:, 2]
    chroma = np.hypot(a, b)
    if float(np.percentile(chroma, 99)) < 3:
        return "black-and-white"
    strongest = float(np.percentile(chroma, 95))
    hue = np.array([a.sum(), b.sum()])
    length = max(float(np.linalg.norm(hue)), 1e-6)
    warm = hue[1] > abs(hue[0])
    # All colour lies on one line out of grey, on one side of it.
    one_sided = length / float(chroma.sum()) > 0.95
    off_line = float(np.percentile(np.abs(a * hue[1] - b * hue[0]) / length, 97))
    sepia = warm and one_sided and off_line < 6 and strongest < 45
    return "muted" if sepia or strongest < 8 else "colour"


def name(lightness: float, a: float, b: float) -> str:
    """A plain English colour name for a CIELAB colour (L* 0..100; a*, b* about -128..127).

    The eleven basic colour terms (Berlin and Kay, 1969), beige and turquoise; borders set by hand on
    the CSS named colours.
    """
    chroma = float(np.hypot(a, b))
    hue = float(np.degrees(np.arctan2(b, a))) % 360
    if (lightness < 14 and chroma < 40) or (lightness < 22 and chroma < 12):
        return "black"
    if chroma < 11:
        return "white" if lightness > 88 else "grey"
    if 30 < hue <= 108 or (108 < hue <= 118 and chroma < 28 and lightness > 85):
        return _warm(lightness, chroma, hue)
    if 108 < hue <= 175:
        return "green"
    if hue <= 212 and hue > 175:
        return "turquoise"
    if 212 < hue <= 309:
        return "blue"
    if 309 < hue <= 338:
        return "purple"
    if lightness >= 58 or (hue > 338 and lightness > 45):
        return "pink"
    return "red" if hue <= 30 or hue > 350 else "purple"


def _warm(lightness: float, chroma: float, hue: float) -> str:
    if chroma < 28 and lightness >= 62:
        return "white" if lightness > 92 else "beige"
    if hue <= 45 and chroma >= 38:
        return "red" if lightness < 68 else "pink"
    if hue <= 80:
        return "orange" if lightness >= 55 and chroma >= 42 else "brown"
    if lightness >= 60 and chroma >= 35:
        return "yellow" if hue <= 105 else "green"
    if hue > 96:
        return "green"
    return "brown" if lightness < 62 else "beige"
