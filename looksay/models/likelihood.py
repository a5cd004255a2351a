"""How likely a model finds given answers: what papers rank closed answers by (BLIP, section 5.3; ALBEF,
section 4; the multiple-choice harnesses).

Shapes: B choices, T ids in a row, D width, V vocabulary, A ids of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from looksay.models.batching import IGNORE, learned_mask, pad
from looksay.types import Conversation, Example, Message


@torch.inference_mode()
def log_likelihoods(model: Any, conversation: Conversation, choices: Sequence[str]) -> list[float]:
    """Log-likelihood of each choice as the next answer (nats, its end included), in order.

    Sums over ids: longer answers are less likely for being longer, which is what BLIP and ALBEF rank by.
    `model` is a family with `encode`, `prepare`, `hidden` and `language`, or one with a `log_likelihoods` of its
    own. Raises InputError as they do.
    """
    if hasattr(model, "log_likelihoods"):
        own: list[float] = model.log_likelihoods(conversation, choices)
        return own
    said = len(model.prepare(conversation).ids)
    rows = []
    for choice in choices:
        answered = Conversation((*conversation.messages, Message("assistant", (choice,))))
        row = model.encode(Example("", answered))
        # Earlier answers of the talk are labelled too; only the last one is asked about.
        rows.append(replace(row, labels=[IGNORE] * said + row.labels[said:]))
    batch = pad(rows, model.tokenizer.pad_token_id or 0).to(model.device)
    mask_BT = learned_mask(batch.labels_BT, batch.segments_BT)
    hidden_AD: Tensor = model.hidden(batch)[:, :-1][mask_BT]
    scores_AV = model.language.logits(hidden_AD).float().log_softmax(-1)
    each_A = scores_AV.gather(1, batch.labels_BT[:, 1:][mask_BT][:, None])[:, 0]
    total_B = torch.zeros(len(rows), device=each_A.device)
    total_B.index_add_(0, mask_BT.nonzero()[:, 0], each_A)
    return [float(value) for value in total_B]
