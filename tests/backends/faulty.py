"""A real HTTP server whose script says how it fails: the other end of every fault test.

It listens on a loopback port in this process and keeps what it received. POSTs follow `script`, one
`Reply` each, then `rest` for ever; GETs are answered from `pages`. Example:

    with Faulty([too_many(1), openai_text("A dog.")], pages=openai_models("m")) as server:
        backend = looksay.load(f"{server.url}/v1#m")
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from looksay.backends import http

Fault = Literal["", "reset", "hang", "half"]


@dataclass(frozen=True)
class Reply:
    """One answer: `body` is sent as JSON unless it is text; a `fault` happens instead of, or to, it."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault = ""
    after_s: float = 0.0


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float

    @property
    def images(self) -> list[bytes]:
        """The images in it, whatever the API."""
        found: list[bytes] = []

        def look(value: Any) -> None:
            if isinstance(value, dict):
                if isinstance(value.get("data"), str) and value.get("media_type"):
                    found.append(base64.b64decode(value["data"]))
                for key, inner in value.items():
                    if key == "images":
                        found.extend(base64.b64decode(i) for i in inner)
                    else:
                        look(inner)
            elif isinstance(value, list):
                for inner in value:
                    look(inner)
            elif isinstance(value, str) and value.startswith("data:image/"):
                found.append(base64.b64decode(value.partition(",")[2]))

        look(self.body)
        return found


Script = Iterable[Reply] | Callable[[Received], Reply]


class Faulty:
    def __init__(
        self,
        script: Script = (),
        *,
        rest: Reply | None = None,
        pages: Mapping[str, Reply] | None = None,
        port: int = 0,
    ) -> None:
        self.script = script if callable(script) else iter(script)
        self.rest = rest or Reply({"error": {"message": "the script is over"}}, 418)
        self.pages = dict(pages or {})
        self.received: list[Received] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.connections: set[socket.socket] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections.add(self.connection)

            def finish(self) -> None:
                server.connections.discard(self.connection)
                super().finish()

            def do_GET(self) -> None:
                server.note(self, None)
                path = self.path.partition("?")[0]
                server.answer(self, server.pages.get(path, Reply({"error": "no such page"}, 404)))

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                received = server.note(self, json.loads(raw or b"null"))
                if self.path in server.pages:  # Ollama's /api/show is a POST
                    return server.answer(self, server.pages[self.path])
                with server.lock:
                    server.in_flight += 1
                    server.most_in_flight = max(server.most_in_flight, server.in_flight)
                    reply = (
                        server.script(received)
                        if callable(server.script)
                        else next(server.script, server.rest)
                    )
                try:
                    server.over.wait(reply.after_s)
                finally:
                    with server.lock:  # before the answer: the client may send its next one at once
                        server.in_flight -= 1
                return server.answer(self, reply)

            def log_message(self, *_: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Faulty:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
        for connection in list(self.connections):  # kept alive, they would go on being served
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def posts(self) -> list[Received]:
        return [r for r in self.received if r.method == "POST" and r.path not in self.pages]

    def note(self, handler: BaseHTTPRequestHandler, body: Any) -> Received:
        received = Received(
            handler.command,
            handler.path,
            {name.lower(): value for name, value in handler.headers.items()},
            body,
            time.monotonic(),
        )
        with self.lock:
            self.received.append(received)
        return received

    def answer(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.fault == "hang":
            self.over.wait(30)
        if reply.fault in {"hang", "reset"}:
            # Linger 0 makes the close a reset, on every system.
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()
            handler.close_connection = True
            return
        is_text = isinstance(reply.body, str)
        raw = reply.body.encode() if is_text else json.dumps(reply.body).encode()
        if reply.fault == "half":
            raw = raw[: len(raw) // 2]
        handler.send_response(reply.status)
        kind = "text/html" if is_text else "application/json"
        for name, value in ({"content-type": kind} | dict(reply.headers)).items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)


def too_many(retry_after: str | int | None = None, status: int = 429) -> Reply:
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return Reply({"error": {"message": "slow down"}}, status, headers)


def openai_models(*ids: str, **more: Any) -> dict[str, Reply]:
    rows = [{"id": i, "object": "model", "created": 1, "owned_by": "test"} | more for i in ids]
    return {"/v1/models": Reply({"object": "list", "data": rows})}


def openai_text(
    text: str | None,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    usage: tuple[int, int] | None = (100, 10),
    after_s: float = 0.0,
) -> Reply:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    return Reply(body, after_s=after_s)


class FakeClock:
    """Time that passes only by sleeping; `naps` says how long, in order."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.time = 0.0
        self.start = wall
        self.naps: list[float] = []
        self.lock = threading.Lock()

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.start + self.time

    def sleep(self, seconds: float, leaving: threading.Event) -> None:
        with self.lock:
            self.naps.append(seconds)
            self.time += seconds


def hurry(backend: Any) -> FakeClock:
    """Give a backend a clock whose sleeping costs no time."""
    clock = FakeClock()
    backend.courier.clock = clock
    backend.courier.gate = http.Gate(clock)
    return clock
