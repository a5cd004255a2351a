"""The data of a stage as packed batches: drawn by number, encoded beside the step, resumable exactly.

What comes next depends on the stage, the seed and how far this rank has drawn, and on nothing else:
not on the number of threads or processes that encode.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from looksay.data.dataset import Shuffled
from looksay.errors import InputError
from looksay.models.batching import Batch, Sequence, collate, fit
from looksay.models.preference import CHOSEN
from looksay.training.encoding import Encode, Encoder, encoder
from looksay.training.stages import Stage

_AHEAD = 4
"""Steps that are prepared before they are wanted."""


@dataclass(frozen=True, slots=True)
class Fed:
    """One batch, and what the loop must know of it without looking into tensors on a device."""

    batch: Batch
    keys: tuple[str, ...]
    """Content keys of the images, in their order."""
    examples: int
    images: int
    learned: int
    """Ids with a loss."""
    tokens: int
    """Ids that are not padding."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a rank has drawn: the next number, and those that were drawn but wait for room."""

    drawn: int = 0
    waiting: tuple[int, ...] = ()


class Feed:
    """Batches of a stage for one rank of `world`, from a position on; a context manager.

    `workers` processes encode; 0: a thread of this process. Iterating gives, per optimiser step, the
    `stage.accumulate` batches and the position after them.
    """

    def __init__(
        self,
        stage: Stage,
        encode: Encode,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        position: Position | None = None,
        pad_id: int = 0,
        image_id: int | None = None,
        workers: int = 0,
    ) -> None:
        self._stage, self._seed = stage, seed
        self._rank, self._world = rank, world
        self._pad_id, self._image_id = pad_id, image_id
        self._position = position or Position()
        self._data = Shuffled(stage.data, seed)
        self._encoder = encoder(self._data, encode, workers)
        self._queue: queue.Queue[tuple[list[Fed], Position] | BaseException] = queue.Queue(_AHEAD)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="looksay-feed", daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[list[Fed], Position]]:
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    def _put(self, item: tuple[list[Fed], Position] | BaseException) -> None:
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def _fill(self) -> None:
        try:
            with self._encoder as encoder:
                for item in self._steps(encoder):
                    self._put(item)
                    if self._closing.is_set():
                        return
        except BaseException as error:  # told where the step waits for it
            self._put(error)

    def _steps(self, encoder: Encoder) -> Iterator[tuple[list[Fed], Position]]:
        stage = self._stage
        numbers = self._position.waiting
        drawn = self._position.drawn
        for number in numbers:
            encoder.ask(self._index(number))
        waiting = [(number, encoder.take()) for number in numbers]
        asked = drawn
        each = stage.examples_per_batch
        while True:
            batches = []
            for _ in range(stage.accumulate):
                budget = stage.tokens_per_batch
                while len(waiting) < each if each else _ids(waiting) < 2 * budget:
                    while asked < drawn + encoder.ahead:
                        encoder.ask(self._index(asked))
                        asked += 1
                    waiting.append((drawn, self._checked(encoder.take(), drawn)))
                    drawn += 1
                rows, used = self._rows(waiting, each)
                batches.append(fed(rows, self._pad_id))
                waiting = [item for i, item in enumerate(waiting) if i not in used]
            yield batches, Position(drawn, tuple(number for number, _ in waiting))

    def _index(self, number: int) -> int:
        """The index, among all that are ever drawn, of what this rank draws as its `number`-th. Where
        batches hold a number of examples, ranks and accumulation split the same examples between them."""
        each = self._stage.examples_per_batch or 1
        block, place = divmod(number, each)
        return (block * self._world + self._rank) * each + place

    def _checked(self, sequence: Sequence, number: int) -> Sequence:
        stage, length = self._stage, len(sequence.ids)
        pair = CHOSEN in sequence.targets  # of which a cut would leave one side
        if length > stage.max_length and stage.overlong == "cut" and not pair:
            # LLaVA cuts after the images stand in the text (llava_arch.py), at 2,048 by default.
            kept = sequence.ids[: stage.max_length]
            if self._image_id not in sequence.ids[stage.max_length :]:
                sequence = replace(sequence, ids=kept, labels=sequence.labels[: stage.max_length])
                length = len(kept)
        if length > stage.max_length:
            found = self._data.example(self._index(number)).id
            raise InputError(
                f"Example {found!r} takes {length} ids, more than max_length={stage.max_length} of the "
                f"stage {stage.name!r}. Shorten it, or raise max_length."
            )
        if stage.examples_per_batch is None and length > stage.tokens_per_batch:
            found = self._data.example(self._index(number)).id
            raise InputError(
                f"Example {found!r} takes {length} ids, more than tokens_per_batch="
                f"{stage.tokens_per_batch} of the stage {stage.name!r}. Raise tokens_per_batch."
            )
        if stage.examples_per_batch is None and not length:
            raise InputError(
                f"The stage {stage.name!r} has examples without ids, so tokens_per_batch cannot bound "
                "a batch. Set examples_per_batch."
            )
        return sequence

    def _rows(
        self, waiting: list[tuple[int, Sequence]], each: int | None
    ) -> tuple[list[list[Sequence]], set[int]]:
        """The rows of the next batch, and the places in `waiting` that it uses up."""
        stage = self._stage
        lengths = [len(s.ids) for _, s in waiting[:each]]
        if stage.pack:
            rows, _ = fit(lengths, stage.max_length, None if each else stage.tokens_per_batch)
        elif each:
            rows = [[i] for i in range(each)]
        else:
            rows = []
            longest = 0
            for i, length in enumerate(lengths):
                longest = max(longest, length)
                if longest * (len(rows) + 1) > stage.tokens_per_batch:
                    break
                rows.append([i])
        return [[waiting[i][1] for i in row] for row in rows], {i for row in rows for i in row}


def fed(rows: list[list[Sequence]], pad_id: int = 0) -> Fed:
    """The batch of these rows."""
    batch = collate(rows, pad_id)
    keys = tuple(key for row in rows for s in row for key in s.keys)
    images = sum(len(s.pixels) for row in rows for s in row)
    return Fed(
        batch=batch,
        keys=keys,
        examples=sum(len(row) for row in rows),
        images=images,
        learned=batch.learned,
        tokens=sum(len(s.ids) for row in rows for s in row),
    )


def _ids(waiting: list[tuple[int, Sequence]]) -> int:
    return sum(len(sequence.ids) for _, sequence in waiting)
