"""Words for places: the connector's vector of a place should hold the words for what is there.

A language model that has never seen a picture cannot tell which of its image tokens matter, and a connector
that is asked by nobody learns nothing: on scenes, 1,500 steps of captions alone left recall at zero. Where
the data say what lies where, words and places are aligned first (as regions and words in GLIP, arXiv
2112.03857, with the language model's own embeddings as the words).

Shapes: I images, M embeddings per image, D width, J sorts of words (what it is called, its size, …), K ids of
the longest word, P places with words of a sort, W different words of a sort in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from looksay.errors import InputError
from looksay.models import ranks
from looksay.types import Example

TEMPERATURE = 1 / 15
SORTS = 3
"""Sorts of words that a place can have."""
NAME_IDS = 8
"""Words are told apart by so many ids."""


def named_places(example: Example, ids_of: Callable[[str], list[int]], tokens: int) -> Tensor:
    """The ids of the words at each image token, (1, M, SORTS, NAME_IDS), -1 where there is none.

    `example.truth["named"]` holds (x, y, words) with x and y from 0 to 1 and a word of each sort, the name
    first: (0.4, 0.9, ("goat", "small", "bottom")); image tokens are taken as a square in reading order.
    Raises InputError where there is no such truth, or no square.
    """
    if "named" not in example.truth:
        raise InputError(
            f"Example {example.id} does not say what lies where, which the objective 'ground' learns from. "
            "Train on scenes, or leave the stage out."
        )
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise InputError(f"The objective 'ground' wants a square of image tokens; found {tokens}.")
    words_1MJK = torch.full((1, tokens, SORTS, NAME_IDS), -1)
    for x, y, words in example.truth["named"]:
        place = min(int(y * side), side - 1) * side + min(int(x * side), side - 1)
        for sort, word in enumerate(words[:SORTS]):
            ids = ids_of(word)[:NAME_IDS]
            words_1MJK[0, place, sort] = torch.tensor(ids + [-1] * (NAME_IDS - len(ids)))
    return words_1MJK


def grounding_loss(
    embeds_IMD: Tensor, words_IMJK: Tensor, embed: Callable[[Tensor], Tensor]
) -> Tensor:
    """For each sort, cross-entropy of the right word among the words of all processes, by cosine; and as the words.

    The words (means of their ids' embeddings) are what the places go to: no gradient flows into them. A place
    is also drawn to the sum of its words, and one without any to nothing, so that it stays quieter: with the
    cross-entropy alone vectors grew to ten times the length of words, and the language model read nothing.
    """
    here_IM = words_IMJK[..., 0, 0] >= 0
    said_PD, rest_RD = embeds_IMD[here_IM].float(), embeds_IMD[~here_IM].float()
    own_PJK, all_PJK = words_IMJK[here_IM], ranks.gather(words_IMJK).flatten(0, 1)
    wanted_PD = torch.zeros_like(said_PD)
    loss = embeds_IMD.float().sum() * 0.0
    for sort in range(words_IMJK.shape[2]):
        words_PK, known_PK = own_PJK[:, sort], all_PJK[:, sort]
        words_WK = known_PK[known_PK[:, 0] >= 0].unique(dim=0)
        if not len(words_WK):
            continue
        has_P = words_PK[:, 0] >= 0
        known_WK1 = (words_WK >= 0).unsqueeze(-1)
        with torch.no_grad():
            each_WKD = embed(words_WK.clamp(min=0)).float() * known_WK1
            words_WD = each_WKD.sum(1) / known_WK1.sum(1)
        same_PW = (words_PK[has_P][:, None] == words_WK[None]).all(-1)
        which_P = same_PW.long().argmax(1)
        wanted_PD[has_P] += words_WD[which_P]
        scores_PW = F.normalize(said_PD[has_P], dim=-1) @ F.normalize(words_WD, dim=-1).T
        apart = F.cross_entropy(scores_PW / TEMPERATURE, which_P, reduction="sum")
        loss = loss + ranks.mean(apart, len(which_P))
    near_P, quiet_R = (said_PD - wanted_PD).square().sum(-1), rest_RD.square().sum(-1)
    near = ranks.mean(near_P.sum(), len(near_P))
    quiet = ranks.mean(quiet_R.sum(), len(quiet_R))
    if not bool((all_PJK[:, 0, 0] >= 0).any()):
        quiet = quiet * 0.0  # nothing to tell apart from
    return loss + 0.3 * near + 0.3 * quiet
