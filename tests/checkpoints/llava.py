"""LLaVA 1.5 in miniature (llava-hf/llava-1.5-7b-hf): CLIP, two linear layers, Llama."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from checkpoints.common import draw, save_json, save_preprocessor
from checkpoints.common_modern import metaspace_bpe

CHAT = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'] | upper }}: {% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }} {% endfor %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
# Widths are multiples of 64, the block in which 4-bit weights share a scale.
CLIP: dict[str, Any] = {
    "model_type": "clip_vision_model",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "projection_dim": 64,
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}


def llama_tokenizer() -> Any:
    from transformers import LlamaTokenizer

    vocab, merges = metaspace_bpe(["<unk>", "<s>", "</s>"])
    words = LlamaTokenizer(vocab=vocab, merges=merges)
    words.add_special_tokens({"additional_special_tokens": ["<image>"], "pad_token": "<pad>"})
    return words


def build(folder: Path) -> None:
    from transformers import (
        CLIPImageProcessorPil,
        GenerationConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    words = llama_tokenizer()
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": words.pad_token_id}
    config = LlavaConfig(
        vision_config=CLIP,
        text_config={**LLAMA, "vocab_size": len(words), **ids},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**ids)
    # Released in several parts with an index, so in parts here too.
    draw(model, model, words).save_pretrained(folder, max_shard_size="300KB")
    words.save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    save_preprocessor(folder, images, processor_class="LlavaProcessor")
    save_json(
        folder,
        "processor_config.json",
        image_token="<image>",
        num_additional_image_tokens=1,
        patch_size=8,
        processor_class="LlavaProcessor",
        vision_feature_select_strategy="default",
    )
    save_json(folder, "chat_template.json", chat_template=CHAT)


def reference(folder: Path, image: Image.Image, prompt: str, max_new_tokens: int) -> str:
    """As the model card shows it: the prompt written out by hand, one image."""
    from transformers import (
        AutoTokenizer,
        CLIPImageProcessorPil,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    settings = json.loads((folder / "processor_config.json").read_text())
    processor = LlavaProcessor(
        CLIPImageProcessorPil.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        patch_size=settings["patch_size"],
        vision_feature_select_strategy=settings["vision_feature_select_strategy"],
        num_additional_image_tokens=settings["num_additional_image_tokens"],
    )
    model = LlavaForConditionalGeneration.from_pretrained(folder)
    text = f"USER: <image>\n{prompt} ASSISTANT:"
    inputs = processor(images=image, text=text, return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    new = ids[0, inputs["input_ids"].shape[1] :]
    return str(processor.decode(new, skip_special_tokens=True)).strip()
