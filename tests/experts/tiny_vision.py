"""Segmenters and detectors of transformers in miniature, with random weights, as they lie on a disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from checkpoints.common import bert_tokenizer, save_preprocessor

NAMES = {0: "person", 1: "dog", 2: "wall-other-merged"}
SWIN = {
    "image_size": 64,
    "embed_dim": 16,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "window_size": 4,
}


def save(model: Any, folder: Path, spread: float = 1.0) -> None:
    """Weights so wide that queries differ in what they see."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and weight.numel() and "norm" not in name:
                weight.normal_(0.0, spread / weight[0].numel() ** 0.5, generator=generator)
    model.save_pretrained(folder)


def swin() -> Any:
    from transformers import SwinConfig

    return SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"], **SWIN)


def mask2former(folder: Path) -> None:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessorPil,
    )

    config = Mask2FormerConfig(
        backbone_config=swin(),
        id2label=NAMES,
        num_labels=3,
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        encoder_feedforward_dim=64,
        dim_feedforward=64,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=12,
    )
    save(Mask2FormerForUniversalSegmentation(config), folder)
    images = Mask2FormerImageProcessorPil(
        size={"shortest_edge": 64, "longest_edge": 96}, size_divisor=32, num_labels=3
    )
    save_preprocessor(folder, images)


def oneformer(folder: Path) -> None:
    from transformers import (
        OneFormerConfig,
        OneFormerForUniversalSegmentation,
        OneFormerImageProcessorPil,
    )

    words = bert_tokenizer()
    config = OneFormerConfig(
        backbone_config=swin(),
        id2label=NAMES,
        num_labels=3,
        hidden_dim=32,
        conv_dim=32,
        mask_dim=32,
        encoder_feedforward_dim=64,
        dim_feedforward=64,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=12,
        task_seq_len=16,
        text_encoder_vocab_size=len(words),
        text_encoder_width=32,
        text_encoder_num_layers=1,
        text_encoder_context_length=16,
        text_encoder_n_ctx=2,
        use_auxiliary_loss=False,
    )
    save(OneFormerForUniversalSegmentation(config), folder)
    (folder / "classes.json").write_text(
        json.dumps({str(one): {"name": name, "isthing": one < 2} for one, name in NAMES.items()})
    )
    images = OneFormerImageProcessorPil(
        size={"shortest_edge": 64, "longest_edge": 96},
        repo_path=str(folder),
        class_info_file="classes.json",
        num_text=4,
        num_labels=3,
    )
    words.save_pretrained(folder)
    save_preprocessor(folder, images, processor_class="OneFormerProcessor")
    (folder / "processor_config.json").write_text(
        json.dumps(
            {"processor_class": "OneFormerProcessor", "max_seq_length": 16, "task_seq_length": 16}
        )
    )


def owlv2(folder: Path) -> None:
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

    words = bert_tokenizer()
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = Owlv2Config(
        text_config={**sizes, "vocab_size": len(words), "max_position_embeddings": 16}
        | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
        vision_config={**sizes, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    save(Owlv2ForObjectDetection(config), folder)
    words.model_max_length = 16
    words.save_pretrained(folder)
    images = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    save_preprocessor(folder, images, processor_class="Owlv2Processor")


def grounding_dino(folder: Path) -> None:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
    )

    words = bert_tokenizer()
    from transformers import SwinConfig

    config = GroundingDinoConfig(
        backbone_config=SwinConfig(out_features=["stage2", "stage3", "stage4"], **SWIN),
        text_config=BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=10,
        max_text_len=64,
    )
    save(GroundingDinoForObjectDetection(config), folder)
    words.save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    save_preprocessor(folder, images, processor_class="GroundingDinoProcessor")


def yolos(folder: Path) -> None:
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

    config = YolosConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=[64, 96],
        patch_size=16,
        num_detection_tokens=8,
        id2label=NAMES,
        num_labels=3,
    )
    save(YolosForObjectDetection(config), folder)
    images = YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    save_preprocessor(folder, images)
