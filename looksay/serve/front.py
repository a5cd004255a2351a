"""What stands around Ray's proxy: a replica's death, and what the proxy says itself, as OpenAI's clients read it."""

from __future__ import annotations

import json

from starlette.middleware import Middleware
from starlette.responses import JSONResponse

from looksay.serve import wire
from looksay.serve.limits import App, Guard, Message, Receive, Refused, Scope, Send

DIED = (
    "The process that was answering has died, and what it had said is lost. Ask again: others answer meanwhile, and "
    "it is started anew."
)
_RAYS_OWN = {b"x-request-disconnect-disabled", b"x-request-timeout-seconds"}
"""Headers by which Ray lets a client say that it is to be answered although it has gone."""


class Front:
    """ASGI middleware: answers what the proxy leaves without an answer, and ends the streams that it breaks off."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _RAYS_OWN]
        refused: Refused | None = None
        status, kind, held, ended = 0, b"", b"", False

        async def heard() -> Message:
            nonlocal refused
            try:
                return await receive()
            except Refused as found:
                refused = found  # Ray reads in a task of its own, where nobody would catch it
                return {"type": "http.disconnect"}

        async def said(message: Message) -> None:
            nonlocal status, kind, held, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message["headers"]).get(b"content-type", b"")
            elif not message.get("more_body"):
                ended = True
            if status < 400 or not kind.startswith(b"text/plain"):
                await send(message)
            else:
                held += message.get("body", b"")

        await self.app(scope, heard, said)
        if refused is not None and not status:
            raise refused
        if not status or held:
            words = held.decode(errors="replace") or DIED
            answer = JSONResponse(wire.error(words, "server_error"), status or 503)
            await answer(scope, receive, send)
        elif not ended and kind.startswith(b"text/event-stream"):
            last = f"data: {json.dumps(wire.error(DIED, 'server_error'))}\n\ndata: [DONE]\n\n"
            await send({"type": "http.response.body", "body": last.encode()})


def layers() -> list[Middleware]:
    """Called by Ray's proxy: what stands around it, the innermost first."""
    return [Middleware(Front), Middleware(Guard, key=None, hosts=None)]
