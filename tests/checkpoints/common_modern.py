"""What the tiny checkpoints of the modern types share: tokenizers made on the spot, weights that see.

Nothing here is downloaded. The tokenizers are trained on one sentence list, so their vocabularies
have a few hundred entries; the weights are random, with a spread that lets the image decide the answer.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

_NOUNS = [
    "dog",
    "cat",
    "house",
    "river",
    "boat",
    "child",
    "tree",
    "street",
    "bird",
    "table",
    "window",
    "flower",
    "bridge",
    "horse",
]
_WORDS = [
    "a",
    "the",
    "this",
    "is",
    "on",
    "in",
    "with",
    "near",
    "red",
    "blue",
    "green",
    "small",
    "large",
    "old",
    "young",
    "two",
    "three",
    "image",
    "photo",
    "picture",
    "shows",
    "what",
    "describe",
    "one",
    "sentence",
    "user",
    "assistant",
    "system",
    "alt",
    "text",
    "for",
    "of",
    "and",
]
_TEXT = [f" {word}" for word in _NOUNS + _WORDS] * 4 + [*_NOUNS, *_WORDS]


def byte_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE that knows some fifty words as whole tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=640, min_frequency=1, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return _parts(tokenizer)


def metaspace_bpe(first: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The same for BPE as SentencePiece writes it: spaces are `▁`, unknown bytes fall back to <0xNN>.

    `first` are the control tokens that the released vocabulary begins with.
    """
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    control = [*first, *(f"<0x{byte:02X}>" for byte in range(256)), "\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=900, min_frequency=1, special_tokens=control, show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return _parts(tokenizer)


def byte_tokenizer(special: Iterable[str]) -> Tokenizer:
    """A whole byte-level `tokenizers` tokenizer, for types released with a bare tokenizer.json."""
    vocab, merges = byte_bpe()
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer


def _parts(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    return model["vocab"], merges


def open_eyes(model: Any, tokenizer: Any, *, seed: int = 0, gain: float = 1.6) -> Any:
    """Draw the weights anew so that greedy answers are legible and follow the image; returns the model.

    The initialisation that a type trains from is so narrow that every image gives the same text. Here
    matrices keep the size of what passes through them (standard deviation gain / sqrt(inputs)), and
    only whole words and the end token can win, so that no answer ends inside a UTF-8 character.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "norm" not in name:
                # Experts lie in one stack; everything else has its outputs first.
                inputs = weight.shape[-1] if "experts" in name else weight[0].numel()
                weight.normal_(0.0, gain / inputs**0.5, generator=generator)
        rows = model.get_output_embeddings().weight
        if rows is model.get_input_embeddings().weight:
            # Tied rows are also what a word adds to the stream: kept small, or it would only repeat itself.
            rows.normal_(0.0, 0.01, generator=generator)
        for index in range(rows.shape[0]):
            token = tokenizer.convert_ids_to_tokens(index) if index < len(tokenizer) else ""
            word = token[:1] in {"Ġ", "▁"} and token[1:].isalpha()
            if not word and index != tokenizer.eos_token_id:
                rows[index] = 0.0
    return model.eval()


def decoder(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """Settings of a two-layer language model that most types take."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        **more,
    }


def qwen_tokenizer(special: Iterable[str], **named: str) -> Any:
    """Qwen2Tokenizer with ChatML's tokens and `special`; `named` become attributes (image_token=...)."""
    from transformers import Qwen2Tokenizer

    vocab, merges = byte_bpe()
    made = Qwen2Tokenizer(
        vocab={**vocab, "<|endoftext|>": len(vocab)},
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=named,
    )
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", *special]})
    return made


def chatml(image: str) -> str:
    """A ChatML template; `image` is what stands for one image."""
    return turns(
        "<|im_start|>{{ message['role'] }}\n", image, "<|im_end|>\n", "<|im_start|>assistant\n"
    )


def turns(before: str, image: str, after: str, generate: str, *, start: str = "") -> str:
    """A chat template: each message between `before` and `after`, then the opening of the answer."""
    return (
        f"{start}{{% for message in messages %}}{before}"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}"
        f"{{% if part['type'] == 'image' %}}{image}"
        "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
        f"{{% endfor %}}{{% endif %}}{after}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{generate}{{% endif %}}"
    )


