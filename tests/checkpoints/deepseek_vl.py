"""DeepSeek-VL in miniature (deepseek-community/deepseek-vl-1.3b-chat): SigLIP, padded square, Llama."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_tokenizer, decoder, open_eyes, save, turns

SPECIAL = ["<pad>", "<bos>", "<eos>", "<image_placeholder>"]


def build(folder: Path) -> None:
    from transformers import (
        DeepseekVLConfig,
        DeepseekVLForConditionalGeneration,
        DeepseekVLImageProcessorPil,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image_placeholder>"},
    )
    config = DeepseekVLConfig(
        text_config={"model_type": "llama", **decoder(tokenizer)},
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
        image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
        tie_word_embeddings=False,
    )
    save(
        folder,
        open_eyes(DeepseekVLForConditionalGeneration(config), tokenizer),
        tokenizer,
        DeepseekVLImageProcessorPil(size={"height": 32, "width": 32}, min_size=8),
        processor="DeepseekVLProcessor",
        template=turns(
            "{{ message['role'] | capitalize }}: ",
            "<image_placeholder>",
            "\n\n",
            "Assistant:",
            start="{{ bos_token }}",
        ),
        settings={"num_image_tokens": 16},
    )
