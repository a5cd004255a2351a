"""OpenAI and every server that speaks its chat completions: vLLM, llama.cpp, LM Studio, Gemini, ours.

Names: "openai:gpt-4o" (OpenAI itself), "openai:gemini-3.8-flash" (a preset with its own URL), and
"http://127.0.0.1:8000/v1#model" (any server; without "#model" the only one that it lists).
API: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from looksay.backends import http, keys, presets
from looksay.backends.base import LoadOptions, Profile, is_loopback
from looksay.errors import BackendError
from looksay.types import CONFIDENCE, Completion, Conversation, FinishReason, Message, Options

OPENAI_URL = "https://api.openai.com/v1"
LIST_TIMEOUT_S = 10.0

_FINISH: Mapping[str, FinishReason] = {"length": "length", "content_filter": "refusal"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a name points, and with which key."""

    url: str
    model: str
    key_env: str
    key_user: str
    preset: presets.Preset | None = None

    @property
    def name(self) -> str:
        own = self.url == OPENAI_URL or (self.preset is not None and self.preset.base_url)
        return f"openai:{self.model}" if own else f"{self.url}#{self.model}"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class OpenAI:
    """A model behind an OpenAI-compatible URL."""

    name: str
    fingerprint: str
    profile: Profile
    model: str
    client: openai.OpenAI = field(repr=False)
    courier: http.Courier = field(repr=False)
    max_side_px: int = 1536
    max_tokens_name: str = "max_tokens"
    """OpenAI's newer models take only "max_completion_tokens"; most other servers know only the old name."""
    thinking_tokens: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        return self.courier.complete(self._ask, conversations, options)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """Yield the answer piece by piece. Raises BackendError where it cannot begin, or breaks off."""
        try:
            request = {"messages": self._messages(conversation), "stream": True}
            chunks = self.courier.deliver(lambda out: self._create(request, options, out))
            with chunks, self._faults():
                for chunk in chunks:
                    if chunk.choices and chunk.choices[0].delta.content:
                        yield chunk.choices[0].delta.content
        except http.Fault as fault:
            raise self.courier.error(fault) from None

    def _ask(
        self, conversation: Conversation, options: Options, left_out: frozenset[str]
    ) -> http.Answer:
        asked: dict[str, Any] = {"messages": self._messages(conversation)}
        if http.LOGPROBS not in left_out:
            asked[http.LOGPROBS] = True
        reply = self._create(asked, options, left_out)
        choices = getattr(reply, "choices", None)
        if not choices:  # the SDK does not check what a compatible server sends
            raise http.Fault("its answer is not a chat completion", retry=True)
        choice, usage = choices[0], getattr(reply, "usage", None)
        details = {
            "model": getattr(reply, "model", None),
            "system_fingerprint": reply.system_fingerprint,
            CONFIDENCE: _confidence(choice),
        }
        return http.Answer(
            (choice.message.content or "").strip(),
            _FINISH.get(choice.finish_reason or "stop", "stop"),
            getattr(usage, "prompt_tokens", None),
            getattr(usage, "completion_tokens", None),
            getattr(choice.message, "refusal", None),
            {key: value for key, value in details.items() if value not in (None, "")},
        )

    def _create(self, request: dict[str, Any], options: Options, left_out: frozenset[str]) -> Any:
        limit = "max_completion_tokens" if "max_tokens" in left_out else self.max_tokens_name
        sampling: dict[str, Any] = {
            "temperature": options.temperature,
            "top_p": options.top_p if options.top_p < 1 else None,
            "seed": options.seed,
            "stop": list(options.stop) or None,
            limit: options.max_tokens + self.thinking_tokens,
        }
        kept = {k: v for k, v in sampling.items() if v is not None and k not in left_out}
        with self._faults():
            return self.client.chat.completions.create(
                model=self.model,
                **request,
                **kept,
                extra_body=dict(self.extra),
                timeout=timeout(options.timeout_s),
            )

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        return [self._message(message) for message in conversation.messages]

    def _message(self, message: Message) -> dict[str, Any]:
        if not message.images:  # plain text: some servers know no parts outside the user's turn
            return {"role": message.role, "content": message.text}
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, str):
                parts.append({"type": "text", "text": part})
            else:
                data = "data:image/jpeg;base64," + http.jpeg_base64(part, self.max_side_px)
                parts.append({"type": "image_url", "image_url": {"url": data}})
        return {"role": message.role, "content": parts}

    def _faults(self) -> http.Faults:
        return http.Faults(fault_of, self.courier.clock)


def fault_of(error: Exception, clock: http.Clock) -> http.Fault:
    """What an exception of the SDK means."""
    if isinstance(error, openai.APIStatusError):
        body = error.body
        message = body.get("message") if isinstance(body, dict) else None
        return http.fault_of_status(
            error.status_code,
            str(message or error.message)[:500],
            error.response.headers,
            clock,
            quota=error.code == "insufficient_quota",
        )
    return http.fault_of_transport(error)


def timeout(seconds: float) -> openai.Timeout:
    return openai.Timeout(seconds, connect=min(seconds, http.CONNECT_S))


