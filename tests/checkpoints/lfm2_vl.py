"""LFM2-VL in miniature (LiquidAI/LFM2-VL-450M): SigLIP 2 at any shape, short convolutions in the text."""

from __future__ import annotations

from pathlib import Path

from checkpoints.common_modern import byte_tokenizer, chatml, decoder, open_eyes, save

# transformers has this type's image processor on torchvision alone.
NEEDS = "torchvision"

NAMED = {
    "image_token": "<image>",
    "image_start_token": "<|image_start|>",
    "image_end_token": "<|image_end|>",
    "image_thumbnail": "<|img_thumbnail|>",
}
SPECIAL = [
    "<|pad|>",
    "<|startoftext|>",
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *NAMED.values(),
    *(f"<|img_row_{row}_col_{col}|>" for row in range(1, 5) for col in range(1, 5)),
]


def build(folder: Path) -> None:
    from transformers import Lfm2VlConfig, Lfm2VlForConditionalGeneration, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(SPECIAL),
        bos_token="<|startoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        extra_special_tokens=NAMED,
    )
    text = decoder(tokenizer, layer_types=["conv", "full_attention"], tie_word_embeddings=True)
    del text["head_dim"]
    config = Lfm2VlConfig(
        text_config={"model_type": "lfm2", **text, "block_auto_adjust_ff_dim": False},
        vision_config={
            "model_type": "siglip2_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 8,
            "num_patches": 64,
            "vision_use_head": False,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        projector_hidden_size=64,
        tie_word_embeddings=True,
    )
    save(
        folder,
        open_eyes(Lfm2VlForConditionalGeneration(config), tokenizer),
        tokenizer,
        {
            "image_processor_type": "Lfm2VlImageProcessorFast",
            "do_image_splitting": True,
            "min_tiles": 2,
            "max_tiles": 4,
            "use_thumbnail": True,
            "min_image_tokens": 4,
            "max_image_tokens": 16,
            "encoder_patch_size": 8,
            "tile_size": 64,
            "max_num_patches": 64,
            "downsample_factor": 2,
            "size": {"height": 64, "width": 64},
            "resample": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
        processor="Lfm2VlProcessor",
        template="{{ bos_token }}" + chatml("<image>"),
        settings={},
    )
