"""How likely a model finds given answers: what papers rank closed answers by (BLIP, section 5.3; ALBEF,
section 4; the multiple-choice harnesses).

Shapes: B rows (choices), T ids in a row, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from looksay.models.batching import IGNORE, Batch, pad
from looksay.models.losses import row_log_likelihoods
from looksay.types import Conversation, Example, Message


@torch.inference_mode()
def log_likelihoods(model: Any, conversation: Conversation, choices: Sequence[str]) -> list[float]:
    """Log-likelihood of each choice as the next answer (nats, its end included), in order.

    Sums over ids: longer answers are less likely for being longer, which is what BLIP and ALBEF rank by.
    `model` is a family with `encode`, `prepare`, `tower`, `hidden` and `language`, or one with a `log_likelihoods` of its
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
    if batch.pixels_ICHW is not None:  # every row shows the same pictures, which are looked at once
        seen_IND = model.tower(batch.pixels_ICHW[: len(rows[0].pixels)])
        every_IND = seen_IND.repeat(len(rows), 1, 1)
        batch = replace(batch, pixels_ICHW=None, features_IND=every_IND)
    return [float(value) for value in of_labels(model, batch)]


def of_labels(model: Any, batch: Batch) -> Tensor:
    """Log-likelihood of the labelled ids of each row, B (nats), with its gradient."""
    weight_VD, bias_V = model.language.head
    return row_log_likelihoods(
        model.hidden(batch), weight_VD, batch.labels_BT, batch.segments_BT, bias_V
    )
