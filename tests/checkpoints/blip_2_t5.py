"""BLIP-2 with FLAN-T5 in miniature (Salesforce/blip2-flan-t5-xl): queries in front of an encoder."""

from __future__ import annotations

from pathlib import Path

from checkpoints.blip_2_opt import finish, parts, reference
from checkpoints.common import WORDS, draw

__all__ = ["build", "reference"]


def build(folder: Path) -> None:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, T5Tokenizer

    letters = "abcdefghijklmnopqrstuvwxyz.,:?!▁"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -2.0) for word in sorted(WORDS)] + [
        (letter, -5.0) for letter in letters
    ]
    words = T5Tokenizer(vocab=pieces, extra_ids=4)
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = Blip2Config(
        **parts(),
        text_config={
            "model_type": "t5",
            "vocab_size": len(words),
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
            "feed_forward_proj": "gated-gelu",
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "tie_word_embeddings": False,
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    draw(model, model.language_model, words).save_pretrained(folder)
    words.save_pretrained(folder)
    finish(folder)
