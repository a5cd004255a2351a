"""What was computed lately and may be wanted again: what was read of prompts, and what pictures look like to a tower.

Pictures are kept for all models of the process together, by the tower that looked at them: two models over one tower,
several prompts and second requests look at a photo once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor

from looksay.models.slots import Layer

KEPT_BYTES = 256 << 20
"""Of prompts that were read, at most."""
KEPT_SHARE, KEPT_LEAST = 0.05, 32 << 20
"""On a CPU no more of them than that share of the weights, or so many bytes."""
SEEN_BYTES = 64 << 20
"""Of pictures, in the whole process."""
Units = tuple[Hashable, ...]
"""A prompt, one for each place: an id, or what names the picture that stands there."""
Kept = TypeVar("Kept")


class Recent(Generic[Kept]):
    """The things used last, up to so many bytes."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self.items: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()

    def get(self, key: Hashable) -> Kept | None:
        found = self.items.get(key)
        if found is None:
            return None
        self.items.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Kept, size: int) -> None:
        self.drop(key)
        self.items[key] = (value, size)
        self.bytes += size
        while self.bytes > self.most_bytes:
            self.drop(next(iter(self.items)))

    def drop(self, key: Hashable) -> None:
        _, size = self.items.pop(key, (None, 0))
        self.bytes -= size


class Prefixes:
    """What was read of prompts, by their beginnings. Any thread may ask."""

    LEAST = 16
    """Fewer places in common are read anew: it costs less than to copy them."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self.recent: Recent[list[Layer]] = Recent(most_bytes)
        self._lock = threading.Lock()

    def find(self, units: Units) -> tuple[list[Layer], int]:
        """The keys and values of the longest beginning that was read, and how many places of it; none: [], 0. At
        least the last place is left to read: its scores are wanted."""
        best, longest = None, 0
        with self._lock:
            for key in self.recent.items:
                assert isinstance(key, tuple)
                common = _common(key, units)
                if common > longest:
                    best, longest = key, common
            longest = min(longest, len(units) - 1)
            if best is None or longest < self.LEAST:
                return [], 0
            return self.recent.get(best) or [], longest

    def put(self, units: Units, layers: list[Layer]) -> None:
        size = sum(one.numel() * one.element_size() for layer in layers for one in layer)
        with self._lock:
            for key in list(
                self.recent.items
            ):  # one that goes on where another ended stands for both
                assert isinstance(key, tuple)
                if len(key) <= len(units) and units[: len(key)] == key:
                    self.recent.drop(key)
            self.recent.put(units, layers, size)


def _common(one: Units, other: Units) -> int:
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    low, high = 0, length  # equal up to `low`, different somewhere before `high`
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Seen:
    """What one tower made of pictures; kept for all who name the same `tower`."""

    _recent: Recent[Any] = Recent(SEEN_BYTES)
    _lock = threading.Lock()

    def __init__(self, tower: Hashable) -> None:
        self._tower = tower

    def get(self, picture: Hashable) -> Any:
        """None where it was not seen lately."""
        with self._lock:
            return self._recent.get((self._tower, picture))

    def put(self, picture: Hashable, features: Any) -> None:
        """Tensors, or a tree of lists and namespaces of them."""
        with self._lock:
            self._recent.put((self._tower, picture), features, bytes_of(features))

    @classmethod
    def forget(cls) -> None:
        with cls._lock:
            for key in list(cls._recent.items):
                cls._recent.drop(key)


def bytes_of(tree: Any) -> int:
    """Of all tensors in lists, mappings and objects' attributes."""
    if isinstance(tree, Tensor):
        return int(tree.numel() * tree.element_size())
    if isinstance(tree, list | tuple):
        return sum(map(bytes_of, tree))
    if isinstance(tree, Mapping):
        return sum(map(bytes_of, tree.values()))
    return bytes_of(vars(tree)) if hasattr(tree, "__dict__") else 0


def prompt_bytes(weights: int, device: Any) -> int:
    """How much is kept of prompts beside so many bytes of weights."""
    if device.type != "cpu":
        return KEPT_BYTES
    return min(KEPT_BYTES, max(KEPT_LEAST, int(KEPT_SHARE * weights)))


def weight_bytes(model: Any) -> int:
    """Of all that a model holds (`held_bytes`: what some layers hold in their own way)."""
    own = sum(getattr(module, "held_bytes", 0) for module in model.modules())
    return int(own) + sum(map(bytes_of, (*model.parameters(), *model.buffers())))
