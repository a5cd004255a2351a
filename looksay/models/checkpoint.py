"""Checkpoints: one safetensors file, one JSON that says how to rebuild the parts, and the tokenizer.

looksay.json, shortened: {"format": 1, "family": "llava", "weights": "model-1f….safetensors",
"arguments": {"template": "v1", …}, "parts": {"tower": {"class": "looksay.models.vision:TransformersTower",
"arguments": {…}, "fingerprint": "9c…"}, "connector": {…}, "language": {…}}, "fingerprint": "1f…",
"card": {"steps": 500, …}}. The JSON is replaced last and in one step, and it names its weights, so a
folder always holds one whole checkpoint.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from looksay import plugins
from looksay.errors import InputError, plainly
from looksay.models.adapters import inject
from looksay.models.fingerprint import exact_fingerprint, fingerprint, is_adapter

SHIPPED = Path(__file__).resolve().parents[1] / "mini"
"""The folder of the model that comes with looksay."""
FORMAT = 1
FILE = "looksay.json"
FAMILIES = "looksay.models.families"


class WrongPart(InputError):
    """Weights that were trained beside another language model or tower than this one."""


def save(model: Any, folder: Path | str, *, dtype: torch.dtype | None = None, **card: Any) -> Path:
    """Write `model` to `folder`, in `dtype` if given; `card` is kept beside it as it is (JSON).

    The folder needs nothing else, save with an adapter over a released language model: then the base's
    path is recorded instead of its weights.
    """
    folder = Path(folder)
    state, outside = _weights(model, dtype)
    parts = {name: describe(part) for name, part in model.parts.items()}
    for name in outside:
        parts[name]["outside"] = True
    whole = exact_fingerprint(state)
    content = {
        "format": FORMAT,
        "family": model.family,
        "weights": f"model-{whole}.safetensors",
        "arguments": model.arguments,
        "parts": parts,
        "fingerprint": whole,
        "card": card,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    try:
        partial = folder / ".partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed while writing
        partial.mkdir(parents=True)
        (partial / FILE).write_text(text, "utf-8")
        write_weights(state, partial / content["weights"])
        model.tokenizer.save_pretrained(partial)
        for path in sorted(partial.iterdir(), key=lambda p: p.name == FILE):
            path.replace(folder / path.name)
        partial.rmdir()
    except OSError as error:
        raise InputError(f"{folder}: the checkpoint cannot be written: {plainly(error)}") from error
    for old in folder.glob("model-*.safetensors"):
        if old.name != content["weights"]:
            with contextlib.suppress(OSError):  # open elsewhere (Windows): the next save takes it
                old.unlink()
    return folder


def load(
    folder: Path | str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    **options: Mapping[str, Any],
) -> Any:
    """The model of a folder, in evaluation mode, in the precision that it was saved in unless given.

    `options` change arguments of parts: `language={"attention": "eager"}`. Raises InputError where the
    folder is none of ours, damaged, or written by a newer program.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    content = read(folder)
    family = plugins.load(FAMILIES, content["family"], "model family")
    inside = {n: found for n, found in content["parts"].items() if not found.get("outside")}
    parts = hollow(inside, options)
    for name, found in content["parts"].items():
        if found.get("outside"):
            parts[name] = _fetch(folder, found, options.get(name, {}))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: its tokenizer is not there or cannot be read. Copy the whole folder again. ({error})"
        ) from error
    model = family.build(parts, tokenizer, **content["arguments"])
    fill(model, read_file(folder / content["weights"]), f"{folder}")
    return moved(model, device, dtype).eval()


