"""Learning from which of two answers is the better one (DPO: Rafailov et al., arXiv 2305.18290, equation 7).

An example is a conversation that ends with the chosen answer; its `truth` has the other one as "rejected", what the
model thought of both before it learned as "reference" (two log-likelihoods in nats), and perhaps "beta" and
"smoothing". Both answers follow the same words and pictures, so a pair is one sequence, chosen first, and the tower
sees its pictures once.

Shapes: E pairs, B rows, T ids in a row, I images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from looksay.errors import InputError
from looksay.models.batching import IGNORE, Batch, Sequence
from looksay.models.pairs import one_per_row
from looksay.types import Conversation, Example, Image, Message

PREFERENCE = "preference"
"""The objective's name."""
ANCHOR = "anchor"
"""An objective beside it: the chosen answer itself, by its mean loss per id (Pang et al., arXiv 2404.19733, equation
1). Preference alone lowers what is rejected more than it raises what is chosen, and the rest goes to neither."""
BETA = 0.1
"""How strongly a model is held to what it was: rewards are so many times the change of a log-likelihood. The paper's
for summaries and dialogues, and that of HA-DPO and RLAIF-V for LLaVA-1.5."""
CHOSEN = "chosen"
"""In the targets of a pair: how many of its ids are the conversation with the chosen answer."""
_USUAL = {"beta": BETA, "smoothing": 0.0}
_OWN = frozenset({CHOSEN, "ids", "reference", *_USUAL})
"""Targets of pairs; what other targets there are belongs to both answers."""

Write = Callable[[Conversation, Callable[[Image], Tensor]], Sequence]


def alone(objectives: Collection[str]) -> bool:
    """Whether a stage learns from pairs. Raises InputError where it learns from single answers too."""
    others = [name for name in objectives if name not in (PREFERENCE, ANCHOR)]
    pairs = len(others) < len(objectives)
    if pairs and others:
        raise InputError(
            f"{PREFERENCE} learns from pairs of answers and {others[0]} from single ones. Give each a stage of its "
            f"own, or add {ANCHOR} to the first."
        )
    if pairs and PREFERENCE not in objectives:
        raise InputError(
            f"{ANCHOR} goes beside {PREFERENCE}; by itself it is lm on the chosen answers."
        )
    return pairs


def encode(example: Example, write: Write, pixels: Callable[[Image], Tensor]) -> Sequence:
    """A pair as one sequence: the conversation with the chosen answer, then with the rejected one; of each only the
    last answer is labelled. `write` encodes a conversation, given what makes pixels of an image.

    Raises InputError where the example is no pair.
    """
    *before, last = example.conversation.messages or (Message("user", ()),)
    rejected = example.truth.get("rejected")
    if last.role != "assistant" or not isinstance(rejected, str) or not rejected.strip():
        raise InputError(
            "This is no pair of answers: expected a conversation that ends with the chosen answer, and another one as "
            "'rejected'. Preference data are described in docs/data.md."
        )
    if rejected.strip() == last.text.strip():
        raise InputError("The chosen and the rejected answer are the same.")
    beta, smoothing = (float(example.truth.get(k, v)) for k, v in _USUAL.items())
    if not beta > 0 or not 0 <= smoothing < 0.5:
        raise InputError(
            f"The pair has beta {beta:g} and smoothing {smoothing:g}; expected beta above 0, and as smoothing the "
            "share of pairs in the wrong order, from 0 to below 0.5."
        )
    chosen = write(example.conversation, pixels)
    shown = iter(chosen.pixels)
    other = write(Conversation((*before, Message("assistant", (rejected,)))), lambda _: next(shown))
    targets = {
        CHOSEN: torch.tensor([len(chosen.ids)]),
        "ids": torch.tensor([sum(label != IGNORE for label in _last_answer(chosen.labels))]),
        "beta": torch.tensor([beta]),
        "smoothing": torch.tensor([smoothing]),
    }
    if "reference" in example.truth:
        targets["reference"] = torch.tensor([example.truth["reference"]], dtype=torch.float32)
    return Sequence(
        [*chosen.ids, *other.ids],
        [*_last_answer(chosen.labels), *_last_answer(other.labels)],
        chosen.pixels,
        chosen.keys,
        targets,
    )


def _last_answer(labels: list[int]) -> list[int]:
    """What earlier turns said is part of the question here."""
    end = max((at + 1 for at, label in enumerate(labels) if label != IGNORE), default=0)
    start = end
    while start and labels[start - 1] != IGNORE:
        start -= 1
    return [IGNORE] * start + labels[start:]


def unfolded(pairs: Batch, features_IND: Tensor | None) -> Batch:
    """Each answer in a row of its own, behind its conversation and right-padded: all that were chosen, then all
    rejected. `features_IND` is what the tower saw in the pictures of the pairs, each of which now stands twice."""
    rows = one_per_row(pairs)
    firsts: list[int] = pairs.targets[CHOSEN].tolist()
    wholes: list[int] = (rows.segments_BT > 0).sum(1).tolist()

    def sides(table_ET: Tensor) -> Iterator[Tensor]:
        yield from (row[:first] for row, first in zip(table_ET, firsts, strict=True))
        for row, first, whole in zip(table_ET, firsts, wholes, strict=True):
            yield row[first:whole]

    def padded(table_ET: Tensor, filler: int) -> Tensor:
        return pad_sequence(list(sides(table_ET)), batch_first=True, padding_value=filler)

    segments_BT = padded(rows.segments_BT, 0)
    places_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    return Batch(
        padded(rows.ids_BT, 0),
        padded(rows.labels_BT, IGNORE),
        places_T * segments_BT,
        segments_BT,
        features_IND=None if features_IND is None else torch.cat([features_IND, features_IND]),
        targets={k: torch.cat([v, v]) for k, v in pairs.targets.items() if k not in _OWN},
    )


def losses(
    likelihoods_2E: Tensor, targets: Any, objectives: Collection[str] = (PREFERENCE,)
) -> dict[str, Tensor]:
    """The loss, and beside it figures without a gradient, all means over the pairs.

    `likelihoods_2E`: of chosen and rejected answers, sums over their ids, as in the paper; a longer answer can change
    by more. "smoothing" is the share of pairs that are taken to be the wrong way round (conservative DPO).
    preference/chosen and preference/rejected are rewards, beta times how much likelier an answer has become;
    preference/margin is their difference, preference/accuracy how often it is above 0. Raises InputError for pairs
    without a reference.
    """
    if "reference" not in targets:
        raise InputError(
            "The pairs have no reference: what the model thought of both answers before it learned. "
            "looksay.training.loop measures it at the beginning of a stage."
        )
    beta_E, smoothing_E = targets["beta"], targets["smoothing"]
    rewards_2E = beta_E * (likelihoods_2E - targets["reference"].T)
    margin_E = rewards_2E[0] - rewards_2E[1]
    loss_E = -(1 - smoothing_E) * F.logsigmoid(margin_E) - smoothing_E * F.logsigmoid(-margin_E)
    chosen, rejected = rewards_2E.detach().mean(1)
    found = {ANCHOR: -(likelihoods_2E[0] / targets["ids"]).mean()} if ANCHOR in objectives else {}
    return {
        **found,
        PREFERENCE: loss_E.mean(),
        f"{PREFERENCE}/accuracy": (margin_E.detach() > 0).to(loss_E.dtype).mean(),
        f"{PREFERENCE}/margin": margin_E.detach().mean(),
        f"{PREFERENCE}/chosen": chosen,
        f"{PREFERENCE}/rejected": rejected,
    }
