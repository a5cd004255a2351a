"""Gemma 4 in miniature (google/gemma-4-E2B-it): images keep their shape, two kinds of attention.

The release also listens; the miniature has no audio tower, but the processor's audio part is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from checkpoints.common_modern import decoder, open_eyes, reference, save, turns
from checkpoints.gemma3 import tokenizer

__all__ = ["build", "reference"]

NAMED = {
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "image_token": "<|image|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "audio_token": "<|audio|>",
}


def build(folder: Path) -> None:
    from transformers import (
        Gemma4AudioFeatureExtractor,
        Gemma4Config,
        Gemma4ForConditionalGeneration,
        Gemma4ImageProcessorPil,
    )

    words = tokenizer(**NAMED)
    words.add_special_tokens({"additional_special_tokens": ["<|turn>", "<turn|>", "<|video|>"]})
    ids = {name: words.convert_tokens_to_ids(token) for name, token in NAMED.items()}
    config = Gemma4Config(
        text_config=decoder(
            words,
            sliding_window=64,
            layer_types=["sliding_attention", "full_attention"],
            global_head_dim=32,
            hidden_size_per_layer_input=16,
            vocab_size_per_layer_input=len(words),
            tie_word_embeddings=True,
        ),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "pooling_kernel_size": 2,
            "patch_size": 8,
            "position_embedding_size": 64,
        },
        audio_config=None,
        boi_token_id=ids["boi_token"],
        eoi_token_id=ids["eoi_token"],
        image_token_id=ids["image_token"],
        boa_token_id=ids["boa_token"],
        eoa_token_index=ids["eoa_token"],
        audio_token_id=ids["audio_token"],
        video_token_id=words.convert_tokens_to_ids("<|video|>"),
    )
    save(
        folder,
        open_eyes(Gemma4ForConditionalGeneration(config), words),
        words,
        Gemma4ImageProcessorPil(patch_size=8, pooling_kernel_size=2, max_soft_tokens=70),
        processor="Gemma4Processor",
        template=turns(
            "<|turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n",
            "<|image|>",
            "<turn|>\n",
            "<|turn>model\n",
            start="{{ bos_token }}",
        ),
        generation={"do_sample": True, "top_k": 64, "top_p": 0.95},
    )
    _one_processor_file(folder, Gemma4AudioFeatureExtractor().to_dict())


def _one_processor_file(folder: Path, listening: dict[str, Any]) -> None:
    """Gemma 4 is released with all its processors in processor_config.json."""
    looking = folder / "preprocessor_config.json"
    told = {
        "processor_class": "Gemma4Processor",
        "image_seq_length": 70,
        "audio_seq_length": 750,
        "image_processor": json.loads(looking.read_text()),
        "feature_extractor": {
            name: value for name, value in listening.items() if not hasattr(value, "shape")
        },
        "video_processor": {"video_processor_type": "Gemma4VideoProcessor", "patch_size": 8},
    }
    looking.unlink()
    (folder / "processor_config.json").write_text(json.dumps(told, indent=2))
