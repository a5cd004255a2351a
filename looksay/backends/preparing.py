"""Many conversations through an engine: each is drawn, read and made ready by threads of their own before its turn, so
that the model never waits for a photo to be decoded.

Conversations are drawn in the caller's thread, in order, twice as many as are answered at once: while some are
written, as many are made ready, `engine.READY_BYTES` of them at a time.
"""

from __future__ import annotations

import os
import queue
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, cast

from looksay.backends.engine import Engine
from looksay.backends.opening import open_engine
from looksay.backends.tickets import Event, Fault, Piece, Ticket
from looksay.types import CONFIDENCE, Completion, Conversation, FinishReason, Options

if TYPE_CHECKING:
    from looksay.backends.base import Backend

ROWS = {"cpu": 16, "mps": 8, "cuda": 16}
"""Answers that are written at once, by device: a step of one row reads all weights, and so does one of 16."""
AHEAD = 2
"""So many times what is answered at once is drawn."""
MEMORY_SHARE, MEMORY_LEAST = 0.125, 192 << 20
"""Keys and values of the rows take that share of the weights' memory, or so many bytes: fewer rows of a model that
remembers much."""
LANES = 2
"""Batches beside each other where photos are many. On two cores `mini` describes 1.3 to 1.4 times as fast as in one batch,
LLaVA-0.5B in float32 1.07 to 1.12 times (docs/performance.md): neither core waits for the other after every operation."""
Said = Callable[[Ticket, str], str]
"""What counts of the whole text of an answer."""


def side_by_side(
    backend: Backend,
    conversations: Iterable[Conversation],
    options: Options,
    rows: int,
    said: Said = lambda ticket, text: text,
) -> Iterator[Completion]:
    """`Backend.complete` of a backend that has `steps`."""
    from looksay.backends._kept import weight_bytes

    weights = weight_bytes(backend.steps.model)  # type: ignore[attr-defined]
    memory = max(MEMORY_LEAST, int(MEMORY_SHARE * weights))
    engine = open_engine(backend, waiting=AHEAD * rows, rows=rows, memory=memory, lanes=LANES)
    try:
        yield from completed(engine, conversations, options, rows, said)
    finally:
        engine.close()


def threads() -> int:
    """How many make photos ready: half of the cores, the model has the rest."""
    return max(1, min(4, (os.cpu_count() or 1) // 2))


def completed(
    engine: Engine,
    conversations: Iterable[Conversation],
    options: Options,
    at_once: int,
    said: Said = lambda ticket, text: text,
) -> Iterator[Completion]:
    """Each conversation's answer as it is there, as `Backend.complete` has it, with as much time as it takes.

    `at_once`: how many the engine answers at a time; `said`: what counts of a whole answer's text.
    """
    events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
    patient = replace(options, timeout_s=float("inf"))
    source = enumerate(conversations)
    waiting: dict[int, Ticket] = {}
    texts = defaultdict[int, str](str)
    with ThreadPoolExecutor(threads(), thread_name_prefix="looksay-ready") as pool:
        try:
            while True:
                for index, talk in islice(source, AHEAD * at_once - len(waiting)):
                    ticket = Ticket(talk, patient, deliver=_numbered(events, index), whole=True)
                    waiting[index] = ticket
                    pool.submit(engine.submit_in_time, ticket)
                if not waiting:
                    return
                index, event = events.get()
                if isinstance(event, Piece):
                    texts[index] += event.text
                    continue
                ticket, text = waiting.pop(index), texts.pop(index, "")
                if isinstance(event, Fault):
                    yield Completion(index, error=event.why, finish_reason="error")
                else:
                    yield Completion(
                        index,
                        said(ticket, text).strip(),
                        event.prompt_tokens,
                        event.completion_tokens,
                        event.seconds,
                        event.cost_usd,
                        cast(FinishReason, event.reason),
                        details={} if event.confidence is None else {CONFIDENCE: event.confidence},
                    )
        finally:
            for ticket in waiting.values():
                ticket.cancel()
            with engine.ready:
                engine.ready.notify_all()  # whoever waits to make one of them ready


def _numbered(events: queue.SimpleQueue[tuple[int, Event]], index: int) -> Callable[[Event], None]:
    return lambda event: events.put((index, event))
