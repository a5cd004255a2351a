"""Object detectors as ONNX files: how their pictures are prepared and their numbers read.

ONNX says nothing of either, so both follow from the shape of the output (`LAYOUTS`, with C classes): the
families of detectors differ in it. Boxes of equal name that overlap are one object, the surest one.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from looksay.errors import InputError
from looksay.experts.base import Detection, Findings
from looksay.experts.boxes import clipped, overlap
from looksay.images import load_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

    Floats = NDArray[np.float32]

SIDE_PX = 640
"""Of the input, where the file leaves it open."""
SAME = 0.45
"""Overlap from which two boxes of one name are the same object."""
MAX_CANDIDATES = 1000
GREY = (114, 114, 114)
"""What fills the edges where a picture keeps its shape: the padding that YOLO detectors are trained with."""


class Raw(NamedTuple):
    """N candidates: boxes N4 (left, top, right, bottom) in px of the input, scores N, classes N."""

    boxes: Floats
    scores: Floats
    classes: NDArray[np.int64]


class Layout(NamedTuple):
    """A family of detectors."""

    about: str
    shape: Callable[[tuple[int, ...], int], bool]
    """Whether an output of this shape, with so many classes, is of this family."""
    read: Callable[[Floats, tuple[int, int]], Raw]
    """The output and the width and height of the input in px → candidates."""
    bgr: bool
    keeps_shape: bool
    """Whether the picture keeps its shape, with grey at the edges, or is stretched."""


def _grid(output: Floats, size_px: tuple[int, int]) -> Raw:
    """FastestDet: each cell has objectness, centre (tanh, from the cell's corner, in cells), width and height
    (sigmoid, of the picture), class scores; the score is objectness^0.6 · class^0.4 (its repository, runtime.py)."""
    values = output[0]
    _, rows, columns = values.shape
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    x = (column + np.tanh(values[1])) / columns
    y = (row + np.tanh(values[2])) / rows
    half = 0.5 / (1 + np.exp(-values[3:5]))
    boxes = np.stack([x - half[0], y - half[1], x + half[0], y + half[1]], -1).reshape(-1, 4)
    objectness = values[0].clip(0, 1) ** 0.6
    scores = objectness * values[5:].max(0).clip(0, 1) ** 0.4
    return Raw(boxes * np.array(size_px * 2), scores.ravel(), values[5:].argmax(0).ravel())


def _rows(output: Floats, size_px: tuple[int, int]) -> Raw:
    """YOLOv5 and YOLOv7: rows of centre, width and height in px, objectness, class scores."""
    values = output[0]
    scores = values[:, 4:5] * values[:, 5:]
    return Raw(_corners(values[:, :4]), scores.max(1), scores.argmax(1))


def _columns(output: Floats, size_px: tuple[int, int]) -> Raw:
    """YOLOv8 and later: columns of centre, width and height in px, class scores."""
    values = output[0].T
    return Raw(_corners(values[:, :4]), values[:, 4:].max(1), values[:, 4:].argmax(1))


def _final(output: Floats, size_px: tuple[int, int]) -> Raw:
    """YOLOv10 and exports with suppression inside: rows of corners in px, score, class."""
    values = output[0]
    return Raw(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))


def _corners(boxes: Floats) -> Floats:
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], 1)


LAYOUTS = (
    Layout("1 × 5 + C × H × W (FastestDet)", lambda s, c: len(s) == 4 and s[1] == 5 + c, _grid, True, False),
    Layout("1 × N × 6 (YOLOv10)", lambda s, c: len(s) == 3 and s[2] == 6 != 5 + c, _final, False, True),
    Layout("1 × N × 5 + C (YOLOv5)", lambda s, c: len(s) == 3 and s[2] == 5 + c, _rows, False, True),
    Layout("1 × 4 + C × N (YOLOv8)", lambda s, c: len(s) == 3 and s[1] == 4 + c, _columns, False, True),
)  # fmt: skip


class OnnxDetector:
    """A detector in an ONNX file, run by onnxruntime on the CPU.

    `names` are its classes in order: given, or the file's own ("names" in its metadata), or the lines of the
    file beside it that is called like it and ends in .names. Raises InputError, ImportError.
    """

    def __init__(
        self, path: Path, names: Sequence[str] = (), min_score: float = 0.5, threads: int = 0
    ) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would note who uses it, and how
        import onnxruntime

        if not path.is_file():
            raise InputError(f"There is no file {path}. Expected a detector in ONNX format.")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # classes of onnxruntime's own
            raise InputError(f"{path} cannot be loaded: {_first_line(error)}") from error
        self._path, self._min_score = path, min_score
        self._names = list(names) or _own_names(self._session, path)
        self._input, self._size_px = _picture_input(self._session, path)
        self.name = f"detection:{path}"
        known = [hashlib.sha256(path.read_bytes()).hexdigest(), self._names, min_score]
        self._fingerprint = f"onnx-1 {hashlib.sha256(json.dumps(known).encode()).hexdigest()}"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def find(self, source: Path | bytes | Pillow) -> Findings:
        picture = load_rgb(source)
        found = self._layout
        fed, scale = prepared(picture, self._size_px, found.bgr, found.keeps_shape)
        raw = found.read(self._run(fed), self._size_px)
        least = raw.scores >= self._min_score
        order = [i for i in np.argsort(-raw.scores, kind="stable")[:MAX_CANDIDATES] if least[i]]
        kept: list[Detection] = []
        for i in order:
            box = clipped((raw.boxes[i] * scale).tolist())
            name = self._named(int(raw.classes[i]))
            if box and not any(name == o.name and overlap(box, o.box) > SAME for o in kept):
                kept.append(Detection(name, box, round(min(1.0, float(raw.scores[i])), 4)))
        return Findings(picture.size, detections=tuple(kept))

    @property
    def _layout(self) -> Layout:
        """The family, by the output of an empty picture: files may leave their shapes open."""
        if not hasattr(self, "_found"):
            shape = self._run(np.zeros((1, 3, *self._size_px[::-1]), np.float32)).shape
            count = len(self._names)
            fits = [layout for layout in LAYOUTS if layout.shape(shape, count)]
            if not fits:
                raise InputError(
                    f"{self._path} gives {' × '.join(map(str, shape))}, and has {count} names of classes. Expected, "
                    f"with C = {count}: {'; '.join(layout.about for layout in LAYOUTS)}. If the number of names is "
                    "wrong, type --names FILE, one per line."
                )
            self._found = fits[0]
        return self._found

    def _run(self, fed: Floats) -> Floats:
        try:
            outputs = self._session.run(None, {self._input: fed})
        except Exception as error:  # as above
            raise InputError(f"{self._path} cannot take a picture: {_first_line(error)}") from error
        return np.asarray(outputs[0], np.float32)

    def _named(self, index: int) -> str:
        if not 0 <= index < len(self._names):
            raise InputError(
                f"{self._path} found class {index}, but there are {len(self._names)} names. Type --names FILE with "
                "the names of all its classes, one per line."
            )
        return self._names[index]


def prepared(
    picture: Pillow, size_px: tuple[int, int], bgr: bool, keeps_shape: bool
) -> tuple[Floats, Floats]:
    """(float32 of shape (1, 3, height, width), 0 to 1; what px of it are multiplied by to be shares of the picture)."""
    width, height = size_px
    shrunk = (width, height)
    if keeps_shape:
        ratio = min(width / picture.width, height / picture.height)
        shrunk = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    canvas = Image.new("RGB", size_px, GREY)
    canvas.paste(picture.resize(shrunk, Image.Resampling.BILINEAR))
    values = np.asarray(canvas, np.float32).transpose(2, 0, 1) / np.float32(255)
    fed: Floats = np.ascontiguousarray(values[::-1] if bgr else values)[None]
    return fed, (1 / np.array(shrunk * 2)).astype(np.float32)


def _own_names(session: Any, path: Path) -> list[str]:
    told = session.get_modelmeta().custom_metadata_map.get("names")
    if told:
        try:
            names = ast.literal_eval(told)
            return [str(n) for n in (names.values() if isinstance(names, dict) else names)]
        except (ValueError, SyntaxError, TypeError):
            pass  # as if it said nothing
    beside = path.with_suffix(".names")
    if beside.is_file():
        return [line.strip() for line in beside.read_text("utf-8").splitlines() if line.strip()]
    raise InputError(
        f"{path} does not say what its classes are called, and there is no {beside.name} beside it. Type --names "
        "FILE, one name per line in the order of the classes."
    )


def _picture_input(session: Any, path: Path) -> tuple[str, tuple[int, int]]:
    """Name of the input, and the width and height in px that it takes."""
    inputs = session.get_inputs()
    shape = inputs[0].shape
    if (
        len(inputs) != 1
        or inputs[0].type != "tensor(float)"
        or len(shape) != 4
        or shape[1] not in (3, None)
    ):
        told = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        raise InputError(
            f"{path} takes {told}. Expected one picture: tensor(float) [1, 3, height, width]."
        )
    height, width = (one if isinstance(one, int) else SIDE_PX for one in shape[2:])
    return inputs[0].name, (width, height)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
