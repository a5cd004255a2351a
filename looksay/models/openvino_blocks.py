"""Transformer blocks that OpenVINO computes, in place of those of a model of transformers.

A block is cut at its attention: one graph from what goes in to queries, keys and values, one from what was attended to
to what comes out. Between the two, transformers' own attention reads the cache that it was given, so masks, cached
prefixes, windows and `Slots` are what they were, and the graphs hold nothing but weights. The model around the blocks
stays as it is and does not know.

A block is made when it is first called, from what it is called with; its torch weights are let go then.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from looksay.models import openvino_graphs as graphs
from looksay.models.fingerprint import exact_fingerprint
from looksay.models.openvino_bundles import Bundle, Kept, Runner
from looksay.models.openvino_graphs import Unfit

NAME = "looksay-parted"
"""The attention that cuts a block, as transformers knows it."""
MASK = "attention_mask"
Place = tuple[str, int | None]
"""Where a tensor stands among a block's arguments: name, and number within a tuple."""


class Block:
    """What stands in a block's place: its `forward`."""

    def __init__(self, block: nn.Module, kept: Kept) -> None:
        self._block, self._kept = block, kept
        self._whole: Any = block.forward
        takes = inspect.signature(block.forward).parameters.values()
        self._names = [one.name for one in takes if one.kind is one.POSITIONAL_OR_KEYWORD]
        self._made: _Made | None = None
        self.unfit = ""
        """Why it stays torch's."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.unfit:
            return self._whole(*args, **kwargs)
        given = self._given(args, kwargs)
        if self._made is None:
            try:
                self._made = self._make(_one_row(given))
            except Unfit as error:
                self.unfit = str(error)
                return self._whole(*args, **kwargs)
            _let_go(self._block, self._made.held)
            # What is left of a model is to have a fingerprint of all that it was made of.
            self._block.register_buffer("made_of", self._made.digest)
        return self._made(given)

    @property
    def done(self) -> bool:
        return self._made is not None

    def withdraw(self) -> None:
        """Let the block be torch's again, which must not be `done`."""
        self._block.__dict__.pop("forward", None)

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**dict(zip(self._names, args, strict=False)), **kwargs}

    def _make(self, given: dict[str, Any]) -> _Made:
        block = self._block.eval()
        met = _probe(block, self._whole, given)
        inputs = _tensors(given)

        def make() -> tuple[list[Any], dict[str, Any]]:
            block.float()  # it is let go soon
            values = [_wide(_at(given, place)) for place in inputs]
            before, first = graphs.traced(_Before(self._whole, block, given, inputs), values)
            after, second = graphs.traced(
                _After(self._whole, block, given, inputs), [*values, met.attended.float()]
            )
            left = set(range(len(inputs))) - {*first, *second}
            for place in [inputs[n] for n in left if inputs[n] not in met.places.values()]:
                # Bounds between pictures, say: what they do was done while it was traced.
                if not _at(given, place).is_floating_point():
                    raise Unfit(f"it does something of its own with {place[0]}")
            about = {"inputs": inputs, "before": first, "after": second}
            return [before, after], about

        config = getattr(met.module, "config", None)
        key = "\n".join(
            [
                f"{type(block).__module__}.{type(block).__qualname__}",
                exact_fingerprint(block.state_dict()),
                str(config.to_json_string() if config is not None else ""),
                repr([(place, _at(given, place).dim()) for place in inputs]),
                repr([(n, v) for n, v in given.items() if isinstance(v, (bool, int, float, str))]),
            ]
        )
        digest = hashlib.sha256(f"{self._kept.quantize} {key}".encode()).digest()
        return _Made(self._kept.get(key, make), met, self._kept.quantize, digest)


class _Met:
    """What a block does with its attention."""

    def __init__(self) -> None:
        self.calls = 0
        self.module: Any = None
        self.layer: int | None = None
        self.constants: dict[str, Any] = {}
        self.places: dict[str, Place] = {}
        self.attended = torch.empty(0)
        self.tuple = False


