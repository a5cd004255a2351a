"""Qwen3.5 in miniature (Qwen/Qwen3.5-27B): Qwen3-VL's tower before linear and full attention in turn."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import chatml, decoder, open_eyes, qwen_tokenizer, reference, save
from checkpoints.qwen2_5_vl import VISION

__all__ = ["build", "reference"]


def build(folder: Path) -> None:
    from transformers import (
        Qwen2VLImageProcessorPil,
        Qwen3_5Config,
        Qwen3_5ForConditionalGeneration,
    )

    tokenizer = qwen_tokenizer(VISION)
    start, end, image, video = tokenizer.convert_tokens_to_ids(VISION)
    rope = {
        "rope_type": "default",
        "rope_theta": 1e7,
        "partial_rotary_factor": 0.5,
        "mrope_interleaved": True,
        "mrope_section": [2, 1, 1],
    }
    config = Qwen3_5Config(
        text_config=decoder(
            tokenizer,
            layer_types=["linear_attention", "full_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            rope_parameters=rope,
        ),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    # The release thinks aloud unless it is told not to: then its template closes the thought at once.
    quiet = (
        "{% if enable_thinking is defined and not enable_thinking %}"
        "<think>\n\n</think>\n\n{% endif %}"
    )
    save(
        folder,
        open_eyes(Qwen3_5ForConditionalGeneration(config), tokenizer, gain=1.0),
        tokenizer,
        Qwen2VLImageProcessorPil(
            size={"shortest_edge": 64 * 64, "longest_edge": 32 * 32 * 16},
            patch_size=16,
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ),
        processor="Qwen3VLProcessor",
        template=chatml("<|vision_start|><|image_pad|><|vision_end|>") + quiet,
    )
