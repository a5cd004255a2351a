"""From examples to tensors: a `Sequence` is one example as ids, a `Batch` is what a model takes.

Shapes: B rows, T ids in a row, I images of the batch in the order in which they appear, C channels,
H × W pixels, N tokens per image, D width of a token. Rows may hold several examples (packing):
`segments_BT` numbers them from 1, 0 is padding, and no example sees another.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        """How many ids have a label: what the mean loss of this batch was taken over."""
        return int((self.labels_BT != IGNORE).sum())

    def to(self, device: torch.device | str) -> Batch:
        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=True)
            if isinstance(value, Mapping):
                return {key: move(item) for key, item in value.items()}
            return value

        return Batch(**{f.name: move(getattr(self, f.name)) for f in fields(self)})
