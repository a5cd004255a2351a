"""Models with random weights in the layout of their releases, for what they cost: SmolVLM-256M and a LLaVA of Qwen2-0.5B.

What they say means nothing; no word of theirs ends an answer.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

LETTERS = "abcdefghijklmnoprstuvwx"
CHATML = (
    "{{% for message in messages %}}<|im_start|>{{{{ message['role'] }}}}\n"
    "{{% for part in message['content'] %}}{{% if part['type'] == 'image' %}}{image}"
    "{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}<|im_end|>\n{{% endfor %}}"
    "{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}"
)


def tokenizer_of(size, special, ends, image):
    """A vocabulary of so many entries: bytes, the words that requests are made of, and made-up ones."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    entries = sorted(pre_tokenizers.ByteLevel.alphabet())
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    entries += [word for text in asked() for word, _ in splitter.pre_tokenize_str(text)]
    number = 0
    vocab = {one: at for at, one in enumerate(dict.fromkeys(entries))}
    while len(vocab) < size - len(special):
        word, rest = "Ġz", number
        while rest:
            rest, letter = divmod(rest, len(LETTERS))
            word += LETTERS[letter]
        vocab.setdefault(word, len(vocab))
        number += 1
    made = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    made.pre_tokenizer, made.decoder = splitter, decoders.ByteLevel()
    made.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=ends, pad_token=ends, image_token=image
    )


def asked():
    """The words of a request: what the system says, and the user."""
    from looksay.backends.base import Profile
    from looksay.describing.prompts import conversation
    from looksay.library.pages import Context

    talk = conversation(
        Path("photo.jpg"), Context(), language="en", target=125, profile=Profile(instructable=True)
    )
    return [message.text for message in talk.messages]


def fill(model, words):
    """Random weights under which answers follow the picture, and only `words` (a range of ids) are ever said."""
    import torch

    pool = torch.randn((1 << 24) - 3, generator=torch.Generator().manual_seed(0))
    chance = random.Random(0)
    head = model.get_output_embeddings().weight
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim < 2 or "norm" in name:
                weight.fill_(float(name.endswith("weight")))  # a norm's scale is 1, biases are 0
                continue
            flat, spread = weight.view(-1), 0.02 if weight is head else weight[0].numel() ** -0.5
            done = 0
            while done < flat.numel():
                start = chance.randrange(len(pool) // 2)
                some = pool[start : start + flat.numel() - done]
                flat[done : done + len(some)] = some * spread
                done += len(some)
        head[: words.start] = 0
        head[words.stop :] = 0


def smolvlm(folder):
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
    )

    tags = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]
    special += ["<|im_start|>", "<|im_end|>", *tags]
    words = tokenizer_of(49_280, special, "<|im_end|>", "<image>")
    config = Idefics3Config(
        vision_config={
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
            "num_attention_heads": 12, "image_size": 512, "patch_size": 16,
        },
        text_config={
            "model_type": "llama", "vocab_size": 49_280, "hidden_size": 576, "intermediate_size": 1536,
            "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
            "max_position_embeddings": 8192, "rope_theta": 100_000.0, "tie_word_embeddings": True,
            "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=4,
        tie_word_embeddings=True,
    )  # fmt: skip
    looks = Idefics3ImageProcessorPil(
        size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}
    )
    save(
        folder, Idefics3ForConditionalGeneration, config, words, looks, "Idefics3", image_seq_len=64
    )


def llava(folder):
    from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration

    special = ["<image>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = tokenizer_of(151_936, special, "<|im_end|>", "<image>")
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
            "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14,
            "projection_dim": 768,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864,
            "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
            "max_position_embeddings": 32_768, "rope_theta": 1_000_000.0, "tie_word_embeddings": True,
            "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id,
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=576,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )  # fmt: skip
    looks = CLIPImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
    )
    save(
        folder, LlavaForConditionalGeneration, config, words, looks, "Llava",
        image_token="<image>", num_additional_image_tokens=1, patch_size=14,
        vision_feature_select_strategy="default",
    )  # fmt: skip


def save(folder, kind, config, words, looks, name, **settings):
    """Write it as it is released."""
    import torch
    from transformers import GenerationConfig
    from transformers.initialization import no_init_weights

    torch.set_default_dtype(torch.bfloat16)
    with no_init_weights():
        model = kind(config)
    torch.set_default_dtype(torch.float32)
    model.tie_weights()
    made_up = [at for word, at in words.get_vocab().items() if word.startswith("Ġz")]
    fill(model, range(min(made_up), max(made_up) + 1))
    model.generation_config = GenerationConfig(
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id
    )
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    named = {"processor_class": f"{name}Processor"}
    told = looks.to_dict()
    told["image_processor_type"] = told["image_processor_type"].removesuffix("Pil")
    for file, content in (
        ("preprocessor_config.json", told | named),
        ("processor_config.json", settings | named),
    ):
        (folder / file).write_text(json.dumps(content, default=int))
    (folder / "chat_template.jinja").write_text(CHATML.format(image="<image>"))


MODELS = {"smolvlm": (smolvlm, "SmolVLM-256M"), "llava": (llava, "LLaVA-0.5B")}
