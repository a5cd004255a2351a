"""Loading a transformers checkpoint: device, precision, quantisation, and what to type when it fails."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from looksay.backends import _device, _openvino, _quantized
from looksay.backends._hub_asking import CAPTIONERS, Asking, Captioner, load_processor
from looksay.backends._hub_source import fingerprint, locate, read_json, sees
from looksay.backends.base import LoadOptions, searches
from looksay.backends.encoders import ARCHITECTURES
from looksay.errors import BackendError, LooksayError, MissingDependency
from looksay.types import Conversation, Image


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model with its processor; `captioner` is None where it brings a chat template."""

    fingerprint: str
    model: Any
    processor: Any
    captioner: Captioner | None
    device: Any
    dtype: Any


def open_checkpoint(model: str, options: LoadOptions) -> Checkpoint:
    """Find, check and load checkpoint `model`. Raises as `looksay.backends.hub.load` says."""
    _device.check(options.device, options.dtype)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingDependency(f"hub:{model}", "local", error.name or "transformers") from error
    device = _device.device_for(options.device)
    _quantized.check(options.quantize, device, options.runtime)
    folder = locate(model)
    dtype = _device.dtype_for(options.dtype, device)
    # Its progress bars and hints are for people who write training scripts.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = read_json(folder / "config.json")
    model_type = str(config.get("model_type", ""))
    _check_type(model, model_type, config, options.trust_remote_code)
    try:
        processor = load_processor(folder, model_type, options.trust_remote_code)
        loaded = _load_model(folder, model_type, config, options, device, dtype)
    except LooksayError:
        raise
    except Exception as error:  # transformers raises anything on what it cannot load
        raise BackendError(_advice(model, error)) from error
    captioner = CAPTIONERS.get(model_type)
    if captioner is None and not getattr(processor, "chat_template", None):
        processor.chat_template = processor.tokenizer.chat_template  # where some releases keep it
    if captioner is None and not processor.chat_template:
        raise BackendError(
            f"hub:{model} ({model_type}) has no chat template, so there is no telling how to ask it. "
            "Expected chat_template.jinja beside its config.json; releases of it since 2024 have one. "
            f"If yours is older, type: hf download {model}"
        )
    if captioner and captioner.always_text:
        _mark_images(loaded, processor)
    if options.quantize and not _by_bitsandbytes(options, device):
        loaded = _narrow(f"hub:{model}", loaded, processor, captioner, options, device, dtype)
    precision = _quantized.precision(dtype, options.quantize, device, options.runtime)
    return Checkpoint(
        f"{fingerprint(folder)}-{precision}",
        loaded,
        processor,
        captioner,
        torch.device(loaded.device),
        dtype,
    )


def _check_type(model: str, model_type: str, config: dict[str, Any], trust: bool) -> None:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    )

    own_code = "auto_map" in config
    found = f"hub:{model} is of the type {model_type!r}"
    if ARCHITECTURES.intersection(config.get("architectures") or ()):
        raise BackendError(
            f"{found}, which writes no text about images. {searches(f'hub:{model}')}"
        )
    # The second list has models that hear as well, and some that only hear.
    if model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or (own_code and trust):
        return
    if model_type in MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES and sees(config):
        return
    if own_code:
        raise BackendError(
            f"{found}, which runs only with the Python code that comes with the checkpoint. Read that "
            "code, then add --trust-remote-code; or run the model in a server such as Ollama or vLLM and "
            "name that: ollama:NAME or http://127.0.0.1:8000/v1#NAME"
        )
    if model_type in CONFIG_MAPPING_NAMES:
        raise BackendError(
            f"{found}, which does not write text about images. Expected an image-text-to-text model such "
            "as blip, llava or qwen2_5_vl; type: looksay models"
        )
    raise BackendError(
        f"{found}, which transformers {transformers.__version__} does not know. "
        "If the model is new, type: pip install -U transformers"
    )


