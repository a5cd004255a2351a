"""Qwen3-VL with experts in miniature (Qwen/Qwen3-VL-30B-A3B-Instruct)."""

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
from checkpoints.qwen2_5_vl import VISION

__all__ = ["build", "reference"]


def build(folder: Path) -> None:
    from transformers import (
        Qwen2VLImageProcessorPil,
        Qwen3VLMoeConfig,
        Qwen3VLMoeForConditionalGeneration,
    )

    tokenizer = qwen_tokenizer(VISION)
    start, end, image, video = tokenizer.convert_tokens_to_ids(VISION)
    rope = {
        "rope_type": "default",
        "mrope_interleaved": True,
        "mrope_section": [4, 2, 2],
        "rope_theta": 5e6,
    }
    config = Qwen3VLMoeConfig(
        text_config=decoder(
            tokenizer,
            rope_parameters=rope,
            moe_intermediate_size=32,
            num_experts=4,
            num_experts_per_tok=2,
        ),
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    save(
        folder,
        open_eyes(Qwen3VLMoeForConditionalGeneration(config), tokenizer),
        tokenizer,
        Qwen2VLImageProcessorPil(
            size={"shortest_edge": 64 * 64, "longest_edge": 32 * 32 * 16},
            patch_size=16,
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ),
        processor="Qwen3VLProcessor",
        template=chatml("<|vision_start|><|image_pad|><|vision_end|>"),
        template_file="chat_template.json",
    )
