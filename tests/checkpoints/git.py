"""GIT in miniature (microsoft/git-large-coco): CLIP's image tokens in front of a small BERT decoder."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from checkpoints.common import bert_tokenizer, draw, save_preprocessor


def build(folder: Path) -> None:
    from transformers import CLIPImageProcessorPil, GenerationConfig, GitConfig, GitForCausalLM

    words = bert_tokenizer()
    config = GitConfig(
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 16,
        },
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id,
        pad_token_id=words.pad_token_id,
    )
    model = GitForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id,
        pad_token_id=words.pad_token_id,
    )
    draw(model, model, words).save_pretrained(folder)
    words.save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    save_preprocessor(folder, images, processor_class="GitProcessor")


def reference(folder: Path, image: Image.Image, prompt: str, max_new_tokens: int) -> str:
    from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPImageProcessorPil

    words = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(image, return_tensors="pt").pixel_values
    text = {}
    if prompt:  # as for visual questions: begin with [CLS], do not end with [SEP]
        ids = [words.cls_token_id, *words(prompt, add_special_tokens=False).input_ids]
        text["input_ids"] = torch.tensor([ids])
    with torch.inference_mode():
        out = model.generate(
            pixel_values=pixels, max_new_tokens=max_new_tokens, do_sample=False, **text
        )
    said = words.batch_decode(out, skip_special_tokens=True)[0]
    return str(said).removeprefix(prompt).strip()
