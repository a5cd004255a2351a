"""Models of an Ollama server, through its own API: digests, capabilities and token counts are only there.

Names: "ollama:qwen3-vl:8b"; "ollama:" alone takes the only vision model that the server has.
API: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from looksay.backends import http, keys
from looksay.backends.base import LoadOptions, Profile, is_loopback
from looksay.errors import BackendError, InputError
from looksay.types import Completion, Conversation, FinishReason, Options

DEFAULT_PORT = 11434
PROBE = httpx.Timeout(3.0, connect=0.5)
"""For questions about what is there: a server on this machine answers them from memory."""

_FINISH: Mapping[str, FinishReason] = {"length": "length"}


@dataclass(frozen=True, slots=True)
class Model:
    """A model that an Ollama server has."""

    name: str
    digest: str
    size_bytes: int
    capabilities: frozenset[str]
    elsewhere: str
    """Host that really runs it ("https://ollama.com" for cloud models); empty where it runs there."""

    @property
    def vision(self) -> bool:
        return "vision" in self.capabilities


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Ollama:
    """One vision model of an Ollama server."""

    name: str
    fingerprint: str
    profile: Profile
    model: Model
    client: httpx.Client = field(repr=False)
    courier: http.Courier = field(repr=False)
    max_side_px: int = 1536

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        return self.courier.complete(self._ask, conversations, options)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """Yield the answer piece by piece. Raises BackendError where it cannot begin, or breaks off."""
        try:
            body = self._body(conversation, options) | {"stream": True}
            response = self.courier.deliver(lambda _: self._open(body, options))
            with contextlib.closing(response), self._faults():
                for line in response.iter_lines():
                    piece = json.loads(line)
                    if "error" in piece:
                        raise http.Fault(str(piece["error"]))
                    if piece.get("message", {}).get("content"):
                        yield piece["message"]["content"]
        except http.Fault as fault:
            raise self.courier.error(fault) from None

    def _ask(
        self, conversation: Conversation, options: Options, left_out: frozenset[str]
    ) -> http.Answer:
        body = self._body(conversation, options)
        with self._faults():
            response = self.client.post("/api/chat", json=body, timeout=_timeout(options.timeout_s))
            response.raise_for_status()
            reply = response.json()
        if not isinstance(reply, dict) or not isinstance(reply.get("message"), dict):
            raise http.Fault("its answer is not a chat reply", retry=True)
        return http.Answer(
            (reply["message"].get("content") or "").strip(),
            _FINISH.get(reply.get("done_reason") or "stop", "stop"),
            reply.get("prompt_eval_count"),
            reply.get("eval_count"),
            details={"model": reply.get("model", self.model.name)},
        )

    def _open(self, body: dict[str, Any], options: Options) -> httpx.Response:
        with self._faults():
            limit = _timeout(options.timeout_s)
            request = self.client.build_request("POST", "/api/chat", json=body, timeout=limit)
            response = self.client.send(request, stream=True)
            if not response.is_success:
                response.read()
            response.raise_for_status()
            return response

    def _body(self, conversation: Conversation, options: Options) -> dict[str, Any]:
        messages = []
        for message in conversation.messages:
            entry: dict[str, Any] = {"role": message.role, "content": message.text}
            if message.images:
                entry["images"] = [http.jpeg_base64(i, self.max_side_px) for i in message.images]
            messages.append(entry)
        sampling: dict[str, Any] = {
            "temperature": options.temperature,
            "top_p": options.top_p,
            "num_predict": options.max_tokens,
        }
        if options.seed is not None:
            sampling["seed"] = options.seed
        if options.stop:
            sampling["stop"] = list(options.stop)
        body = {
            "model": self.model.name,
            "messages": messages,
            "stream": False,
            "options": sampling,
        }
        if "thinking" in self.model.capabilities:  # or it spends num_predict before the first word
            body["think"] = False
        return body

    def _faults(self) -> http.Faults:
        return http.Faults(fault_of, self.courier.clock)


def fault_of(error: Exception, clock: http.Clock) -> http.Fault:
    """What an exception of httpx means."""
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        try:
            message = str(response.json()["error"])
        except (ValueError, KeyError, TypeError):
            message = response.text[:200]
        return http.fault_of_status(response.status_code, message, response.headers, clock)
    return http.fault_of_transport(error)


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, http.CONNECT_S))


def host() -> str:
    """The server's URL: OLLAMA_HOST in any form that Ollama takes, else 127.0.0.1:11434."""
    value = os.environ.get("OLLAMA_HOST", "").strip()
    if not value:
        return f"http://127.0.0.1:{DEFAULT_PORT}"
    parts = urlsplit(value if "://" in value else f"//{value}")
    name = parts.hostname or "127.0.0.1"
    if name in {"0.0.0.0", "::"}:  # what a server listens on is nothing that a client can call
        name = "127.0.0.1"
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, DEFAULT_PORT)
    except ValueError:
        raise InputError(f"OLLAMA_HOST is {value!r}. Expected host:port") from None
    address = f"[{name}]" if ":" in name else name
    return f"{parts.scheme or 'http'}://{address}:{port}"


