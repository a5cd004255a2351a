"""InternVL3 in miniature (OpenGVLab/InternVL3-1B-hf): tiles and a thumbnail, pixel shuffle, Qwen2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints.common_modern import (
    answer,
    chatml,
    decoder,
    image_only_processor,
    open_eyes,
    qwen_tokenizer,
    save,
)

NAMED = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def build(folder: Path) -> None:
    from transformers import (
        GotOcr2ImageProcessorPil,
        InternVLConfig,
        InternVLForConditionalGeneration,
    )

    tokenizer = qwen_tokenizer([], **NAMED)
    text = decoder(tokenizer)
    del text["head_dim"]
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **text},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    save(
        folder,
        open_eyes(InternVLForConditionalGeneration(config), tokenizer),
        tokenizer,
        GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, max_patches=4),
        processor="InternVLProcessor",
        template=chatml("<IMG_CONTEXT>\n"),
        settings={"image_seq_length": 16},
    )


def reference(folder: Path, image: Any, prompt: str, max_new_tokens: int) -> str:
    return answer(image_only_processor(folder), folder, [image], prompt, max_new_tokens)[0]
