"""Qwen2.5-VL in miniature (Qwen/Qwen2.5-VL-3B-Instruct): windowed vision tower, M-RoPE, 2x2 merger."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import chatml, decoder, open_eyes, qwen_tokenizer, reference, save

__all__ = ["build", "reference"]

VISION = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def build(folder: Path) -> None:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLImageProcessorPil,
    )

    tokenizer = qwen_tokenizer(VISION)
    start, end, image, video = tokenizer.convert_tokens_to_ids(VISION)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6}
    config = Qwen2_5_VLConfig(
        text_config=decoder(tokenizer, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=False,
    )
    save(
        folder,
        open_eyes(Qwen2_5_VLForConditionalGeneration(config), tokenizer),
        tokenizer,
        Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 16),
        processor="Qwen2_5_VLProcessor",
        template=chatml("<|vision_start|><|image_pad|><|vision_end|>"),
        template_file="chat_template.json",
        # As released: sampling, at a temperature that leaves nothing to chance.
        generation={"do_sample": True, "temperature": 1e-6, "repetition_penalty": 1.05},
    )
