"""BLIP-2 with OPT in miniature (Salesforce/blip2-opt-2.7b): queries in front of a decoder-only model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from checkpoints.common import draw, save_json, save_preprocessor
from checkpoints.common_modern import byte_bpe

QUERIES = 4


def parts() -> dict[str, Any]:
    """The halves that both BLIP-2 models share: EVA's ViT and the Q-Former."""
    return {
        "vision_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
        "qformer_config": {
            "vocab_size": 16,
            "hidden_size": 64,
            "encoder_hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        "num_query_tokens": QUERIES,
    }


def build(folder: Path) -> None:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, GPT2Tokenizer

    vocab, merges = byte_bpe()
    for token in ("<pad>", "</s>"):
        vocab[token] = len(vocab)
    words = GPT2Tokenizer(
        vocab=vocab,
        merges=merges,
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="<pad>",
        add_bos_token=True,
    )
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = Blip2Config(
        **parts(),
        text_config={
            "model_type": "opt",
            "vocab_size": len(words),
            "hidden_size": 64,
            "word_embed_proj_dim": 64,
            "ffn_dim": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "bos_token_id": vocab["</s>"],
            "eos_token_id": vocab["Ċ"],  # captions end with a newline
            "pad_token_id": vocab["<pad>"],
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    draw(model, model.language_model, words).save_pretrained(folder)
    words.save_pretrained(folder)
    finish(folder)


def finish(folder: Path) -> None:
    from transformers import BlipImageProcessorPil

    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    save_preprocessor(folder, images, processor_class="Blip2Processor")
    settings = {"num_query_tokens": QUERIES, "processor_class": "Blip2Processor"}
    save_json(folder, "processor_config.json", **settings)


def reference(folder: Path, image: Image.Image, prompt: str, max_new_tokens: int) -> str:
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    processor = Blip2Processor.from_pretrained(folder, backend="pil")
    model = Blip2ForConditionalGeneration.from_pretrained(folder)
    inputs = processor(images=image, text=prompt or "", return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    said = processor.batch_decode(ids, skip_special_tokens=True)[0]
    return str(said).removeprefix(prompt).strip()
