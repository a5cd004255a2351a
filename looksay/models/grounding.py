"""Words for places: the connector's vector of a place should point to the word for what is there.

A language model that has never seen a picture cannot tell which of its image tokens matter, and a connector
that is asked by nobody learns nothing: on scenes, 1,500 steps of captions alone left recall at zero. Where
the data say what lies where, words and places are aligned first (as regions and words in GLIP, arXiv
2112.03857, with the language model's own embeddings as the words).

Shapes: I images, M embeddings per image, D width, K ids of the longest name, P places with a name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from looksay.errors import InputError
from looksay.types import Example

TEMPERATURE = 1 / 15
NAME_IDS = 8
"""Names are told apart by so many ids."""


def named_places(example: Example, ids_of: Callable[[str], list[int]], tokens: int) -> Tensor:
    """The ids of the name at each image token, (1, M, NAME_IDS), -1 where there is none.

    `example.truth["named"]` holds (x, y, name) with x and y from 0 to 1; image tokens are taken as a square
    in reading order. Raises InputError where there is no such truth, or no square.
    """
    if "named" not in example.truth:
        raise InputError(
            f"Example {example.id} does not say what lies where, which the objective 'ground' learns from. "
            "Train on scenes, or leave the stage out."
        )
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise InputError(f"The objective 'ground' wants a square of image tokens; found {tokens}.")
    names_1MK = torch.full((1, tokens, NAME_IDS), -1)
    for x, y, name in example.truth["named"]:
        ids = ids_of(name)[:NAME_IDS]
        place = min(int(y * side), side - 1) * side + min(int(x * side), side - 1)
        names_1MK[0, place] = torch.tensor(ids + [-1] * (NAME_IDS - len(ids)))
    return names_1MK


def grounding_loss(
    embeds_IMD: Tensor, names_IMK: Tensor, embed: Callable[[Tensor], Tensor]
) -> Tensor:
    """Cross-entropy of the right word among all words of the batch, by cosine; and as long as words.

    The words (means of their ids' embeddings) are what the places go to: no gradient flows into them.
    Places without a name are drawn towards nothing, so that they stay quieter than those with one: with the
    cross-entropy alone vectors grew to ten times the length of words, and the language model read nothing.
    """
    here_IM = names_IMK[..., 0] >= 0
    if not here_IM.any():
        return embeds_IMD.sum() * 0.0
    names_WK, which_P = names_IMK[here_IM].unique(dim=0, return_inverse=True)
    known_WK1 = (names_WK >= 0).unsqueeze(-1)
    with torch.no_grad():
        each_WKD = embed(names_WK.clamp(min=0)).float() * known_WK1
        words_WD = each_WKD.sum(1) / known_WK1.sum(1)
    said_PD, rest_RD = embeds_IMD[here_IM].float(), embeds_IMD[~here_IM].float()
    scores_PW = F.normalize(said_PD, dim=-1) @ F.normalize(words_WD, dim=-1).T / TEMPERATURE
    length = words_WD.norm(dim=-1).mean()
    loud = (said_PD.norm(dim=-1) - length).square().mean()
    quiet = rest_RD.norm(dim=-1).square().mean() if len(rest_RD) else loud.new_zeros(())
    return F.cross_entropy(scores_PW, which_P) + loud + 0.3 * quiet
