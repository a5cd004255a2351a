"""What runs in Ray's processes when one backend is spread over many: who reads photos, and who answers."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from looksay import images
from looksay.backends.base import Backend, LoadOptions, Profile
from looksay.backends.loading import load
from looksay.errors import BackendError, LooksayError
from looksay.types import Completion, Conversation, Image, Options

LINGER_S = 0.02
"""How long a backend waits for one more request while it has others in hand: it draws them in batches."""


@dataclass(frozen=True, slots=True)
class About:
    """What a replica says of its backend once it has loaded."""

    name: str
    fingerprint: str
    profile: Profile
    pid: int


@dataclass(frozen=True, slots=True)
class Fault:
    """An error on its way, of the class and words that it has: errors themselves need not be picklable."""

    kind: type[LooksayError]
    words: str

    @classmethod
    def of(cls, name: str, error: Exception) -> Fault:
        """What the backend `name` raised."""
        if isinstance(error, LooksayError):
            return cls(type(error), str(error))
        return cls(BackendError, f"{name}: {type(error).__name__}: {error}")

    @property
    def error(self) -> LooksayError:
        found = self.kind.__new__(self.kind)
        found.args = (self.words,)
        return found


class Reader:
    """Reads the photos of conversations, so that replicas need not: bytes travel, or fewer pixels where that is less.

    `home`: the reader (Ray's handle) that is asked for photos that are not seen here.
    """

    def __init__(self, home: Any = None) -> None:
        self._home = home

    def read(self, conversation: Conversation, reads_px: int | None) -> Conversation:
        """The conversation with its photos in it; `reads_px` as in `Profile`. What cannot be read stays as it is: the
        backend says what is wrong."""
        messages = (
            replace(
                message,
                parts=tuple(
                    _carried(part, reads_px) if isinstance(part, Image) else part
                    for part in message.parts
                ),
            )
            for message in conversation.messages
        )
        found = replace(conversation, messages=tuple(messages))
        if self._home is not None and any(isinstance(one.source, Path) for one in found.images):
            import ray

            found = ray.get(self._home.read.remote(found, reads_px))
        return found

    def ready(self) -> None:
        """Returns once this process is there."""


def _carried(image: Image, reads_px: int | None) -> Image:
    if not isinstance(image.source, Path):
        return image
    try:
        data = image.source.read_bytes()
        if reads_px and _rgb_bytes(data, reads_px) < len(data):
            return replace(image, source=images.load_rgb(data, max_side_px=reads_px))
    except (OSError, LooksayError):
        return image
    return replace(image, source=data)


def _rgb_bytes(data: bytes, side_px: int) -> int:
    """What a picture takes once it is shrunk to that longest side. Raises UnreadablePhoto."""
    with images.open_image(data) as picture:
        shrunk = min(1.0, side_px / max(picture.size))
        return int(3 * picture.width * picture.height * shrunk**2)


@dataclass(eq=False, slots=True)
class _Asked:
    conversation: Conversation
    options: Options
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Completion | Fault]

    def tell(self, outcome: Completion | Fault) -> None:
        self.loop.call_soon_threadsafe(self.answer.set_result, outcome)


class Replica:
    """A loaded backend, asked by as many callers as there are; one `Backend.complete` at a time answers them all.

    Nothing is raised, faults are returned: Ray would write the traceback into its logs, and what was asked with it.
    """

    def __init__(self, name: str, options: LoadOptions) -> None:
        self._name, self._options = name, options
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._next: _Asked | None = None

    async def load(self) -> About | Fault:
        """Load the backend. Called once, before all else."""
        import os

        try:
            self._backend: Backend = await asyncio.to_thread(load, self._name, self._options)
        except Exception as error:
            return Fault.of(self._name, error)
        threading.Thread(target=self._answer_all, name="looksay-replica", daemon=True).start()
        backend = self._backend
        return About(backend.name, backend.fingerprint, backend.profile, os.getpid())

    async def last(self) -> None:
        """Never returns: who waits for it hears when this process dies."""
        await asyncio.Event().wait()

    async def answer(self, conversation: Conversation, options: Options) -> Completion | Fault:
        loop = asyncio.get_running_loop()
        asked = _Asked(conversation, options, loop, loop.create_future())
        self._asked.put(asked)
        return await asked.answer

    def _answer_all(self) -> None:
        while True:
            first = self._next or self._asked.get()
            self._next = None
            in_hand: dict[int, _Asked] = {}
            fault = Fault(BackendError, f"{self._name} left a request without an answer.")
            try:
                for completion in self._backend.complete(self._fed(first, in_hand), first.options):
                    in_hand.pop(completion.index).tell(completion)
            except Exception as error:
                fault = Fault.of(self._name, error)
            for asked in in_hand.values():
                asked.tell(fault)

    def _fed(self, first: _Asked, in_hand: dict[int, _Asked]) -> Iterator[Conversation]:
        """Requests as they come; it ends where none comes while others are in hand, or where one has other options."""
        number, one = 0, first
        while True:
            in_hand[number] = one
            number += 1
            yield one.conversation
            try:
                one = self._asked.get(timeout=LINGER_S if in_hand else None)
            except queue.Empty:
                return
            if one.options != first.options:
                self._next = one
                return
