"""BLIP-2's first stage (arXiv 2301.12597, section 3.2): queries learn what of a picture words can tell.

Three objectives over one Q-Former and the side of words beside it: "itc" (contrast), "itm" (matching), "itg"
(writing). BLIP-2 trains it; MiniGPT-4 begins from what it has learned.

Shapes: B pairs, G pairs of all processes, N features of a picture, T ids of a text, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from looksay.errors import InputError
from looksay.models import ranks
from looksay.models.batching import Batch, Sequence
from looksay.models.contrastive import matching_loss, negatives, shown
from looksay.models.pairs import encode_pair
from looksay.models.qformer import QFormer, QFormerText, query_contrast
from looksay.types import Example, Image

FIRST = ("itc", "itm", "itg")
"""Objectives of the first stage."""


def alone(objectives: Collection[str]) -> bool:
    """Whether these are objectives of the first stage. Raises InputError where they are of both: their texts are ids
    of different tokenizers."""
    first = [name for name in objectives if name in FIRST]
    others = [name for name in objectives if name not in FIRST]
    if first and others:
        raise InputError(
            f"{first[0]} and {others[0]} are objectives of different stages of BLIP-2. Give each a stage "
            "of its own."
        )
    return bool(first)


def encode(example: Example, text: QFormerText, pixels: Callable[[Image], Tensor]) -> Sequence:
    """A picture and its caption as ids of the Q-Former's own words."""
    return encode_pair(example, text.tokenizer, pixels, text.first, text.last, text.length)


def losses(
    queries: QFormer,
    text: QFormerText,
    features_BND: Tensor,
    batch: Batch,
    objectives: Collection[str],
) -> dict[str, Tensor]:
    """Mean losses by objective, of one pair in each row of `batch`."""
    found: dict[str, Tensor] = {}
    ids_BT, seen_BT = batch.ids_BT, batch.segments_BT > 0
    if "itc" in objectives or "itm" in objectives:
        pictures_B = batch.targets["picture"]
        with torch.set_grad_enabled(torch.is_grad_enabled() and "itc" in objectives):
            contrast, to_texts_BG, to_images_BG = query_contrast(
                text.image_embeds(queries.read(features_BND)),
                text.text_embeds(text.alone(queries, ids_BT, seen_BT)),
                text.temperature,
                pictures_B,
            )
        if "itc" in objectives:
            found["itc"] = contrast
    if "itm" in objectives:
        chosen = negatives(to_texts_BG, to_images_BG, pictures_B, int(text.steps))
        ids_GT, seen_GT = ranks.gather_texts(ids_BT), ranks.gather_texts(seen_BT, False)
        own = ranks.own(len(ids_BT))
        pairs = (
            shown(features_BND, None, None, chosen.images_B),
            torch.cat([ids_GT[own], ids_GT[chosen.texts_B], ids_GT[own]]),
            torch.cat([seen_GT[own], seen_GT[chosen.texts_B], seen_GT[own]]),
        )
        found["itm"] = matching_loss(text.matches(queries, *pairs))
        if queries.training:
            text.steps += 1
    if "itg" in objectives:
        if text.head is None:
            raise InputError(
                "This Q-Former has no output layer for words (released retrieval models have none), so it "
                "cannot learn itg. Leave the objective out, or begin from weights that have one."
            )
        found["itg"] = text.words_loss(queries, features_BND, ids_BT, batch.labels_BT, seen_BT)
    return found
