"""The report of a comparison: one record, and one HTML file drawn from it that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

import looksay
from looksay import images
from looksay.comparing import figures, grading, ranking
from looksay.comparing.board import Board
from looksay.comparing.conclusions import conclusions, printed
from looksay.comparing.figures import Panel
from looksay.errors import UnreadablePhoto
from looksay.evaluation.measures import Interval
from looksay.evaluation.metrics import rubric

_THUMB_PX = 160
_PLOT_PX = 260


def record(board: Board, found: Mapping[int, Sequence[str]] | None = None) -> dict[str, Any]:
    """Everything that a report says, as JSON. `found`: what a detector saw, place → classes of COCO."""
    names = [entrant.name for entrant in board.entrants]
    panels = figures.panels(board)
    return {
        "looksay": looksay.__version__,
        "begun": board.comparison.at,
        "about": {key: board.plan.about.get(key) for key in ("source", "library", "strata")},
        "wanted": dict(board.plan.wanted),
        "entrants": names,
        "conclusions": conclusions(board),
        "printed": printed(board),
        "panels": [_panel(board, panel) for panel in panels],
        "agreement": [
            asdict(one)
            | {"one": grading.rater_name(one.one), "other": grading.rater_name(one.other)}
            for one in figures.agreements(board)
        ],
        "spent": [asdict(figures.spent(board, n)) for n in range(len(names))],
        "likeness": [_interval(one) for one in figures.likeness(board)],
        "invented": [asdict(one) if one else None for one in figures.invented(board, found or {})],
        "detector": bool(found),
        "photos": [_photo(board, place, panels) for place in range(len(board.places))],
    }


def html(board: Board, found: Mapping[str, Any]) -> str:
    """The report as one file, pictures included."""
    made = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    made.filters |= {"points": _points, "whisker": whisker}
    template = files("looksay.comparing") / "templates" / "report.html"
    thumbs = [_thumb(board, place) for place in range(len(board.places))]
    return made.from_string(template.read_text("utf-8")).render(record=found, thumbs=thumbs)


def _panel(board: Board, panel: Panel) -> dict[str, Any]:
    means = figures.means(board, panel)
    biases = [
        figures.bias(board, rater) for rater in panel.raters if rater.startswith(grading.JUDGE)
    ]
    useless = any(one.useless for one in biases)
    standings = ranking.standings(figures.wins(board, panel))
    criteria = _means(grading.criteria(board, panel.raters), len(board.entrants))
    rows: list[dict[str, Any]] = [
        {
            "entrant": board.entrants[n].name,
            "mean": _interval(means[n]),
            "letter": "" if math.isnan(means[n].value) else rubric.grade(means[n].value),
            "wins": asdict(standing) if standing and not useless else None,
            "criteria": criteria[n],
        }
        for n, standing in enumerate(standings)
    ]
    rows.sort(key=_rank)
    return {
        "name": panel.name,
        "raters": [grading.rater_name(one) for one in panel.raters],
        "rows": rows,
        "bias": [asdict(one) | {"p": one.p, "useless": one.useless} for one in biases if one.pairs],
    }


def _rank(row: dict[str, Any]) -> tuple[float, float]:
    share = row["wins"]["share"] if row["wins"] else -1.0
    return -share, -(row["mean"]["value"] or 0.0)


def _means(
    found: Mapping[int, Mapping[str, tuple[float, int]]], entrants: int
) -> list[dict[str, float]]:
    """The mean of each criterion by entrant."""
    return [
        {name: total / number for name, (total, number) in found.get(n, {}).items()}
        for n in range(entrants)
    ]


def _photo(board: Board, place: int, panels: Sequence[Panel]) -> dict[str, Any]:
    shown = board.places[place]
    given = grading.points(board)
    cells = []
    for entrant in range(len(board.entrants)):
        trial = board.cells.get((place, entrant))
        said = trial is not None and trial.generation_id is not None
        letters = {}
        for panel in panels:
            scores = [
                given[r][place, entrant]
                for r in panel.raters
                if (place, entrant) in given.get(r, {})
            ]
            if scores:
                letters[panel.name] = rubric.grade(math.fsum(scores) / len(scores))
        text = next((t.shown for t in board.texts_of(place) if entrant in t.entrants), "")
        error = "" if said else ("not asked yet" if trial is None else trial.error)
        cells.append({"text": text, "error": error, "letters": letters})
    return {"name": shown.name, "path": shown.path, "references": shown.references, "cells": cells}


def _interval(one: Interval) -> dict[str, Any]:
    """With None in the place of nan, which JSON has not."""
    known = not math.isnan(one.value)
    return {
        "value": one.value if known else None,
        "low": one.low if known else None,
        "high": one.high if known else None,
        "photos": one.clusters,
        "of": one.samples,
    }


def _points(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def whisker(row: Mapping[str, float], most: float) -> dict[str, float]:
    """Where a figure and the ends of its interval lie on a line of 260 px that ends at `most`."""
    value = row["share"] if "share" in row else row["value"]
    return {
        name: round(8 + (_PLOT_PX - 16) * max(0.0, min(1.0, at / most)), 1)
        for name, at in (("at", value), ("low", row["low"]), ("high", row["high"]))
    }


def _thumb(board: Board, place: int) -> str | None:
    """The photo as a data URI; None where it is gone or cannot be read."""
    path = board.catalog.root / board.places[place].path
    try:
        data = images.encode_jpeg(path, max_side_px=_THUMB_PX, quality=75)
    except (UnreadablePhoto, OSError):
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
