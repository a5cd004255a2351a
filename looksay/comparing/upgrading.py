"""Is a new model better than the texts in use? Compared blind on a sample of them, before anything is rolled over."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

from looksay.comparing import figures, grading, ranking
from looksay.comparing.asking import place_of
from looksay.comparing.board import Board, Entrant, Plan, begin
from looksay.comparing.conclusions import FEW
from looksay.comparing.sample import draw, told
from looksay.errors import InputError
from looksay.library.catalog import Catalog

IN_USE = "the texts in use"
"""Stands for whichever models wrote them."""


def start(
    catalog: Catalog,
    model: str,
    size: int,
    *,
    prefix: str = "",
    language: str | None = None,
    default_language: str = "en",
    seed: int = 0,
) -> Board:
    """The comparison of `model` with the texts in use that nobody decided on, begun or gone on with. As long as the
    texts in use are the same, so is the comparison.

    Raises InputError where no text of another model is in use.
    """
    used: dict[tuple[str, str, int], int] = {}
    targets = []
    for target in catalog.targets.all(prefix):
        words = catalog.ledger.words(target, language, default_language)
        if words.state in ("ai", "draft") and words.generation_id and words.model != model:
            used[target.path, target.page, target.occurrence] = words.generation_id
            targets.append(target)
    drawn = draw(targets, size, seed)
    if not drawn:
        raise InputError(
            f"No text of another model than {model} is in use here, so there is nothing to check. Type: looksay describe"
        )
    generations = [used[t.path, t.page, t.occurrence] for t in drawn]
    wanted = {
        "check": model,
        "sample": size,
        "prefix": prefix,
        "language": language,
        "seed": seed,
        "in use": hashlib.sha256(json.dumps(generations).encode()).hexdigest()[:16],
    }
    places = tuple(place_of(catalog, target, language, default_language) for target in drawn)
    about = {"library": len({t.lead_id or t.photo_id for t in targets}), "strata": told(drawn)}
    board = begin(catalog, Plan((Entrant(IN_USE), Entrant(model)), places, wanted, about))
    for place, generation in enumerate(generations):
        catalog.ratings.note(board.comparison, 0, place, generation)
    board.read()
    return board


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the new model is better. `better` is None where the data do not say."""

    better: bool | None
    words: str


def verdict(board: Board) -> Verdict:
    """By the people if any graded, else by the judge; better only where the interval leaves out no difference."""
    new = board.entrants[1].name if len(board.entrants) > 1 else ""
    for panel in figures.panels(board):
        if panel.raters[0].startswith(grading.JUDGE):
            if figures.bias(board, panel.raters[0]).useless:
                continue
            found = ranking.standings(figures.wins(board, panel))[1]
            if found is not None:
                photos = sum(bool(wins.any()) for wins in figures.wins(board, panel))
                told = (
                    f"{new} wins {found.share:.0%} of the pairs ({found.low:.0%} to {found.high:.0%}) by the judge "
                    f"{panel.name}, on {photos} photos"
                )
                return _said(new, found.low - 0.5, found.high - 0.5, photos, told)
        apart = figures.differences(board, panel).get((0, 1))
        if apart is not None and not math.isnan(apart.value):
            told = (
                f"{new} is graded {apart.value:+.2f} points ({apart.low:+.2f} to {apart.high:+.2f}) against the texts "
                f"in use, on {apart.clusters} photos"
            )
            return _said(new, apart.low, apart.high, apart.clusters, told)
    return Verdict(
        None, "Nobody graded the two blind yet, so nothing says that the new texts are better."
    )


def _said(new: str, low: float, high: float, photos: int, told: str) -> Verdict:
    if photos < FEW:
        return Verdict(None, f"{told}: too few to go by; at least {FEW} are needed.")
    if low > 0:
        return Verdict(True, f"{told}: it is better.")
    if high < 0:
        return Verdict(False, f"{told}: the texts in use are better. Nothing is rolled over.")
    return Verdict(
        None,
        f"{told}: the data do not say that it is better. More photos may: --check {photos * 3}",
    )
