"""MiniCPM-V 4.6 in miniature (openbmb/MiniCPM-V-4.6): slices, two mergers, Qwen3.5's linear attention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from checkpoints.common_modern import chatml, decoder, open_eyes, qwen_tokenizer, reference, save

__all__ = ["build", "reference"]

NAMED = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}


def words() -> Any:
    return qwen_tokenizer([], **NAMED)


def settings(tokenizer: Any) -> dict[str, Any]:
    """What the configurations of 4.6 and 4.7 have in common."""
    return {
        "text_config": {
            "model_type": "qwen3_5_text",
            **decoder(
                tokenizer,
                layer_types=["linear_attention", "full_attention"],
                linear_num_key_heads=2,
                linear_num_value_heads=4,
                linear_key_head_dim=16,
                linear_value_head_dim=16,
                rope_parameters={
                    "rope_type": "default",
                    "rope_theta": 1e7,
                    "partial_rotary_factor": 0.5,
                    "mrope_interleaved": True,
                    "mrope_section": [2, 1, 1],
                },
            ),
        },
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 112,
            "patch_size": 14,
        },
        "insert_layer_id": 0,
        "image_size": 112,
        "image_token_id": tokenizer.image_token_id,
        "video_token_id": tokenizer.video_token_id,
        "tie_word_embeddings": False,
    }


def write(folder: Path, model: Any, tokenizer: Any, processor: str, *, seed: int = 1) -> None:
    from transformers import MiniCPMV4_6ImageProcessorPil

    slicing = {"max_slice_nums": 4, "scale_resolution": 112, "patch_size": 14}
    save(
        folder,
        open_eyes(model, tokenizer, seed=seed),
        tokenizer,
        MiniCPMV4_6ImageProcessorPil(**slicing),
        processor=processor,
        template=chatml("<|image_pad|>\n"),
    )
    video = {"video_processor_type": "MiniCPMV4_6VideoProcessor", "processor_class": processor}
    video |= {**slicing, "slice_mode": False, "downsample_mode": "16x", "use_image_id": False}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video, indent=2))


def build(folder: Path) -> None:
    from transformers import MiniCPMV4_6Config, MiniCPMV4_6ForConditionalGeneration

    tokenizer = words()
    model = MiniCPMV4_6ForConditionalGeneration(MiniCPMV4_6Config(**settings(tokenizer)))
    write(folder, model, tokenizer, "MiniCPMV4_6Processor")
