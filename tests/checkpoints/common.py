"""What the tiny checkpoints of the compared types share: BERT and T5 vocabularies, and the released layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

VOCABULARY = """
a the this is on in with near red blue green small large old young two three image photo
picture shows what describe one sentence dog cat house river boat child tree street bird
table window flower bridge horse of and user assistant text
"""
WORDS = frozenset(VOCABULARY.split())


def bert_tokenizer() -> Any:
    """A WordPiece tokenizer: BERT's control tokens, letters with and without ##, and some fifty words."""
    from transformers import BertTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:?!'"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    tokens += [word for word in sorted(WORDS) if word not in letters]
    return BertTokenizer(vocab={token: i for i, token in enumerate(dict.fromkeys(tokens))})


def draw(model: Any, speaker: Any, tokenizer: Any, seed: int = 0) -> Any:
    """Random weights under which the image decides what `speaker`, a part of `model`, says.

    The initialisation that training begins with is so narrow that every image gets the same text. Here
    matrices keep the size of what passes through them, and only whole words can win, so that answers
    run to the limit and can be compared as text.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "norm" not in name:
                weight.normal_(0.0, 1.6 / weight[0].numel() ** 0.5, generator=generator)
        rows = speaker.get_output_embeddings().weight
        for index in range(rows.shape[0]):
            word = tokenizer.decode([index]).strip() if index < len(tokenizer) else ""
            if word not in WORDS:
                rows[index] = 0.0
    return model.eval()


def save_preprocessor(folder: Path, image_processor: Any, **more: Any) -> None:
    """preprocessor_config.json as released: the class is named without the `Pil` that 5.x adds."""
    image_processor.save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    kind = type(image_processor).__name__.removesuffix("Pil")
    path.write_text(json.dumps(settings | {"image_processor_type": kind} | more, indent=2))


def save_json(folder: Path, name: str, **content: Any) -> None:
    (folder / name).write_text(json.dumps(content, indent=2))