class _Made:
    """A block's two graphs, ready to run."""

    def __init__(self, bundle: Bundle, met: _Met, quantize: str | None, digest: bytes) -> None:
        self._met = met
        self.digest = torch.tensor(list(digest), dtype=torch.float32)
        inputs = [tuple(place) for place in bundle.about["inputs"]]
        self._first = [inputs[n] for n in bundle.about["before"]]
        second = bundle.about["after"]
        self._second = [inputs[n] for n in second if n < len(inputs)]
        self._before, self._after = (Runner(bundle, n, quantize) for n in (0, 1))
        self.held = {id(v) for v in met.constants.values() if isinstance(v, nn.Parameter)}

    def __call__(self, given: dict[str, Any]) -> Any:
        met = self._met
        query, keys, values = self._before(*(_at(given, p) for p in self._first))
        cache = _cache(given)
        if cache is not None and met.layer is not None:
            keys, values = cache.update(keys, values, met.layer)
        attend = ALL_ATTENTION_FUNCTIONS.get(met.module.config._attn_implementation)
        attended, _ = (attend or ALL_ATTENTION_FUNCTIONS["sdpa"])(
            met.module,
            query,
            keys,
            values,
            given.get(MASK),
            **met.constants,
            **{name: _at(given, place) for name, place in met.places.items()},
        )
        (found,) = self._after(*(_at(given, p) for p in self._second), attended)
        return (found,) if met.tuple else found


class _Reached(Exception):
    """A block came as far as its attention."""


class _Through:
    """A cache that holds nothing."""

    layer: int | None = None

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.layer = layer
        return keys, values


