"""What a model will need of a device's memory, from its configuration alone: nothing is fetched and no weight is read.

Weights are counted on a model without memory (torch's device "meta"), layer by layer, by the same rules that hold them
in 8 or 4 bits when it loads (`looksay.backends._quantized`). Keys and values are exact for decoders that remember every
place; what a picture and a prompt need while they pass through is an estimate from the widths of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from looksay.backends import _device, _hub_source, _quantized, presets
from looksay.backends._hub_asking import load_processor
from looksay.errors import InputError

_ONE_TILE = frozenset({"llava", "blip-2", "paligemma", "gemma3"})
"""Types that stretch or cut every picture to one size."""
CLIP_L = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096}
CLIP_L |= {"num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14}
LLAMA = {"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096}
GEOMETRIES: dict[str, dict[str, Any]] = {
    "llava-1.5-7b": {
        "model_type": "llava",
        "vision_config": {**CLIP_L, "projection_dim": 768},
        "text_config": LLAMA,
    },
    "llava-1.5-13b": {
        "model_type": "llava",
        "vision_config": {**CLIP_L, "projection_dim": 768},
        "text_config": {
            **LLAMA,
            "hidden_size": 5120,
            "intermediate_size": 13824,
            "num_hidden_layers": 40,
            "num_attention_heads": 40,
            "num_key_value_heads": 40,
        },
    },
    "llava-onevision-0.5b": {
        "model_type": "llava_onevision",
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 26,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "text_config": {
            "model_type": "qwen2",
            "vocab_size": 152000,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": True,
        },
        "tie_word_embeddings": True,
    },
}
"""Sizes of released models, as their config.json has them, for planning without a download."""
HUB = {
    "llava-hf/llava-1.5-7b-hf": "llava-1.5-7b",
    "llava-hf/llava-1.5-13b-hf": "llava-1.5-13b",
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": "llava-onevision-0.5b",
}
"""The names under which the hub has them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a model: its parameters, and the bytes of those in 8 or 4 bits (with their scales) and of all others."""

    name: str
    parameters: int
    narrow_bytes: int
    wide_bytes: int

    @property
    def bytes(self) -> int:
        return self.narrow_bytes + self.wide_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model needs: weights by part, `running` requests of `context` places each, pictures and prompts at work."""

    name: str
    device: str
    dtype: str
    quantize: str | None
    parts: tuple[Part, ...]
    context: int
    """Places of prompt and answer together."""
    running: int
    place_bytes: int
    """Keys and values of one place of one request."""
    image_tokens: int
    """Places that one picture takes; 0: not known."""
    image_bytes: int
    """One picture in the tower, and what `running` pictures become."""
    work_bytes: int
    """One prompt of `context` places at work, the scores of all requests, and the widest narrow layer made wide."""
    device_bytes: int | None
    """Memory of the device; None: not known."""

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def weight_bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def kv_bytes(self) -> int:
        return self.place_bytes * self.context * self.running

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes + self.image_bytes + self.work_bytes

    @property
    def fits(self) -> bool | None:
        """Whether the device has that much; None: not known."""
        return None if self.device_bytes is None else self.total_bytes <= self.device_bytes