def hollow(
    parts: Mapping[str, Mapping[str, Any]], options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Parts as looksay.json describes them, their weights without memory (torch's device "meta")."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        return {name: _build(found, (options or {}).get(name, {})) for name, found in parts.items()}


def moved(model: Any, device: torch.device | str, dtype: torch.dtype | None) -> Any:
    """The model on `device`, its weights in `dtype`. What is computed and never saved keeps its
    precision: rotary frequencies in bf16 are wrong by whole turns after some hundred ids."""
    saved = model.state_dict().keys()
    exact = [(name, value) for name, value in model.named_buffers() if name not in saved]
    model.to(device=device, dtype=dtype)
    for name, value in exact:
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, value.to(device))
    return model


def read(folder: Path | str) -> dict[str, Any]:
    """What looksay.json says. Raises InputError where it is missing, damaged or too new."""
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        hint = (
            "It looks like a transformers checkpoint; use it as hub:FOLDER."
            * (Path(folder) / "config.json").is_file()
        )
        raise InputError(
            f"{folder} holds no {FILE}, so it is no checkpoint of looksay. Expected a folder written by "
            f"`looksay train … --out DIR`. {hint}".rstrip()
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {plainly(error)}") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise InputError(
            f"{path} has format {found}; this program reads {FORMAT}. "
            "Get a newer looksay, and in its folder type: pip install ."
        )
    return content


def load_connector(model: Any, folder: Path | str) -> None:
    """Take the connector of another checkpoint into `model`.

    Raises WrongPart, with both fingerprints, where it was trained beside another language model or
    tower: it would load without complaint and answer nonsense (Vision-CAIR/MiniGPT-4 issue 417).
    """
    content = read(folder)
    for name in ("language", "tower"):
        theirs, ours = content["parts"][name]["fingerprint"], model.parts[name].fingerprint
        if theirs != ours:
            raise WrongPart(
                f"The connector in {folder} was trained beside a {name} part with fingerprint {theirs}; "
                f"this model's has {ours}. Load the {name} that it was trained with, or train a new "
                "connector (stage 1)."
            )
    there, here = content["parts"]["connector"], describe(model.connector)
    if (there["class"], there["arguments"]) != (here["class"], here["arguments"]):
        raise WrongPart(
            f"The connector in {folder} is {there['class']} with {there['arguments']}; this model's is "
            f"{here['class']} with {here['arguments']}."
        )
    tensors = read_file(Path(folder) / content["weights"])
    own = {
        k.removeprefix("connector."): v for k, v in tensors.items() if k.startswith("connector.")
    }
    model.connector.load_state_dict(own)


def describe(part: nn.Module) -> dict[str, Any]:
    """How to rebuild a part: its class, its arguments (JSON), its fingerprint, and its adapter if any.

    Arguments are the part's `arguments`, else its attributes named as its constructor's parameters.
    """
    kind = type(part)
    arguments: Any = getattr(part, "arguments", None)
    if arguments is None:
        names = list(inspect.signature(kind.__init__).parameters)[1:]
        arguments = {name: getattr(part, name, part) for name in names}
        odd = [name for name, value in arguments.items() if isinstance(value, nn.Module)]
        if odd:
            raise TypeError(
                f"{kind.__name__} does not keep its arguments {', '.join(odd)}: give it a property "
                "`arguments`"
            )
    own: Any = getattr(part, "fingerprint", None)
    found = {
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "arguments": arguments,
        "fingerprint": own if own is not None else fingerprint(part),
    }
    if any(is_adapter(name) for name, _ in part.named_parameters()):
        settings: Any = part.peft_config
        chosen = next(iter(settings.values()))
        found["adapter"] = {
            "r": chosen.r,
            "lora_alpha": chosen.lora_alpha,
            "lora_dropout": chosen.lora_dropout,
            "target_modules": sorted(chosen.target_modules),
            "bias": chosen.bias,
            **({"names": list(settings)} if len(settings) > 1 else {}),
        }
    return found


def fill(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put `tensors` into a model, empty or not. Raises InputError that counts what does not match."""
    state = model.state_dict()
    wrong = {k: v for k, v in tensors.items() if k in state and v.shape != state[k].shape}
    if wrong:
        name, value = next(iter(wrong.items()))
        raise InputError(
            f"{where}: {len(wrong)} weights have another shape than the model's, such as {name}: found "
            f"{tuple(value.shape)}, expected {tuple(state[name].shape)}."
        )
    like = {k: _laid_out_as(state[k], v) for k, v in tensors.items() if k in state}
    model.load_state_dict(like, strict=False, assign=True)
    absent = state.keys() - like.keys()
    for name, part in model.named_modules():
        # Tied only where one of the two is absent: a file with both may hold two different ones.
        if hasattr(part, "tie_weights") and any(a.startswith(f"{name}.") for a in absent):
            part.tie_weights()
    # Tying takes all that could be tied: transformers (5.24) calls the output layer of mT5 and FLAN-T5 one of them.
    joined = model.state_dict()
    apart = {k: v for k, v in like.items() if joined[k].data_ptr() != v.data_ptr()}
    model.load_state_dict(apart, strict=False, assign=True)
    unknown = sorted(tensors.keys() - state.keys())
    missing = sorted(name for name, value in model.state_dict().items() if value.is_meta)
    if unknown or missing:
        raise InputError(
            f"{where}: the weights do not fit the model: {len(missing)} are missing"
            f"{_some(missing)}, {len(unknown)} are unknown{_some(unknown)}."
        )


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""


def _laid_out_as(place: Tensor, value: Tensor) -> Tensor:
    """The value in the memory format of its place (channels_last); usually as it is."""
    if value.ndim == 4 and place.stride() != value.stride() and value.is_contiguous():
        return torch.empty_like(place, dtype=value.dtype, device=value.device).copy_(value)
    return value


def _weights(model: Any, dtype: torch.dtype | None) -> tuple[dict[str, Tensor], list[str]]:
    """Each weight once, tied ones under their first name; and parts whose weights stay outside."""
    outside = [name for name, part in model.parts.items() if getattr(part, "borrowed", False)]
    bare = _unquantised(model)
    state: dict[str, Tensor] = {}
    seen: set[tuple[Any, ...]] = set()
    for name, value in model.state_dict().items():
        if name.split(".")[0] in outside and not is_adapter(name):
            continue
        if name in bare:
            value = bare[name]
        elif any(name.startswith(f"{other}.") for other in bare):
            continue  # scales of the 4-bit weights
        key = (value.data_ptr(), value.shape, value.stride())
        if value.numel() and key in seen:
            continue
        seen.add(key)
        value = value.detach()
        state[name] = value.to(dtype) if dtype and value.is_floating_point() else value
    return state, outside


def _unquantised(model: nn.Module) -> dict[str, Tensor]:
    """Weights that are held in 4 bit, as the numbers that they stand for."""
    found: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        packed: Any = weight
        if getattr(packed, "quant_state", None) is not None:
            from bitsandbytes.functional import dequantize_4bit

            found[name] = dequantize_4bit(packed.data, packed.quant_state)
    return found


def _build(found: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    kind = _class(found["class"])
    make = getattr(kind, "from_arguments", kind)
    part = make(**{**found["arguments"], **options})
    return _adapted(part, found)


def _class(name: str) -> Any:
    module, _, kind = name.partition(":")
    if not module.startswith("looksay."):
        raise InputError(f"The checkpoint names a part {name!r}; only parts of looksay are loaded.")
    try:
        return getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"The checkpoint has a part {name!r}, which this version does not have: {error}"
        ) from error


def _adapted(part: Any, found: Mapping[str, Any]) -> Any:
    if "adapter" in found:
        inject(part, **found["adapter"])
    return part


def _fetch(folder: Path, found: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    arguments = {**found["arguments"], **options}
    base = arguments["base"]
    try:
        part = _class(found["class"]).from_folder(base, attention=arguments.get("attention"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is an adapter over {base}, which cannot be loaded: {error}"
        ) from error
    if part.fingerprint != found["fingerprint"]:
        raise WrongPart(
            f"{folder} is an adapter over a model with fingerprint {found['fingerprint']}; {base} now "
            f"has {part.fingerprint}. Bring back the weights that it was trained with."
        )
    return _adapted(part, found)


def write_weights(state: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode  # safetensors would keep it to its owner
    save_file({k: v.contiguous() for k, v in state.items()}, path, metadata={"format": "pt"})
    path.chmod(mode)


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file. Raises InputError where it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: the weights cannot be read: {error}") from error
    return tensors


def read_saved(path: Path | str, inside: str = "model") -> dict[str, Any]:
    """What original repositories write with torch.save: weights by name, or a dictionary that has them as `inside`.
    Names lose the "module." of data-parallel training. Raises InputError where it cannot be read."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: {plainly(error)}") from error
    except Exception as error:  # pickle raises anything on a damaged file
        raise InputError(
            f"{path} is not a file of tensors written by torch.save: {error}"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}; expected weights by their names.")
    return {str(name).removeprefix("module."): v for name, v in found.get(inside, found).items()}


def read_weights(folder: Path | str) -> dict[str, Tensor]:
    """All weights of a folder in the transformers layout, in one or several safetensors files."""
    folder = Path(folder)
    index = folder / "model.safetensors.index.json"
    names: Iterable[str] = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_file(folder / name)
    return tensors
