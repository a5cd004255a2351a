"""EXAONE 4.5 in miniature (LGAI-EXAONE/EXAONE-4.5-33B): Qwen2.5-VL's tower with grouped queries, EXAONE 4."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_tokenizer, decoder, open_eyes, reference, save, turns

__all__ = ["build", "reference"]

SPECIAL = [
    "[PAD]",
    "[BOS]",
    "[EOS]",
    "[UNK]",
    "[|system|]",
    "[|user|]",
    "[|assistant|]",
    "[|endofturn|]",
    "<vision>",
    "</vision>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def build(folder: Path) -> None:
    from transformers import (
        Exaone4_5_Config,
        Exaone4_5_ForConditionalGeneration,
        PreTrainedTokenizerFast,
        Qwen2VLImageProcessorPil,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        bos_token="[BOS]",
        eos_token="[|endofturn|]",
        pad_token="[PAD]",
        unk_token="[UNK]",
    )
    image, video = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
    config = Exaone4_5_Config(
        text_config={
            "model_type": "exaone4",
            **decoder(
                tokenizer,
                sliding_window=64,
                layer_types=["sliding_attention", "full_attention"],
            ),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "num_key_value_heads": 1,
            "out_hidden_size": 64,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=image,
        video_token_id=video,
    )
    save(
        folder,
        open_eyes(Exaone4_5_ForConditionalGeneration(config), tokenizer),
        tokenizer,
        Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 16),
        processor="Exaone4_5_Processor",
        template=turns(
            "[|{{ message['role'] }}|]\n",
            "<vision><|image_pad|></vision>\n",
            "[|endofturn|]\n",
            "[|assistant|]\n",
        ),
    )
