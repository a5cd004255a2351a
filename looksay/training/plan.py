"""What a run will train, hold and cost, from shapes alone: nothing is loaded and nothing is run.

Every figure is an estimate: FLOPs by counting matrix products (2 per weight and id forwards, as many
again for each gradient), memory by the formula of Korthikanti et al. (2205.05198, section 4), time by an
assumed share of the device's peak.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from looksay.errors import UnknownName
from looksay.models.preference import PREFERENCE
from looksay.training.layers import stacked
from looksay.training.sharding import GATHERED
from looksay.training.stages import Stage

PER_PICTURE = frozenset({"tower", "connector"})
"""Parts that see the tokens of a picture; all others see the ids of a text."""
WORDLESS = frozenset({"recognise", "ground"})
"""Objectives that read no text."""


@dataclass(frozen=True, slots=True)
class Device:
    """Peak of dense bf16 matrix products in FLOP/s and memory in bytes, as the vendor states them."""

    peak: float
    memory: float
    used: float = 0.4
    """Assumed share of the peak (MFU)."""


DEVICES = {
    "h200": Device(989e12, 141e9),
    "h100": Device(989e12, 80e9),
    "a100-80gb": Device(312e12, 80e9),
    "a100-40gb": Device(312e12, 40e9),
    "l40s": Device(362e12, 48e9),
    "l4": Device(121e12, 24e9),
    "rtx4090": Device(165e12, 24e9),
    "rtx3090": Device(71e12, 24e9),
    "cpu": Device(0.25e12, 16e9),
}
"""A CPU is far from one number: here two cores with AVX-512, in fp32."""


@dataclass(frozen=True, slots=True)
class Line:
    """The plan of one stage on one device."""

    stage: str
    trains: Mapping[str, int]
    """Learning parameters by part."""
    frozen: int
    steps: int
    tokens: int
    """Ids per step over all devices, padding included; 0 where a stage learns from pictures alone."""
    examples: int
    """Examples per step over all devices."""
    memory: Mapping[str, float]
    """Bytes per device: weights, gradients, optimizer, activations; where sharded also what is gathered
    at once."""
    flops: float
    """Of all steps."""
    hours: float
    cost_usd: float
    host: float = 0.0
    """Bytes of main memory per process for the whole model that sharded training keeps there."""


def plan(
    parts: Mapping[str, Any],
    stages: Sequence[Stage],
    *,
    device: str = "h100",
    devices: int = 1,
    price_usd_per_hour: float = 0.0,
    image_tokens: int = 0,
    tower_tokens: int = 0,
    text_tokens: int = 200,
    frozen_bytes: float = 4.0,
    shard: bool = False,
) -> list[Line]:
    """A line per stage. `parts` are modules (on the meta device too); ids per example are the image's and
    `text_tokens`, where a stage does not count ids itself. `shard` spreads weights, gradients and
    optimiser state over the devices. Raises UnknownName for a device without figures."""
    if device not in DEVICES:
        raise UnknownName("device in the table of plans", device, DEVICES)
    chosen = DEVICES[device]
    lines = []
    for stage in stages:
        line = _line(parts, stage, devices, image_tokens, tower_tokens, text_tokens, frozen_bytes)
        hours = line["flops"] / (chosen.peak * chosen.used * devices) / 3600
        cost = hours * price_usd_per_hour * devices
        if shard:
            line |= _sharded(parts, stage, line, devices, frozen_bytes)
        lines.append(Line(**line, hours=hours, cost_usd=cost))
    return lines


def _line(
    parts: Mapping[str, Any],
    stage: Stage,
    devices: int,
    image_tokens: int,
    tower_tokens: int,
    text_tokens: int,
    frozen_bytes: float,
) -> dict[str, Any]:
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    unknown = next((name for name in stage.trains if name not in sizes), None)
    if unknown is not None:
        raise UnknownName("part of this model", unknown, sizes)
    trains = {name: sizes[name] for name in stage.trains}
    if stage.adapter is not None and stage.adapter.part in trains:
        part = parts[stage.adapter.part]
        single = _adapter_size(part, stage.adapter.rank)
        trains[stage.adapter.part] = single * len(stage.adapter.names)
    each = text_tokens + image_tokens
    if set(stage.objectives) <= WORDLESS:
        each = 0
    if PREFERENCE in stage.objectives:
        each *= 2  # both answers, each with all that they follow
    examples = stage.examples_per_batch or max(1, stage.tokens_per_batch // max(1, each))
    rows = examples * each if stage.examples_per_batch else stage.tokens_per_batch
    ids = rows if each else 0
    # Gradients flow backwards from the last to the first part that trains; a family names its parts in order.
    flows = [name for name, size in sizes.items() if size]
    first = min((flows.index(n) for n in trains if n in flows), default=0)
    flops = activations = 0.0
    for place, name in enumerate(flows):
        if name not in PER_PICTURE and not ids:
            continue
        seen = examples * tower_tokens if name in PER_PICTURE else ids
        length = tower_tokens if name in PER_PICTURE else min(stage.max_length, max(each, 1))
        depth, width = _stack(parts[name])
        forward = (2.0 * _multiplied(parts[name]) + 4.0 * depth * width * length) * seen
        convolved = _convolved(parts[name])
        if convolved is not None:
            forward = convolved[0] * examples
        backward = (place >= first) * (1 + (name in trains and stage.adapter is None))
        again = stage.checkpoint_activations and place >= first
        flops += forward * (1 + backward + again)
        if place >= first:
            one = 34.0 * width * seen
            if convolved is not None:
                activations += 4.0 * convolved[1] * examples
            else:
                activations += 2.0 * width * seen * depth + one if again else one * depth
    learned = sum(trains.values())
    whole = sum(sizes.values())
    packed = 0.5 if stage.adapter is not None and stage.adapter.quantize else frozen_bytes
    frozen = whole - sum(
        sizes[n] for n in trains if stage.adapter is None or n != stage.adapter.part
    )
    return {
        "stage": stage.name,
        "trains": trains,
        "frozen": frozen,
        "steps": stage.steps,
        "examples": examples * stage.accumulate * devices,
        "tokens": ids * stage.accumulate * devices,
        "memory": {
            "weights": 4.0 * learned + packed * frozen,
            "gradients": 4.0 * learned,
            "optimizer": 8.0 * learned,
            "activations": activations,
        },
        "flops": flops * stage.accumulate * devices * stage.steps,
    }


def _sharded(
    parts: Mapping[str, Any],
    stage: Stage,
    line: Mapping[str, Any],
    devices: int,
    frozen_bytes: float,
) -> dict[str, Any]:
    """Memory where each device holds its share, and besides it what is whole during a step: all but the
    language model's layers, and of these two (one at work, one on its way) in bf16."""
    layers = [sum(p.numel() for p in m.parameters()) for m in stacked(parts[GATHERED])]
    inside, largest = sum(layers), max(layers, default=0)
    learned = sum(line["trains"].values())
    learns = GATHERED in line["trains"]
    adapted = stage.adapter is not None and stage.adapter.part == GATHERED
    gathered = 2 * 2.0 * largest
    if learns and not adapted:
        learned_whole, frozen_whole = learned - inside, line["frozen"]
        gathered += (2.0 + 4.0) * largest  # its gradient, and the fp32 in which it is summed
    else:
        learned_whole = learned - (line["trains"][GATHERED] if learns else 0)
        frozen_whole = line["frozen"] - inside
    gathered += 2 * 4.0 * learned_whole + frozen_bytes * frozen_whole
    memory = line["memory"]
    shares = {name: memory[name] / devices for name in ("weights", "gradients", "optimizer")}
    held = {**shares, "gathered": gathered, "activations": memory["activations"]}
    return {"memory": held, "host": memory["weights"]}


