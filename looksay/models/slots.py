"""The memory of answers that are written at once: each joins and leaves the others between two words.

Keys and values of every row begin at the row's first place, so rows of any length stand side by side and nothing is
moved when one joins. transformers' own cache holds a batch that begins and ends together.

Shapes: B rows that are being answered, R rows that there is room for, H heads, T places of a text, S places that there
is room for, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

PLACES = 128
"""Buffers grow by so many places at a time: growing copies them."""
Layer = tuple[Tensor, Tensor]
"""Keys and values of one text in one layer, 1HTD each."""


class _Places:
    """How long the rows are, on the device: shared by all layers."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.ahead: list[int] = []
        self.rows_B: Tensor = torch.empty(0, dtype=torch.long)
        self.lengths_B: Tensor = torch.empty(0, dtype=torch.long)
        self.ahead_B: Tensor = torch.empty(0, dtype=torch.long)

    def moved(self, device: torch.device) -> None:
        self.lengths_B = torch.tensor(self.lengths, device=device, dtype=torch.long)
        self.rows_B = torch.arange(len(self.lengths), device=device)
        self.ahead_B = torch.tensor(self.ahead, device=device, dtype=torch.long)

    @property
    def longest(self) -> int:
        return max(self.lengths, default=0)


class _SlotLayer(CacheLayerMixin):
    """One layer: buffers RHSD that grow as rows and places are needed; one new place per row and step."""

    is_sliding = False

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self.places = places

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = key_states.new_empty(0, key_states.shape[1], 0, key_states.shape[3])
        self.values = value_states.new_empty(0, value_states.shape[1], 0, value_states.shape[3])
        self.is_initialized = True

    def take(self, row: int, layer: Layer) -> None:
        """Lay a text's keys and values into a row."""
        if not self.is_initialized:
            self.lazy_initialization(*layer)
        length = layer[0].shape[2]
        self._grow(row + 1, length + 1)
        for held, new in zip((self.keys, self.values), layer, strict=True):
            held[row, :, :length] = new[0]
            # What stood there before counts nothing, but nothing times infinity is no number.
            held[row, :, length:] = 0

    def give(self, row: int, length: int) -> Layer:
        """A copy of what a row holds."""
        return (
            self.keys[row : row + 1, :, :length].clone(),
            self.values[row : row + 1, :, :length].clone(),
        )

    def move(self, source: int, target: int, length: int) -> None:
        for held in (self.keys, self.values):
            held[target, :, :length] = held[source, :, :length]
            held[target, :, length:] = 0

    def release(self) -> None:
        """Give the memory back: no row is there."""
        self.keys, self.values = self.keys[:0, :, :0].clone(), self.values[:0, :, :0].clone()

    def _grow(self, rows: int, room: int) -> None:
        """Room for so many rows and places. `rows` are all that are used: what there was for more is given back, so
        that one long text does not stand beside the room of many short ones."""
        have, _, places, _ = self.keys.shape
        if rows <= have and room <= places:
            return
        reach = -(-max(room, self.places.longest + 1) // PLACES) * PLACES
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(rows, old.shape[1], reach, old.shape[3])
            some = old[:rows, :, :reach]
            new[: some.shape[0], :, : some.shape[2]] = some
            setattr(self, name, new)

    @torch.inference_mode()
    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the next place of every row, (B, H, 1, D) each; returns all that the rows hold, as long as the longest."""
        rows, reach = len(self.places.lengths), self.places.longest + 1
        self._grow(rows, reach)
        at = (self.places.rows_B, slice(None), self.places.lengths_B)
        self.keys[at] = key_states[:, :, 0]
        self.values[at] = value_states[:, :, 0]
        return self.keys[:rows, :, :reach], self.values[:rows, :, :reach]

    def get_seq_length(self) -> int:
        return self.places.longest

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.places.longest + query_length, 0

    def get_max_length(self) -> int:
        return -1


class Slots(Cache):
    """A cache whose rows come and go. Rows are numbered without gaps: where one leaves, the last takes its place."""

    def __init__(self, layers: int) -> None:
        self.places = _Places()
        super().__init__(layers=[_SlotLayer(self.places) for _ in range(layers)])

    @property
    def lengths(self) -> list[int]:
        """Places that each row holds."""
        return self.places.lengths

    @property
    def positions_B(self) -> Tensor:
        """What each row's next word counts as."""
        return self.places.lengths_B + self.places.ahead_B

    @torch.inference_mode()
    def join(self, layers: Sequence[Layer], ahead: int = 0) -> int:
        """Take a text that was read; returns its row, the last. `ahead`: how much further than its places it counts,
        of models that number pictures in two dimensions."""
        row = len(self.lengths)
        for slot, layer in zip(self.layers, layers, strict=True):
            slot.take(row, layer)
        self.lengths.append(layers[0][0].shape[2])
        self.places.ahead.append(ahead)
        self.places.moved(layers[0][0].device)
        return row

    @torch.inference_mode()
    def leave(self, row: int) -> None:
        """Let a row go; the last one is then called `row`."""
        last = len(self.lengths) - 1
        if row != last:
            for slot in self.layers:
                slot.move(last, row, self.lengths[last])
            self.lengths[row] = self.lengths[last]
            self.places.ahead[row] = self.places.ahead[last]
        self.lengths.pop()
        self.places.ahead.pop()
        if not self.lengths:
            for slot in self.layers:
                slot.release()
        self.places.moved(self.places.lengths_B.device)

    @torch.inference_mode()
    def copied(self, row: int) -> list[Layer]:
        """What a row holds, for later texts that begin alike."""
        return [slot.give(row, self.lengths[row]) for slot in self.layers]

    def mask_BT(self) -> Tensor | None:
        """Which places count for the next word of each row, True or False; None where all rows are equally long."""
        lengths_B = self.places.lengths_B
        if len(set(self.lengths)) < 2:
            return None
        places = torch.arange(self.places.longest + 1, device=lengths_B.device)
        # The new place lies behind each row's own.
        return places[None] <= lengths_B[:, None]

    @torch.inference_mode()
    def advance(self) -> None:
        """A step was made: every row holds one place more."""
        self.places.lengths = [length + 1 for length in self.lengths]
        self.places.lengths_B = self.places.lengths_B + 1


def plain(config: Any) -> bool:
    """Whether a decoder of that configuration remembers keys and values of every place and nothing else, so that its
    rows can stand in `Slots`."""
    if getattr(config.get_text_config(decoder=True), "cross_attention_layers", None):
        return False  # they remember a picture
    layers = DynamicCache(config=config).layers
    return not layers or all(type(layer) is DynamicLayer for layer in layers)


def place_bytes(config: Any, each: int) -> int:
    """Keys and values of one place of one text, in bytes, by a decoder's configuration; `each`: of a number."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * each)


def read_of(cache: Any, row: int = 0) -> list[Layer]:
    """The keys and values of a text that was read, alone or in a row beside others of its length."""
    found = [(layer.keys[row : row + 1], layer.values[row : row + 1]) for layer in cache.layers]
    if len(cache.layers[0].keys) == 1:
        return found
    return [
        (keys.clone(), values.clone()) for keys, values in found
    ]  # who keeps one keeps no other


def begun(layers: Sequence[Layer], places: int) -> DynamicCache:
    """A cache of transformers that holds the first so many places of a text that was read before."""
    return DynamicCache([(keys[:, :, :places], values[:, :, :places]) for keys, values in layers])
