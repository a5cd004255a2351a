"""PaliGemma 2 in miniature (google/paligemma2-3b-mix-224): SigLIP, a prompt seen both ways, Gemma 2.

It has no chat template; a prompt is a task word and a language ("caption en").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints.common_modern import decoder, open_eyes, save
from checkpoints.gemma3 import tokenizer

PROMPT = "caption en"


def build(folder: Path) -> None:
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        SiglipImageProcessorPil,
    )

    words = tokenizer(image_token="<image>")
    words.add_tokens(
        [
            *(f"<loc{place:04}>" for place in range(1024)),
            *(f"<seg{code:03}>" for code in range(128)),
        ]
    )
    config = PaliGemmaConfig(
        text_config={
            "model_type": "gemma2",
            **decoder(words, sliding_window=64, query_pre_attn_scalar=16, tie_word_embeddings=True),
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "vision_use_head": False,
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=64,
        hidden_size=64,
        vocab_size=len(words),
    )
    save(
        folder,
        open_eyes(PaliGemmaForConditionalGeneration(config), words),
        words,
        SiglipImageProcessorPil(size={"height": 32, "width": 32}, image_seq_length=16),
        processor="PaliGemmaProcessor",
    )


def reference(folder: Path, image: Any, prompt: str, max_new_tokens: int) -> str:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = processor(images=image, text=f"<image>{prompt}", return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
    new = ids[0, inputs["input_ids"].shape[1] :]
    return str(processor.decode(new, skip_special_tokens=True)).strip()
