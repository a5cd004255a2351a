"""Who wins against whom: the Bradley-Terry model, fitted by ourselves.

Entrant i beats j with the probability p_i / (p_i + p_j); the strengths p that make what was seen likeliest are found by
minorisation-maximisation. Sources: Bradley and Terry, "Rank Analysis of Incomplete Block Designs", Biometrika, 1952;
Hunter, "MM algorithms for generalized Bradley-Terry models", Annals of Statistics, 2004 (section 2). A tie is half a win
for each.

Legend: W resamples, P photos, E entrants.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from looksay.evaluation.measures import SAMPLES

Array = NDArray[np.float64]

PRIOR = 0.5
"""Wins and losses that every entrant has against an average one besides what was seen: without them, who never lost
would be infinitely strong."""
_ROUNDS = 10_000
_CLOSE = 1e-10
_CLOSE_RESAMPLED = 1e-6
"""Ends of intervals are printed to a hundredth; where one never lost, the last digits take thousands of rounds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one entrant fares. Example: Standing(0.71, 0.62, 0.80, 150.0)."""

    share: float
    """Expected share of wins against the others, 0 to 1."""
    low: float
    high: float
    compared: float
    """Pairs in which it stood."""


def strengths(wins_WEE: Array, prior: float = 0.0, close: float = _CLOSE) -> Array:
    """Strengths (W, E), geometric mean 1 in each row, from how often i beat j (`wins[..., i, j]`, ties as halves).

    `prior`: wins and losses of each against an entrant of strength 1. Without one, who never won has strength 0 and
    who never lost grows without limit; nan where an entrant was never compared. `close`: ends when no strength moves by
    a larger share.
    """
    won_WE = wins_WEE.sum(axis=2) + prior
    met_WEE = wins_WEE + wins_WEE.transpose(0, 2, 1)
    found_WE: Array = np.ones_like(won_WE)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_ROUNDS):
            both_WEE = found_WE[:, :, None] + found_WE[:, None, :]
            expected_WE = (met_WEE / both_WEE).sum(axis=2) + 2 * prior / (found_WE + 1)
            new_WE = won_WE / expected_WE
            if not prior:  # the scale is free; with a prior it is that of the average entrant
                logs_WE = np.log(np.where(new_WE > 0, new_WE, np.nan))
                new_WE = new_WE / np.exp(np.nanmean(logs_WE, axis=1, keepdims=True))
            moved = np.nanmax(np.abs(new_WE - found_WE) / np.maximum(found_WE, 1e-300))
            found_WE = new_WE
            if not moved > close:
                break
    return found_WE


def shares(strengths_WE: Array) -> Array:
    """Expected share of wins (W, E) against the others, each met equally often."""
    entrants = strengths_WE.shape[1]
    beats_WEE = strengths_WE[:, :, None] / (strengths_WE[:, :, None] + strengths_WE[:, None, :])
    found: Array = (beats_WEE.sum(axis=2) - 0.5) / max(1, entrants - 1)
    return found


def standings(
    wins_PEE: Array, *, samples: int = SAMPLES, level: float = 0.95, seed: int = 0
) -> list[Standing | None]:
    """Each entrant's standing with a percentile bootstrap interval over photos; None: it was never compared."""
    total_EE = wins_PEE.sum(axis=0)
    met_E = (total_EE + total_EE.T).sum(axis=1)
    there = np.flatnonzero(met_E)
    if len(there) < 2:
        return [None] * len(met_E)
    kept_PEE = wins_PEE[:, there][:, :, there]
    kept_PEE = kept_PEE[kept_PEE.any(axis=(1, 2))]
    photos = len(kept_PEE)
    draw = np.random.default_rng(seed).multinomial(photos, [1 / photos] * photos, size=samples)
    drawn_WEE = np.tensordot(draw.astype(np.float64), kept_PEE, axes=1)
    value_E = shares(strengths(kept_PEE.sum(axis=0)[None], PRIOR))[0]
    tail = (1 - level) / 2
    resampled_WE = shares(strengths(drawn_WEE, PRIOR, _CLOSE_RESAMPLED))
    low_E, high_E = np.quantile(resampled_WE, [tail, 1 - tail], axis=0)
    found: list[Standing | None] = [None] * len(met_E)
    for place, entrant in enumerate(there):
        found[entrant] = Standing(
            float(value_E[place]), float(low_E[place]), float(high_E[place]), float(met_E[entrant])
        )
    return found