def load(model: str, options: LoadOptions) -> OpenAI:
    """Find the server and the model. Raises BackendError (not there, no key, no such model)."""
    target = find_target(model)
    remote = not is_loopback(target.url)
    http.may_leave(target.name, remote, options)
    key = keys.key_for(target.key_user, target.key_env)
    if (key is None and target.url == OPENAI_URL) or (key is None and target.preset is not None):
        raise keys.missing(target.name, target.key_user, target.key_env)
    client = connect(target.url, key)
    listed: dict[str, dict[str, Any]] = {}

    def advise(fault: http.Fault) -> str:
        return _advice(fault, target, sorted(listed), remote)

    preset = target.preset
    price = preset.price if preset else None
    courier = http.Courier(
        target.url,
        advise,
        workers=http.workers(options, remote),
        retries=options.retries,
        price=price,
        secrets=(key,) if key else (),
    )
    try:
        listed.update(list_models(client, courier))
        name = target.model or _only(listed, target.url)
    except http.Fault as fault:
        client.close()
        raise courier.error(fault) from None
    except BackendError:
        client.close()
        raise
    target = Target(target.url, name, target.key_env, target.key_user, preset)
    backend = OpenAI(
        target.name,
        _fingerprint(target, listed.get(name)),
        Profile(
            remote=remote,
            price=price,
            concurrency=courier.workers,
            image_tokens=preset.image_tokens if preset and preset.image_tokens else 800,
            reads_px=options.max_side_px,
        ),
        name,
        client,
        courier,
        options.max_side_px,
        "max_completion_tokens" if target.url == OPENAI_URL else "max_tokens",
        preset.thinking_tokens if preset else 0,
        preset.extra if preset else {},
    )
    weakref.finalize(backend, client.close)
    return backend


def find_target(model: str) -> Target:
    """Where "gpt-4o", "gemini-3.8-flash" or "http://127.0.0.1:8000/v1#model" points."""
    if model.startswith(("http://", "https://")):
        url, _, name = model.partition("#")
        return Target(http.check_url(url), name, "LOOKSAY_API_KEY", "looksay")
    if not model:
        raise BackendError(
            "openai: names no model. Type openai:gpt-4o, or http://127.0.0.1:8000/v1 for a server here."
        )
    preset = presets.of("openai", model)
    if preset and preset.base_url:
        user = preset.key_env.removesuffix("_API_KEY").lower()
        return Target(preset.base_url, model, preset.key_env, user, preset)
    return Target(OPENAI_URL, model, "OPENAI_API_KEY", "openai", preset)


def connect(url: str, key: str | None, timeout_s: float = LIST_TIMEOUT_S) -> openai.OpenAI:
    """A client of the official SDK that follows no redirect and leaves retries to the courier."""
    own: dict[str, Any] = {}
    if url != OPENAI_URL:  # the SDK would tell anyone the account's ids, from the environment
        own = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
    return openai.OpenAI(
        api_key=key or "none",
        base_url=url,
        max_retries=0,
        timeout=timeout(timeout_s),
        default_headers=own,
        http_client=openai.DefaultHttpxClient(**http.client_settings(url)),
    )


def list_models(client: openai.OpenAI, courier: http.Courier) -> dict[str, dict[str, Any]]:
    """What GET /models says, by id; empty where the server has no such list. Raises Fault."""

    def attempt(_: frozenset[str]) -> dict[str, dict[str, Any]]:
        with http.Faults(fault_of, courier.clock):
            page = client.models.list(timeout=timeout(LIST_TIMEOUT_S))
        rows = [row.to_dict(warnings=False) for row in getattr(page, "data", None) or []]
        # Gemini lists "models/gemini-3.8-flash" and answers to the short name.
        return {str(row.get("id", "")).removeprefix("models/"): row for row in rows}

    try:
        return courier.deliver(attempt)
    except http.Fault as fault:
        if fault.status in {400, 404, 405, 501}:  # no such list: the first photo will tell
            return {}
        raise


def _confidence(choice: Any) -> float | None:
    """Mean log-probability (nats) of the answer's tokens; None where the server tells nothing that can be read."""
    told = getattr(getattr(choice, "logprobs", None), "content", None)
    logs = [getattr(one, "logprob", None) for one in told] if isinstance(told, list) else []
    known = [log for log in logs if isinstance(log, int | float)]
    return sum(known) / len(known) if known else None


def _only(listed: Mapping[str, Any], url: str) -> str:
    if len(listed) == 1:
        return next(iter(listed))
    there = ", ".join(sorted(listed)) or "none"
    raise BackendError(
        f"{url} lists {len(listed)} models, and the name says not which: {there}. "
        f"Type: {url}#{min(listed, default='MODEL')}"
    )


def _fingerprint(target: Target, row: Mapping[str, Any] | None) -> str:
    """Model and URL, and what the server says of the weights: `root` (vLLM), `meta` (llama.cpp),
    `digest`. Not `created`: vLLM and llama.cpp put the present time there."""
    meta = (row or {}).get("meta")
    stable = meta if isinstance(meta, dict) else {}
    said = {k: stable[k] for k in ("n_params", "size", "n_embd", "n_vocab") if k in stable}
    said |= {k: row[k] for k in ("root", "digest", "owned_by") if row and row.get(k)}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    return f"{target.model}@{target.url}" + (f"#{digest[:12]}" if said else "")


def _advice(fault: http.Fault, target: Target, listed: list[str], remote: bool) -> str:
    if fault.unreachable:
        if remote:
            return "Check the network and the URL."
        return f"Start the server there first (for example: vllm serve MODEL), then try {target.url}#MODEL"
    if fault.status in {401, 403}:
        return f"Is the key right? Type: {keys.how_to_set(target.key_user, target.key_env)}"
    if fault.status == 404:
        there = f" It has: {', '.join(listed[:20])}." if listed else ""
        return f"The model {target.model!r} is not there.{there} Type: looksay models"
    if fault.status in {402, 429}:
        return "What is done is kept: type the same command later, or raise the account's limit."
    if fault.status and 300 <= fault.status < 400:
        return "Type the URL that the server really has."
    return ""


def discover() -> list[str]:
    """Nothing is offered from here: `auto` looks for servers on loopback, `presets` for keys."""
    return []
