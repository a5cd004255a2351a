"""Idefics2 in miniature (HuggingFaceM4/idefics2-8b): SigLIP at any shape, perceiver resampler, Mistral."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_tokenizer, decoder, open_eyes, save
from checkpoints.smolvlm import TEMPLATE

SPECIAL = ["<unk>", "<s>", "</s>", "<fake_token_around_image>", "<image>", "<end_of_utterance>"]


def build(folder: Path) -> None:
    from transformers import (
        Idefics2Config,
        Idefics2ForConditionalGeneration,
        Idefics2ImageProcessorPil,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
    )
    config = Idefics2Config(
        text_config={"model_type": "mistral", **decoder(tokenizer)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
        },
        perceiver_config={
            "hidden_size": 64,
            "resampler_n_latents": 16,
            "resampler_depth": 2,
            "resampler_n_heads": 4,
            "resampler_head_dim": 16,
            "num_key_value_heads": 2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    save(
        folder,
        open_eyes(Idefics2ForConditionalGeneration(config), tokenizer),
        tokenizer,
        Idefics2ImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}),
        processor="Idefics2Processor",
        template=TEMPLATE.replace("<|im_start|>", "{{ bos_token }}"),
        template_file="chat_template.json",
        settings={"image_seq_len": 16},
        generation={"bad_words_ids": [[3], [4]]},
    )
