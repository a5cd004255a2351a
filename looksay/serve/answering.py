"""One chat request on its way through the engine: pieces as they come, or the answer whole."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from fastapi.concurrency import run_in_threadpool

from looksay.backends.tickets import Done, Event, Fault, Piece, Scored, Ticket
from looksay.errors import InputError, LooksayError
from looksay.serve import wire
from looksay.serve.shelf import Serving, Shelf

LISTEN_S = 0.5
"""How often a client that waits for a whole answer is looked for."""


class ModelFault(LooksayError):
    """The model failed at this request."""


class Answering:
    """A request, its `n` answers, and the model that it holds until they are there."""

    def __init__(
        self,
        shelf: Shelf,
        asked: wire.ChatRequest,
        client: str,
        timeout_s: float,
        fetch: wire.Fetch | None,
        form: Callable[[wire.ChatRequest, str], wire.Form] = wire.Words,
    ) -> None:
        self.shelf, self.asked, self.client = shelf, asked, client
        self.timeout_s, self.fetch, self._form = timeout_s, fetch, form
        self.count = asked.n or 1
        self.events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self.tickets: list[Ticket] = []
        self.first: Callable[[], None] = lambda: None
        """Called when the first word is there."""
        self.ended: Callable[[list[Done]], None] = lambda ends: None
        self._holding = ExitStack()

    async def begin(self) -> None:
        """Load the model if need be, make the prompt and put it in line. Raises what is wrong with the request."""
        loop = asyncio.get_running_loop()

        def deliver(index: int) -> Callable[[Event], None]:
            def put(event: Event) -> None:
                with suppress(RuntimeError):  # the loop is closed: nobody reads
                    loop.call_soon_threadsafe(self.events.put_nowait, (index, event))

            return put

        try:
            await run_in_threadpool(self._begin, deliver)
        except BaseException:
            self.close()
            raise

    def _begin(self, deliver: Callable[[int], Callable[[Event], None]]) -> None:
        asked = self.asked
        wire.refuse_what_is_not_done(asked)
        wish = wire.wish_of(asked)
        options = wire.options_of(asked, self.timeout_s)
        serving: Serving = self._holding.enter_context(self.shelf.serving(asked.model))
        talk = wire.conversation_of(asked.messages, self.fetch)
        self.words = self._form(asked, serving.backend.fingerprint)
        for index in range(self.count):
            own = replace(options, seed=None if options.seed is None else options.seed + index)
            whole = not asked.stream
            ticket = Ticket(talk, own, self.client, wish, deliver(index), whole)
            self.tickets.append(serving.engine.submit(ticket))

    def close(self) -> None:
        """Nobody reads on: what is still being written is dropped, and the model let go."""
        for ticket in self.tickets:
            ticket.cancel()
        self._holding.close()

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events."""
        ends: dict[int, Done] = {}
        try:
            for told in self.words.opened(self.count):
                yield _event(told)
            while len(ends) < self.count:
                index, event = await self.events.get()
                if isinstance(event, Fault):
                    yield _event(self.words.broken(event.why))
                    break
                if isinstance(event, Done):
                    ends[index] = event
                    yield _event(self.words.ended(index, event))
                    continue
                self.first()
                yield _event(self.words.said(index, event))
            else:
                done = [ends[index] for index in range(self.count)]
                for told in self.words.closed(done):
                    yield _event(told)
                self.ended(done)
            yield b"data: [DONE]\n\n"
        finally:
            self.close()

    async def whole(self, gone: Callable[[], Awaitable[bool]]) -> dict[str, Any]:
        """The answer in one piece. Raises ModelFault and TimeoutError."""
        texts = [""] * self.count
        scored: list[list[Scored]] = [[] for _ in texts]
        ends: dict[int, Done] = {}
        try:
            listened = time.monotonic()
            while len(ends) < self.count:
                if time.monotonic() - listened > LISTEN_S:
                    if await gone():
                        raise ModelFault("The client is gone.")
                    listened = time.monotonic()
                try:
                    index, event = await asyncio.wait_for(self.events.get(), LISTEN_S)
                except TimeoutError:
                    continue
                if isinstance(event, Fault):
                    raise _raised(event)
                if isinstance(event, Piece):
                    self.first()
                    texts[index] += event.text
                    scored[index] += event.scored
                else:
                    ends[index] = event
            done = [ends[index] for index in range(self.count)]
            self.ended(done)
            told = scored if self.asked.logprobs else None
            return self.words.whole(texts, done, told)
        finally:
            self.close()


def _raised(fault: Fault) -> Exception:
    if fault.kind == "timeout":
        return TimeoutError(fault.why)
    return InputError(fault.why) if fault.kind == "request" else ModelFault(fault.why)


def _event(what: dict[str, Any]) -> bytes:
    named = f"event: {what['type']}\n" if "type" in what else ""
    return f"{named}data: {json.dumps(what, ensure_ascii=False)}\n\n".encode()