def _load_model(
    folder: Path,
    model_type: str,
    config: dict[str, Any],
    options: LoadOptions,
    device: str,
    dtype: Any,
) -> Any:
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    own = config.get("auto_map", {}) if options.trust_remote_code else {}
    if model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        auto = "AutoModelForImageTextToText"
    else:
        choices = ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel")
        auto = next((a for a in choices if a in own), "AutoModelForMultimodalLM")
    several = options.device == "auto" and torch.cuda.device_count() > 1
    arguments: dict[str, Any] = {
        "dtype": dtype,
        "device_map": "auto" if several else device,
        "trust_remote_code": options.trust_remote_code,
        "output_loading_info": True,
    }
    narrow = options.quantize
    if narrow and not _by_bitsandbytes(options, device):
        # In the release's own precision, which is the least memory, until the layers are narrow.
        arguments |= {"dtype": "auto", "device_map": "cpu"}
    elif narrow:
        settings = transformers.AutoConfig.from_pretrained(
            folder, trust_remote_code=options.trust_remote_code
        )
        with torch.device("meta"):
            hollow = getattr(transformers, auto).from_config(
                settings, trust_remote_code=options.trust_remote_code
            )
        arguments["quantization_config"] = _quantized.of_transformers(
            f"hub:{folder.name}", hollow, narrow, device, dtype
        )
    model, report = getattr(transformers, auto).from_pretrained(folder, **arguments)
    if lacking := sorted(report["missing_keys"]):
        # transformers would fill them with random numbers, and the model would talk nonsense.
        raise BackendError(
            f"The weights in {folder} do not fit its config.json: {len(lacking)} tensors are missing, "
            f"{lacking[0]} among them. Is it an adapter, or a conversion for another program? Expected "
            "the layout of transformers, as in the model's original release."
        )
    return model.eval()


def _by_bitsandbytes(options: LoadOptions, device: str) -> bool:
    """Whether transformers makes layers narrow while it loads; else they become it afterwards."""
    quantize = options.quantize
    by_others = _openvino.holds(quantize, device, options.runtime)
    return bool(quantize) and not by_others and not _quantized.by_torch(str(quantize), device)


def _narrow(
    name: str,
    model: Any,
    processor: Any,
    captioner: Captioner | None,
    options: LoadOptions,
    device: str,
    dtype: Any,
) -> Any:
    from looksay.models.checkpoint import moved

    quantize = str(options.quantize)
    if _openvino.holds(quantize, device, options.runtime):
        _openvino.hold(name, [model], quantize, lambda: try_out(model, processor, captioner))
    else:
        _quantized.hold(model, quantize, device, dtype)
    return moved(model, device, dtype)


def try_out(model: Any, processor: Any, captioner: Captioner | None) -> None:
    """Let a model write two words about a black picture."""
    asking, picture = Asking(processor, captioner), Pillow.new("RGB", (224, 224))
    talk = Conversation.ask(Image(picture), "What is there?")
    inputs = asking.tensors([asking.question(0, talk, [picture])]).to(dtype=model.dtype)
    model.generate(**inputs, max_new_tokens=2, do_sample=False)


def _mark_images(model: Any, processor: Any) -> None:
    """Releases of BLIP-2 before transformers 4.46 do not say which token stands for the image, nor how often."""
    processor.num_query_tokens = processor.num_query_tokens or model.config.num_query_tokens
    if model.config.image_token_id is None:
        token = processor.tokenizer.convert_tokens_to_ids(processor.image_token.content)
        model.config.image_token_id = model.config.image_token_index = token


def _advice(model: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if "torchvision" in said.lower():
        return (
            f"hub:{model} needs torchvision to read images. Type: pip install torchvision (its build must "
            "be the one for your torch: take the command from pytorch.org/get-started)"
        )
    if isinstance(error, ImportError) and error.name:
        return f"hub:{model} needs the package {error.name!r}. Type: pip install {error.name}"
    return f"hub:{model} could not be loaded: {type(error).__name__}: {said}"
