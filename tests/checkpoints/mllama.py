"""Llama 3.2 Vision in miniature (meta-llama/Llama-3.2-11B-Vision-Instruct): tiles, read by cross-attention."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common import draw, save_json, save_preprocessor
from checkpoints.common_modern import byte_tokenizer

BEGIN, END = "<|begin_of_text|>", "<|eot_id|>"
HEADS = ["<|start_header_id|>", "<|end_header_id|>"]
PAD, PICTURE = "<|finetune_right_pad_id|>", "<|image|>"
CHAT = (
    "{{ bos_token }}"
    "{% set seen = namespace(image=false) %}"
    "{% for message in messages if message['content'] is not string %}"
    "{% for part in message['content'] if part['type'] == 'image' %}"
    "{% set seen.image = true %}{% endfor %}{% endfor %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' and seen.image %}"
    "{{ raise_exception('Prompting with images is incompatible with system messages.') }}{% endif %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def build(folder: Path) -> None:
    from transformers import (
        GenerationConfig,
        MllamaConfig,
        MllamaForConditionalGeneration,
        MllamaImageProcessorPil,
        PreTrainedTokenizerFast,
    )

    # The image's token comes last: it has an input embedding, and no row in the output.
    words = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer([BEGIN, END, *HEADS, PAD, PICTURE]),
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
    )
    picture = words.convert_tokens_to_ids(PICTURE)
    ids = {
        name: words.convert_tokens_to_ids(t)
        for name, t in (("bos", BEGIN), ("eos", END), ("pad", PAD))
    }
    ids = {f"{name}_token_id": value for name, value in ids.items()}
    config = MllamaConfig(
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "attention_heads": 4,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "intermediate_layers_indices": [0, 1],
            "vision_output_dim": 192,
            "image_size": 32,
            "patch_size": 8,
            "max_num_tiles": 4,
            "supported_aspect_ratios": [
                [1, 1],
                [1, 2],
                [1, 3],
                [1, 4],
                [2, 1],
                [2, 2],
                [3, 1],
                [4, 1],
            ],
        },
        text_config={
            "vocab_size": picture,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "cross_attention_layers": [1, 3],
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
            "max_position_embeddings": 4096,
            **ids,
        },
        image_token_index=picture,
    )
    model = MllamaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**ids, do_sample=True, temperature=0.6, top_p=0.9)
    draw(model, model, words)
    for name, weight in model.named_parameters():
        if "gate" in name and weight.numel() == 1:
            weight.data.fill_(1.0)  # at first they are zero, which shuts the image out
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    images = MllamaImageProcessorPil(size={"height": 32, "width": 32}, max_image_tiles=4)
    save_preprocessor(folder, images, processor_class="MllamaProcessor")
    save_json(folder, "chat_template.json", chat_template=CHAT)
