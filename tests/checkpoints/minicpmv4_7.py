"""MiniCPM-V 4.7 in miniature (openbmb/MiniCPM-V-4.7-1B): as 4.6, with positions on the image's canvas."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import reference
from checkpoints.minicpmv4_6 import settings, words, write

__all__ = ["build", "reference"]


def build(folder: Path) -> None:
    from transformers import MiniCPMV4_7Config, MiniCPMV4_7ForConditionalGeneration

    tokenizer = words()
    config = MiniCPMV4_7Config(
        **settings(tokenizer),
        image_start_id=tokenizer.image_start_token_id,
        image_end_id=tokenizer.image_end_token_id,
        slice_start_id=tokenizer.slice_start_token_id,
        slice_end_id=tokenizer.slice_end_token_id,
        newline_id=tokenizer.convert_tokens_to_ids("Ċ"),
    )
    model = MiniCPMV4_7ForConditionalGeneration(config)
    write(folder, model, tokenizer, "MiniCPMV4_7Processor", seed=3)
