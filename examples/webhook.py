"""A bridge between a chat program and a model that sees: somebody asks about a picture, the answer is posted back.

    export WEBHOOK_SECRET=...            # of a Slack app: its signing secret
    python examples/webhook.py http://127.0.0.1:8000/v1 --model mini --port 8080

POST /slack    a slash command of Slack, `/look https://example.org/a.jpg What is on the sign?`
POST /discord  JSON {"image", "question", "response_url"}; the answer is what Discord's incoming webhooks take

`image` is a URL, or an upload as a data URL. Both requests are signed as Slack signs (X-Slack-Signature,
X-Slack-Request-Timestamp). The bridge answers at once that it looks; the model's answer goes to `response_url`, which
must lie on a host of --reply-to. What is not signed is not read further, and nothing is asked twice.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import looksay
from looksay import fetching
from looksay.backends import Backend, LoadOptions
from looksay.errors import InputError, LooksayError
from looksay.images import load_rgb
from looksay.types import Conversation, Image, Options

MAX_BODY = 20_000_000
VALID_S = 300.0
"""Slack's own rule: what was signed longer ago is a recording."""
WAITING = 16
"""So many questions may wait; whoever comes then is told to ask later."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """https://api.slack.com/authentication/verifying-requests-from-slack"""
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


@dataclass
class Asked:
    """A question as it came, and how its answer is written."""

    image: str
    question: str
    reply_to: str
    write: Callable[[str], dict[str, Any]]


def slack(text: str) -> dict[str, Any]:
    # "<!channel>" in a picture would call everybody.
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"response_type": "in_channel", "text": plain}


def discord(text: str) -> dict[str, Any]:
    return {"content": text[:2000], "allowed_mentions": {"parse": []}}


def read(path: str, body: bytes) -> Asked:
    """Raises InputError where it is no question."""
    if path == "/slack":
        form = parse_qs(body.decode("utf-8", "replace"))
        image, _, question = form.get("text", [""])[0].strip().partition(" ")
        image = image.strip("<>").partition("|")[0]  # as Slack writes links
        reply_to, write = form.get("response_url", [""])[0], slack
    else:
        try:
            told = json.loads(body)
            image, question, reply_to = (
                told[name] for name in ("image", "question", "response_url")
            )
        except (ValueError, KeyError, TypeError):
            raise InputError('Expected {"image": …, "question": …, "response_url": …}.') from None
        write = discord
    if not all(isinstance(part, str) and part.strip() for part in (image, question)):
        raise InputError("Expected the address of a picture, a space, and a question about it.")
    return Asked(image, question, str(reply_to), write)


@dataclass
class Bridge:
    backend: Backend
    secret: str
    reply_to: frozenset[str]
    """Hosts, with a port where it is not the usual one."""
    local_images: bool = False
    workers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(WAITING))
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[str, float] = field(default_factory=dict)
    """Signatures of the last minutes."""

    def is_signed(self, given: str, timestamp: str, body: bytes) -> bool:
        """Whether it comes from who knows the secret, now, and for the first time."""
        now = time.time()
        if not timestamp.isdecimal() or abs(now - int(timestamp)) > VALID_S:
            return False
        wanted = signature(self.secret, timestamp, body)
        if not hmac.compare_digest(wanted.encode(), given.encode()):
            return False
        with self.lock:
            self.seen = {known: at for known, at in self.seen.items() if now - at < 2 * VALID_S}
            fresh = wanted not in self.seen
            self.seen[wanted] = now
        return fresh

    def accept(self, asked: Asked) -> str:
        """Take a question and say so. Raises InputError where its answer would go elsewhere."""
        target = urlsplit(asked.reply_to)
        safe = target.scheme == "https" or (target.scheme, target.hostname) == ("http", "127.0.0.1")
        if not safe or target.netloc not in self.reply_to:
            raise InputError("The response_url is on no host that this bridge may post to.")
        if not self.room.acquire(blocking=False):
            return "Too many questions wait. Please ask again in a minute."
        self.workers.submit(self._work, asked)
        return "Looking …"

    def _work(self, asked: Asked) -> None:
        try:
            said = self._answer(asked)
        except LooksayError as error:
            said = str(error)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            said = "That went wrong here."
        try:
            post(asked.reply_to, asked.write(said))
        except OSError as error:
            print(f"The answer could not be posted: {error}", file=sys.stderr, flush=True)
        finally:
            self.room.release()

    def _answer(self, asked: Asked) -> str:
        if asked.image.startswith("data:"):
            try:
                source = base64.b64decode(asked.image.partition(",")[2], validate=True)
            except binascii.Error:
                raise InputError("The upload is no base64.") from None
        else:
            source = fetching.fetch(asked.image, own=self.local_images)
        load_rgb(source, max_side_px=64)  # a damaged picture is told, not sent on
        talk = Conversation.ask(Image(source), asked.question)
        (answer,) = self.backend.complete([talk], Options())
        if answer.error:
            raise InputError(answer.error)
        return answer.text or "The model said nothing."


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, message: dict[str, Any]) -> None:
    """Raises OSError."""
    body = json.dumps(message).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=20) as answer:
        answer.read(1000)


def handler(bridge: Bridge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 20  # a slow sender holds its own thread, and not for long

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if self.path not in ("/slack", "/discord"):
                return self.reply(404, "Expected /slack or /discord.")
            if not length.isdecimal() or int(length) > MAX_BODY:
                return self.reply(413, f"Expected a body of at most {MAX_BODY // 1_000_000} MB.")
            body = self.rfile.read(int(length))
            given = self.headers.get("x-slack-signature", "")
            if not bridge.is_signed(given, self.headers.get("x-slack-request-timestamp", ""), body):
                return self.reply(401, "The signature is missing, wrong, old or used.")
            try:
                said = bridge.accept(read(self.path, body))
            except InputError as error:
                # Slack shows its user what comes with 200 only.
                return self.reply(200 if self.path == "/slack" else 400, str(error))
            return self.reply(200, said)

        def reply(self, status: int, text: str) -> None:
            body = json.dumps({"response_type": "ephemeral", "text": text}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...  # questions and pictures are nobody's business

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("server", help="OpenAI-compatible URL, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--model", default="", help="one of the server's; by default its only one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument(
        "--reply-to", nargs="+", default=["hooks.slack.com", "discord.com"], metavar="HOST"
    )
    parser.add_argument("--allow-remote", action="store_true", help="the server is elsewhere")
    parser.add_argument("--local-images", action="store_true", help="also from this machine")
    asked = parser.parse_args()
    secret = os.environ.get("WEBHOOK_SECRET", "")
    if not secret:
        parser.error("set WEBHOOK_SECRET first (of a Slack app: its signing secret)")
    try:
        backend = looksay.load(
            f"{asked.server}#{asked.model}", LoadOptions(allow_remote=asked.allow_remote)
        )
    except LooksayError as error:
        parser.error(str(error))
    bridge = Bridge(backend, secret, frozenset(asked.reply_to), asked.local_images)
    server = ThreadingHTTPServer((asked.host, asked.port), handler(bridge))
    print(f"Listening on http://{asked.host}:{server.server_address[1]}", flush=True)

    def leave(*_: Any) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    server.serve_forever(0.1)
    bridge.workers.shutdown()  # whoever was told "Looking …" gets an answer
    server.server_close()


if __name__ == "__main__":
    main()
