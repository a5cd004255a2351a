"""A small library with models that answer by script, for the tests of comparing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from describing.test_run import Scripted
from pictures import jpeg, put

import looksay
from looksay.comparing import asking, grading
from looksay.comparing.board import Board, begin
from looksay.errors import BackendError
from looksay.evaluation.metrics.rubric import Criteria
from looksay.library.ratings import Rating
from looksay.types import Completion, Conversation


def library(folder: Path, photos: int = 6) -> looksay.Library:
    """`photos` pictures without text; one more on a page, with words of a person."""
    for n in range(photos):
        put(folder / f"{n}.jpg", jpeg(n))
    put(folder / "shown.jpg", jpeg(99))
    put(folder / "page.md", "# Beach\n\nSand and waves. ![A red dog](shown.jpg)\n")
    found = looksay.Library(folder)
    found.scan()
    return found


def says(what: Callable[[str], str] | str, name: str, **profile: Any) -> Scripted:
    """A model that says `what` of a photo (its file's stem)."""

    def answer(conversation: Conversation) -> Completion:
        stem = Path(str(conversation.images[0].source)).stem
        text = what(stem) if callable(what) else what
        if text.startswith("!"):
            return Completion(0, error=text[1:], finish_reason="error")
        return Completion(0, text, 100, 10, seconds=0.5, cost_usd=0.002)

    return Scripted(answer, name=name, fingerprint=f"fingerprint of {name}", **profile)


def compared(found: looksay.Library, models: Iterable[Scripted], **wanted: Any) -> Board:
    """The comparison of these models, everything asked."""
    by_name = {model.name: model for model in models}
    plan = asking.plan(found.catalog, list(by_name), **({"prompts": ("own",)} | wanted))
    board = begin(found.catalog, plan)

    def load(name: str) -> Scripted:
        model = by_name[name]
        if model.name.startswith("absent"):
            raise BackendError("There is no such server.")
        return model

    asking.run(board, load)
    return board


PERFECT = Criteria(3, 3, mood=True, repetition=False, grammar=False, hallucinations=0)


def grade(board: Board, rater: str, named: Callable[[int, int], int | None]) -> None:
    """Have a person grade: `named(place, entrant)` of three key objects, None: not graded. Points are 4/3 of it,
    and 1 for the mood."""
    for text in list(board.texts):
        count = named(text.place, text.entrants[0])
        if count is None:
            continue
        seen = grading.Grade(replace(PERFECT, named=count), True)
        one = Rating(
            grading.PERSON + rater, text.generations[0], None, seen.as_verdict(), seen.points
        )
        board.catalog.ratings.rate(
            board.comparison, one, f"{rater} {text.generations[0]} {count} token"
        )
    board.read()
