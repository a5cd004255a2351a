"""GLM-4.1V in miniature (zai-org/GLM-4.1V-9B-Thinking): native resolution, M-RoPE, GLM-4 text."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_tokenizer, decoder, open_eyes, reference, save, turns

__all__ = ["build", "reference"]

VISION = [
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
]
SPECIAL = ["<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", *VISION]


def build(folder: Path) -> None:
    from transformers import (
        Glm4vConfig,
        Glm4vForConditionalGeneration,
        Glm4vImageProcessorPil,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        eos_token="<|user|>",
        pad_token="<|endoftext|>",
    )
    ids = tokenizer.convert_tokens_to_ids(VISION)
    text = decoder(tokenizer)
    del text["head_dim"]
    config = Glm4vConfig(
        text_config={
            **text,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [1, 1, 2],
                "partial_rotary_factor": 0.5,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "image_size": 112,
        },
        image_start_token_id=ids[0],
        image_end_token_id=ids[1],
        video_start_token_id=ids[2],
        video_end_token_id=ids[3],
        image_token_id=ids[4],
        video_token_id=ids[5],
    )
    save(
        folder,
        open_eyes(Glm4vForConditionalGeneration(config), tokenizer),
        tokenizer,
        Glm4vImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 32}),
        processor="Glm4vProcessor",
        template=turns(
            "<|{{ message['role'] }}|>\n",
            "<|begin_of_image|><|image|><|end_of_image|>",
            "",
            "<|assistant|>\n",
            start="[gMASK]<sop>\n",
        ),
    )
