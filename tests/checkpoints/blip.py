"""BLIP in miniature (Salesforce/blip-image-captioning-large): ViT, and BERT that writes and looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from checkpoints.common import bert_tokenizer, draw, save_preprocessor


def build(folder: Path) -> None:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

    words = bert_tokenizer()
    # BERT's vocabulary and, behind it, the token that begins a caption; the tokenizer does not know it.
    config = BlipConfig(
        text_config={
            "vocab_size": len(words) + 2,
            "hidden_size": 64,
            "encoder_hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "bos_token_id": len(words),
            "sep_token_id": words.sep_token_id,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "is_decoder": True,
        },
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 48,
            "patch_size": 16,
        },
    )
    model = BlipForConditionalGeneration(config)
    draw(model, model.text_decoder, words).save_pretrained(folder)
    words.save_pretrained(folder)
    images = BlipImageProcessorPil(size={"height": 48, "width": 48})
    save_preprocessor(folder, images, processor_class="BlipProcessor")


def reference(folder: Path, image: Image.Image, prompt: str, max_new_tokens: int) -> str:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    processor = BlipProcessor.from_pretrained(folder, backend="pil")
    model = BlipForConditionalGeneration.from_pretrained(folder)
    text = {"text": prompt} if prompt else {}
    inputs = processor(images=image, return_tensors="pt", **text)
    with torch.inference_mode():
        ids: Any = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    said = processor.decode(ids[0], skip_special_tokens=True)
    return str(said).removeprefix(prompt).strip()
