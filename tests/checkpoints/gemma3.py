"""Gemma 3 in miniature (google/gemma-3-4b-it): SigLIP, pooled image tokens, images seen both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints.common_modern import decoder, metaspace_bpe, open_eyes, save, turns

CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
NAMED = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}


def tokenizer(**named: str) -> Any:
    """GemmaTokenizer with the turn tokens and `named` ones."""
    from transformers import GemmaTokenizer

    vocab, merges = metaspace_bpe(CONTROL)
    made = GemmaTokenizer(
        vocab=vocab, merges=merges, extra_special_tokens=named, padding_side="left"
    )
    made.add_special_tokens({"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]})
    return made


def build(folder: Path) -> None:
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessorPil,
    )

    words = tokenizer(**NAMED)
    start, end, image = words.convert_tokens_to_ids(list(NAMED.values()))
    config = Gemma3Config(
        text_config=decoder(
            words,
            sliding_window=64,
            sliding_window_pattern=2,
            query_pre_attn_scalar=16,
            tie_word_embeddings=True,
        ),
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
            "vision_use_head": False,
        },
        mm_tokens_per_image=16,
        boi_token_index=start,
        eoi_token_index=end,
        image_token_index=image,
        tie_word_embeddings=True,
    )
    save(
        folder,
        open_eyes(Gemma3ForConditionalGeneration(config), words),
        words,
        Gemma3ImageProcessorPil(size={"height": 32, "width": 32}, image_seq_length=16),
        processor="Gemma3Processor",
        template=turns(
            "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n",
            "<start_of_image>",
            "<end_of_turn>\n",
            "<start_of_turn>model\n",
            start="{{ bos_token }}",
        ),
        template_file="chat_template.json",
        settings={"image_seq_length": 16},
        generation={
            "do_sample": True,
            "top_k": 64,
            "top_p": 0.95,
            "cache_implementation": "hybrid",
        },
    )