def plan(
    name: str,
    *,
    quantize: str | None = None,
    dtype: str = "auto",
    context: int | None = None,
    running: int = 8,
    image_px: tuple[int, int] | None = None,
    device_bytes: int | None = None,
    device: str = "auto",
) -> Plan:
    """What the model `name` needs: a backend's name as everywhere (mini, local:FOLDER, hub:FOLDER, hub:OWNER/NAME that
    is on disk), or one of `GEOMETRIES`.

    `context` None: as much as the language model sees, 4,096 at most. `image_px`: width and height of the pictures, for
    models that cut large ones into tiles; None: as small as one tile. `device_bytes` None: asked of the device.
    `device` may be one that is not here (cuda). Raises InputError, BackendError (no such model or precision) and
    MissingDependency.
    """
    from looksay.models.slots import place_bytes

    _device.check(device, dtype)
    on = _device.device_for(device) if device == "auto" else device
    _quantized.known(quantize, on)
    if running < 1 or (context is not None and context < 1):
        raise InputError(f"running = {running} and context = {context} must be at least 1.")
    each = _device.dtype_for(dtype, on).itemsize
    model, text, vision, tile, ours, folder = _hollow(name)
    image_tokens = tile
    if image_px is not None and not ours:
        image_tokens = _places_of(name, folder, model.config, image_px, tile)
    tiles = -(-image_tokens // tile) if tile else 1
    parts = _weighed(model, quantize, on, each, ours)
    sees = getattr(text, "max_position_embeddings", None) or 4096
    context = context or min(sees, 4096)
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    widest = max(
        (one.in_features * one.out_features for one in _narrow(model, quantize, on, ours)),
        default=0,
    )
    return Plan(
        name=name,
        device=on,
        dtype=str(_device.dtype_for(dtype, on)).removeprefix("torch."),
        quantize=quantize,
        parts=parts,
        context=context,
        running=running,
        place_bytes=place_bytes(text, each),
        image_tokens=image_tokens,
        image_bytes=tiles * _seen(vision, each) + running * image_tokens * text.hidden_size * each,
        # Of a block: its input, what the norm makes of it, queries, keys, values, what they become; and a gated MLP.
        work_bytes=context * (6 * text.hidden_size + 3 * inner) * each
        + 2 * 4 * running * text.vocab_size
        + widest * each,
        device_bytes=_memory(on) if device_bytes is None else device_bytes,
    )


def told(plan: Plan) -> str:
    """The plan as a table for the terminal."""
    held = plan.dtype + (f", linear layers {plan.quantize}" if plan.quantize else "")
    rows = [(f"weights: {p.name}", f"{p.parameters / 1e6:,.1f} M", p.bytes) for p in plan.parts]
    rows += [
        (
            "keys and values",
            f"{plan.running} × {plan.context:,} × {_size(plan.place_bytes)}",
            plan.kv_bytes,
        ),
        (
            "pictures",
            f"{plan.image_tokens} places each" if plan.image_tokens else "",
            plan.image_bytes,
        ),
        ("prompts at work", "estimate", plan.work_bytes),
        ("total", "", plan.total_bytes),
    ]
    width = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    lines = [f"{plan.name} on {plan.device}: {held}"]
    lines += [f"  {what:<{width[0]}}  {how:>{width[1]}}  {_size(n):>9}" for what, how, n in rows]
    if plan.device_bytes is not None:
        verdict = "fits" if plan.fits else "does not fit"
        lines.append(f"  It {verdict} in the {_size(plan.device_bytes)} of the device.")
        if not plan.fits:
            narrower = "" if plan.quantize in _quantized.KINDS else "--quantize nf4, "
            lines.append(f"  Less is needed with {narrower}a smaller --context or fewer --rows.")
    return "\n".join(lines)


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 1e3:,.1f} kB"


# -- a model without memory


class _Hollow(NamedTuple):
    """A model without memory."""

    model: Any
    text: Any
    """The configuration of its language model."""
    vision: Any
    """That of its tower, or None."""
    tile: int
    """Places of a picture that is as small as one tile."""
    ours: bool
    """It is one of looksay's own."""
    folder: Path | None = None
    """Where its files lie."""


def _hollow(name: str) -> _Hollow:
    provider, _, model = name.partition(":")
    if name in GEOMETRIES:
        return _of_config(GEOMETRIES[name])
    if provider in ("mini", "local"):
        from looksay.backends import local, mini

        return _of_checkpoint(name, mini.FOLDER if provider == "mini" else local.folder_of(model))
    if provider == "hub" or Path(name).expanduser().is_dir():
        return _released(model if provider == "hub" else name)
    preset = next((p for p in presets.all() if p.name == name and p.hub), None)
    if preset is not None and preset.hub is not None:
        return _released(preset.hub)
    raise InputError(
        f"No plan can be made for {name!r}. Expected mini, local:FOLDER, hub:FOLDER or hub:OWNER/NAME on disk, or one "
        f"of: {', '.join(GEOMETRIES)}."
    )


def _released(name: str) -> _Hollow:
    folder = Path(name).expanduser()
    there = folder if folder.is_dir() else _hub_source.cached(name)
    found = _hub_source.read_json(there / "config.json") if there else {}
    if not found and name in HUB:
        return _of_config(GEOMETRIES[HUB[name]])
    if not found:
        raise InputError(
            f"{name} has no config.json on this machine, and a plan fetches nothing. Type: hf download {name} "
            f"config.json, and name the folder; or plan by size: {', '.join(GEOMETRIES)}."
        )
    return _of_config(found)._replace(folder=there)


def _of_config(found: Mapping[str, Any]) -> _Hollow:
    import torch
    import transformers

    settings = dict(found)
    try:
        config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        with torch.device("meta"):
            model = transformers.AutoModelForImageTextToText.from_config(config)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"A plan knows image-text-to-text models of transformers; this is none: {error}"
        ) from error
    model.tie_weights()
    vision = getattr(config, "vision_config", None)
    text = config.get_text_config(decoder=True)
    return _Hollow(model, text, vision, _places(config, vision), ours=False)


