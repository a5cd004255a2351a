"""One queue in front of a model: requests of many clients, answered side by side.

    engine = open_engine(backend)       # looksay.backends.opening
    ticket = engine.submit(Ticket(conversation, options, client="10.0.0.7"))
    for event in ticket: ...            # Piece, Piece, …, Done (or Fault)

A model that can (`Steps`) writes all answers at once, one word of each at a time; a new request joins between two
words, one that ends makes room. Other backends answer as many at once as their profile says. Clients take turns, so
that nobody waits for another's hundred; a queue that is full refuses (`Busy`), a client who is gone is dropped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol

from looksay.backends.tickets import Busy, Done, Fault, Piece, Ticket, Unsupported, too_late
from looksay.errors import LooksayError
from looksay.types import Completion

if TYPE_CHECKING:
    from looksay.backends.base import Backend

WAITING = 128
"""Requests that may wait; the next is refused."""
OVERTAKEN = 8
"""Times that others of the same client may come before a request."""
Like = Callable[[Ticket], bool]
READY_BYTES = 32 << 20
"""Of prompts that lie ready: with so many, no further one is made in advance."""


class Line:
    """Who waits. Clients take turns; each one's requests keep their order. The caller holds the lock."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Ticket]] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[Ticket]:
        for own in self._waiting.values():
            yield from own

    def put(self, ticket: Ticket) -> None:
        ticket.number = next(self._numbers)
        self._waiting.setdefault(ticket.client, deque()).append(ticket)

    def first(self, like: Like | None = None) -> Ticket | None:
        """Whose turn it is; they stay in line. `like`: which of a client's requests come well now; they may overtake
        one that came before them, which happens to it at most `OVERTAKEN` times."""
        if not self._waiting:
            return None
        own = next(iter(self._waiting.values()))
        if like is None or own[0].overtaken >= OVERTAKEN:
            return own[0]
        return next(filter(like, own), own[0])

    def take(self, like: Like | None = None) -> Ticket:
        """The one whose turn it is; their client's next request waits behind the other clients'."""
        ticket = self.first(like)
        assert ticket is not None
        own = self._waiting.pop(ticket.client)
        if ticket is not own[0]:
            own[0].overtaken += 1
        own.remove(ticket)
        if own:
            self._waiting[ticket.client] = own
        return ticket

    def back(self, ticket: Ticket) -> None:
        """One that was taken stands again where it stood among its client's, whose turn it is."""
        own = self._waiting.pop(ticket.client, deque())
        own.insert(sum(one.number < ticket.number for one in own), ticket)
        self._waiting = {ticket.client: own, **self._waiting}

    def drop(self, gone: Callable[[Ticket], bool]) -> list[Ticket]:
        """Remove those who are gone, and return them."""
        found = [ticket for own in self._waiting.values() for ticket in own if gone(ticket)]
        for ticket in found:
            own = self._waiting[ticket.client]
            own.remove(ticket)
            if not own:
                del self._waiting[ticket.client]
        return found


@dataclass(frozen=True, slots=True)
class Load:
    """How busy an engine is, and what it has done since it began."""

    waiting: int
    running: int
    answered: int
    faults: int
    words: int
    reused: int


class Worker(Protocol):
    """What an engine's threads do with the tickets."""

    threads: int

    def check(self, ticket: Ticket) -> None:
        """Make a ticket ready, in its client's thread. Raises what is wrong with it."""

    def work(self, engine: Engine) -> None:
        """Answer tickets until `engine.closed`."""


