"""Linear layers whose weights lie as oneDNN reads them: bfloat16 on a CPU, of models that only answer.

The sums are those of `nn.Linear`, to the bit: the weights are laid out once instead of at every call. Where an
activation follows (a feed-forward block's GELU or SiLU), it is applied while the sums are still in fast memory, and in
float32, before they are rounded; by itself it takes several times as long as the product before it. Both are what
`torch.compile` makes of such layers, without a compiler on the user's machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from looksay.models import attending, narrow_blocks
from looksay.models.fingerprint import samples
from looksay.models.mapped import let_go, shared
from looksay.models.narrow import PLAIN, After, Narrow, together

_AFTER = {name: PLAIN[name] for name in PLAIN if name[0] in ("gelu", "swish", "relu")}
"""What can follow a product in bfloat16."""
Names = tuple[str, str, str]
_BLOCKS: tuple[Names, ...] = (("fc1", "activation_fn", "fc2"), ("gate_proj", "act_fn", "down_proj"))
"""Names in feed-forward blocks: the layer before the activation, the activation, the layer after it."""
SCALES = (1, 30, 1000)
"""A block is asked about inputs of so different sizes: some cut off what is large."""
_CLOSE = 0.03
"""Of the largest output: two ways to round in bfloat16 differ by less."""


class Packed(nn.Module):
    """A linear layer for reading; `after`: what follows it."""

    def __init__(self, layer: nn.Linear, after: After = ("none", "")) -> None:
        super().__init__()
        self.in_features: int = layer.in_features
        self.out_features: int = layer.out_features
        self.after = after
        self.bias = layer.bias
        self.samples: Tensor
        # So that weights can still be told apart by `fingerprint`.
        self.register_buffer("samples", samples(layer.weight), persistent=True)
        pack = torch.ops.mkldnn._reorder_linear_weight
        self._held: Tensor = pack(layer.weight.detach(), None)

    @property
    def weight(self) -> Tensor:
        """As `nn.Linear` has it, laid out anew at every call."""
        return self._held.to_dense()

    @property
    def held_bytes(self) -> int:
        """What it takes besides parameters and buffers."""
        return int(self._held.element_size() * self._held.numel())

    def forward(self, x: Tensor) -> Tensor:
        kind, variant = self.after
        found = torch.ops.mkldnn._linear_pointwise(x, self._held, self.bias, kind, [], variant)
        return cast(Tensor, found)


def supported() -> bool:
    """Whether this torch and this processor can."""
    try:
        return bool(
            torch.backends.mkldnn.is_available()
            and torch.ops.mkldnn._is_mkldnn_bf16_supported()
            and torch.ops.mkldnn._linear_pointwise
            and torch.ops.mkldnn._reorder_linear_weight
        )
    except AttributeError:  # torch without oneDNN, or with other names
        return False


def ready(model: nn.Module) -> None:
    """Have a model that lies on a CPU, wide or narrow, answer as fast as it can. It can only be read from then on."""
    attending.use(model)
    pack(model)


def pack(model: nn.Module) -> int:
    """Replace the linear layers of a model that are in bfloat16 on a CPU, and put activations into these; blocks of layers
    in 8 bits become one; how many layers and blocks changed. Layers that share their weights (with an embedding, say) and
    output layers stay."""
    kept = _kept(model)
    found = 0
    for name, names in list(_blocks(model)):
        found += _fuse(model, name, names, kept)
    together(model)
    if not supported():
        return found
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if _packable(layer) and layer.weight.data_ptr() not in kept:
                setattr(module, name, Packed(cast(nn.Linear, layer)))
                let_go(layer.weight)
                found += 1
    return found


def _packable(layer: Any) -> bool:
    if type(layer) is not nn.Linear or layer.weight is None or layer.weight.is_meta:
        return False
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    return layer.weight.dtype == torch.bfloat16 and layer.weight.device.type == "cpu" and not hooked


def _kept(model: nn.Module) -> set[int]:
    """Weights (by where they lie) that are read elsewhere, too, and those of output layers."""
    heads = []
    for module in model.modules():
        head = getattr(module, "get_output_embeddings", lambda: None)()
        heads += [one.data_ptr() for one in (head.parameters() if head is not None else ())]
    return shared(model) | set(heads)


def _blocks(model: nn.Module) -> Iterator[tuple[str, Names]]:
    """Feed-forward blocks by their names in the model."""
    for name, block in model.named_modules():
        for names in _BLOCKS:
            if not all(hasattr(block, one) for one in names):
                continue
            layer = getattr(block, names[0])
            if isinstance(layer, Narrow) or (supported() and _packable(layer)):
                yield name, names


@torch.inference_mode()
def _fuse(model: nn.Module, name: str, names: Names, kept: set[int]) -> int:
    """Put a block's activation into the layer before it, if the block says the same afterwards; how many (0 or 1)."""
    block, (first, activation, _) = model.get_submodule(name), names
    layer, act = getattr(block, first), getattr(block, activation)
    narrow = isinstance(layer, Narrow)
    after = _named(act, PLAIN if narrow else _AFTER)
    if after is None or (not narrow and layer.weight.data_ptr() in kept):
        return 0
    chance = torch.Generator().manual_seed(0)
    dtype = layer.samples.dtype if narrow else torch.bfloat16
    probe_NI = torch.randn(16, layer.in_features, generator=chance).to(dtype)
    probes = [scale * probe_NI for scale in SCALES]
    try:
        before = [block(probe).float() for probe in probes]
    except Exception:  # a block that takes more than what passes through
        return 0

    def same(new: nn.Module) -> bool:
        now = [new(probe).float() for probe in probes]
        pairs = zip(before, now, strict=True)
        return all(bool((n - b).abs().max() <= _CLOSE * b.abs().max()) for b, n in pairs)

    if narrow:
        one = narrow_blocks.of(block, names, after)
        if one is None or not name or not same(one):
            return 0
        model.set_submodule(name, one)
        return 1
    setattr(block, first, Packed(layer, after))
    setattr(block, activation, nn.Identity())
    if not same(block):
        setattr(block, first, layer)
        setattr(block, activation, act)
        return 0
    let_go(layer.weight)
    return 1


def _named(act: Any, known: Mapping[After, Callable[[Tensor], Tensor]]) -> After | None:
    """Which of them an activation is, by what it does."""
    at = torch.linspace(-6, 6, 97)
    try:
        found = act(at.clone())
    except Exception:
        return None
    for name, function in known.items():
        if torch.allclose(found, function(at), atol=1e-5):
            return name
    return None
