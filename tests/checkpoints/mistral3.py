"""Mistral Small 3.1 in miniature (mistralai/Mistral-Small-3.1-24B-Instruct-2503): Pixtral's tower."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_tokenizer, decoder, open_eyes, reference, save, turns

__all__ = ["build", "reference"]

SPECIAL = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
]


def build(folder: Path) -> None:
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        PixtralImageProcessorPil,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
    )
    config = Mistral3Config(
        text_config={"model_type": "mistral", **decoder(tokenizer)},
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "head_dim": 16,
            "image_size": 112,
            "patch_size": 14,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    save(
        folder,
        open_eyes(Mistral3ForConditionalGeneration(config), tokenizer),
        tokenizer,
        PixtralImageProcessorPil(
            size={"longest_edge": 112}, patch_size={"height": 14, "width": 14}
        ),
        processor="PixtralProcessor",
        template=turns(
            "{% if message['role'] == 'user' %}[INST]{% endif %}",
            "[IMG]",
            "{% if message['role'] == 'user' %}[/INST]{% else %}</s>{% endif %}",
            "",
            start="{{ bos_token }}",
        ),
        template_file="chat_template.json",
        settings={"patch_size": 14, "spatial_merge_size": 2},
    )
