"""A dialogue with backends: a generator that yields a Request, is sent the Completion, and returns what came of it.

Whether the answer comes from a file, from the backend or from a test it does not know: `alone` holds one here and now,
`looksay.data.dialogues.hold` many at a time, resumed from a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from looksay.backends.base import Backend, spelled
from looksay.errors import BackendError
from looksay.types import Completion, Conversation, Message, Options

T = TypeVar("T")
TRIES = 3
"""So often in all one thing is asked of a model that answers in the wrong form."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a backend; `what` it is for, in a word, stands in the file."""

    what: str
    backend: Backend
    conversation: Conversation
    options: Options

    @property
    def key(self) -> str:
        """Digest of all that the answer depends on (not the time limit). Raises OSError where a picture is gone."""
        how = {k: v for k, v in asdict(self.options).items() if k != "timeout_s"}
        facts = [self.backend.fingerprint, spelled(self.conversation), how]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


Dialogue = Generator[Request, Completion, T]


@dataclass(frozen=True, slots=True)
class Aside:
    """What a dialogue comes to whose model never answered in a form that can be used: the last reason and answer."""

    reason: str
    text: str


class Unfit(Exception):
    """An answer that cannot be used; the message says why, to the model as well."""


def insist(
    request: Request, read: Callable[[Completion], T], again: str, tries: int = TRIES
) -> Dialogue[T | Aside]:
    """Ask until `read` takes the answer instead of raising Unfit, each time telling what was wrong with the last
    (`again`, a text with {reason}); at most so many `tries`. A refusal is never fit."""
    reason = text = ""
    for _ in range(tries):
        said = yield request
        text = said.text
        try:
            if said.finish_reason == "refusal":
                raise Unfit("the model refused")
            return read(said)
        except Unfit as fault:
            reason = str(fault)
        told = Message("assistant", (text or "(nothing)",))
        asked = Message("user", (again.format(reason=reason),))
        longer = Conversation((*request.conversation.messages, told, asked))
        request = replace(request, conversation=longer)
    return Aside(reason, text)


def alone(dialogue: Dialogue[T]) -> T:
    """Hold one dialogue, each request when it comes. Raises BackendError where one has no answer."""
    try:
        request = next(dialogue)
        while True:
            said = next(iter(request.backend.complete([request.conversation], request.options)))
            if said.error:
                raise BackendError(f"{request.backend.name}: {said.error}")
            request = dialogue.send(said)
    except StopIteration as stop:
        result: T = stop.value
        return result
