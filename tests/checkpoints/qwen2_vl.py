"""Qwen2-VL in miniature (Qwen/Qwen2-VL-2B-Instruct), its configuration flat, as released in 2024."""

from __future__ import annotations

import json
from pathlib import Path

from checkpoints.common_modern import chatml, decoder, open_eyes, qwen_tokenizer, reference, save
from checkpoints.qwen2_5_vl import VISION

__all__ = ["build", "reference"]


def build(folder: Path) -> None:
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessorPil,
    )

    tokenizer = qwen_tokenizer(VISION)
    start, end, image, video = tokenizer.convert_tokens_to_ids(VISION)
    text = decoder(tokenizer, rope_theta=1e6)
    text["rope_scaling"] = {"type": "mrope", "mrope_section": [2, 3, 3]}
    del text["head_dim"]
    flat = {
        **text,
        "vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64},
        "image_token_id": image,
        "video_token_id": video,
        "vision_start_token_id": start,
        "vision_end_token_id": end,
    }
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**flat))
    save(
        folder,
        open_eyes(model, tokenizer),
        tokenizer,
        Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 16),
        processor="Qwen2VLProcessor",
        template=chatml("<|vision_start|><|image_pad|><|vision_end|>"),
        template_file="chat_template.json",
    )
    path = folder / "config.json"
    released = {"architectures": json.loads(path.read_text())["architectures"], **flat}
    path.write_text(json.dumps({**released, "model_type": "qwen2_vl"}, indent=2))
