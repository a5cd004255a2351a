"""SmolVLM2 in miniature (HuggingFaceTB/SmolVLM2-500M-Video-Instruct): tiles, pixel shuffle, Llama.

Its processor needs the package num2words (for videos, yet it asks at once).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints.common_modern import byte_bpe, decoder, open_eyes, reference, save, turns

__all__ = ["build", "reference"]

TAGS = ["<global-img>", *(f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7))]


def tokenizer() -> Any:
    """GPT2Tokenizer with SmolVLM's tokens, the tile tags among them."""
    from transformers import GPT2Tokenizer

    vocab, merges = byte_bpe()
    made = GPT2Tokenizer(
        vocab={**vocab, "<|im_start|>": len(vocab)},
        merges=merges,
        bos_token="<|im_start|>",
        unk_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>",
            "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>",
            "global_image_token": "<global-img>",
        },
    )
    made.add_special_tokens({"additional_special_tokens": TAGS})
    return made


TEMPLATE = turns(
    "{{ message['role'] | capitalize }}: ",
    "<image>",
    "<end_of_utterance>\n",
    "Assistant:",
    start="<|im_start|>",
)


def build(folder: Path) -> None:
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessorPil,
    )

    words = tokenizer()
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **decoder(words)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    save(
        folder,
        open_eyes(SmolVLMForConditionalGeneration(config), words),
        words,
        SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        processor="SmolVLMProcessor",
        template=TEMPLATE,
        template_file="chat_template.json",
        settings={"image_seq_len": 16},
    )
