"""OpenVINO graphs in one file's bytes: packed, kept on disk, opened where they lie, run on a CPU."""

from __future__ import annotations

import hashlib
import json
import mmap
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch import Tensor

from looksay.keeping import keep
from looksay.models.openvino_graphs import GROUP, library, narrow

INPUTS = {"int8": 128, "int4": GROUP}
"""Inputs of a row that share a scale, by what the weights are: they are rounded to 8 bits, anew at each call. In 4 bits
no more than weights share (measured: with more, many rows take four times as long)."""
MANY = 1 << 17
"""Where a graph gives more numbers than that, it lets go of what it computed in between: a model has dozens of graphs,
and each would keep it to itself."""
MARK = b"looksay openvino 1".ljust(64)


class Bundle(NamedTuple):
    """Graphs with what else is to be known of them, as the bytes of a file."""

    about: dict[str, Any]
    graphs: list[Any]
    data: Any
    """Where the weights lie; no graph holds on to it by itself."""

    def rest(self) -> None:
        """Let the system take back what of the file is in memory; it is read again where it is wanted."""
        held = getattr(self.data, "_mmap", None)
        if held is not None and hasattr(mmap, "MADV_DONTNEED"):
            held.madvise(mmap.MADV_DONTNEED)

    @classmethod
    def opened(cls, data: Any) -> Bundle:
        """What `bundled` made; weights stay where they lie in `data`, an array of bytes. Raises ValueError where that is
        damaged."""
        ov = library()
        if bytes(data[: len(MARK)]) != MARK:
            raise ValueError("no graphs")
        start = len(MARK) + 64
        if hashlib.sha256(data[start:]).hexdigest().encode() != bytes(data[len(MARK) : start]):
            raise ValueError("damaged")
        length = int.from_bytes(bytes(data[start : start + 8]), "little")
        head = json.loads(bytes(data[start + 8 : start + 8 + length]))
        graphs = []
        for at, text, weights in head["places"]:
            at += start
            xml = bytes(data[at : at + text])
            held = data[at + text : at + text + weights]
            graphs.append(ov.Core().read_model(xml, ov.Tensor(held, shared_memory=True)))
        return cls(head["about"], graphs, data)


def bundled(graphs: Sequence[Any], about: Mapping[str, Any]) -> bytes:
    """The bytes of a file that holds graphs, and `about` (JSON) beside them."""
    ov = library()
    parts: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder) / "graph.xml", Path(folder) / "graph.bin"
        for graph in graphs:
            ov.serialize(graph, str(xml), str(weights))
            text, held = xml.read_bytes(), weights.read_bytes()
            text += b" " * (-len(text) % 64)
            parts += [text, held + bytes(-len(held) % 64)]
    sizes = list(zip(map(len, parts[0::2]), map(len, parts[1::2]), strict=True))
    room = 4096
    while True:
        at, places = room, []
        for text_size, held_size in sizes:
            places.append((at, text_size, held_size))
            at += text_size + held_size
        head = json.dumps({"about": dict(about), "places": places}).encode()
        if len(head) + 8 <= room:
            break
        room += 4096
    head = len(head).to_bytes(8, "little") + head
    body = b"".join([head, bytes(room - len(head)), *parts])
    return MARK + hashlib.sha256(body).hexdigest().encode() + body


class Runner:
    """A graph that is ready to run on so many threads as torch takes. Weights that were narrowed multiply inputs of 8
    bits; `quantize` None: nothing is rounded."""

    def __init__(self, bundle: Bundle, number: int, quantize: str | None) -> None:
        ov = library()
        self._bundle, self._ran = bundle, False
        settings: dict[str, Any] = {
            # In bfloat16, compiling attention ended the process on some machines.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": INPUTS[quantize] if quantize else 0,
        }
        self._compiled = ov.Core().compile_model(bundle.graphs[number], "CPU", settings)
        self._request = self._compiled.create_infer_request()
        self._tensor = ov.Tensor

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Outputs in the precision of the inputs."""
        dtype = next(tensor.dtype for tensor in inputs if tensor.is_floating_point())
        # The request does not hold on to them by itself.
        held = [self._array(tensor) for tensor in inputs]
        shared = [self._tensor(one, shared_memory=True) for one in held]
        self._request.set_input_tensors(dict(enumerate(shared)))
        self._request.infer()
        found = [torch.tensor(one.data, dtype=dtype) for one in self._request.output_tensors]
        many = found[0].numel() > MANY
        if many:
            self._compiled.release_memory()
        if many or not self._ran:  # weights are laid out anew when they are first used so
            self._bundle.rest()
            self._ran = True
        return found

    @staticmethod
    def _array(tensor: Tensor) -> Any:
        if tensor.is_floating_point():
            tensor = tensor.float()
        return tensor.detach().contiguous().numpy()


class Kept:
    """Graphs on disk, by what they were made of. `made` counts those that were not there."""

    def __init__(self, folder: Path, quantize: str | None, told: Callable[[], None]) -> None:
        self.folder, self.quantize, self._told, self.made = folder, quantize, told, 0

    def tell(self) -> None:
        """Say once that something is made."""
        if not self.made:
            self._told()
        self.made += 1

    def get(self, key: str, make: Callable[[], tuple[list[Any], dict[str, Any]]]) -> Bundle:
        """Graphs and what is to be known of them. Raises Unfit as `make` does."""
        version = f"{library().__version__} {self.quantize} {transformers.__version__}"
        name = hashlib.sha256(f"{version} {key}".encode()).hexdigest()[:32]
        path = self.folder / f"{name}.graphs"
        try:
            return Bundle.opened(np.memmap(path, np.uint8, "c"))
        except (OSError, ValueError, RuntimeError):
            pass  # not there yet, or damaged
        self.tell()
        found, about = make()
        if self.quantize:
            for graph in found:
                narrow(graph, self.quantize)
        data = bundled(found, about)
        try:
            keep(path, data)
            return Bundle.opened(np.memmap(path, np.uint8, "c"))
        except OSError:  # a disk that is full or cannot be written: made anew each time
            return Bundle.opened(np.frombuffer(bytearray(data), np.uint8))
