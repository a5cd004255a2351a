"""POST /v1/responses: OpenAI's newer form of the same questions and answers.

Nothing is remembered between requests: who goes on sends what was said before.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from looksay.backends.tickets import Done, Piece, Scored
from looksay.serve import wire

NOT_DONE: dict[str, tuple[Any, ...]] = {
    "background": (None, False),
    "conversation": (None,),
    "include": (None, []),
    "max_tool_calls": (None,),
    "previous_response_id": (None,),
    "prompt": (None,),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
}
"""Fields that would change the answer, and the values with which they do not."""


class InputText(BaseModel):
    type: Literal["input_text", "output_text"]
    text: Annotated[str, Field(max_length=wire.MAX_TEXT)]


class InputImage(BaseModel):
    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high", "original"] = "auto"


InputPart = Annotated[InputText | InputImage, Field(discriminator="type")]


class InputMessage(BaseModel):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=wire.MAX_TEXT)] | list[InputPart]


class TextFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, Field(max_length=64)] = "answer"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class TextForm(BaseModel):
    format: TextFormat | None = None


class Request(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: (
        Annotated[str, Field(max_length=wire.MAX_TEXT)]
        | Annotated[list[InputMessage], Field(min_length=1, max_length=wire.MAX_MESSAGES)]
    )
    instructions: Annotated[str, Field(max_length=wire.MAX_TEXT)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    text: TextForm | None = None
    user: str | None = None

    def chat(self) -> wire.ChatRequest:
        """The same as a chat. Raises InputError for what is not done."""
        wire.refuse_what_is_not_done(self, NOT_DONE)
        said = self.input
        turns = [InputMessage(role="user", content=said)] if isinstance(said, str) else said
        messages = [{"role": one.role, "content": _content(one)} for one in turns]
        if self.instructions:
            messages.insert(0, {"role": "system", "content": self.instructions})
        form = self.text.format if self.text else None
        wanted_form: dict[str, Any] | None = None
        if form is not None and form.type == "json_schema":
            wanted_form = {"type": "json_schema"}
            if form.schema_ is not None:
                wanted_form["json_schema"] = {"name": form.name, "schema": form.schema_}
        elif form is not None:
            wanted_form = {"type": form.type}
        return wire.ChatRequest.model_validate(
            {
                "model": self.model,
                "messages": messages,
                "max_completion_tokens": self.max_output_tokens,
                "stream": self.stream,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "response_format": wanted_form,
                "user": self.user,
            }
        )


def _content(message: InputMessage) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str):
        return message.content
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, InputText)
        else {"type": "image_url", "image_url": {"url": part.image_url}}
        for part in message.content
    ]


class Words:
    """The answer, as this form writes it (`wire.Form`): one, in one message."""

    def __init__(self, asked: wire.ChatRequest, fingerprint: str) -> None:
        self._number = 0
        self._text = ""
        self._end: Done | None = None
        self._item = f"msg_{uuid.uuid4().hex}"
        self._common = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": asked.model,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {"system_fingerprint": fingerprint},
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "tools": [],
            "temperature": asked.temperature,
            "top_p": asked.top_p,
        }

    def opened(self, count: int) -> list[dict[str, Any]]:
        """An empty message."""
        message = self._message("in_progress") | {"content": []}
        return [
            self._event("response.created", response=self._response("in_progress")),
            self._event("response.in_progress", response=self._response("in_progress")),
            self._event("response.output_item.added", output_index=0, item=message),
            self._event("response.content_part.added", **self._place, part=self._part("")),
        ]

    def said(self, index: int, piece: Piece) -> dict[str, Any]:
        """More of its text."""
        self._text += piece.text
        return self._event(
            "response.output_text.delta", **self._place, delta=piece.text, logprobs=[]
        )

    def ended(self, index: int, end: Done) -> dict[str, Any]:
        """All of its text."""
        self._end = end
        return self._event("response.output_text.done", **self._place, text=self._text, logprobs=[])

    def closed(self, ends: Sequence[Done]) -> list[dict[str, Any]]:
        """The message and the answer, whole."""
        done = self.whole([self._text], ends, None)
        (message,) = done["output"]
        kind = "response.completed" if done["status"] == "completed" else "response.incomplete"
        return [
            self._event("response.content_part.done", **self._place, part=self._part(self._text)),
            self._event("response.output_item.done", output_index=0, item=message),
            self._event(kind, response=done),
        ]

    def broken(self, why: str) -> dict[str, Any]:
        """A fault."""
        fault = {"code": "server_error", "message": why}
        return self._event("response.failed", response=self._response("failed") | {"error": fault})

    def whole(
        self, texts: Sequence[str], ends: Sequence[Done], scored: Sequence[Sequence[Scored]] | None
    ) -> dict[str, Any]:
        """The answer in one piece."""
        (self._text,) = texts
        cut = ends[0].reason == "length"
        status = "incomplete" if cut else "completed"
        counted = wire.usage(ends)
        told: dict[str, Any] = {"output": [self._message(status)]}
        if cut:
            told["incomplete_details"] = {"reason": "max_output_tokens"}
        if counted is not None:
            told["usage"] = {
                "input_tokens": counted["prompt_tokens"],
                "input_tokens_details": counted["prompt_tokens_details"],
                "output_tokens": counted["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": counted["total_tokens"],
            }
        return self._response(status) | told

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **more}

    def _response(self, status: str) -> dict[str, Any]:
        return {**self._common, "status": status, "output": []}

    def _message(self, status: str) -> dict[str, Any]:
        return {
            "id": self._item,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [self._part(self._text)],
        }

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
