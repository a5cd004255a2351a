"""LLaVA 1.6 in miniature (llava-hf/llava-v1.6-mistral-7b-hf): tiles of the photo beside the whole of it."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common import draw, save_json, save_preprocessor
from checkpoints.llava import CLIP, LLAMA, llama_tokenizer

CHAT = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}<<SYS>>\n{{ message['content'][0]['text'] }}\n<</SYS>>\n\n"
    "{% elif message['role'] == 'user' %}[INST] "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    " [/INST]"
    "{% else %} {{ message['content'][0]['text'] }}</s>{% endif %}"
    "{% endfor %}"
)
TILINGS_PX = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]


def build(folder: Path) -> None:
    from transformers import (
        GenerationConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
    )

    words = llama_tokenizer()
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": words.pad_token_id}
    config = LlavaNextConfig(
        vision_config=CLIP,
        text_config={
            **LLAMA,
            **ids,
            "model_type": "mistral",
            "num_key_value_heads": 2,
            "head_dim": 16,
            "sliding_window": None,
            "vocab_size": len(words),
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=TILINGS_PX,
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    model = LlavaNextForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**ids)
    draw(model, model, words).save_pretrained(folder)
    words.save_pretrained(folder)
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_grid_pinpoints=TILINGS_PX,
    )
    save_preprocessor(folder, images, processor_class="LlavaNextProcessor")
    save_json(
        folder,
        "processor_config.json",
        image_token="<image>",
        num_additional_image_tokens=1,
        patch_size=8,
        processor_class="LlavaNextProcessor",
        vision_feature_select_strategy="default",
    )
    save_json(folder, "chat_template.json", chat_template=CHAT)
