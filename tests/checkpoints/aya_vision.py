"""Aya Vision in miniature (CohereLabs/aya-vision-8b): SigLIP on tiles, pixel shuffle, Cohere 2."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_tokenizer, decoder, open_eyes, save, turns

SPECIAL = [
    "<PAD>",
    "<UNK>",
    "<BOS_TOKEN>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|START_RESPONSE|>",
    "<image>",
    "<|START_OF_IMG|>",
    "<|END_OF_IMG|>",
    "<|IMG_PATCH|>",
    "<|IMG_LINE_BREAK|>",
    "TILE",
    "TILE_GLOBAL",
]


def build(folder: Path) -> None:
    from transformers import (
        AyaVisionConfig,
        AyaVisionForConditionalGeneration,
        GotOcr2ImageProcessorPil,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        bos_token="<BOS_TOKEN>",
        eos_token="<|END_OF_TURN_TOKEN|>",
        pad_token="<PAD>",
        unk_token="<UNK>",
    )
    config = AyaVisionConfig(
        text_config={
            "model_type": "cohere2",
            **decoder(
                tokenizer,
                sliding_window=64,
                layer_types=["sliding_attention", "full_attention"],
                tie_word_embeddings=True,
            ),
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
            "vision_use_head": False,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        alignment_intermediate_size=128,
    )
    save(
        folder,
        open_eyes(AyaVisionForConditionalGeneration(config), tokenizer),
        tokenizer,
        GotOcr2ImageProcessorPil(
            size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=4
        ),
        processor="AyaVisionProcessor",
        template=turns(
            "<|START_OF_TURN_TOKEN|>"
            "{{ '<|CHATBOT_TOKEN|>' if message['role'] == 'assistant' else '<|USER_TOKEN|>' }}",
            "<image>",
            "<|END_OF_TURN_TOKEN|>",
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
            start="{{ bos_token }}",
        ),
        template_file="chat_template.json",
        settings={"patch_size": 4, "img_size": 32, "downsample_factor": 2},
    )
