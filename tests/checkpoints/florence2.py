"""Florence-2 in miniature (florence-community/Florence-2-base): DaViT and BART, no chat template.

It knows task words (<CAPTION>, <DETAILED_CAPTION>, <OCR>), each of which must be the whole prompt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints.common_modern import byte_bpe, open_eyes, save

PROMPT = "<DETAILED_CAPTION>"


def build(folder: Path) -> None:
    from transformers import (
        BartTokenizer,
        CLIPImageProcessorPil,
        Florence2Config,
        Florence2ForConditionalGeneration,
    )

    vocab, merges = byte_bpe()
    control = ["<s>", "<pad>", "</s>", "<unk>"]
    words = {token: index for index, token in enumerate([*control, *vocab])}
    tokenizer = BartTokenizer(
        vocab=words, merges=merges, extra_special_tokens={"image_token": "<image>"}
    )
    config = Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 96,
            "decoder_ffn_dim": 96,
            "max_position_embeddings": 256,
            "dropout": 0.0,
            "decoder_start_token_id": 2,
        },
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [16, 16, 32, 32],
            "num_heads": [2, 2, 2, 2],
            "num_groups": [2, 2, 2, 2],
            "window_size": 4,
            "projection_dim": 64,
            "drop_path_rate": 0.0,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=64,
    )
    side = {"height": 128, "width": 128}
    image_processor = CLIPImageProcessorPil(
        size=side, crop_size=side, do_center_crop=False, resample=3, image_seq_length=17
    )
    save(
        folder,
        open_eyes(Florence2ForConditionalGeneration(config), tokenizer, seed=2, gain=2.5),
        tokenizer,
        image_processor,
        processor="Florence2Processor",
        settings={},
        generation={
            "decoder_start_token_id": 2,
            "forced_bos_token_id": 0,
            "forced_eos_token_id": 2,
            "num_beams": 3,
            "no_repeat_ngram_size": 3,
        },
    )


def reference(folder: Path, image: Any, prompt: str, max_new_tokens: int) -> str:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
    return str(processor.batch_decode(ids, skip_special_tokens=True)[0]).strip()
