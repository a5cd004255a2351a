"""The page on which people grade texts blind: one photo and one text at a time, nobody's name beside it.

Every grade is a row of the catalogue before the next text is shown, so a session goes on wherever it was left, after
whatever ended it. The order is each rater's own (`looksay.comparing.grading.order`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, JsonValue

import looksay
from looksay import images
from looksay.comparing import grading
from looksay.comparing.board import Board, Text
from looksay.errors import InputError, LooksayError, UnreadablePhoto
from looksay.library.catalog import Catalog
from looksay.library.ratings import Comparison, Rating
from looksay.serve.limits import LOCAL_HOSTS, Guard
from looksay.web import pages

_SIDE_PX = 1280
_NAME = 80


class Graded(BaseModel):
    """A grade as the page sends it."""

    rater: str = Field(max_length=_NAME)
    id: int
    token: str = Field(min_length=8, max_length=80)
    """The page's own: the same grade sent twice is one."""
    grade: dict[str, JsonValue]


def create_app(
    catalog: Path, comparison: Comparison, *, rater: str = "", hosts: frozenset[str] = LOCAL_HOSTS
) -> FastAPI:
    """The page and what it asks, over one comparison of a catalogue's file. `rater`: the name that the page offers."""
    app = FastAPI(title="looksay", version=looksay.__version__, docs_url=None, redoc_url=None)
    pages.mount(app, "grading")
    # A connection belongs to one thread, and requests come in any: each opens its own.
    opened = partial(Catalog, catalog)

    @app.exception_handler(LooksayError)
    async def refused(_: Any, error: LooksayError) -> JSONResponse:
        return _refusal(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Any, error: RequestValidationError) -> JSONResponse:
        return _refusal(400, "; ".join(str(one["msg"]) for one in error.errors()))

    @app.get("/api/grading")
    def begin() -> dict[str, Any]:
        """Who is expected to grade."""
        return {"rater": rater}

    @app.get("/api/grading/next")
    def next_(rater: str, id: int | None = None) -> dict[str, Any]:
        """The next text that this rater has not graded, or (`id`) one that is graded already."""
        with opened() as catalog:
            return _Session(catalog, comparison, rater).shown(id)

    @app.post("/api/grading/grade")
    def grade(sent: Graded) -> dict[str, Any]:
        """Keep a grade; answers with the next text."""
        with opened() as catalog:
            session = _Session(catalog, comparison, sent.rater)
            session.keep(sent)
            return session.shown(None)

    @app.get("/api/grading/photo/{place}")
    def photo(place: int) -> Response:
        """A photo of the comparison, as a JPEG without EXIF data."""
        with opened() as catalog:
            board = Board(catalog, comparison)
            if not 0 <= place < len(board.places):
                return _refusal(404, "There is no such photo in this comparison.")
            path = catalog.root / board.places[place].path
        try:
            data = images.encode_jpeg(path, max_side_px=_SIDE_PX)
        except (UnreadablePhoto, OSError) as error:
            return _refusal(404, f"The photo cannot be shown: {error}")
        return Response(
            data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"}
        )

    app.add_middleware(Guard, key=None, hosts=hosts)
    return app


class _Session:
    """One rater before one comparison."""

    def __init__(self, catalog: Catalog, comparison: Comparison, name: str) -> None:
        name = " ".join(name.split())
        if not name or len(name) > _NAME:
            raise InputError(f"A rater has a name of 1 to {_NAME} characters.")
        self.rater = grading.PERSON + name
        self.board = Board(catalog, comparison)
        there = {
            place
            for place, one in enumerate(self.board.places)
            if (catalog.root / one.path).is_file()
        }
        ordered = grading.order(self.board, self.rater)
        self.texts = [text for text in ordered if text.place in there]
        self.gone = len({text.place for text in ordered} - there)

    def shown(self, id: int | None) -> dict[str, Any]:
        """What the page shows: a text without its author, and how far the rater is."""
        graded = grading.graded(self.board, self.rater)
        ids = [text.generations[0] for text in self.texts]
        if id is None:
            left = [text for text in self.texts if text.generations[0] not in graded]
            text = left[0] if left else None
        else:
            text = self._text(id)
        before = ids[: ids.index(text.generations[0])] if text else ids
        return {
            "done": sum(one in graded for one in ids),
            "total": len(ids),
            "gone": self.gone,
            "before": before[-1] if before else None,
            "text": None if text is None else self._as_json(text, graded),
        }

    def keep(self, sent: Graded) -> None:
        """Store a grade. Raises InputError where the text is none of this comparison, or the grade none."""
        text = self._text(sent.id)
        language = self.board.places[text.place].language
        grade = grading.from_form(sent.grade, text, language)
        rating = Rating(self.rater, text.generations[0], None, grade.as_verdict(), grade.points)
        self.board.catalog.ratings.rate(self.board.comparison, rating, sent.token)
        self.board.read()

    def _text(self, id: int) -> Text:
        for text in self.texts:
            if text.generations[0] == id:
                return text
        raise InputError("This text is not in the comparison any more: reload the page.")

    def _as_json(self, text: Text, graded: dict[int, Rating]) -> dict[str, Any]:
        place = self.board.places[text.place]
        known = graded.get(text.generations[0])
        seen = grading.of_verdict(known.verdict) if known else None
        return {
            "id": text.generations[0],
            "words": text.words,
            "decorative": text.decorative,
            "language": place.language,
            "around": place.around,
            "link": place.link,
            "photo": f"api/grading/photo/{text.place}",
            "grade": None if seen is None else _form(seen),
        }


def _form(grade: grading.Grade) -> dict[str, Any]:
    criteria = grade.criteria
    return {
        name: getattr(criteria, name)
        for name in ("named", "objects", "mood", "repetition", "grammar", "hallucinations")
    } | {"purpose": grade.purpose is not False}


def _refusal(status: int, words: str) -> JSONResponse:
    return JSONResponse({"error": {"message": words}}, status)
