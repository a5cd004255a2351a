"""Claude, through Anthropic's official SDK.

Names: "anthropic:claude-haiku-5-5". API: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from looksay.backends import http, keys, presets
from looksay.backends.base import LoadOptions, Profile, is_loopback
from looksay.errors import BackendError, MissingDependency
from looksay.types import Completion, Conversation, FinishReason, Message, Options

ANTHROPIC_URL = "https://api.anthropic.com"
KEY_ENV = "ANTHROPIC_API_KEY"

_FINISH: Mapping[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Claude:
    """One of Anthropic's models."""

    name: str
    fingerprint: str
    profile: Profile
    model: str
    client: Any = field(repr=False)
    courier: http.Courier = field(repr=False)
    max_side_px: int = 1536
    thinking_tokens: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        return self.courier.complete(self._ask, conversations, options)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """Yield the answer piece by piece. Raises BackendError where it cannot begin, or breaks off."""
        try:
            request = self._request(conversation) | {"stream": True}
            events = self.courier.deliver(lambda out: self._create(request, options, out))
            with events, self._faults():
                for event in events:
                    text = getattr(getattr(event, "delta", None), "text", None)
                    if text:
                        yield text
        except http.Fault as fault:
            raise self.courier.error(fault) from None

    def _ask(
        self, conversation: Conversation, options: Options, left_out: frozenset[str]
    ) -> http.Answer:
        reply = self._create(self._request(conversation), options, left_out)
        blocks = getattr(reply, "content", None)
        if not isinstance(blocks, list):  # the SDK does not check what it is sent
            raise http.Fault("its answer is not a message", retry=True)
        usage = getattr(reply, "usage", None)
        cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
        prompt = getattr(usage, "input_tokens", None)
        if prompt is not None:  # the API counts what went through its cache apart
            prompt += sum(getattr(usage, name, None) or 0 for name in cached)
        return http.Answer(
            "".join(block.text for block in blocks if block.type == "text").strip(),
            _FINISH.get(reply.stop_reason or "end_turn", "stop"),
            prompt,
            getattr(usage, "output_tokens", None),
            details={"model": reply.model},
        )

    def _create(self, request: dict[str, Any], options: Options, left_out: frozenset[str]) -> Any:
        # The SDK has dropped temperature and top_p, and the newest models refuse them; older models
        # take either, not both. So they travel as extra fields, and the courier learns who refuses.
        body: dict[str, Any] = dict(self.extra)
        if "temperature" not in left_out:
            body["temperature"] = options.temperature
        elif options.top_p < 1 and "top_p" not in left_out:
            body["top_p"] = options.top_p
        if options.stop:
            body["stop_sequences"] = list(options.stop)
        with self._faults():
            return self.client.messages.create(
                model=self.model,
                max_tokens=options.max_tokens + self.thinking_tokens,
                **request,
                extra_body=body,
                timeout=timeout(options.timeout_s),
            )

    def _request(self, conversation: Conversation) -> dict[str, Any]:
        system = "\n\n".join(m.text for m in conversation.messages if m.role == "system")
        turns = [self._message(m) for m in conversation.messages if m.role != "system"]
        return {"messages": turns} | ({"system": system} if system else {})

    def _message(self, message: Message) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, str):
                parts.append({"type": "text", "text": part})
            else:
                data = http.jpeg_base64(part, self.max_side_px)
                source = {"type": "base64", "media_type": "image/jpeg", "data": data}
                parts.append({"type": "image", "source": source})
        return {"role": message.role, "content": parts}

    def _faults(self) -> http.Faults:
        return http.Faults(fault_of, self.courier.clock)


def fault_of(error: Exception, clock: http.Clock) -> http.Fault:
    """What an exception of the SDK means."""
    import anthropic

    if isinstance(error, anthropic.APIStatusError):
        body = error.body.get("error") if isinstance(error.body, dict) else None
        message = body.get("message") if isinstance(body, dict) else None
        return http.fault_of_status(
            error.status_code, str(message or error.message)[:500], error.response.headers, clock
        )
    return http.fault_of_transport(error)


def timeout(seconds: float) -> Any:
    import anthropic

    return anthropic.Timeout(seconds, connect=min(seconds, http.CONNECT_S))


def load(model: str, options: LoadOptions) -> Claude:
    """Check the key and the model. Raises MissingDependency and BackendError (no key, no such model)."""
    if not model:
        raise BackendError("anthropic: names no model. Type: anthropic:claude-haiku-5-5")
    name = f"anthropic:{model}"
    remote = not is_loopback(ANTHROPIC_URL)
    http.may_leave(name, remote, options)
    try:
        import anthropic
    except ImportError:
        raise MissingDependency(name, "anthropic", "anthropic") from None
    key = keys.key_for("anthropic", KEY_ENV)
    if key is None:
        raise keys.missing(name, "anthropic", KEY_ENV)
    client = anthropic.Anthropic(
        api_key=key,
        base_url=ANTHROPIC_URL,
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(**http.client_settings(ANTHROPIC_URL)),
    )
    preset = presets.of("anthropic", model)
    courier = http.Courier(
        ANTHROPIC_URL,
        lambda fault: _advice(fault, model),
        workers=http.workers(options, remote),
        retries=options.retries,
        price=preset.price if preset else None,
        secrets=(key,),
    )

    def look(_: frozenset[str]) -> Any:
        with http.Faults(fault_of, courier.clock):
            return client.models.retrieve(model, timeout=timeout(10.0))

    try:
        known = courier.deliver(look)
    except http.Fault as fault:
        client.close()
        raise courier.error(fault) from None
    backend = Claude(
        name,
        f"{getattr(known, 'id', model)}@{ANTHROPIC_URL}",  # an alias comes back as the dated model
        Profile(
            remote=remote,
            price=courier.price,
            concurrency=courier.workers,
            image_tokens=preset.image_tokens if preset and preset.image_tokens else 1600,
            reads_px=options.max_side_px,
        ),
        model,
        client,
        courier,
        options.max_side_px,
        preset.thinking_tokens if preset else 0,
        preset.extra if preset else {},
    )
    weakref.finalize(backend, client.close)
    return backend


def _advice(fault: http.Fault, model: str) -> str:
    if fault.unreachable:
        return "Check the network."
    if fault.status in {401, 403}:
        return f"Is the key right? Type: {keys.how_to_set('anthropic', KEY_ENV)}"
    if fault.status == 404:
        preset = presets.of("anthropic", model)
        gone = f" It was withdrawn on {preset.ends}." if preset and preset.ends else ""
        return f"There is no model {model!r}.{gone} Type: looksay models"
    if fault.status in {402, 429}:
        return "What is done is kept: type the same command later, or raise the account's limit."
    return ""
