"""Objectives that compare the pictures and texts of a batch: contrast, and negatives for matching.

Shapes: B rows of this process, G of all processes, C candidates (G, and a queue's), D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from looksay.errors import InputError
from looksay.models import ranks
from looksay.models.fusion import Repeated


def anywhere_and_much(features_BND: Tensor) -> Tensor:
    """Of the features of places their maximum (what is there) and their mean (how much of it), (B, 2 D)."""
    return torch.cat([features_BND.amax(1), features_BND.mean(1)], dim=-1)


def clip_loss(
    images_BD: Tensor, texts_BD: Tensor, scale: Tensor, ids_B: Tensor | None = None
) -> Tensor:
    """CLIP's symmetric cross-entropy (arXiv 2103.00020, figure 3), over the rows of all processes.

    Embeddings have length 1. `ids_B` name the pictures: what shows the same picture is no negative.
    """
    check_batch(ids_B, len(images_BD))
    own = ranks.own(len(images_BD))
    images_GD, texts_GD = ranks.gather(images_BD), ranks.gather(texts_BD)
    labels_B = torch.arange(len(images_GD), device=images_BD.device)[own]
    to_texts_BG = scale * images_BD @ texts_GD.T
    to_images_BG = scale * texts_BD @ images_GD.T
    if ids_B is not None:
        doubled_BG = same(ids_B, ranks.gather(ids_B))
        doubled_BG[torch.arange(len(ids_B)), labels_B] = False
        to_texts_BG = to_texts_BG.masked_fill(doubled_BG, -torch.inf)
        to_images_BG = to_images_BG.masked_fill(doubled_BG, -torch.inf)
    return (F.cross_entropy(to_texts_BG, labels_B) + F.cross_entropy(to_images_BG, labels_B)) / 2


def siglip_loss(
    images_BD: Tensor,
    texts_BD: Tensor,
    scale: Tensor,
    bias: Tensor,
    ids_B: Tensor | None = None,
) -> Tensor:
    """SigLIP's loss (arXiv 2303.15343, algorithm 1): each pair by itself belongs together or does not; the sum
    over all pairs of a picture, mean over pictures."""
    check_batch(ids_B, len(images_BD))
    texts_GD = ranks.gather(texts_BD)
    logits_BG = scale * images_BD @ texts_GD.T + bias
    own_BG = torch.zeros_like(logits_BG, dtype=torch.bool)
    own_BG[:, ranks.own(len(images_BD))] = torch.eye(
        len(images_BD), dtype=torch.bool, device=images_BD.device
    )
    each_BG = -F.logsigmoid(torch.where(own_BG, logits_BG, -logits_BG))
    if ids_B is not None:
        each_BG = each_BG.masked_fill(same(ids_B, ranks.gather(ids_B)) & ~own_BG, 0.0)
    return each_BG.sum(1).mean()


def same(ids_B: Tensor, ids_C: Tensor) -> Tensor:
    """Which candidates show the same picture, (B, C) bool."""
    return ids_B[:, None] == ids_C[None, :]


def soft_targets(scores_BC: Tensor, positives_BC: Tensor, alpha: float | Tensor) -> Tensor:
    """Momentum distillation's targets (ALBEF, arXiv 2107.07651, section 3.3): the momentum model's softmax with
    weight `alpha`, the rest shared by the candidates that belong to the row."""
    hard_BC = positives_BC.to(scores_BC.dtype)
    hard_BC = hard_BC / hard_BC.sum(1, keepdim=True)
    return alpha * scores_BC.softmax(1) + (1 - alpha) * hard_BC


def soft_cross_entropy(scores_BC: Tensor, targets_BC: Tensor) -> Tensor:
    """Mean over rows of the cross-entropy with targets that are distributions."""
    return -(scores_BC.log_softmax(1) * targets_BC).sum(1).mean()


def hard_negatives(scores_BG: Tensor, same_BG: Tensor, drawn_B: Tensor) -> Tensor:
    """For each row the index of a candidate that does not belong to it, the likelier the more alike (ALBEF,
    section 3.2): by the softmax of the scores, + 1e-4 as in BLIP, so that none is ruled out by rounding.

    `drawn_B` are numbers from 0 to 1 (`ranks.uniform`). Raises InputError where a row has no other picture.
    """
    with torch.no_grad():
        weights_BG = (scores_BG.float().softmax(1) + 1e-4).masked_fill(same_BG, 0.0)
        if not bool((weights_BG.sum(1) > 0).all()):
            raise InputError(
                "A row of the batch has no negative: all others show the same picture. Matching needs two "
                "different pictures or more in a batch; raise examples_per_batch (--batch)."
            )
        ends_BG = weights_BG.double().cumsum(1)
        wanted_B1 = drawn_B.to(ends_BG)[:, None] * ends_BG[:, -1:]
        found_B1 = torch.searchsorted(ends_BG, wanted_B1, right=True)
        # Rounding may reach past the last candidate, which may be one that is ruled out.
        last_B1 = (weights_BG > 0).long().cumsum(1).argmax(1, keepdim=True)
        return torch.minimum(found_B1, last_B1)[:, 0]


class Negatives(NamedTuple):
    """For matching, among the rows of all processes: a text that does not belong to each picture, and a picture
    that does not belong to each text."""

    texts_B: Tensor
    images_B: Tensor


def negatives(to_texts_BG: Tensor, to_images_BG: Tensor, ids_B: Tensor, seed: int) -> Negatives:
    """Hard negatives both ways, by the scores of contrast over the rows of all processes. The draw is that of one
    process with all rows. Raises InputError as `hard_negatives`."""
    same_BG = same(ids_B, ranks.gather(ids_B))
    drawn_B2 = ranks.uniform(seed, len(ids_B), 2)
    return Negatives(
        hard_negatives(to_texts_BG, same_BG, drawn_B2[:, 0]),
        hard_negatives(to_images_BG, same_BG, drawn_B2[:, 1]),
    )


def shown(features_BND: Tensor, *rounds: Tensor | None) -> Repeated:
    """The pictures of several rounds of B pairs: those of these numbers among all processes' (None: one's own). No
    picture is encoded twice, nor are its keys and values made twice."""
    count = len(features_BND)
    own_B = torch.arange(count, device=features_BND.device) + ranks.own(count).start
    places = torch.cat([own_B if one is None else one for one in rounds])
    return Repeated.of(ranks.gather(features_BND), places)


def matching_loss(logits_3B2: Tensor) -> Tensor:
    """Cross-entropy of "belongs together" (1) or not (0): B pairs that do, then 2 B that do not."""
    rows = len(logits_3B2) // 3
    labels = torch.zeros(len(logits_3B2), dtype=torch.long, device=logits_3B2.device)
    labels[:rows] = 1
    return F.cross_entropy(logits_3B2, labels)


def check_batch(ids_B: Tensor | None, rows: int) -> None:
    """Raise InputError where the batch of all processes shows fewer than two different pictures."""
    whole = rows * ranks.world() if ids_B is None else len(ranks.gather(ids_B).unique())
    if whole < 2:
        raise InputError(
            f"A batch of {rows} with {whole} different pictures has no negatives, so contrast teaches nothing. "
            "Give two different pictures or more to a batch (--batch)."
        )
