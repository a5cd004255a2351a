"""Tiny models with random weights for every test that needs one: parts of transformers, real tokenizers."""

from __future__ import annotations

from typing import Any

import torch

VOCABULARY = """
a the an this is are there in on of and with near left right above below who what which how many where
dog cat fox tree house red blue green small large one two three four picture photo shows sign yes no
describe please object objects see you i it not , . ? ! :
"""
WORDS = VOCABULARY.split()
CHAT = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def word_tokenizer(words: list[str] = WORDS) -> Any:
    """Words between spaces; <end> ends a turn and is the end token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<bos>", "<end>", "<system>", "<user>", "<assistant>", "<image>"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*special, *words]))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    core.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<end>",
        additional_special_tokens=["<system>", "<user>", "<assistant>", "<image>"],
        chat_template=CHAT,
    )


def byte_tokenizer() -> Any:
    """Every byte a token: any text, any language, half characters in a stream."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<end>", "<system>", "<user>", "<assistant>", "<image>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<end>",
        additional_special_tokens=["<system>", "<user>", "<assistant>", "<image>"],
        chat_template=CHAT,
    )


def vision_config(kind: str = "clip", size_px: int = 32) -> Any:
    """CLIP, SigLIP or ViT with 3 layers of width 32 and patches of 8 px."""
    from transformers import CLIPVisionConfig, SiglipVisionConfig, ViTConfig

    kinds = {"clip": CLIPVisionConfig, "siglip": SiglipVisionConfig, "vit": ViTConfig}
    return kinds[kind](
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=size_px,
        patch_size=8,
    )


def language_config(kind: str, vocabulary: int, context: int = 512) -> Any:
    """Llama, Qwen2 (grouped heads), OPT (learned positions) or T5 (encoder) with 2 layers of width 32."""
    from transformers import LlamaConfig, OPTConfig, Qwen2Config, T5Config

    ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    common: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        **ids,
    }
    if kind == "t5":
        return T5Config(
            vocab_size=vocabulary,
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            decoder_start_token_id=0,
            eos_token_id=3,
            pad_token_id=0,
        )
    if kind == "opt":
        return OPTConfig(
            **common,
            ffn_dim=64,
            word_embed_proj_dim=32,
            dropout=0.0,
            attention_dropout=0.0,
        )
    kinds = {"llama": LlamaConfig, "qwen2": Qwen2Config}
    return kinds[kind](
        **common, intermediate_size=64, num_key_value_heads=2, tie_word_embeddings=kind == "qwen2"
    )


def enliven(module: Any, seed: int = 0) -> Any:
    """Random weights under which inputs matter: the usual start is so narrow that all answers agree."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim >= 2 and "norm" not in name:
                weight.normal_(0.0, 1.6 / weight[0].numel() ** 0.5, generator=generator)
    return module


def tiny_llava(
    vision: str = "clip",
    language: str = "llama",
    connector: str = "mlp",
    tokenizer: Any = None,
    seed: int = 0,
    size_px: int = 32,
    layer: int | None = -2,
    attention: str | None = None,
    template: str | None = None,
    context: int = 512,
) -> Any:
    """A LLaVA of a few thousand weights; 16 tokens per image of 32 px."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from looksay.models import connectors
    from looksay.models.families.llava import Llava
    from looksay.models.language import Language
    from looksay.models.qformer import QFormer
    from looksay.models.seq2seq import Seq2Seq
    from looksay.models.vision import TransformersTower

    torch.manual_seed(seed)
    tokenizer = tokenizer or word_tokenizer()
    tower = TransformersTower(
        AutoModel.from_config(vision_config(vision, size_px)), layer, drop_cls=True
    )
    config = language_config(language, len(tokenizer), context)
    if language == "t5":
        speaking: Language = Seq2Seq(AutoModelForSeq2SeqLM.from_config(config), attention)
    else:
        speaking = Language(AutoModelForCausalLM.from_config(config), attention)
    kinds: dict[str, Any] = {
        "linear": lambda a, b: connectors.Linear(a, b),
        "mlp": lambda a, b: connectors.MLP(a, b),
        "qformer": lambda a, b: QFormer(a, b, queries=4, width=32, layers=2, heads=4, inner=64),
        "resampler": lambda a, b: connectors.Resampler(a, b, latents=4, layers=2, heads=4),
    }
    joined = kinds[connector](tower.width, speaking.width)
    model = Llava(tower, joined, speaking, tokenizer, template=template)
    return enliven(model, seed).eval()