class _Rebuilt(nn.Module):
    """A block that takes its tensors one by one."""

    def __init__(
        self, whole: Any, block: nn.Module, given: dict[str, Any], inputs: list[Place]
    ) -> None:
        super().__init__()
        self.whole, self.block, self.given, self.inputs = whole, block, given, inputs

    def rebuilt(self, tensors: tuple[Tensor, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {
            n: _Through() if isinstance(v, Cache) else v for n, v in self.given.items()
        }
        for (name, number), tensor in zip(self.inputs, tensors, strict=True):
            if number is None:
                found[name] = tensor
            else:
                parts = list(found[name])
                parts[number] = tensor
                found[name] = tuple(parts)
        return found


class _Before(_Rebuilt):
    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reached: list[tuple[Tensor, Tensor, Tensor]] = []

        def meet(_: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **more: Any) -> Any:
            reached.append((query, key, value))
            raise _Reached

        try:
            with _parted(self.block, meet):
                self.whole(**self.rebuilt(tensors))
        except _Reached:
            pass
        return reached[0]


class _After(_Rebuilt):
    def forward(self, *tensors: Tensor) -> Tensor:
        def meet(*args: Any, **more: Any) -> Any:
            return tensors[-1], None

        with _parted(self.block, meet):
            found = self.whole(**self.rebuilt(tensors[:-1]))
        answer: Tensor = found[0] if isinstance(found, tuple) else found
        return answer


def _probe(block: nn.Module, whole: Any, given: dict[str, Any]) -> _Met:
    """Run a block as it is and see. Raises Unfit where it cannot be cut."""
    met = _Met()
    mask = given.get(MASK)
    places = {id(_at(given, place)): place for place in _tensors(given)}

    def meet(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any = None,
        **more: Any,
    ) -> Any:
        met.calls += 1
        met.module = module
        if attention_mask is not mask:
            raise Unfit("its attention makes a mask of its own")
        for name, one in more.items():
            if isinstance(one, (Cache, _Through)):
                continue
            if isinstance(one, Tensor) and id(one) in places:
                met.places[name] = places[id(one)]
            elif isinstance(one, Tensor) and not isinstance(one, nn.Parameter):
                raise Unfit(f"its attention is given {name}")
            else:
                met.constants[name] = one
        attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
        attended, weights = attend(module, query, key, value, attention_mask, **more)
        met.attended = attended
        return attended, weights

    layers = [m for m in block.modules() if type(m) is nn.Linear]
    called: list[nn.Module] = []
    hooks = [m.register_forward_hook(lambda m, *_: called.append(m)) for m in layers]
    through = _Through()
    probed = {n: through if isinstance(v, Cache) else v for n, v in given.items()}
    if mask is not None:
        # One that hides nothing, and shows no place that only the cache would have.
        steps = _at(given, _tensors(given)[0]).shape[1]
        mask = torch.zeros(1, 1, steps, steps, dtype=mask.dtype)
        mask = probed[MASK] = ~mask if mask.dtype == torch.bool else mask
    try:
        with _parted(block, meet), torch.no_grad():
            found = whole(**probed)
    finally:
        for hook in hooks:
            hook.remove()
    if met.calls != 1:
        raise Unfit(f"it attends {met.calls} times")
    if sorted(map(id, called)) != sorted(map(id, layers)):
        raise Unfit("it chooses among its layers")
    if isinstance(found, tuple) and len(found) != 1:
        raise Unfit(f"it gives {len(found)} things")
    met.tuple, met.layer = isinstance(found, tuple), through.layer
    return met


@contextmanager
def _parted(block: nn.Module, meet: Callable[..., Any]) -> Iterator[None]:
    """While this holds, the attention of a block is `meet`."""
    configs = {id(m.config): m.config for m in block.modules() if hasattr(m, "config")}
    before = {key: one._attn_implementation for key, one in configs.items()}
    ALL_ATTENTION_FUNCTIONS[NAME] = meet
    for one in configs.values():
        one._attn_implementation = NAME
    try:
        yield
    finally:
        for key, one in configs.items():
            one._attn_implementation = before[key]
        ALL_ATTENTION_FUNCTIONS.pop(NAME, None)


def _tensors(given: dict[str, Any]) -> list[Place]:
    """Where a block's tensors are, its mask left out: that is for the attention."""
    found: list[Place] = []
    for name, value in given.items():
        if name == MASK:
            continue
        if isinstance(value, Tensor):
            found.append((name, None))
        elif isinstance(value, tuple):
            found += [(name, n) for n, one in enumerate(value) if isinstance(one, Tensor)]
    return found


def _one_row(given: dict[str, Any]) -> dict[str, Any]:
    """The same with one row of a batch: a large picture is a row of tiles, and a block is run some times to be made."""
    first = _at(given, _tensors(given)[0])
    if first.dim() < 3:  # places of several pictures in one row
        return given
    rows = first.shape[0]

    def row(one: Any) -> Any:
        of_each = isinstance(one, Tensor) and one.dim() > 1 and one.shape[0] == rows
        return one[:1] if of_each else one

    return {
        name: tuple(map(row, value)) if isinstance(value, tuple) else row(value)
        for name, value in given.items()
    }


def _at(given: dict[str, Any], place: Any) -> Any:
    name, number = place
    return given[name] if number is None else given[name][number]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _cache(given: dict[str, Any]) -> Any:
    return next((value for value in given.values() if isinstance(value, Cache)), None)


def _let_go(block: nn.Module, held: set[int]) -> None:
    """Give back the memory of a block's weights."""
    for module in block.modules():
        for name, weight in module._parameters.items():
            if weight is not None and id(weight) not in held:
                module._parameters[name] = None


class HasBlocks(Protocol):
    def modules(self) -> Iterator[nn.Module]: ...


def blocks_of(part: HasBlocks) -> list[nn.Module]:
    """The blocks of a part: alike, in a row, each with an attention that transformers chooses by name."""
    found: list[nn.Module] = []
    for row in part.modules():
        if not isinstance(row, nn.ModuleList) or len({type(one) for one in row}) != 1:
            continue
        found += [one for one in row if _attends(one)]
    inner = {id(m) for one in found for m in one.modules() if m is not one}
    return [one for one in found if id(one) not in inner]


def _attends(block: nn.Module) -> bool:
    return any(
        getattr(getattr(m, "config", None), "_attn_implementation", None) is not None
        for m in block.modules()
    )


def stand_in(part: HasBlocks, kept: Kept) -> list[Block]:
    """Put OpenVINO in the place of a part's blocks."""
    found = []
    for one in blocks_of(part):
        stands = Block(one, kept)
        one.forward = stands
        found.append(stands)
    return found


class OutputLayer(nn.Module):
    """A linear layer over the vocabulary. `weight` is what the codes stand for, made anew at each look."""

    def __init__(self, layer: nn.Linear, kept: Kept) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("_like", layer.weight.new_empty(0), persistent=False)
        # 4 bits are too few for it, as elsewhere.
        eight = Kept(kept.folder, "int8" if kept.quantize else None, lambda: kept.tell())

        def make() -> tuple[list[Any], dict[str, Any]]:
            return [graphs.linear(layer.weight.detach(), layer.bias, eight.quantize)], {}

        self._bundle = eight.get(f"linear {exact_fingerprint(layer.state_dict())}", make)
        self._runner = Runner(self._bundle, 0, eight.quantize)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), False)

    @property
    def weight(self) -> Tensor:
        """Weights OI, in the model's precision."""
        return graphs.weight(self._bundle.graphs[0]).to(self._like.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) to (…, O)."""
        (found,) = self._runner(x.reshape(-1, self.in_features))
        return found.reshape(*x.shape[:-1], self.out_features)


def replace(part: nn.Module, layer: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another, wherever a part names it."""
    for owner in part.modules():
        for name, one in owner._modules.items():
            if one is layer:
                owner._modules[name] = new
