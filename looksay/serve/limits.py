"""What stands before every request: its size, its key, its host, and the headers of every answer."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from looksay.serve import wire

MAX_BODY = 64 << 20
"""Bytes of a request. Pictures travel a third larger than they are."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN = ("/healthz", "/static/")
"""What needs no key, besides the page itself, which asks for one."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refused(HTTPException):
    """A request that goes no further. (An HTTPException, for FastAPI takes what else is raised while it reads a body
    for the body's fault.)"""

    def __init__(self, status: int, words: str, code: str = "") -> None:
        # What still comes of a request that is too large is not read.
        own = {401: {"www-authenticate": "Bearer"}, 413: {"connection": "close"}}
        super().__init__(status, words, own.get(status))
        self.status, self.words, self.code = status, words, code


class Guard:
    """Around the application: refuses before anything is read that need not be.

    Without a key only hosts that mean this machine are answered: a page of the web whose name was made to point here
    (DNS rebinding) is not.
    """

    def __init__(
        self, app: App, key: str | None, hosts: frozenset[str] | None, max_body: int = MAX_BODY
    ) -> None:
        self.app, self.hosts, self.max_body = app, hosts, max_body
        self._key = key.encode() if key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.max_body:
                raise Refused(413, self._too_large(taken))
            return message

        async def sent(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (k.encode(), v.encode())
                        for k, v in HEADERS.items()
                        if k.encode() not in own
                    ),
                ]
            await send(message)

        try:
            self._check(scope["path"], headers)
            await self.app(scope, counted, sent)
        except Refused as refused:
            if not begun:
                await _say(sent, refused)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)
        name = host[0] if len(host) == 1 or host[1].isdecimal() else ":".join(host)
        if self.hosts is not None and name.lower() not in self.hosts:
            raise Refused(421, f"This server answers to localhost, and was asked as {name[:80]!r}.")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.max_body:
            raise Refused(413, self._too_large(int(length)))
        if self._key is None or path == "/" or path.startswith(OPEN):
            return
        given = headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self._key):
            raise Refused(
                401, "Expected this server's key as 'Authorization: Bearer KEY'.", "invalid_api_key"
            )

    def _too_large(self, size: int) -> str:
        return (
            f"The request is {size / 1e6:.0f} MB or more, and {self.max_body / 1e6:.0f} MB is the most. Send fewer "
            "or smaller images."
        )


async def _say(send: Send, refused: Refused) -> None:
    kind = "authentication_error" if refused.status == 401 else "invalid_request_error"
    body = json.dumps(wire.error(refused.words, kind, code=refused.code)).encode()
    own = {"content-type": "application/json", "content-length": str(len(body))}
    own |= refused.headers or {}
    headers = [(name.encode(), value.encode()) for name, value in own.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
