"""Idefics3 in miniature (HuggingFaceM4/Idefics3-8B-Llama3): tiles with row and column tags, Llama."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import decoder, open_eyes, save
from checkpoints.smolvlm import TEMPLATE, tokenizer


def build(folder: Path) -> None:
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
    )

    words = tokenizer()
    config = Idefics3Config(
        text_config={"model_type": "llama", **decoder(words)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=False,
    )
    save(
        folder,
        open_eyes(Idefics3ForConditionalGeneration(config), words),
        words,
        Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        processor="Idefics3Processor",
        template=TEMPLATE,
        template_file="chat_template.json",
        settings={"image_seq_len": 16},
    )
