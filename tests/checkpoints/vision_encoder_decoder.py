"""ViT-GPT2 in miniature (nlpconnect/vit-gpt2-image-captioning): a pickle of weights, no processor class."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from checkpoints.common import draw, save_json
from checkpoints.common_modern import byte_bpe


def build(folder: Path) -> None:
    from transformers import (
        GenerationConfig,
        GPT2Config,
        GPT2Tokenizer,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
    )

    vocab, merges = byte_bpe()
    end = "<|endoftext|>"
    words = GPT2Tokenizer(vocab={**vocab, end: len(vocab)}, merges=merges)
    ids = {"bos_token_id": len(vocab), "eos_token_id": len(vocab), "pad_token_id": len(vocab)}
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
        ),
        GPT2Config(vocab_size=len(words), n_embd=64, n_layer=2, n_head=4, n_positions=64, **ids),
        decoder_start_token_id=len(vocab),
        pad_token_id=len(vocab),
        eos_token_id=len(vocab),
    )
    model = VisionEncoderDecoderModel(config)
    draw(model, model.decoder, words)
    config.architectures = ["VisionEncoderDecoderModel"]
    config.save_pretrained(folder)
    GenerationConfig(
        **ids, decoder_start_token_id=len(vocab), max_length=16, num_beams=4
    ).save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.json").write_text(json.dumps({**vocab, end: len(vocab)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    save_json(
        folder,
        "tokenizer_config.json",
        tokenizer_class="GPT2Tokenizer",
        unk_token=end,
        bos_token=end,
        eos_token=end,
        pad_token=end,
        add_prefix_space=False,
    )
    save_json(
        folder,
        "preprocessor_config.json",
        feature_extractor_type="ViTFeatureExtractor",
        do_normalize=True,
        do_resize=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        resample=2,
        size=32,
    )


def reference(folder: Path, image: Image.Image, prompt: str, max_new_tokens: int) -> str:
    from transformers import AutoTokenizer, VisionEncoderDecoderModel, ViTImageProcessorPil

    model = VisionEncoderDecoderModel.from_pretrained(folder)
    pixels = ViTImageProcessorPil.from_pretrained(folder)([image], return_tensors="pt").pixel_values
    with torch.inference_mode():
        ids = model.generate(pixels, max_new_tokens=max_new_tokens, num_beams=4)
    words = AutoTokenizer.from_pretrained(folder)
    return str(words.batch_decode(ids, skip_special_tokens=True)[0]).strip()
