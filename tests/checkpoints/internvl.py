"""InternVL3 in miniature (OpenGVLab/InternVL3-1B-hf): tiles and a thumbnail, pixel shuffle, Qwen2."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import chatml, decoder, open_eyes, qwen_tokenizer, reference, save

__all__ = ["build", "reference"]

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
