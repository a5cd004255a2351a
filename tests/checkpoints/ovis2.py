"""Ovis 2 in miniature (thisisiron/Ovis2-1B-hf): a vocabulary of visual words, tiles in a grid, Qwen2."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import chatml, decoder, open_eyes, qwen_tokenizer, save

INDICATORS = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]


def build(folder: Path) -> None:
    from transformers import Ovis2Config, Ovis2ForConditionalGeneration, Ovis2ImageProcessorPil

    tokenizer = qwen_tokenizer(["<image>", "<IMG_ATOM>", *INDICATORS])
    text = decoder(tokenizer)
    del text["head_dim"]
    config = Ovis2Config(
        text_config={"model_type": "qwen2", **text},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
            "hidden_stride": 2,
            "vocab_size": 64,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=tokenizer.convert_tokens_to_ids(INDICATORS),
        vocab_size=len(tokenizer),
        hidden_size=64,
        tie_word_embeddings=False,
    )
    save(
        folder,
        open_eyes(Ovis2ForConditionalGeneration(config), tokenizer),
        tokenizer,
        Ovis2ImageProcessorPil(
            size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=4
        ),
        processor="Ovis2Processor",
        template=chatml("<image>\n"),
        settings={"image_seq_length": 16},
    )