def connect(url: str) -> httpx.Client:
    """A client for the server; it follows no redirect. The caller closes it."""
    key = None if is_loopback(url) else keys.key_for("ollama", "OLLAMA_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=url, timeout=PROBE, headers=headers, **http.client_settings(url))


def list_models(client: httpx.Client) -> list[Model]:
    """The server's models with what each can do. Raises the exceptions of httpx."""
    rows = client.get("/api/tags").raise_for_status().json()["models"]

    def describe(row: Mapping[str, Any]) -> Model:
        shown: Mapping[str, Any] = row
        if "capabilities" not in row:  # only newer servers put them into the list
            response = client.post("/api/show", json={"model": row["name"]})
            shown = response.json() if response.is_success else {}
        can = shown.get("capabilities")
        if can is None:  # before 0.6.4 the only sign was a projector
            can = ["vision"] if shown.get("projector_info") else []
        return Model(
            row["name"],
            str(row.get("digest", "")),
            int(row.get("size") or 0),
            frozenset(can),
            str(row.get("remote_host") or shown.get("remote_host") or ""),
        )

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(describe, rows))


def load(model: str, options: LoadOptions) -> Ollama:
    """Find the server and the model. Raises BackendError (no server, no such model, reads text only)."""
    url = host()
    http.may_leave(f"ollama:{model} at {url}", not is_loopback(url), options)
    client = connect(url)
    try:
        there = list_models(client)
        found = choose(model, there, url)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        client.close()
        raise BackendError(
            f"{url}: {fault_of(error, http.SystemClock()).message}. "
            "Is Ollama running? Type: ollama serve  (OLLAMA_HOST says where, if not here)"
        ) from None
    except BackendError:
        client.close()
        raise
    # A server on this machine may hand "cloud" models on: then the photos leave it all the same.
    remote = bool(found.elsewhere) or not is_loopback(url)
    name = f"ollama:{found.name}"
    try:
        http.may_leave(f"{name} (it runs at {found.elsewhere or url})", remote, options)
    except Exception:
        client.close()
        raise

    def advise(fault: http.Fault) -> str:
        if fault.unreachable:
            return "Has Ollama stopped? Type: ollama serve"
        return f"Type: ollama pull {found.name}" if fault.status == 404 else ""

    courier = http.Courier(
        url, advise, workers=http.workers(options, remote), retries=options.retries, reached=True
    )
    key = keys.key_for("ollama", "OLLAMA_API_KEY")
    courier.secrets = (key,) if key else ()
    profile = Profile(remote=remote, concurrency=courier.workers, reads_px=options.max_side_px)
    backend = Ollama(
        name, found.digest or found.name, profile, found, client, courier, options.max_side_px
    )
    weakref.finalize(backend, client.close)
    return backend


def choose(name: str, there: list[Model], url: str) -> Model:
    """The model that `name` means; empty: the only one that sees. Raises BackendError."""
    seeing = sorted(m.name for m in there if m.vision)
    listed = f"Vision models at {url}: {', '.join(seeing) or 'none'}."
    if not name:
        if len(seeing) == 1:
            return next(m for m in there if m.name == seeing[0])
        example = f"ollama:{seeing[0]}" if seeing else "ollama pull qwen3-vl:8b"
        raise BackendError(f"ollama: names no model. {listed} Type: {example}")
    wanted = name if ":" in name else f"{name}:latest"
    for model in there:
        if model.name == wanted:
            if not model.vision:
                can = ", ".join(sorted(model.capabilities)) or "unknown"
                raise BackendError(
                    f"ollama:{name} cannot see: it reads text only (capabilities: {can}). {listed}"
                )
            return model
    raise BackendError(f"Ollama has no model {name!r}. {listed} Type: ollama pull {name}")


def discover() -> list[str]:
    """Vision models that a server on this machine runs itself; empty where there is none."""
    try:
        url = host()
        if not is_loopback(url):
            return []
        with connect(url) as client:
            there = list_models(client)
            return [f"ollama:{m.name}" for m in there if m.vision and not m.elsewhere]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, InputError):
        return []
