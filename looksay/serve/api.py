"""The application: OpenAI's interface in front of a shelf of models.

    app = create_app(Shelf({"mini": "mini"}))

One process, one queue per model (`looksay.backends.engine`). What a client sends is checked before it is queued, so
that a fault is an answer with a status, not a stream that breaks off.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

import looksay
from looksay.backends.tickets import Busy, Unsupported
from looksay.errors import BackendError, LooksayError, MissingDependency, UnknownName
from looksay.serve import embedding, explaining, responses, wire
from looksay.serve.answering import Answering, ModelFault
from looksay.serve.limits import LOCAL_HOSTS, MAX_BODY, Guard, Refused
from looksay.serve.metrics import Metrics
from looksay.serve.shelf import Shelf

TIMEOUT_S = 600.0
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {"application/json": {"schema": {"type": "object"}}}}
    for status, what in {
        400: "The request asks for what is not done, or cannot be understood.",
        401: "The key is missing or wrong.",
        404: "There is no such model.",
        413: "The request is too large.",
        429: "The queue is full; Retry-After says for how long.",
        500: "The model failed.",
        503: "The model cannot be loaded.",
        504: "There was no answer in time.",
    }.items()
}


def create_app(
    shelf: Shelf,
    *,
    key: str | None = None,
    hosts: frozenset[str] | None = LOCAL_HOSTS,
    fetch: wire.Fetch | None = None,
    timeout_s: float = TIMEOUT_S,
    max_body: int = MAX_BODY,
    experts: Sequence[str] = (),
) -> FastAPI:
    """The server as an ASGI application.

    `key`: what clients must send; None: nothing. `hosts`: names that it answers to; None: any (with a key). `fetch`:
    how pictures at addresses are fetched; None: they are not. `experts`: who says what is in a picture,
    beside where the model looked (NAME or NAME:MODEL, as in looksay experts).
    """
    metrics, seeing = Metrics(shelf), explaining.Experts(experts)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(shelf.close)

    app = FastAPI(
        title="looksay",
        version=looksay.__version__,
        docs_url=None,  # their pages come from a network
        redoc_url=None,
        lifespan=living,
        responses={422: {"description": "never"}},
    )
    app.state.shelf, app.state.metrics = shelf, metrics
    _faults(app, metrics)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Whether the server lives; loads nothing."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    def measures() -> Response:
        """Counters for Prometheus."""
        return Response(metrics.text(), media_type=metrics.CONTENT_TYPE)

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        """What can be asked for."""
        return {"object": "list", "data": [_model(shelf, id) for id in _ids(shelf)]}

    @app.get("/v1/models/{model_id:path}", responses=RESPONSES)
    def model(model_id: str) -> dict[str, Any]:
        """One of them."""
        if model_id not in _ids(shelf):
            raise UnknownName("model", model_id, _ids(shelf))
        return _model(shelf, model_id)

    @app.post("/v1/chat/completions", responses=RESPONSES)
    async def chat(asked: wire.ChatRequest, request: Request) -> Response:
        """Answer a conversation with pictures."""
        return await answered(asked, request, wire.Words)

    @app.post("/v1/responses", responses=RESPONSES)
    async def respond(asked: responses.Request, request: Request) -> Response:
        """The same in OpenAI's newer form; nothing is remembered between requests."""
        return await answered(asked.chat(), request, responses.Words)

    async def answered(
        asked: wire.ChatRequest,
        request: Request,
        form: Callable[[wire.ChatRequest, str], wire.Form],
    ) -> Response:
        started = time.perf_counter()
        client = _client(request, asked.user)
        answering = Answering(shelf, asked, client, timeout_s, fetch, form)
        await answering.begin()
        metrics.asked(asked.model, answering, started)
        if asked.stream:
            return Streamed(answering)
        return JSONResponse(await answering.whole(request.is_disconnected))

    @app.post("/v1/embeddings", responses=RESPONSES)
    async def embed(asked: embedding.Request) -> dict[str, Any]:
        """Vectors of texts and pictures, by a dual encoder."""
        return await run_in_threadpool(embedding.answer, shelf, asked, fetch)

    @app.post("/api/explain", responses=RESPONSES)
    async def explain(asked: explaining.Request) -> dict[str, Any]:
        """Where the model looked when it said an answer, and what the experts see."""
        return await run_in_threadpool(explaining.answer, shelf, asked, fetch, seeing)

    app.add_middleware(Guard, key=key, hosts=hosts, max_body=max_body)
    return app


class Streamed(StreamingResponse):
    """An answer as server-sent events. However it ends, and be it before it began, the request is let go."""

    def __init__(self, answering: Answering) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(answering.stream(), media_type="text/event-stream", headers=headers)
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or as much as there is a reader for."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answering.close()


def _ids(shelf: Shelf) -> list[str]:
    return [*shelf.models, *shelf.encoders]


def _model(shelf: Shelf, id: str) -> dict[str, Any]:
    place = shelf.models.get(id) or shelf.encoders[id]
    loaded = place.it
    backend = getattr(loaded, "backend", None)
    own = {
        "name": place.name,
        "loaded": loaded is not None,
        "embeds": id in shelf.encoders,
        "explains": getattr(backend, "looked", None) is not None,
        "note": backend.profile.knows if backend else place.fault,
    }
    return {"id": id, "object": "model", "created": 0, "owned_by": "looksay", "looksay": own}


def _client(request: Request, user: str | None) -> str:
    """Who takes turns with whom: a machine, and the person that it names."""
    host = request.client.host if request.client else ""
    return f"{host}/{user or ''}"


def _faults(app: FastAPI, metrics: Metrics) -> None:
    """Every fault as OpenAI's clients read it."""

    def told(status: int, kind: str, request: Request, fault: Exception) -> JSONResponse:
        metrics.refused(status)
        headers = {}
        if isinstance(fault, Busy):
            headers["retry-after"] = str(max(1, round(fault.after_s)))
        code = "model_not_found" if isinstance(fault, UnknownName) else ""
        return JSONResponse(wire.error(str(fault), kind, code=code), status, headers)

    for kind, status, name in (
        (Busy, 429, "rate_limit_error"),
        (Unsupported, 400, "invalid_request_error"),
        (UnknownName, 404, "invalid_request_error"),
        (BackendError, 503, "server_error"),
        (MissingDependency, 503, "server_error"),
        (ModelFault, 500, "server_error"),
        (TimeoutError, 504, "timeout_error"),
        (LooksayError, 400, "invalid_request_error"),
        (Exception, 500, "server_error"),
    ):
        app.add_exception_handler(kind, partial(told, status, name))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, fault: RequestValidationError) -> JSONResponse:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        metrics.refused(400)
        return JSONResponse(wire.error(f"{where or 'The body'}: {first['msg']}.", param=where), 400)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, fault: HTTPException) -> JSONResponse:
        metrics.refused(fault.status_code)
        said = f"{request.method} {request.url.path}: {fault.detail}."
        if isinstance(fault, Refused):
            said = fault.words
        return JSONResponse(wire.error(said), fault.status_code, fault.headers)
