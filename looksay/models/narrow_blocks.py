"""Feed-forward blocks of layers in 8 bits, as one: what lies between two products stays in float32, instead of going
out and in again in the model's precision.

Shapes: N rows, I features between the layers, D features in and out.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from looksay.models.narrow import FEW, After, Codes, Narrow, largest, learns, pieces
from looksay.models.sharing import alone, share


class NarrowBlock(nn.Module):
    """`last(first(x))`, or `last(first(x) * beside(x))`; the activation belongs to the first layer."""

    def __init__(self, layers: dict[str, Narrow], after: After) -> None:
        """`layers`: by the names they have in the model, the first one first and the last one last."""
        super().__init__()
        first, *self._besides, self._last = layers
        self._first = first
        for name, layer in layers.items():
            self.add_module(name, layer.followed(after) if name == first else layer)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) to (…, D)."""
        first, last, beside = self._layers()
        if learns(x):
            inner = first(x)
            return cast(Tensor, last(inner if beside is None else inner * beside(x)))
        rows_ND = x.reshape(-1, first.in_features)
        found_ND = x.new_empty(len(rows_ND), last.out_features)

        def work(rows: slice) -> None:
            given = Codes.room(rows.stop - rows.start, first.in_features)
            given.take(rows_ND[rows])
            last.answer(self._between(given), found_ND[rows])

        share(work, pieces(len(rows_ND)))
        return found_ND.reshape(*x.shape[:-1], last.out_features)

    def _layers(self) -> tuple[Narrow, Narrow, Narrow | None]:
        besides = [cast(Narrow, getattr(self, name)) for name in self._besides]
        first, last = (cast(Narrow, getattr(self, name)) for name in (self._first, self._last))
        return first, last, besides[0] if besides else None

    def _between(self, given: Codes) -> Codes:
        """Codes of what the last layer is given."""
        first, last, beside = self._layers()
        inner_NI = first.product(given)
        other_NI = None if beside is None else beside.product(given)
        found = Codes.room(len(inner_NI), last.in_features)
        with alone(inner_NI.numel() <= FEW):
            wide_NI = first.followed_by(inner_NI, given.scales_N1)
            if beside is not None and other_NI is not None:
                wide_NI = wide_NI.mul_(beside.followed_by(other_NI, given.scales_N1))
            found.round(wide_NI, largest(wide_NI))
        return found


def of(block: nn.Module, names: tuple[str, str, str], after: After) -> NarrowBlock | None:
    """A block as one, by the names of its first layer, its activation and its last layer; None where it has other parts,
    weights of its own or hooks, or layers that are not in 8 bits."""
    first, _, last = names
    besides = [name for name, _ in block.named_children() if name not in names]
    layers = {name: getattr(block, name) for name in (first, *besides, last)}
    own = [*block.parameters(recurse=False), *block.buffers(recurse=False)]
    hooked = any(one._forward_hooks or one._forward_pre_hooks for one in block.modules())
    alike = len(besides) < 2 and all(isinstance(layer, Narrow) for layer in layers.values())
    if own or hooked or not alike:
        return None
    found = NarrowBlock(layers, after)
    found.train(block.training)
    return found
