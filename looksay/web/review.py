"""The review page: texts by risk, decided on one by one or many at once. Nothing is written to files here; `apply` does
that.

The catalogue belongs to one thread (`desk`), which also keeps the queue up to date; pictures are made in others.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.middleware import Middleware

from looksay.errors import CatalogError, InputError, UnreadablePhoto
from looksay.library.queue import Filter
from looksay.library.reviewing import Overtaken, Ruling
from looksay.library.thumbnails import SIZES, Thumbnails
from looksay.serve import wire
from looksay.serve.limits import Guard
from looksay.settings import Settings
from looksay.web import pages
from looksay.web.desk import Desk, Gone, decided, dumped

MAX_BODY = 1 << 20
MAX_TEXT = 10_000
EVERY_S = 1.0
"""How often is looked whether something else has written to the catalogue."""
Token = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{8,64}$")]
Who = Annotated[str, Field(min_length=1, max_length=80)]
T = TypeVar("T")


class Spot(BaseModel):
    """The place of a text."""

    path: str
    page: str = ""
    occurrence: int = Field(0, ge=0)


class Decide(Spot):
    """A decision, as the page sends it."""

    token: Token
    verb: str
    who: Who
    saw: int = Field(0, ge=0)
    text: str = Field("", max_length=MAX_TEXT)
    extended: str = Field("", max_length=MAX_TEXT)
    generation: int | None = None
    seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    group: bool = False


class Leave(BaseModel):
    """Whose page was closed."""

    reader: str = Field(min_length=1, max_length=64)


class Undo(BaseModel):
    """What came under the token `taken` is to be taken back."""

    taken: Token
    token: Token
    who: Who


class Wanted(BaseModel):
    """Which texts: see `library.queue.Filter`."""

    state: str = Field("waiting", pattern="^(waiting|decided|wordless)$")
    level: str = Field("", pattern="^(high|medium|low|)$")
    model: str = Field("", max_length=300)
    name: str = Field("", max_length=300)
    below: float | None = Field(None, ge=0, le=1)

    def filter(self) -> Filter:
        return Filter(self.state, self.level, self.model, self.name, self.below)


class Accept(Wanted):
    """All that is wanted is to be accepted."""

    token: Token
    who: Who
    below: float = Field(ge=0, le=1)


def create_app(
    db: Path,
    settings: Settings,
    thumbnails: Thumbnails,
    *,
    key: str | None = None,
    hosts: frozenset[str] | None = None,
    who: str = "",
) -> FastAPI:
    """The server of one catalogue's review. `key`, `hosts`: as `serve.limits.Guard` has them; `who`: the name that the
    page offers."""
    one = ThreadPoolExecutor(1, "catalogue")
    pictures = ThreadPoolExecutor(2, "pictures")
    desk: Desk

    async def at_desk(work: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(one, partial(work, *given))

    async def keep_up() -> None:
        while True:
            left = 0
            with suppress(CatalogError):  # another process is writing: next time
                left = await at_desk(desk.keep_up)
            await asyncio.sleep(0 if left else EVERY_S)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal desk
        desk = await at_desk(Desk, db, settings)
        keeping = asyncio.create_task(keep_up())
        yield
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await at_desk(desk.close)
        one.shutdown()
        pictures.shutdown(wait=False, cancel_futures=True)

    guard = Middleware(Guard, key=key, hosts=hosts, max_body=MAX_BODY)
    app = FastAPI(
        lifespan=lifespan, middleware=[guard], docs_url=None, redoc_url=None, openapi_url=None
    )
    app.middleware("http")(_own_only)
    _refusals(app)
    pages.mount(app, "review")

    @app.get("/api/next")
    async def following(
        wanted: Annotated[_Next, Query()],
    ) -> Response:
        after = wanted.cursor()
        return _json(await at_desk(desk.next, wanted.filter(), after, wanted.number, wanted.reader))

    @app.get("/api/item")
    async def item(path: str, reader: str, page: str = "", occurrence: int = 0) -> Response:
        return _json(await at_desk(desk.item, (page, path, occurrence), reader))

    @app.get("/api/progress")
    async def progress(name: str = "") -> Response:
        found = await at_desk(desk.progress, name or who)
        return _json(found | {"who": who})

    @app.get("/api/sample")
    async def sample(wanted: Annotated[Wanted, Query()]) -> Response:
        return _json(await at_desk(desk.sample, wanted.filter()))

    @app.post("/api/decide")
    async def decide(body: Decide) -> Response:
        ruling = Ruling(
            body.token,
            body.verb,
            body.who.strip() or who,
            body.saw,
            body.text,
            body.extended,
            body.generation,
            body.seconds,
        )
        place = (body.page, body.path, body.occurrence)
        return _json(await at_desk(desk.decide, place, ruling, body.group))

    @app.post("/api/undo")
    async def undo(body: Undo) -> Response:
        return _json(await at_desk(desk.undo, body.taken, body.token, body.who))

    @app.post("/api/accept")
    async def accept(body: Accept) -> Response:
        return _json(await at_desk(desk.accept, body.filter(), body.token, body.who))

    @app.post("/api/leave")
    async def leave(body: Leave) -> Response:
        await at_desk(desk.leave, body.reader)
        return _json({})

    @app.get("/api/thumbnail/{sha256}/{size}")
    async def thumbnail(sha256: str, size: str) -> Response:
        if not re.fullmatch("[0-9a-f]{64}", sha256) or size not in SIZES:
            return _refusal(404, "There is no such picture.")
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(pictures, thumbnails.kept, sha256, size)
        if found is None:
            path = await at_desk(desk.photo, sha256)
            if path is None:
                return _refusal(404, "There is no such picture in the library.")
            found = await loop.run_in_executor(pictures, thumbnails.get, path, sha256, size)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(found, media_type="image/jpeg", headers=headers)

    return app


class _Next(Wanted):
    """What comes next for whom; the cursor is that of the last item."""

    reader: str = Field(min_length=1, max_length=64)
    number: int = Field(1, ge=1, le=10)
    risk: float | None = None
    path: str = ""
    page: str = ""
    occurrence: int = 0

    def cursor(self) -> tuple[float, str, str, int] | None:
        return None if self.risk is None else (self.risk, self.path, self.page, self.occurrence)


async def _own_only(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Decisions come from this server's own page: another site's can send a form here, but neither JSON nor with this
    origin."""
    if request.method == "POST":
        origin = request.headers.get("origin", "")
        sent = request.headers.get("content-type", "").partition(";")[0].strip()
        if sent != "application/json" or (
            origin and origin.partition("://")[2] != request.headers.get("host")
        ):
            return _refusal(403, "Decisions are taken from this server's own page only.")
    return await go_on(request)


def _refusals(app: FastAPI) -> None:
    @app.exception_handler(Overtaken)
    async def overtaken(request: Request, error: Overtaken) -> Response:
        body = wire.error(str(error), "conflict", code="overtaken")
        return JSONResponse(body | {"by": decided(error.by)}, 409)

    @app.exception_handler(Gone)
    async def gone(request: Request, error: Gone) -> Response:
        return _refusal(410, str(error))

    @app.exception_handler(InputError)
    async def wrong(request: Request, error: InputError) -> Response:
        return _refusal(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _refusal(422, f"{where}: {first['msg']}.")

    @app.exception_handler(UnreadablePhoto)
    async def unreadable(request: Request, error: UnreadablePhoto) -> Response:
        return _refusal(404, f"The picture cannot be shown: {error}.")

    @app.exception_handler(CatalogError)
    async def busy(request: Request, error: CatalogError) -> Response:
        return _refusal(503, str(error))


def _refusal(status: int, words: str) -> Response:
    return JSONResponse(wire.error(words, "invalid_request_error"), status)


def _json(record: Any) -> Response:
    return Response(
        dumped(record), media_type="application/json", headers={"Cache-Control": "no-store"}
    )
