"""LLaVA-OneVision in miniature (llava-hf/llava-onevision-qwen2-0.5b-ov-hf): any-resolution tiles, Qwen2."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import (
    chatml,
    decoder,
    open_eyes,
    qwen_tokenizer,
    reference,
    save,
)

__all__ = ["build", "reference"]

GRIDS = [[32, 32], [32, 64], [64, 32], [64, 64], [32, 96], [96, 32]]


def build(folder: Path) -> None:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessorPil,
    )

    tokenizer = qwen_tokenizer(["<image>", "<video>"])
    image, video = tokenizer.convert_tokens_to_ids(["<image>", "<video>"])
    text = decoder(tokenizer)
    del text["head_dim"]
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "vision_use_head": False,
        },
        image_token_index=image,
        video_token_index=video,
        image_grid_pinpoints=GRIDS,
        vision_aspect_ratio="anyres_max_9",
    )
    save(
        folder,
        open_eyes(LlavaOnevisionForConditionalGeneration(config), tokenizer),
        tokenizer,
        LlavaOnevisionImageProcessorPil(
            size={"height": 32, "width": 32}, image_grid_pinpoints=GRIDS
        ),
        processor="LlavaOnevisionProcessor",
        template=chatml("<image>\n"),
        template_file="chat_template.json",
        settings={
            "num_image_tokens": 16,
            "vision_feature_select_strategy": "full",
            "image_token": "<image>",
            "video_token": "<video>",
        },
    )
