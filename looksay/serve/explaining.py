"""POST /api/explain: where a model looked when it said an answer."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from looksay.backends.tickets import Unsupported
from looksay.errors import InputError
from looksay.serve import wire
from looksay.serve.shelf import Shelf
from looksay.types import Image


class Request(BaseModel):
    """A conversation whose last message is the model's answer."""

    model: str
    messages: Annotated[list[wire.ChatMessage], Field(min_length=2, max_length=wire.MAX_MESSAGES)]


class Experts:
    """Vision experts by name, loaded when they are first asked, and what they find in sentences."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._lock = threading.Lock()
        self._loaded: list[Any] = []

    def told(self, images: Sequence[Image]) -> str | None:
        """What they see in the pictures; None where none are asked. Raises LooksayError."""
        if not self.names:
            return None
        from looksay.experts import verbalise
        from looksay.experts.base import merged
        from looksay.experts.loading import load

        with self._lock:
            self._loaded = self._loaded or [load(name) for name in self.names]
            lines = [
                verbalise.moai(merged([expert.find(image.source) for expert in self._loaded]))
                or "Nothing found."
                for image in images
            ]
        if len(lines) == 1:
            return lines[0]
        return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def answer(
    shelf: Shelf, asked: Request, fetch: wire.Fetch | None, experts: Experts
) -> dict[str, Any]:
    """For each picture an overlay (PNG) and words, and what the experts see. Raises InputError, UnreadablePhoto,
    Unsupported, UnknownName, MissingDependency."""
    *before, last = asked.messages
    if last.role != "assistant" or not isinstance(last.content, str) or not last.content.strip():
        raise InputError(
            "The last message is the answer to explain: expected the assistant's, with words."
        )
    talk = wire.conversation_of(before, fetch)
    if not talk.images:
        raise InputError("There is no picture in this conversation, so the model looked nowhere.")
    with shelf.serving(asked.model) as serving:
        looked = getattr(serving.backend, "looked", None)
        if looked is None:
            raise Unsupported(
                f"{asked.model} cannot say where it looked: only models that run here can, those of looksay (local:, "
                "mini) and chat models of the hub."
            )
        found = looked(talk, last.content)
    pictures = [
        {
            "image": number,
            "overlay": "data:image/png;base64," + base64.b64encode(one.png).decode(),
            "words": one.words,
        }
        for number, one in enumerate(found)
    ]
    return {"pictures": pictures, "experts": experts.told(talk.images)}
