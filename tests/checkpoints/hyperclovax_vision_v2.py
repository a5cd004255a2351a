"""HyperCLOVA X Vision v2 in miniature (HyperCLOVAX-SEED-Think-32B): Qwen2.5-VL's tower, HyperCLOVA X text."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_bpe, chatml, decoder, open_eyes, reference, save

__all__ = ["build", "reference"]

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|IMAGE_PAD|>", "<|VIDEO_PAD|>"]


def build(folder: Path) -> None:
    from transformers import (
        GPT2Tokenizer,
        HyperCLOVAXVisionV2Config,
        HyperCLOVAXVisionV2ForConditionalGeneration,
        Qwen2VLImageProcessorPil,
    )

    vocab, merges = byte_bpe()
    tokenizer = GPT2Tokenizer(
        vocab={**vocab, "<|endoftext|>": len(vocab)},
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<|IMAGE_PAD|>", "video_token": "<|VIDEO_PAD|>"},
    )
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[:2]})
    image, video = tokenizer.convert_tokens_to_ids(SPECIAL[2:])
    config = HyperCLOVAXVisionV2Config(
        text_config={"model_type": "hyperclovax", **decoder(tokenizer)},
        vision_config={
            "model_type": "qwen2_5_vl_vision",
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
        tie_word_embeddings=False,
    )
    save(
        folder,
        open_eyes(HyperCLOVAXVisionV2ForConditionalGeneration(config), tokenizer),
        tokenizer,
        Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 16),
        processor="HyperCLOVAXVisionV2Processor",
        template=chatml("<|IMAGE_PAD|>\n"),
    )
