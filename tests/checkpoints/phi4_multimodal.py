"""Phi-4-multimodal in miniature (microsoft/Phi-4-multimodal-instruct, its transformers layout).

Dynamic crops, a vision LoRA and an audio tower that stays silent. The release's main branch is of
the type `phi4mm` and brings its own code; the layout for transformers is beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints.common_modern import answer, byte_tokenizer, decoder, open_eyes, save, turns

# transformers has this type's image processor on torchvision alone.
NEEDS = "torchvision"

NAMED = {"image_token": "<|image|>", "audio_token": "<|audio|>"}
SPECIAL = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", *NAMED.values()]


def build(folder: Path) -> None:
    from transformers import (
        Phi4MultimodalConfig,
        Phi4MultimodalForCausalLM,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        bos_token="<|endoftext|>",
        eos_token="<|end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=NAMED,
    )
    text = decoder(tokenizer)
    del text["head_dim"]
    config = Phi4MultimodalConfig(
        **text,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            # The processor counts on 32 patches a side.
            "image_size": 128,
            "crop_size": 128,
            "patch_size": 4,
            "image_token_id": tokenizer.convert_tokens_to_ids("<|image|>"),
        },
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_blocks": 1,
            "num_attention_heads": 2,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "nemo_conv_channels": 8,
            "audio_token_id": tokenizer.convert_tokens_to_ids("<|audio|>"),
        },
    )
    # This type's processor keeps no template of its own; the release has it with the tokenizer.
    tokenizer.chat_template = turns(
        "<|{{ message['role'] }}|>", "<|image|>", "<|end|>", "<|assistant|>"
    )
    save(
        folder,
        open_eyes(Phi4MultimodalForCausalLM(config), tokenizer),
        tokenizer,
        {
            "image_processor_type": "Phi4MultimodalImageProcessorFast",
            "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
            "size": {"height": 128, "width": 128},
            "patch_size": 4,
            "dynamic_hd": 4,
        },
        processor="Phi4MultimodalProcessor",
        settings={},
    )


def reference(folder: Path, image: Any, prompt: str, max_new_tokens: int) -> str:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    processor.chat_template = processor.tokenizer.chat_template
    return answer(processor, folder, [image], prompt, max_new_tokens)[0]
