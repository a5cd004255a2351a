"""A small server that speaks the protocol which the page speaks: answers by script, faults on demand."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image as Pillow

from looksay.web import chat

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
MODELS = [
    {
        "id": "mini",
        "looksay": {"sees": True, "explains": True, "note": "drawn scenes only: docs/mini.md"},
    },
    {"id": "other", "looksay": {"sees": True, "loaded": False}},
    {"id": "reader", "looksay": {"sees": False}},
    {"id": "plain"},
]


@dataclass
class Stub:
    """What was asked (`asked`), and what to answer next.

    A question decides its answer: `hold` says two words and waits for `release`; `error NNN` is refused with that
    status; `broken` sends an error in the stream, `cut` ends it half-way; `say: …` is said word by word; anything
    else is answered with the model, the count of pictures and the question.
    """

    url: str = ""
    key: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    explained: list[dict[str, Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client went away before the end of its answer."""
    refuse: int = 0
    """So many of the next questions are refused with 503."""


def question(body: dict[str, Any]) -> str:
    return str(next(part["text"] for part in body["messages"][-1]["content"] if "text" in part))


def pictures(body: dict[str, Any]) -> list[bytes]:
    """The bytes of all pictures in all messages, in order."""
    urls = [
        part["image_url"]["url"]
        for message in body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    return [base64.b64decode(url.partition(";base64,")[2]) for url in urls]


def refusal(status: int, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status, headers)


def app(stub: Stub) -> FastAPI:
    made = FastAPI()
    chat.mount(made)

    @made.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        closed = request.url.path.startswith(("/v1", "/api"))
        if stub.key and closed and request.headers.get("authorization") != f"Bearer {stub.key}":
            return refusal(401, "This server asks for an API key.")
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = CSP
        return response

    @made.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": MODELS}

    @made.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        body = await request.json()
        stub.asked.append(body)
        asked = question(body)
        if stub.refuse:
            stub.refuse -= 1
            return refusal(503, "The model is being loaded.")
        if asked.startswith("error "):
            status = int(asked.split()[1])
            return refusal(status, f"Refused <b>{status}</b>.", **{"Retry-After": "7"})
        return StreamingResponse(stream(stub, body, asked), media_type="text/event-stream")

    @made.post("/api/explain")
    async def explain(request: Request) -> Response:
        body = await request.json()
        stub.explained.append(body)
        if "error" in question({"messages": body["messages"][:-1]}):
            return refusal(400, "This model cannot say where it looked.")
        out = io.BytesIO()
        Pillow.new("RGB", (32, 24), "orange").save(out, "PNG")
        overlay = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
        shown = {"image": 0, "overlay": overlay, "words": "Mostly the middle."}
        return JSONResponse({"pictures": [shown], "experts": "one dog <i>left</i>"})

    return made


async def stream(stub: Stub, body: dict[str, Any], asked: str) -> AsyncIterator[bytes]:
    def event(**rest: Any) -> bytes:
        return f"data: {json.dumps(rest, ensure_ascii=False)}\n\n".encode()

    def piece(text: str, finish: str | None = None) -> bytes:
        return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])

    text = f"{body['model']} saw {len(pictures(body))} pictures: {asked}"
    if asked.startswith("say:"):
        text = asked.removeprefix("say:").strip()
    if asked.startswith("hold"):
        text = "First words"
    words = text.split(" ")
    yield b": ping\n\n"
    for at, word in enumerate(words):
        yield piece((" " if at else "") + word)
    if asked.startswith("hold"):
        try:
            while not stub.release.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            stub.left.set()
            raise
        yield piece(" and the last.")
    if asked.startswith("cut"):
        return
    if asked.startswith("broken"):
        yield event(error={"message": "The model ran out of memory.", "code": 500})
    else:
        yield piece("", "length" if asked.startswith("long") else "stop")
        yield event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": len(words)})
    yield b"data: [DONE]\n\n"


@contextmanager
def serving(made: FastAPI) -> Iterator[str]:
    """A real server process's work in a thread: yields its address."""
    config = uvicorn.Config(made, port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
