"""From examples to tensors: a `Sequence` is one example as ids, a `Batch` is what a model takes.

Shapes: B rows, T ids in a row, I images of the batch in the order in which they appear, C channels,
H × W pixels, N tokens per image, D width of a token. Rows may hold several examples (packing):
`segments_BT` numbers them from 1, 0 is padding, and no example sees another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

IGNORE = -100
"""A label that is not learned."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One example, ready for a batch.

    `ids` has the placeholder id of an image once per image token, already repeated. `labels` has the
    same length, is *not* shifted, and is IGNORE wherever nothing is learned. `pixels` holds one CHW
    float tensor per run of placeholders, in order. `keys` names each image by content (for caches of
    frozen towers' features). `targets` holds what an objective other than the language model's wants,
    one tensor per image, stacked in the batch.
    """

    ids: list[int]
    labels: list[int]
    pixels: tuple[Tensor, ...] = ()
    keys: tuple[str, ...] = ()
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.labels):
            raise ValueError(f"{len(self.ids)} ids, but {len(self.labels)} labels")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a model takes. All int64, except `pixels_ICHW` and `features_IND` (float)."""

    ids_BT: Tensor
    labels_BT: Tensor
    positions_BT: Tensor
    """Place of each id in its own example, from 0."""
    segments_BT: Tensor
    """Which example of the row an id belongs to, from 1; 0 is padding."""
    pixels_ICHW: Tensor | None = None
    features_IND: Tensor | None = None
    """Cached features of a frozen tower (before the connector); used instead of the pixels."""
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def learned(self) -> int:
        """How many ids are learned (the first of an example has nothing to be predicted from): what the
        mean loss of this batch was taken over."""
        return int(learned_mask(self.labels_BT, self.segments_BT).sum())

    def to(self, device: torch.device | str) -> Batch:
        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=True)
            if isinstance(value, Mapping):
                return {key: move(item) for key, item in value.items()}
            return value

        return Batch(**{f.name: move(getattr(self, f.name)) for f in fields(self)})


def learned_mask(labels_BT: Tensor, segments_BT: Tensor) -> Tensor:
    """Where the id at t + 1 is learned from t: (B, T - 1), bool. A label counts only where the id
    before it belongs to the same segment."""
    same = segments_BT[:, 1:] == segments_BT[:, :-1]
    return (labels_BT[:, 1:] != IGNORE) & same


def pad(sequences: Iterable[Sequence], pad_id: int = 0, side: str = "right") -> Batch:
    """One row per sequence; `side` is where the padding goes ("left" for generation)."""
    return collate([[sequence] for sequence in sequences], pad_id, side)


def fit(
    lengths: Many[int], max_length: int, tokens: int | None = None
) -> tuple[list[list[int]], int]:
    """Best-fit packing: rows of indices into `lengths`, and the length of the longest row.

    With `tokens`, rows × longest row is at most that, and what does not fit is left out, the later
    ones first; without it everything is placed. A row is as long as pays: longer rows waste less, but
    attention over a row costs the square of its length.
    """
    if not lengths or max(lengths) == 0:
        return ([list(range(len(lengths)))] if lengths else []), 0
    room = min(max_length, tokens or max_length)
    best: tuple[float, list[list[int]], int] | None = None
    tried: set[int] = set()
    for factor in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
        length = min(room, int(factor * max(lengths)))
        if length in tried or length < max(lengths):
            continue
        tried.add(length)
        rows, used = _best_fit(lengths, length, tokens // length if tokens else len(lengths))
        longest = max(sum(lengths[i] for i in row) for row in rows)
        cost = len(rows) * longest / used * (1 + longest / 2048)
        if best is None or cost < best[0]:
            best = cost, rows, longest
    if best is None:
        raise ValueError(f"a sequence of {max(lengths)} ids does not fit into a row of {room}")
    return best[1], best[2]


def _best_fit(lengths: Many[int], length: int, limit: int) -> tuple[list[list[int]], int]:
    """At most `limit` rows of at most `length`: the oldest sequences that fill them, longest first,
    then whatever else fills a gap. Returns the rows and how many ids they hold."""
    ahead, total = 0, 0
    while ahead < len(lengths) and total < limit * length:
        total += lengths[ahead]
        ahead += 1
    rows: list[list[int]] = []
    free: list[int] = []
    used = 0
    order = sorted(range(1, ahead), key=lambda i: (-lengths[i], i))
    for i in [0, *order, *range(ahead, len(lengths))]:
        gap, row = min(((f, r) for r, f in enumerate(free) if f >= lengths[i]), default=(0, -1))
        if row < 0:
            if len(rows) == limit:
                continue
            gap, row = length, len(rows)
            rows.append([])
            free.append(length)
        rows[row].append(i)
        free[row] = gap - lengths[i]
        used += lengths[i]
    return [sorted(row) for row in rows], used


def collate(rows: Iterable[Many[Sequence]], pad_id: int = 0, side: str = "right") -> Batch:
    """A batch of packed rows. Images and targets follow the rows' order; sequences without ids (an
    objective of the tower alone) give ids of shape (0, 0)."""
    if side not in ("left", "right"):
        raise ValueError(f"side is {side!r}; expected left or right")
    kept = [list(row) for row in rows]
    sequences = [sequence for row in kept for sequence in row]
    width = max((sum(len(s.ids) for s in row) for row in kept), default=0)
    table: dict[str, list[list[int]]] = {"ids": [], "labels": [], "positions": [], "segments": []}
    for row in kept if width else []:
        gap = width - sum(len(s.ids) for s in row)
        values: dict[str, list[int]] = {
            "ids": [i for s in row for i in s.ids],
            "labels": [i for s in row for i in s.labels],
            "positions": [i for s in row for i in range(len(s.ids))],
            "segments": [n for n, s in enumerate(row, 1) for _ in s.ids],
        }
        for name, filler in (
            ("ids", pad_id),
            ("labels", IGNORE),
            ("positions", 0),
            ("segments", 0),
        ):
            padding = [filler] * gap
            line = padding + values[name] if side == "left" else values[name] + padding
            table[name].append(line)
    tensors = {
        name: torch.tensor(lines, dtype=torch.long).reshape(len(lines), width)
        for name, lines in table.items()
    }
    pixels = [p for s in sequences for p in s.pixels]
    names = {name for s in sequences for name in s.targets}
    return Batch(
        ids_BT=tensors["ids"],
        labels_BT=tensors["labels"],
        positions_BT=tensors["positions"],
        segments_BT=tensors["segments"],
        pixels_ICHW=torch.stack(pixels) if pixels else None,
        targets={n: torch.cat([s.targets[n] for s in sequences if n in s.targets]) for n in names},
    )
