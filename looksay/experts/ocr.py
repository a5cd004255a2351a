"""Text in a picture: rapidocr reads Latin, Chinese and Japanese offline; tesseract, where installed
with its `kor` data, reads Korean. What neither can read is reported as unread, never guessed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow

from looksay.errors import InputError
from looksay.experts import _script, _tesseract
from looksay.experts.base import Findings, Options, TextLine
from looksay.experts.boxes import clipped
from looksay.images import load_rgb

ABOUT = "Text in the picture, read by rapidocr (Latin, Chinese, Japanese) and tesseract (Korean)."
MAX_SIDE_PX = 1280
"""Larger pictures are shrunk first: it bounds memory, and text smaller than that is not worth quoting."""

MAX_LINES = 24
"""The tallest lines are read; the others of a full page are only counted."""


MAX_KOREAN_LINES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, or a place where text was seen and not read.

    Example: Line(text="Sign in", score=0.99, box=(40, 20, 310, 48), doubt="", engine="rapidocr").
    """

    text: str
    score: float
    """0..1, the recogniser's own; not a probability."""
    box: tuple[int, int, int, int]
    """left, top, width, height in px of the picture that was given."""
    doubt: str
    """Why it must not be quoted; empty where it may be."""
    engine: str

    @property
    def certain(self) -> bool:
        return not self.doubt


