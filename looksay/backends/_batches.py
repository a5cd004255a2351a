"""What dual encoders share: items are drawn and embedded a batch at a time, and a batch that fails is halved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from looksay.backends import _device
from looksay.errors import BackendError
from looksay.types import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

DEFAULT = {"cpu": 16, "mps": 32, "cuda": 128}
"""Items in a batch, by device."""


class Batches:
    """Batches of the encoder `name`; after running out of memory they are no larger than what fitted."""

    def __init__(self, name: str, device: Any, size: int) -> None:
        self._name, self._device, self._size = name, device, size

    def of(self, items: Iterable[T]) -> Iterator[list[T]]:
        source = iter(items)
        while batch := list(islice(source, self._size)):
            yield batch

    def each(
        self, items: Iterable[T], work: Callable[[Sequence[T]], Any]
    ) -> Iterator[NDArray[np.float32]]:
        """What `work` (items → tensor with one row each) finds of each item, in float32. Raises BackendError
        that names the item at fault."""
        import torch

        def rows(some: Sequence[T]) -> Sequence[Any]:
            with torch.inference_mode():
                return list(work(some).float().cpu().numpy())

        for batch in self.of(items):
            for item, row, fault in _device.in_halves(rows, batch, self._shrink):
                if row is None:
                    told = item.source if isinstance(item, Image) else item
                    raise BackendError(f"{self._name} cannot embed {str(told)[:200]}: {fault}")
                yield row

    def unit_rows(
        self, items: Iterable[T], features: Callable[[Sequence[T]], Any]
    ) -> NDArray[np.float32]:
        """Rows (n, d) of length 1, in the order of the items."""
        import numpy as np
        import torch

        rows = list(
            self.each(items, lambda some: torch.nn.functional.normalize(features(some), dim=-1))
        )
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32)

    def _shrink(self, size: int) -> None:
        _device.empty_cache(self._device)
        self._size = max(1, min(self._size, size))
