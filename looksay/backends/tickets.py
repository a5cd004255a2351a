"""Requests on their way through an engine, and the events of their answers."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from looksay.errors import LooksayError
from looksay.types import Conversation, Options


class Busy(LooksayError):
    """The queue is full, or closing: come again in `after_s` seconds."""

    def __init__(self, after_s: float, why: str) -> None:
        super().__init__(why)
        self.after_s = after_s


class Unsupported(LooksayError):
    """This backend cannot do what was asked of it beyond answering."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One id of an answer: its text and log-probability (nats), and those of the likeliest beside it."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is new and will not change."""

    text: str
    scored: tuple[Scored, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer. Counts are None where the backend does not tell."""

    reason: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reused_tokens: int | None = None
    cost_usd: float = 0.0
    seconds: float = 0.0
    """Of the model's time: of what several rows share, each has its part."""
    confidence: float | None = None
    """Mean log-probability (nats) of the ids of the answer, its end included."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no answer, or no more of it."""

    why: str
    kind: Literal["request", "timeout", "model"] = "model"


Event = Piece | Done | Fault


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked beyond `Options`, of models that write word by word here."""

    logprobs: int | None = None
    """So many of the likeliest ids beside each of the answer; None: no log-probabilities."""
    grammar: str | None = None
    """A JSON schema that the answer follows."""

    @property
    def plain(self) -> bool:
        return self.logprobs is None and self.grammar is None


@dataclass(eq=False)
class Ticket:
    """A request, from its submission to its last event. Iterating yields its events."""

    conversation: Conversation
    options: Options
    client: str = ""
    wish: Wish = Wish()
    deliver: Callable[[Event], None] | None = None
    """Called from the engine's thread with each event, instead of iterating; it must not wait."""
    whole: bool = False
    """The answer is wanted in one piece."""
    prompt: Any = None
    size_bytes: int = 0
    """Of its prompt, as long as that is not read."""
    submitted: float = field(default_factory=time.monotonic)
    number: int = 0
    """Its place among those that came."""
    beside: int | None = None
    """At most so many others may be at work while it is read: with more, memory was short for it."""
    overtaken: int = 0
    """How often another was taken before it that came later."""
    begun: float = 0.0
    """When its turn came."""
    cancelled: bool = False
    ended: bool = False
    """Its last event is given, or nobody waits for one."""
    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)

    def give(self, event: Event) -> None:
        (self.deliver or self.events.put)(event)

    def cancel(self) -> None:
        """Nobody reads the answer any more: the engine stops writing it. No event follows."""
        self.cancelled = True

    @property
    def late(self) -> bool:
        return time.monotonic() - self.submitted > self.options.timeout_s

    def __iter__(self) -> Iterator[Event]:
        while True:
            event = self.events.get()
            yield event
            if not isinstance(event, Piece):
                return


def too_late(ticket: Ticket) -> Fault:
    """What is told to who waited as long as they wished to."""
    return Fault(f"No answer within {ticket.options.timeout_s:g} seconds.", "timeout")