def _places(config: Any, vision: Any) -> int:
    """Places of a picture in one tile, where the configuration says so."""
    told = getattr(config, "image_seq_length", None) or getattr(config, "mm_tokens_per_image", None)
    if told:
        return int(told)
    side, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    return (side // patch) ** 2 if isinstance(side, int) and isinstance(patch, int) else 0


def _places_of(
    name: str, folder: Path | None, config: Any, size_px: tuple[int, int], tile: int
) -> int:
    """Places of a picture of that size, as the checkpoint's own processor makes them of a blank one."""
    from PIL import Image as Pillow

    if folder is None and config.model_type in _ONE_TILE:
        return tile
    try:
        if folder is None:
            raise OSError
        processor = load_processor(folder, config.model_type, False)
        mark = processor.image_token
        blank = Pillow.new("RGB", size_px)
        ids = processor(images=[blank], text=[getattr(mark, "content", mark)])["input_ids"][0]
        return len(ids)
    except (OSError, ImportError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"How many places a picture of {size_px[0]} × {size_px[1]} px takes is told by the processor of {name}, "
            "and no such file is here that can tell. Expected a folder with the model's preprocessor_config.json and "
            "tokenizer; or leave --image-size out, and one tile is counted."
        ) from error


def _of_checkpoint(name: str, folder: Path) -> _Hollow:
    from torch import nn

    from looksay.models import checkpoint

    content = checkpoint.read(folder)
    parts: dict[str, Any] = checkpoint.hollow(content["parts"])
    language: Any = parts.get("language")
    tower: Any = parts.get("tower")
    if language is None or not hasattr(language, "config"):
        raise InputError(f"{name} is a {content['family']}, which has no language model to serve.")
    for part in parts.values():
        inner: Any = getattr(part, "model", None)
        if hasattr(inner, "tie_weights"):
            inner.tie_weights()
    vision = getattr(getattr(tower, "model", None), "config", None)
    tokens = getattr(tower, "tokens", 0)
    for between in ("qformer", "connector"):
        if hasattr(parts.get(between), "tokens"):
            tokens = parts[between].tokens(tokens)
    return _Hollow(nn.ModuleDict(parts), language.config, vision, tokens, ours=True)


# -- bytes


def _narrow(model: Any, quantize: str | None, device: str, ours: bool) -> Iterator[Any]:
    """The layers that would be held narrow."""
    from looksay.models import quantized

    if quantize is None:
        return
    for name, part in model.named_children() if ours else [("", model)]:
        if ours and not _quantized.may_be_narrow(name, part):
            continue
        fits = _quantized.wanted(part, quantize, device)
        yield from (layer for _, layer in quantized.linear_layers(part) if fits(layer))


def _weighed(
    model: Any, quantize: str | None, device: str, each: int, ours: bool
) -> tuple[Part, ...]:
    from looksay.models import quantized

    narrow = {id(layer.weight): layer for layer in _narrow(model, quantize, device, ours)}
    tables = {id(m.weight) for m in model.modules() if hasattr(m, "num_embeddings")}
    found: dict[str, list[int]] = {}
    for name, weight in model.named_parameters():
        part = found.setdefault(_part(name), [0, 0, 0])
        part[0] += weight.numel()
        layer = narrow.get(id(weight))
        if layer is not None and quantize is not None:
            part[1] += quantized.held_bytes(
                weight.numel(), layer.out_features, _quantized.how(quantize, device), each
            )
        if layer is None or id(weight) in tables:
            part[2] += weight.numel() * each
    for name, value in model.named_buffers():
        found.setdefault(_part(name), [0, 0, 0])[2] += value.numel() * value.element_size()
    return tuple(Part(name, *sizes) for name, sizes in found.items())


def _part(name: str) -> str:
    return name.removeprefix("model.").split(".")[0]


def _seen(vision: Any, each: int) -> int:
    """What one picture needs in the tower at once: pixels, and of a block its input, norm, queries, keys, values and
    what becomes of them, and an MLP; an estimate."""
    side, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    width = getattr(vision, "hidden_size", None)
    if not (isinstance(side, int) and isinstance(patch, int) and isinstance(width, int)):
        return 0
    inner = getattr(vision, "intermediate_size", None) or 4 * width
    return (3 * side**2 + ((side // patch) ** 2 + 1) * (6 * width + 2 * inner)) * each


def _memory(device: str) -> int | None:
    """Bytes of the device's memory; None where it cannot be asked."""
    import torch

    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else None
    try:
        import psutil
    except ImportError:  # of the extra `evaluate`
        return None
    return int(psutil.virtual_memory().total)
