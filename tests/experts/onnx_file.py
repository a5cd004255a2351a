"""Small detectors as ONNX files, written byte by byte, since the package `onnx` is none of ours: they find red and
blue squares.

A file is a protocol buffer (onnx.proto of the ONNX project): fields of a number and a wire type, where 0 is a
varint and 2 bytes with their length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAMES = ("red", "blue")
SIDE_PX, CELLS = 64, 4
CELL_PX = SIDE_PX // CELLS


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, values: np.ndarray) -> bytes:
    kind = {"float32": 1, "int64": 7}[str(values.dtype)]
    dims = b"".join(field(1, one) for one in values.shape)
    return dims + field(2, kind) + field(8, name) + field(9, values.tobytes())


def node(kind: str, inputs: Sequence[str], output: str, **ints: Sequence[int]) -> bytes:
    attributes = b"".join(
        field(5, field(1, name) + b"".join(field(8, one) for one in values) + field(20, 7))
        for name, values in ints.items()
    )
    return (
        b"".join(field(1, one) for one in inputs) + field(2, output) + field(4, kind) + attributes
    )


def value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(field(1, field(1 if isinstance(one, int) else 2, one)) for one in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def write(
    path: Path,
    nodes: Sequence[bytes],
    constants: dict[str, np.ndarray],
    shapes: tuple[Sequence[int | str], Sequence[int | str]],
    metadata: dict[str, str],
) -> Path:
    graph = b"".join(field(1, one) for one in nodes) + field(2, "squares")
    graph += b"".join(field(5, tensor(name, values)) for name, values in constants.items())
    graph += field(11, value("picture", shapes[0])) + field(12, value("found", shapes[1]))
    said = b"".join(field(14, field(1, key) + field(2, one)) for key, one in metadata.items())
    path.write_bytes(field(1, 8) + field(8, field(1, "") + field(2, 13)) + field(7, graph) + said)
    return path


def detector(
    path: Path, layout: str, *, wide: float = 1.0, told: bool = True, first: int = 0
) -> Path:
    """A detector whose 4 × 4 cells look at their mean colour and say "red" or "blue" of a box `wide` cells wide.

    `layout`: grid (FastestDet's), rows (YOLOv5's), columns (YOLOv8's) or final (YOLOv10's); `told`: whether the
    file says what its classes are called; `first`: the class of red, in final.
    """
    # What each channel of the output is: (weights of its three channels of colour, and what is added per cell).
    red, blue, green = (2, 0, 1) if layout == "grid" else (0, 2, 1)
    is_red, is_blue = np.zeros(3), np.zeros(3)
    is_red[red], is_red[green], is_red[blue] = 1, -1, 0
    is_blue[blue], is_blue[green] = 1, -1
    either, nothing = is_red + is_blue, np.zeros(3)
    column, row = np.meshgrid(np.arange(CELLS), np.arange(CELLS))
    x, y = (column + 0.5) * CELL_PX, (row + 0.5) * CELL_PX
    size = np.full_like(x, wide * CELL_PX)
    zero = np.zeros_like(x)
    middle = np.full_like(x, math.atanh(0.5))
    share = wide / CELLS
    log_size = np.full_like(x, math.log(share / (1 - share)))
    centres = [(nothing, x), (nothing, y), (nothing, size), (nothing, size)]
    classes = [(is_red, zero), (is_blue, zero)]
    channels = {
        "grid": [(either, zero), *[(nothing, middle)] * 2, *[(nothing, log_size)] * 2, *classes],
        "rows": [*centres, (either, zero), *classes],
        "columns": [*centres, *classes],
        "final": [
            *((nothing, a + s * size / 2) for s in (-1, 1) for a in (x, y)),
            (either, zero),
            (is_blue, zero + first),
        ],
    }[layout]
    weights = np.stack([one for one, _ in channels]).astype(np.float32)[..., None, None]
    added = np.stack([one for _, one in channels]).astype(np.float32)[None]
    count, places = len(channels), CELLS * CELLS
    nodes = [
        node(
            "AveragePool",
            ["picture"],
            "colours",
            kernel_shape=[CELL_PX, CELL_PX],
            strides=[CELL_PX, CELL_PX],
        ),
        node("Conv", ["colours", "weights"], "seen", kernel_shape=[1, 1]),
        node("Add", ["seen", "added"], "found" if layout == "grid" else "grid"),
    ]
    constants = {"weights": weights, "added": added}
    shape: list[int | str] = [1, count, CELLS, CELLS]
    if layout != "grid":
        constants["flat"] = np.array([1, count, places], np.int64)
        last = "found" if layout == "columns" else "flattened"
        nodes.append(node("Reshape", ["grid", "flat"], last))
        shape = [1, count, places]
        if layout != "columns":
            nodes.append(node("Transpose", ["flattened"], "found", perm=[0, 2, 1]))
            shape = [1, places, count]
    metadata = {"names": str(dict(enumerate(NAMES)))} if told else {}
    return write(path, nodes, constants, ([1, 3, SIDE_PX, SIDE_PX], shape), metadata)