def _multiplied(part: Any) -> int:
    """Weights that every id is multiplied with: all matrices but tables of embeddings."""
    from torch import nn

    tables = {id(m.weight) for m in part.modules() if isinstance(m, nn.Embedding)}
    heads = {id(m.weight) for m in part.modules() if isinstance(m, nn.Linear)}
    return sum(
        p.numel()
        for p in part.parameters()
        if p.dim() >= 2 and (id(p) not in tables or id(p) in heads)
    )


def _convolved(part: Any) -> tuple[float, float] | None:
    """FLOPs of one picture and the numbers that its layers give, for a tower of convolutions, which use
    a weight at many places: counted on the meta device. None for other parts."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    if sum(isinstance(m, nn.Conv2d) for m in part.modules()) < 2 or not hasattr(part, "size_px"):
        return None
    hollow = copy.deepcopy(part).to("meta").eval()
    numbers = 0.0

    def add(_: Any, __: Any, given: Any) -> None:
        nonlocal numbers
        numbers += given.numel() if isinstance(given, torch.Tensor) else 0

    for module in hollow.modules():
        if not any(module.children()):
            module.register_forward_hook(add)
    with FlopCounterMode(display=False) as counter:
        hollow(torch.empty(1, 3, part.size_px, part.size_px, device="meta"))
    return float(counter.get_total_flops()), numbers


def _stack(part: Any) -> tuple[int, int]:
    """Layers of the longest stack in a part, and the width that they pass on."""
    from torch import nn

    stacks = [m for m in part.modules() if isinstance(m, nn.ModuleList)]
    depth = max((len(m) for m in stacks), default=1)
    config = getattr(getattr(part, "model", part), "config", None)
    width = getattr(config, "hidden_size", None) or getattr(part, "width", None) or 1
    return depth, int(width)


def _adapter_size(part: Any, rank: int) -> int:
    from torch import nn

    inner = getattr(part, "model", part)
    output = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    linear = [m for m in part.modules() if isinstance(m, nn.Linear) and m is not output]
    return sum(rank * (m.in_features + m.out_features) for m in linear)


def told(lines: Sequence[Line], device: str, devices: int, price_usd_per_hour: float) -> str:
    """The plan as text."""
    chosen = DEVICES[device]
    rows = [
        f"Plan for {devices} × {device} ({chosen.peak / 1e12:g} TFLOP/s bf16, {chosen.memory / 1e9:g} GB; "
        f"{chosen.used:.0%} of the peak assumed). All figures are estimates."
    ]
    for line in lines:
        trains = ", ".join(f"{name} {count:,}" for name, count in line.trains.items())
        held = sum(line.memory.values())
        each = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in line.memory.items())
        rows += [
            f"Stage {line.stage}: {line.steps:,} steps of {line.examples:,} examples"
            + (f" ({line.tokens:,} ids)" if line.tokens else ""),
            f"  trains {trains}; frozen {line.frozen:,}",
            f"  memory {held / 1e9:.1f} GB per device ({each})"
            + (
                ""
                if held < chosen.memory
                else f": MORE THAN THE {chosen.memory / 1e9:g} GB THERE ARE"
            )
            + (f"; {line.host / 1e9:.1f} GB of main memory per process" if line.host else ""),
            f"  {line.flops:.2e} FLOPs, {_time(line.hours)}"
            + (f", {line.cost_usd:.2f} USD" if price_usd_per_hour else ""),
        ]
    hours = sum(line.hours for line in lines)
    rows.append(
        f"In all {_time(hours)}"
        + (
            f", {sum(line.cost_usd for line in lines):.2f} USD at {price_usd_per_hour:g} USD per hour and device"
            if price_usd_per_hour
            else ""
        )
    )
    return "\n".join(rows)


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"
