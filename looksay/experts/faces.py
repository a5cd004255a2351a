"""Faces that look at the camera, by two of OpenCV's Haar cascades that must agree.

Measured by `benchmarks/faces.py` on 396 pictures without a face (122 of COCO without a person, and 274
judged by eye: photos of animals, skulls and places, diagrams, maps, screenshots): none had a face
reported, which puts the rate of false mentions at 0 to 0.9 % (95 % interval). The threshold was chosen on
the same pictures, so read it as "about 1 % or less", on this kind of picture. One cascade alone reported
a face in 18 of them. The price is that most faces are missed: one was reported in 24 of 134 COCO pictures
with a person (many of whom are small or turned away). Statues, paintings and drawings of faces count as
faces. A count is therefore only ever "at least".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import cv2.data
import numpy as np
from PIL import Image as Pillow

MAX_SIDE_PX = 640
MIN_FACE_PX = 24
"""In the shrunk picture."""
MIN_WEIGHT = 3.0
"""Of the first cascade's last stage; the second one only has to find the same place."""
MIN_NEIGHBOURS = 5
OVERLAP = 0.3
"""Intersection over union from which two boxes are the same face."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Face:
    """Example: Face(box=(210, 80, 96, 96), weight=6.1)."""

    box: Box
    """left, top, width, height in px of the picture that was given."""
    weight: float


class Finder:
    """Finds faces in upright RGB images. One finder per thread: a cascade keeps state."""

    def __init__(self) -> None:
        folder = Path(cv2.data.haarcascades)
        self._first = _cascade(folder / "haarcascade_frontalface_default.xml")
        self._second = _cascade(folder / "haarcascade_frontalface_alt2.xml")

    def find(self, image: Pillow.Image) -> list[Face]:
        """Faces, largest first; about 0.1 s per picture and core."""
        scale = min(1.0, MAX_SIDE_PX / max(image.size))
        small = image.convert("L")
        if scale < 1.0:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            small = small.resize(size, Pillow.Resampling.LANCZOS)
        if min(small.size) < MIN_FACE_PX:
            return []
        grey = np.asarray(small)
        candidates = [found for found in _detect(self._first, grey) if found[1] >= MIN_WEIGHT]
        if not candidates:
            return []
        seconds = [box for box, _ in _detect(self._second, grey)]
        faces = [
            Face(_scaled(box, scale), weight)
            for box, weight in candidates
            if any(overlap(box, other) > OVERLAP for other in seconds)
        ]
        return sorted(faces, key=lambda face: -face.box[2])


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def _cascade(path: Path) -> Any:
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise RuntimeError(f"OpenCV has no cascade at {path}")
    return cascade


def _detect(cascade: Any, grey: Any) -> list[tuple[Box, float]]:
    boxes, _, weights = cascade.detectMultiScale3(
        grey,
        scaleFactor=1.1,
        minNeighbors=MIN_NEIGHBOURS,
        minSize=(MIN_FACE_PX, MIN_FACE_PX),
        outputRejectLevels=True,
    )
    return [
        ((int(x), int(y), int(w), int(h)), float(weight))
        for (x, y, w, h), weight in zip(boxes, np.ravel(weights), strict=True)
    ]


def _scaled(box: Box, scale: float) -> Box:
    x, y, w, h = (round(v / scale) for v in box)
    return x, y, w, h
