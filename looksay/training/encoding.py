"""Examples to sequences, in the order in which they were asked for: here, or in processes of their own."""

from __future__ import annotations

import copyreg
import io
import multiprocessing
import os
import pickle
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from looksay.data.dataset import Source
from looksay.errors import InputError, LooksayError
from looksay.models.batching import Sequence
from looksay.types import Example

Encode = Callable[[Example], Sequence]
CHUNK = 32
"""Examples that a worker encodes at a time."""


class Encoder(Protocol):
    """A queue of indices going in and sequences coming out; a context manager."""

    ahead: int
    """How many indices are worth asking for before the first is taken."""

    def ask(self, index: int) -> None: ...

    def take(self) -> Sequence:
        """The sequence of the index that was asked for first. Raises InputError naming the example."""

    def __enter__(self) -> Encoder: ...

    def __exit__(self, *_: object) -> None: ...


def encoder(data: Source, encode: Encode, workers: int) -> Encoder:
    """An encoder in this thread (`workers` 0) or in that many processes. The processes get the data and
    what `encode` is bound to, weights left out."""
    return Processes(data, encode, workers) if workers else Here(data, encode)


class Here:
    """Encodes when the sequence is taken."""

    ahead = 1

    def __init__(self, data: Source, encode: Encode) -> None:
        self._data, self._encode = data, encode
        self._asked: deque[int] = deque()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.clear()

    def ask(self, index: int) -> None:
        self._asked.append(index)

    def take(self) -> Sequence:
        return _one(self._data, self._encode, self._asked.popleft())


class Processes:
    """Encodes in worker processes, chunk by chunk, in order.

    They are spawned, so a script that trains with workers needs `if __name__ == "__main__":`.
    """

    def __init__(self, data: Source, encode: Encode, workers: int) -> None:
        self.ahead = 2 * workers * CHUNK
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(_hollow((data, encode)),),
        )
        self._asked: list[int] = []
        self._chunks: deque[Future[_Bundle]] = deque()
        self._ready: deque[Sequence] = deque()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def ask(self, index: int) -> None:
        self._asked.append(index)
        if len(self._asked) == CHUNK:
            self._send()

    def take(self) -> Sequence:
        if not self._ready:
            if not self._chunks:
                self._send()
            self._ready.extend(_unbundled(self._chunks.popleft().result()))
        return self._ready.popleft()

    def _send(self) -> None:
        self._chunks.append(self._pool.submit(_work, self._asked))
        self._asked = []


def _one(data: Source, encode: Encode, index: int) -> Sequence:
    example = data.example(index)
    try:
        return encode(example)
    except LooksayError as error:
        raise InputError(f"Example {example.id!r}: {error}") from error


class _Bundle(NamedTuple):
    """Sequences with all their tensors in few: each tensor costs a file descriptor on its way."""

    texts: list[tuple[list[int], list[int], tuple[str, ...]]]
    shapes: list[tuple[int, dict[str, int]]]
    """Per sequence: how many images, and the rows of each target."""
    pixels: Tensor | list[Tensor]
    targets: dict[str, Tensor]


def _bundled(sequences: list[Sequence]) -> _Bundle:
    pixels = [p for s in sequences for p in s.pixels]
    same = len({p.shape for p in pixels}) == 1
    names = {name for s in sequences for name in s.targets}
    return _Bundle(
        [(s.ids, s.labels, s.keys) for s in sequences],
        [(len(s.pixels), {n: len(t) for n, t in s.targets.items()}) for s in sequences],
        torch.stack(pixels) if same else pixels,
        {n: torch.cat([s.targets[n] for s in sequences if n in s.targets]) for n in names},
    )


def _unbundled(bundle: _Bundle) -> list[Sequence]:
    found = []
    image, rows = 0, dict.fromkeys(bundle.targets, 0)
    for (ids, labels, keys), (images, counts) in zip(bundle.texts, bundle.shapes, strict=True):
        targets = {}
        for name, count in counts.items():
            targets[name] = bundle.targets[name][rows[name] : rows[name] + count]
            rows[name] += count
        pixels = tuple(bundle.pixels[i] for i in range(image, image + images))
        image += images
        found.append(Sequence(ids, labels, pixels, keys, targets))
    return found


class _Hollow(pickle.Pickler):
    """Pickles modules without their weights and hooks, which encoding never needs."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, nn.Parameter):
            return _empty, (tuple(obj.shape), obj.dtype)
        if isinstance(obj, nn.Module):
            kept = {k: OrderedDict() if k.endswith("_hooks") else v for k, v in vars(obj).items()}
            return copyreg.__newobj__, (type(obj),), kept  # type: ignore[attr-defined]
        return NotImplemented


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"), requires_grad=False)


def _hollow(what: Any) -> bytes:
    file = io.BytesIO()
    _Hollow(file).dump(what)
    return file.getvalue()


_bound: list[Any] = []
"""In a worker: the data and the encoding."""


def _begin(payload: bytes) -> None:
    torch.set_num_threads(1)
    _bound[:] = pickle.loads(payload)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """End when the trainer has ended, however it did."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(indices: list[int]) -> _Bundle:
    data, encode = _bound
    return _bundled([_one(data, encode, index) for index in indices])
