"""What contrast and matching add to the encoders of pictures and texts (ALBEF, BLIP).

Shapes: B rows, N features of a picture, D width.
"""

from __future__ import annotations

import warnings
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.models import ranks
from looksay.models.contrastive import anywhere_and_much
from looksay.models.momentum import MomentumContrast

STUCK_AFTER = 500
"""Batches between two looks at whether matching has learned anything."""
_PRIOR = 2 / 3


class Summary(nn.Module):
    """A picture's features as one row, by one matrix. `first`: of its class token. A tower that has none gets a
    layer with GELU before the matrix, which reads what that finds anywhere and how much of it.

    Of the mean alone contrast on scenes is still at 4.1 after 200 batches of 128, of both it is at 1.1 (mini).
    """

    def __init__(self, width_in: int, width: int, first: bool = True) -> None:
        super().__init__()
        self.layer = None if first else nn.Linear(width_in, 4 * width)
        self.project = nn.Linear(width_in if first else 8 * width, width)

    def forward(self, features_BND: Tensor) -> Tensor:
        features_BND = features_BND.to(self.project.weight.dtype)
        if self.layer is None:
            return cast(Tensor, self.project(features_BND[:, 0]))
        return cast(Tensor, self.project(anywhere_and_much(F.gelu(self.layer(features_BND)))))


class Pairing(nn.Module):
    """The space in which a picture and a text meet, momentum contrast in it, and the head that tells from a text's
    first state, read over a picture, whether the two belong together. `queue` 0: contrast does not train."""

    def __init__(
        self,
        width_images: int,
        width_texts: int,
        width: int = 256,
        queue: int = 0,
        first: bool = True,
    ) -> None:
        super().__init__()
        self.width_images, self.width_texts = width_images, width_texts
        self.width, self.queue, self.first = width, queue, first
        self.images = Summary(width_images, width, first)
        self.texts = nn.Linear(width_texts, width)
        self.contrast = MomentumContrast(width, queue)
        self.matches = nn.Linear(width_texts, 2)
        # Running shares of the judged pairs: judged rightly, and called a match.
        self.register_buffer("judged_2", torch.tensor([1.0, 1 / 3]))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @property
    def temperature(self) -> Tensor:
        """Cosines over it are what contrast learned by."""
        return self.contrast.temperature

    def image_rows(self, features_BND: Tensor) -> Tensor:
        """Rows BD of length 1."""
        return F.normalize(self.images(features_BND), dim=-1)

    def text_rows(self, states_BTD: Tensor) -> Tensor:
        """Rows BD of length 1."""
        return F.normalize(self.texts(states_BTD[:, 0]), dim=-1)

    @torch.no_grad()
    def wrong(self, logits_3B2: Tensor) -> Tensor:
        """The share of pairs that is judged wrongly: B that belong together, then 2 B that do not.

        While training it warns where matching says the same of all pairs. Text weights that never met a picture
        and small batches lead there (salesforce/BLIP issues 152 and 200), and the loss alone does not tell.
        """
        said_3B = logits_3B2[:, 1] > logits_3B2[:, 0]
        true_3B = torch.arange(len(said_3B), device=said_3B.device) < len(said_3B) // 3
        right = (said_3B == true_3B).float().mean()
        if self.training:
            now_2 = torch.stack([right, said_3B.float().mean()])
            self.judged_2.lerp_(now_2.to(self.judged_2), 0.01)
            self.batches += 1
            if int(self.batches) % STUCK_AFTER == 0 and ranks.rank() == 0:
                self._warn_if_stuck()
        return 1 - right

    def _warn_if_stuck(self) -> None:
        known, matches = self.judged_2.tolist()
        if known < _PRIOR + 0.02 and matches < 0.05:
            warnings.warn(
                f'After {int(self.batches)} batches matching still says "no match" to nearly every pair: right '
                f"in {known:.0%}, as it would be without looking (its loss is then 0.637). Larger batches "
                "(--batch), a longer warm-up or text weights that know pictures help.",
                stacklevel=2,
            )
