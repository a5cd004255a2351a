"""Deterministic answers for tests and dry runs: the image's size and digest, no model at all."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from looksay.backends.base import LoadOptions, Profile
from looksay.types import Completion, Conversation, Image, Options


@dataclass(frozen=True, slots=True)
class Echo:
    """Answers "Echo 0123456789." where the digits come from the bytes of the images and the text.

    `model` may hold a delay in seconds ("echo:0.05"), so that interruptions can be tried.
    """

    delay_s: float = 0.0

    @property
    def name(self) -> str:
        return f"echo:{self.delay_s:g}" if self.delay_s else "echo"

    fingerprint = "echo-1"
    profile = Profile(draft=True)

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, conversation in enumerate(conversations):
            started = time.perf_counter()
            time.sleep(self.delay_s)
            try:
                text = self._answer(conversation)
            except OSError as error:
                yield Completion(index, error=str(error), finish_reason="error")
                continue
            seconds = time.perf_counter() - started
            yield Completion(index, text, len(text.split()), 2, seconds)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield from re.findall(r"\S+\s*", self._answer(conversation))

    @staticmethod
    def _answer(conversation: Conversation) -> str:
        digest = hashlib.sha256()
        for message in conversation.messages:
            for part in message.parts:
                digest.update(part.encode() if isinstance(part, str) else _bytes(part))
        return f"Echo {int.from_bytes(digest.digest()[:4]):010d}."


def _bytes(image: Image) -> bytes:
    source = image.source
    if isinstance(source, bytes):
        return source
    if isinstance(source, Path):
        return source.read_bytes()
    return f"{source.mode} {source.size}".encode() + source.tobytes()


def load(model: str, options: LoadOptions) -> Echo:
    return Echo(float(model or 0.0))


def discover() -> list[str]:
    return ["echo"]
