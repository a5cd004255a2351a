"""What travels: OpenAI's requests as conversations, and answers in OpenAI's words.

Fields that change nothing here (`user`, `metadata`, `store`) are taken and left alone; those that would change the
answer and are not done (tools, penalties, audio) are refused, so that nobody takes an answer for what it is not.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from looksay import images
from looksay.backends.tickets import Done, Piece, Scored, Wish
from looksay.errors import InputError, UnreadablePhoto
from looksay.types import Conversation, Image, Message, Options, Role

MAX_MESSAGES, MAX_IMAGES, MAX_CHOICES = 1000, 32, 16
MAX_TEXT = 1_000_000
"""Characters of a message."""
MAX_PIXELS = 50_000_000
MAX_TOKENS = 1024
"""Of an answer, unless the request says otherwise."""
LEAST_LOGPROB = -9999.0
"""As OpenAI writes what cannot be said: JSON has no minus infinity."""
Fetch = Callable[[str], bytes]
"""URL → bytes of the picture there."""


class ImageUrl(BaseModel):
    url: Annotated[str, Field(description="A data URL; where the server allows it, http(s).")]
    detail: Literal["auto", "low", "high", "original"] = "auto"


class TextPart(BaseModel):
    type: Literal["text"]
    text: Annotated[str, Field(max_length=MAX_TEXT)]


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=MAX_TEXT)] | list[Part]


class JsonSchema(BaseModel):
    name: Annotated[str, Field(max_length=64)] = "answer"
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(BaseModel):
    include_usage: bool = False
    include_obfuscation: bool | None = None


class ChatRequest(BaseModel):
    """POST /v1/chat/completions."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: (
        Annotated[str, Field(min_length=1, max_length=1000)]
        | Annotated[
            list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=16)
        ]
        | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None


NOT_DONE: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "prediction": (None,),
    "presence_penalty": (None, 0),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "web_search_options": (None,),
}
"""Fields that would change the answer, and the values with which they do not."""


def conversation_of(messages: Sequence[ChatMessage], fetch: Fetch | None) -> Conversation:
    """The messages with their pictures as bytes. Raises InputError and UnreadablePhoto.

    `fetch` None: pictures come as data URLs only.
    """
    shown = 0
    found = []
    for message in messages:
        parts: list[str | Image] = []
        content = message.content
        for part in [content] if isinstance(content, str) else content:
            if isinstance(part, str):
                parts.append(part)
            elif isinstance(part, TextPart):
                parts.append(part.text)
            else:
                shown += 1
                if shown > MAX_IMAGES:
                    raise InputError(
                        f"There are more than {MAX_IMAGES} images in this request. Ask about fewer at a time."
                    )
                parts.append(image_of(part.image_url.url, fetch, shown))
        role: Role = "system" if message.role == "developer" else message.role
        found.append(Message(role, tuple(parts)))
    if found[-1].role != "user":
        raise InputError(f"The last message is the {found[-1].role}'s; expected the user's.")
    return Conversation(tuple(found))


def image_of(url: str, fetch: Fetch | None, number: int = 1) -> Image:
    """The picture at a data URL, or at an address where `fetch` is given, checked to be one."""
    if url[:5].lower() == "data:":
        head, comma, data = url.partition(",")
        if not comma or ";base64" not in head.lower():
            raise InputError(
                f"Image {number} is a data URL without base64. Expected data:image/jpeg;base64,…"
            )
        try:
            found = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(f"Image {number} is not in base64: {error}.") from None
    elif fetch is not None:
        found = fetch(url)
    else:
        raise InputError(
            f"Image {number} is named by an address ({url[:80]!r}). Send it as a data URL, or let the server fetch: "
            "looksay serve --fetch"
        )
    try:
        images.open_image(found, max_pixels=MAX_PIXELS).close()
    except UnreadablePhoto as error:
        raise UnreadablePhoto(f"Image {number}: {error}.") from None
    return Image(found)


def refuse_what_is_not_done(
    request: BaseModel, not_done: Mapping[str, tuple[Any, ...]] = NOT_DONE
) -> None:
    """Raise InputError for fields that would change the answer and are not done here."""
    extra = request.model_extra or {}
    wanted = [name for name, same in not_done.items() if extra.get(name) not in same]
    if wanted:
        raise InputError(f"{', '.join(wanted)}: not done by this server. Leave it out.")


def options_of(request: ChatRequest, timeout_s: float) -> Options:
    stop = request.stop or ()
    return Options(
        max_tokens=request.max_completion_tokens or request.max_tokens or MAX_TOKENS,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        timeout_s=timeout_s,
    )