def save(
    folder: Path,
    model: Any,
    tokenizer: Any,
    image_processor: Any,
    *,
    processor: str,
    template: str = "",
    template_file: str = "chat_template.jinja",
    settings: dict[str, Any] | None = None,
    generation: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint as it is released: weights, tokenizer, preprocessor_config.json and the rest.

    `image_processor` is one, or its settings where its class needs what is not installed here;
    `processor` is the class that the release names, `settings` the processor's own arguments,
    `generation` goes to generation_config.json beside the end and padding tokens.
    """
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **(generation or {}),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    looks = image_processor if isinstance(image_processor, dict) else image_processor.to_dict()
    # The release names the class without its torch-free twin's suffix.
    kind = looks["image_processor_type"].removesuffix("Pil")
    looks = {**looks, "image_processor_type": kind, "processor_class": processor}
    (folder / "preprocessor_config.json").write_text(json.dumps(looks, indent=2, default=int))
    if settings is not None:
        told = {"processor_class": processor, **settings}
        (folder / "processor_config.json").write_text(json.dumps(told, indent=2))
    if template_file.endswith(".json"):
        (folder / template_file).write_text(json.dumps({"chat_template": template}))
    elif template:
        (folder / template_file).write_text(template)


def image_only_processor(folder: Path, **kwargs: Any) -> Any:
    """The checkpoint's own processor class with its image processor and tokenizer, and no video.

    AutoProcessor insists on a video processor where the class names one, and every video processor
    of transformers 5 needs torchvision. Images need none of it, so the class is given its parts by hand.
    """
    from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer
    from transformers.video_processing_utils import BaseVideoProcessor

    released = _processor_class(AutoConfig.from_pretrained(folder).model_type)

    class ImageOnly(released):  # type: ignore[misc, valid-type]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return BaseVideoProcessor
            return super().check_argument_for_proper_class(argument_name, argument)

    makers: dict[str, Callable[[], Any]] = {
        "image_processor": lambda: AutoImageProcessor.from_pretrained(folder, backend="pil"),
        "tokenizer": lambda: AutoTokenizer.from_pretrained(folder),
        "feature_extractor": lambda: AutoFeatureExtractor.from_pretrained(folder),
        "video_processor": lambda: BaseVideoProcessor(**_video_settings(folder)),
    }
    settings, rest = released.get_processor_dict(folder)
    parts = [makers[part]() for part in released.get_attributes()]
    return ImageOnly.from_args_and_dict(parts, settings, **rest, **kwargs)


def _processor_class(model_type: str) -> Any:
    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES[model_type]
    # Types share processors: Qwen3.5 has that of Qwen3-VL, Mistral 3 that of Pixtral.
    types = [kind for kind, processor in PROCESSOR_MAPPING_NAMES.items() if processor == name]
    for home in dict.fromkeys(map(model_type_to_module_name, types)):
        if importlib.util.find_spec(f"transformers.models.{home}.processing_{home}"):
            return getattr(_processing_module(home), name)
    raise LookupError(f"no module of transformers holds {name}")


def _processing_module(home: str) -> ModuleType:
    package = f"transformers.models.{home}"
    try:
        return importlib.import_module(f"{package}.processing_{home}")
    except ModuleNotFoundError:
        # Pixtral's processor takes one size function from the torchvision image processor's module;
        # the PIL twin's module has the same function, so it stands in while the processor is imported.
        needed = f"{package}.image_processing_{home}"
        sys.modules[needed] = importlib.import_module(f"{package}.image_processing_pil_{home}")
        try:
            return importlib.import_module(f"{package}.processing_{home}")
        finally:
            del sys.modules[needed]


def _video_settings(folder: Path) -> dict[str, Any]:
    for file in ("video_preprocessor_config.json", "preprocessor_config.json"):
        if (folder / file).exists():
            settings = json.loads((folder / file).read_text())
            return {k: v for k, v in settings.items() if not k.endswith("_type")}
    return {}


def answer(
    processor: Any, folder: Path, images: list[Image.Image], prompt: str, max_new_tokens: int
) -> list[str]:
    """What transformers itself says, greedily, to one question about each image (a batch, left-padded)."""
    import transformers

    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    model_class = getattr(transformers, architecture)
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    conversations = [
        [
            {
                "role": "user",
                "content": [{"type": "image", "image": image}, {"type": "text", "text": prompt}],
            }
        ]
        for image in images
    ]
    # A model that can think aloud is told not to, as for alt text.
    extra = {"enable_thinking": False} if "enable_thinking" in processor.chat_template else {}
    inputs = processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
        **extra,
    )
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
    new = ids[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(new, skip_special_tokens=True)]


def reference(folder: Path, image: Image.Image, prompt: str, max_new_tokens: int) -> str:
    """What transformers answers where AutoProcessor would ask for torchvision, which images do not need."""
    return answer(image_only_processor(folder), folder, [image], prompt, max_new_tokens)[0]
