"""The nouns that every part shares. No torch, no image library: this module is the bottom of the house."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

CONFIDENCE = "confidence"
"""Key of `Completion.details`: mean log-probability (nats) of the answer's tokens, where a backend can tell."""

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "refusal", "error"]


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a conversation: a file, the bytes of one (any format that `looksay.images` reads), or
    a decoded picture."""

    source: Path | bytes | Pillow
    findings: Any = field(default=None, compare=False, repr=False)
    """What vision experts found in it (`looksay.experts.base.Findings`, or None), for models that read it: CoLLaVO,
    MoAI. No part of what names the image."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks, and the text and images in order."""

    role: Role
    parts: tuple[str | Image, ...]

    @property
    def text(self) -> str:
        return "\n".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> list[Image]:
        return [part for part in self.parts if isinstance(part, Image)]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order. A caption request, a chat turn and a benchmark item are all conversations.

    `hints` carries what a backend without language understanding may use directly (the language
    wanted, say); a backend is free to ignore it, and it is part of no resume key.
    """

    messages: tuple[Message, ...]
    hints: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def ask(cls, *parts: str | Image, system: str | None = None) -> Conversation:
        """A single question: an optional system message, then one user turn."""
        head = (Message("system", (system,)),) if system else ()
        return cls((*head, Message("user", parts)))

    @property
    def images(self) -> list[Image]:
        return [image for message in self.messages for image in message.images]


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to learn from or to be measured on: the assistant's turns are the right answers.

    `truth` carries what a metric or an objective may want besides (boxes, a scene, a question's type).
    """

    id: str
    conversation: Conversation
    truth: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """How to answer. Everything here is part of the resume key, save the time limit."""

    max_tokens: int = 300
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to conversation number `index` (order in which a backend drew them), or its error.

    Example: Completion(index=3, text="A dog on a beach.", prompt_tokens=812, completion_tokens=6,
    seconds=1.9, cost_usd=0.0021, finish_reason="stop", error=None, details={}).
    """

    index: int
    text: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    cost_usd: float = 0.0
    finish_reason: FinishReason = "stop"
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, as published by the provider."""

    prompt_usd: float
    completion_usd: float

    def cost(self, prompt_tokens: int | None, completion_tokens: int | None) -> float:
        return (
            self.prompt_usd * (prompt_tokens or 0) + self.completion_usd * (completion_tokens or 0)
        ) / 1e6