def wish_of(request: ChatRequest) -> Wish:
    """Raises InputError where log-probabilities are counted and not asked for, or a schema is missing."""
    if request.top_logprobs is not None and not request.logprobs:
        raise InputError("top_logprobs needs logprobs: true.")
    form = request.response_format
    schema: dict[str, Any] | None = None
    if form is not None and form.type == "json_object":
        schema = {"type": "object"}
    elif form is not None and form.type == "json_schema":
        if form.json_schema is None:
            raise InputError("response_format json_schema needs the schema: {'json_schema': {…}}.")
        schema = form.json_schema.schema_
    return Wish(
        (request.top_logprobs or 0) if request.logprobs else None,
        None if schema is None else json.dumps(schema),
    )


REASONS = {"stop": "stop", "length": "length", "refusal": "content_filter"}


class Form(Protocol):
    """How answers to one request are written: pieces of a stream, or one whole."""

    def opened(self, count: int) -> list[dict[str, Any]]:
        """Before the first word of so many answers."""

    def said(self, index: int, piece: Piece) -> dict[str, Any]:
        """New words of answer `index`."""

    def ended(self, index: int, end: Done) -> dict[str, Any]:
        """Answer `index` is complete."""

    def closed(self, ends: Sequence[Done]) -> list[dict[str, Any]]:
        """All are."""

    def broken(self, why: str) -> dict[str, Any]:
        """No more comes."""

    def whole(
        self, texts: Sequence[str], ends: Sequence[Done], scored: Sequence[Sequence[Scored]] | None
    ) -> dict[str, Any]:
        """All in one piece."""


class Words:
    """Answers to one request of /v1/chat/completions."""

    def __init__(self, asked: ChatRequest, fingerprint: str) -> None:
        self.common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": fingerprint,
        }
        self._counts = asked.stream_options is not None and asked.stream_options.include_usage

    def opened(self, count: int) -> list[dict[str, Any]]:
        """The role of each."""
        return [self._chunk(n, {"role": "assistant", "content": ""}) for n in range(count)]

    def said(self, index: int, piece: Piece) -> dict[str, Any]:
        """A chunk."""
        return self._chunk(index, {"content": piece.text}, scored=piece.scored)

    def ended(self, index: int, end: Done) -> dict[str, Any]:
        """A chunk without words."""
        return self._chunk(index, {}, reason=REASONS.get(end.reason, end.reason))

    def closed(self, ends: Sequence[Done]) -> list[dict[str, Any]]:
        """What it cost, where the reader wants to know."""
        if not self._counts:
            return []
        told: dict[str, Any] = {"object": "chat.completion.chunk", "choices": []}
        return [{**self.common, **told, "usage": usage(ends)}]

    def broken(self, why: str) -> dict[str, Any]:
        """A fault."""
        return error(why, "server_error")

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        reason: str | None = None,
        scored: Sequence[Scored] = (),
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs(scored) if scored else None,
            "finish_reason": reason,
        }
        return {**self.common, "object": "chat.completion.chunk", "choices": [choice]}

    def whole(
        self, texts: Sequence[str], ends: Sequence[Done], scored: Sequence[Sequence[Scored]] | None
    ) -> dict[str, Any]:
        """A completion."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": logprobs(scored[index]) if scored else None,
                "finish_reason": REASONS.get(end.reason, end.reason),
            }
            for index, (text, end) in enumerate(zip(texts, ends, strict=True))
        ]
        return {
            **self.common,
            "object": "chat.completion",
            "choices": choices,
            "usage": usage(ends),
        }


def usage(ends: Sequence[Done]) -> dict[str, Any] | None:
    """Tokens read once and written in all; None where the backend does not tell."""
    written = [end.completion_tokens for end in ends]
    prompt = ends[0].prompt_tokens
    if prompt is None or None in written:
        return None
    total = sum(one or 0 for one in written)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": total,
        "total_tokens": prompt + total,
        "prompt_tokens_details": {"cached_tokens": ends[0].reused_tokens or 0},
    }


def logprobs(scored: Sequence[Scored]) -> dict[str, Any]:
    def one(text: str, value: float) -> dict[str, Any]:
        said = {"token": text, "logprob": max(value, LEAST_LOGPROB)}
        return {**said, "bytes": list(text.encode())}

    rows = [
        {**one(s.text, s.logprob), "top_logprobs": [one(*beside) for beside in s.top]}
        for s in scored
    ]
    return {"content": rows, "refusal": None}


def error(
    message: str, kind: str = "invalid_request_error", param: str | None = None, code: str = ""
) -> dict[str, Any]:
    """A fault as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code or None}}