class Engine:
    """The queue and its threads."""

    def __init__(self, name: str, worker: Worker, waiting: int = WAITING) -> None:
        self.name, self.worker, self.most = name, worker, waiting
        self.line = Line()
        self.ready = threading.Condition()
        self.closing = False
        self.running = self.answered = self.faults = self.words = self.reused = 0
        self._pace_s = 1.0
        self._threads = [
            threading.Thread(
                target=worker.work, args=(self,), name=f"looksay-engine-{name}-{n}", daemon=True
            )
            for n in range(worker.threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, ticket: Ticket) -> Ticket:
        """Put a request in line. Raises Busy, Unsupported, and what is wrong with the request itself (InputError,
        UnreadablePhoto)."""
        with self.ready:
            self._room()
        self.worker.check(ticket)
        with self.ready:
            self._room()
            self.line.put(ticket)
            self.ready.notify_all()
        return ticket

    def submit_in_time(self, ticket: Ticket) -> None:
        """The same, once little enough lies ready; nothing where the request is cancelled meanwhile. What is wrong with
        it is told as its last event."""

        def wanted() -> bool:
            ready_bytes = sum(waiting.size_bytes for waiting in self.line)
            return ready_bytes < READY_BYTES or ticket.cancelled or self.closing

        with self.ready:
            self.ready.wait_for(wanted)
        if ticket.cancelled:
            return
        try:
            self.submit(ticket)
        except Exception as error:  # one picture or odd text stops no run
            ticket.give(Fault(str(error) if isinstance(error, LooksayError) else told(error)))

    def _room(self) -> None:
        if self.closing:
            raise Busy(1.0, f"{self.name} is closing. Come again when the server is back.")
        if len(self.line) >= self.most:
            self._forget()
        if len(self.line) >= self.most:
            wait_s = max(1.0, self._pace_s * (self.most + self.running) / max(1, self.running))
            raise Busy(
                wait_s,
                f"{self.most} requests wait for {self.name} already, which is as many as may. Come again in "
                f"{wait_s:.0f} seconds.",
            )

    def next(
        self, wait: bool = True, like: Like | None = None, fits: Like | None = None
    ) -> Ticket | None:
        """For workers: whose turn it is, as `Line.first` has it; None where nobody waits (with `wait`, only once the
        engine has closed), or, without `wait`, where they do not fit now."""
        with self.ready:
            while True:
                self._forget()
                first = self.line.first(like)
                if first is not None and (fits is None or fits(first)):
                    self.running += 1
                    ticket = self.line.take(like)
                    ticket.begun = time.monotonic()
                    self.ready.notify_all()  # there is room for another
                    return ticket
                if not wait or (self.closing and first is None):
                    return None
                self.ready.wait(timeout=0.5)

    def peek(self) -> Ticket | None:
        """For workers: whose turn it would be."""
        with self.ready:
            self._forget()
            return self.line.first()

    def _forget(self) -> None:
        for ticket in self.line.drop(lambda one: one.cancelled or one.late):
            if not ticket.cancelled:
                self.faults += 1
                ticket.give(too_late(ticket))

    def back(self, ticket: Ticket) -> None:
        """For workers: nothing came of a ticket, which has its turn again."""
        with self.ready:
            self.running -= 1
            self.line.back(ticket)
            self.ready.notify_all()

    def left(self, ticket: Ticket, event: Done | Fault | None) -> None:
        """For workers: a ticket is done with (None: its client is gone)."""
        with self.ready:
            if ticket.ended:
                return
            ticket.ended = True
            self.running -= 1
            if isinstance(event, Done):
                self.answered += 1
                self.words += event.completion_tokens or 0
                self.reused += event.reused_tokens or 0
                took = time.monotonic() - ticket.begun
                self._pace_s += 0.2 * (took - self._pace_s)
            elif isinstance(event, Fault):
                self.faults += 1
            self.ready.notify_all()  # who did not fit beside it may fit now
        if event is not None:
            ticket.give(event)

    def load(self) -> Load:
        with self.ready:
            return Load(
                len(self.line), self.running, self.answered, self.faults, self.words, self.reused
            )

    @property
    def alive(self) -> bool:
        """Whether all its threads live, or it has been told to close."""
        return self.closing or all(thread.is_alive() for thread in self._threads)

    def close(self, wait_s: float = 30.0) -> bool:
        """Take nothing more, answer what is there; whether all was answered in time. What was not is told so."""
        with self.ready:
            self.closing = True
            self.ready.notify_all()
        deadline = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        ended = not any(thread.is_alive() for thread in self._threads)
        with self.ready:
            for ticket in self.line.drop(lambda one: True):
                ticket.give(Fault(f"{self.name} has closed."))
        return ended


class Turns:
    """Any backend, as many requests at once as its profile says, each by itself."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.threads = max(1, backend.profile.concurrency)

    def check(self, ticket: Ticket) -> None:
        if not ticket.wish.plain:
            what = "log-probabilities" if ticket.wish.logprobs is not None else "a JSON schema"
            raise Unsupported(
                f"{self.backend.name} gives no {what}: only models that write word by word on this machine do "
                "(LLaVA and its kin, chat models of the hub). Leave it out, or choose such a model."
            )

    def work(self, engine: Engine) -> None:
        while ticket := engine.next():
            try:
                end = self._whole(ticket) if ticket.whole else self._streamed(ticket)
            except LooksayError as error:
                end = Fault(str(error))
            except Exception as error:  # a fault of one request stops no other
                end = Fault(told(error))
            engine.left(ticket, end)

    def _whole(self, ticket: Ticket) -> Done | Fault | None:
        (found,) = self.backend.complete([ticket.conversation], ticket.options)
        if ticket.cancelled:
            return None
        return _ended(ticket, found)

    def _streamed(self, ticket: Ticket) -> Done | Fault | None:
        pieces = self.backend.stream(ticket.conversation, ticket.options)
        for text in pieces:
            if ticket.cancelled:
                close: Callable[[], None] | None = getattr(pieces, "close", None)
                if close is not None:
                    close()
                return None
            if ticket.late:
                return too_late(ticket)
            ticket.give(Piece(text))
        return Done("stop")


def _ended(ticket: Ticket, found: Completion) -> Done | Fault:
    if found.error is not None:
        return Fault(found.error)
    if found.text:
        ticket.give(Piece(found.text))
    return Done(
        found.finish_reason,
        found.prompt_tokens,
        found.completion_tokens,
        cost_usd=found.cost_usd,
        seconds=found.seconds,
    )


def told(error: Exception) -> str:
    """A fault that nobody foresaw, in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