class Reader:
    """Reads the lines of a picture, in reading order. One reader per thread: the engine keeps state.

    Measured on 2 busy cores: 0.2 to 0.5 s for a photo, 2 to 5 s for a screenshot full of text; the
    process peaks at 300 MB and 600 MB.
    """

    def __init__(self, *, threads: int = 0, korean: bool | None = None) -> None:
        """`threads`: for the recogniser, 0 for all cores. `korean`: None uses tesseract where it is."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would note who uses it, and how
        from rapidocr import RapidOCR

        params: dict[str, Any] = {
            "Global.log_level": "critical",
            "Det.limit_type": "max",
            "Det.limit_side_len": MAX_SIDE_PX,
        }
        if threads:
            params["EngineConfig.onnxruntime.intra_op_num_threads"] = threads
        self._engine = RapidOCR(params=params)
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        wanted = korean if korean is not None else True
        self._tesseract = _tesseract.find("kor") if wanted else None

    @property
    def reads_korean(self) -> bool:
        return self._tesseract is not None

    def read(self, image: Pillow.Image) -> list[Line]:
        """Lines of an upright RGB image; see `looksay.images.load_rgb`."""
        scale = min(1.0, MAX_SIDE_PX / max(image.size))
        small = image if scale == 1.0 else image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
            Pillow.Resampling.LANCZOS,
        )  # fmt: skip
        pixels = np.ascontiguousarray(np.asarray(small.convert("RGB"))[:, :, ::-1])
        quads = self._find(pixels)
        tallest = set(sorted(range(len(quads)), key=lambda i: -_height(quads[i]))[:MAX_LINES])
        lines, crops = [], []
        for i, quad in enumerate(quads):
            box = _box(quad, scale)
            if i not in tallest:
                lines.append(Line("", 0.0, box, "small print, not read", "rapidocr"))
                continue
            crop = _straighten(pixels, quad)
            lines.append(self._recognise(crop, box))
            crops.append((i, crop))
        lines = _settle([_doubt_if_cut(line, image.size) for line in lines])
        unread = [
            (i, crop) for i, crop in crops if not lines[i].certain and min(crop.shape[:2]) >= 16
        ]
        if self._tesseract and unread:
            unread = sorted(unread, key=lambda item: -item[1].shape[0])[:MAX_KOREAN_LINES]
            for i, (text, score) in self._tesseract.read_korean(unread).items():
                lines[i] = Line(text, score, lines[i].box, "", "tesseract")
        return lines

    def _find(self, pixels: Any) -> list[Any]:
        found = self._engine(pixels, use_det=True, use_cls=False, use_rec=False)
        boxes = getattr(found, "boxes", None)
        return [] if boxes is None else [np.asarray(box, dtype=np.float32) for box in boxes]

    def _recognise(self, crop: Any, box: tuple[int, int, int, int]) -> Line:
        found = self._engine(
            crop, use_det=False, use_cls=False, use_rec=True, return_word_box=True, text_score=0.0
        )
        if not found.txts:
            return Line("", 0.0, box, "no letters", "rapidocr")
        text, score = str(found.txts[0]).strip(), float(found.scores[0])
        info = found.word_results[0]
        letters = list(getattr(info, "confs", ()) or ())
        columns = list(getattr(info, "word_cols", ()) or ())
        return Line(text, score, box, _script.doubt(text, score, letters, columns), "rapidocr")


def _doubt_if_cut(line: Line, size_px: tuple[int, int]) -> Line:
    """Doubt a line that touches the left or right edge: the rest of the word may be missing."""
    left, _, width, height = line.box
    cut = left < 0.1 * height or left + width > size_px[0] - 0.1 * height
    return replace(line, doubt="may be cut off by the edge") if line.certain and cut else line


def _settle(lines: list[Line]) -> list[Line]:
    """Doubt look-alike words ("KACCA") unless the same picture has words that are surely Latin."""
    sure = any(
        line.certain
        and any(c.isalpha() for c in line.text)
        and not _script.could_be_cyrillic(line.text)
        for line in lines
    )
    return [
        replace(line, doubt="Latin or Cyrillic, not to be told apart")
        if line.certain and not sure and _script.could_be_cyrillic(line.text)
        else line
        for line in lines
    ]


def _height(quad: Any) -> float:
    return float(min(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[0] - quad[1])))


def _box(quad: Any, scale: float) -> tuple[int, int, int, int]:
    left, top = quad.min(axis=0) / scale
    right, bottom = quad.max(axis=0) / scale
    return (
        round(float(left)),
        round(float(top)),
        round(float(right - left)),
        round(float(bottom - top)),
    )


def _straighten(pixels: Any, quad: Any) -> Any:
    """The quadrilateral as an upright rectangle; a tall one is text that runs downwards or sideways."""
    width = max(
        1, round(float(max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3]))))
    )
    height = max(
        1, round(float(max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2]))))
    )
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(quad, corners)
    crop = cv2.warpPerspective(
        pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC
    )
    return np.rot90(crop) if height >= 1.5 * width else crop


class Texts:
    """The lines of a picture as findings: those that may be quoted, or, with `min_score`, all that score as much."""

    name = "ocr"

    def __init__(self, reader: Reader, min_score: float | None = None) -> None:
        self._reader, self._min_score = reader, min_score

    @property
    def fingerprint(self) -> str:
        korean = "+kor" if self._reader.reads_korean else ""
        return f"ocr-1 rapidocr-{version('rapidocr')}{korean} {self._min_score}"

    def find(self, source: Path | bytes | Pillow.Image) -> Findings:
        picture = load_rgb(source)
        lines = []
        for line in self._reader.read(picture):
            left, top, width, height = line.box
            box = clipped(
                (
                    left / picture.width,
                    top / picture.height,
                    (left + width) / picture.width,
                    (top + height) / picture.height,
                )
            )
            sure = line.certain if self._min_score is None else line.score >= self._min_score
            if line.text and sure and box:
                lines.append(TextLine(line.text, box, round(line.score, 4)))
        return Findings(picture.size, lines=tuple(lines))


def lacking() -> str:
    """What to type before text can be read; "" where nothing is in the way."""
    if importlib.util.find_spec("rapidocr") is None:
        return 'the package rapidocr: pip install ".[facts]" in the folder of looksay'
    return ""


def load(model: str, options: Options) -> Texts:
    """There is one reader, so `model` is empty. Raises InputError, ImportError."""
    if model:
        raise InputError(f"The expert ocr has no models; found {model!r}. Type: --expert ocr")
    return Texts(Reader(threads=options.threads), options.min_score)
