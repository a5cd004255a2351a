"""Continuous batching: the engine's worker for models that write word by word (`_steps.Steps`).

Between two words of those that are being answered, new prompts are read, as far as `PROMPT_PLACES` and the memory
allow, and those that are complete leave. What a row says depends on nobody else's: each draws from its own source of
chance, and its scores are its own (to rounding: fp32 and greedy, the same words as alone).
"""

# ruff: noqa: N803, N806 (shape suffixes are capitals)

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from looksay.backends import _device
from looksay.backends._steps import Begun, Prompt, Steps
from looksay.backends.engine import Engine
from looksay.backends.tickets import Done, Fault, Piece, Scored, Ticket, too_late
from looksay.errors import InputError
from looksay.models import sharing
from looksay.models.mapped import give_back

Found = TypeVar("Found")
ROWS = 64
"""Answers that are written at once, at most."""
MEMORY = 4 << 30
"""Bytes for keys and values, where the device does not say how much is free."""
OF_FREE = 0.7
"""Of what is free on a GPU once the weights are there; the rest is for what passes through."""
PROMPT_PLACES = 512
"""Places of new prompts that are read between two words of the others: a longer one is read alone. So many times more
where there are no others."""
NOBODY = 8
GIVEN_BACK_S = 2.0
"""Between two times that memory is given back which was freed."""


@dataclass(eq=False)
class Row:
    """An answer that is being written."""

    ticket: Ticket
    prompt: Prompt
    said: Any
    chance: Any
    reused: int = 0
    seconds: float = 0.0
    token: int = 0
    """The id that was chosen last, which the next step reads."""
    matcher: Any = None
    scored: list[Scored] = field(default_factory=list)
    sure: float = 0.0
    """Log-probability of all that was chosen."""


@dataclass(frozen=True)
class Wrong:
    """What is left of an error when its traceback, and all that this held, is gone."""

    why: str
    no_memory: bool

    @classmethod
    def of(cls, error: Exception) -> Wrong:
        return cls(_device.reason(error), _device.out_of_memory(error))


def tried(work: Callable[[], Found]) -> Found | Wrong:
    """What `work` gives, or what went wrong with it; whatever it held is gone from memory then."""
    try:
        return work()
    except Exception as error:
        return Wrong.of(error)


class SideBySide:
    """Running batches in so many lanes, each with a thread of its own.

    Two lanes of one core each do more than one batch on two: torch waits for all cores after every operation, and for
    Python between two, while another lane has work for both. A lane that is alone takes all cores.
    """

    def __init__(
        self,
        name: str,
        steps: Steps,
        rows: int | None = None,
        memory: int = MEMORY,
        lanes: int = 1,
    ) -> None:
        self.name, self.steps = name, steps
        self.most_rows, self.cores = rows or ROWS, sharing.count()
        self.threads = max(1, min(lanes, self.most_rows, self.cores)) if steps.apart else 1
        free = _device.free_bytes(steps.device)
        room = memory if free is None else int(OF_FREE * free)
        self.places = max(4096, room // max(1, steps.place_bytes))
        self.lanes: list[Lane] = []
        self.grammars: Any = None

    def check(self, ticket: Ticket) -> None:
        """Make the prompt. Raises InputError, UnreadablePhoto, Unsupported."""
        ticket.prompt = self.steps.prompt(ticket.conversation)
        ticket.size_bytes = ticket.prompt.size_bytes
        room = self.steps.context
        if room is not None and ticket.prompt.length >= room:
            raise InputError(
                f"The conversation takes {ticket.prompt.length} of the {room} places that {self.name} has; nothing "
                "is left for an answer. Ask about fewer images, or start afresh."
            )
        if self.needs(ticket) > self.places:
            raise InputError(
                f"The conversation and its answer take {self.needs(ticket)} places, and there is memory for "
                f"{self.places}. Ask about fewer images, or set a smaller max_tokens."
            )
        if ticket.wish.grammar is not None:
            from looksay.backends import _grammar

            self.grammars = self.grammars or _grammar.Grammars(self.steps.tokenizer)
            self.grammars.check(ticket.wish.grammar)

    def needs(self, ticket: Ticket) -> int:
        most: int = ticket.prompt.length + ticket.options.max_tokens
        return most if self.steps.context is None else min(most, self.steps.context)

    def work(self, engine: Engine) -> None:
        """Turn by turn, until the engine closes."""
        lane = Lane(self)
        self.lanes.append(lane)
        lane.work(engine)

    @property
    def rows(self) -> list[Row]:
        """The answers that are being written."""
        return [row for lane in self.lanes for row in lane.rows]

    def share(self) -> int:
        """So many cores a lane takes now: its part, among those that have something to do."""
        return max(1, self.cores // max(1, sum(bool(lane.tickets) for lane in self.lanes)))

    def fits(self, ticket: Ticket, lane: Lane) -> bool:
        """Whether a lane may take a ticket now: as many as are to be answered at once, in as much memory."""
        every = [one.tickets for one in self.lanes if one is not lane] + [[*lane.tickets, ticket]]
        places = sum(max(map(self.needs, some)) * len(some) for some in every if some)
        most = -(-self.most_rows // self.threads)
        together = sum(map(len, every))
        limits = [one.beside for some in every for one in some if one.beside is not None]
        return (
            len(every[-1]) <= most
            and together <= self.most_rows
            and places <= self.places
            and together - 1 <= min(limits, default=together)
        )


class Lane:
    """One thread, one running batch."""

    def __init__(self, worker: SideBySide) -> None:
        self.worker, self.steps = worker, worker.steps
        self.rows: list[Row] = []
        self.new: list[Ticket] = []
        """Those that are being read."""
        self.given_back = time.monotonic()

    @property
    def tickets(self) -> list[Ticket]:
        return [*self.new, *(row.ticket for row in self.rows)]

    def work(self, engine: Engine) -> None:
        """Turn by turn, until the engine closes. Whatever goes wrong, nobody waits for a thread that is gone."""
        slots = self.steps.slots()
        while not (engine.closing and not self.rows and engine.peek() is None):
            wrong = tried(partial(self._turn, engine, slots))
            if isinstance(wrong, Wrong):
                self._broken(engine, slots, wrong)
            if not self.rows:
                slots = self.steps.slots()

    def _wait(self, engine: Engine) -> None:
        """Until there is something to do."""
        if not self.rows and (first := engine.next(fits=self._fits)):
            self.new = [first]

    def _turn(self, engine: Engine, slots: Any) -> None:
        """Wait for something to do, read what fits, and write one word of each."""
        self._wait(engine)
        with sharing.limited(self.worker.share()):
            self._go_on(engine, slots)

    def _go_on(self, engine: Engine, slots: Any) -> None:
        self._admit(engine, slots)
        self._sweep(engine, slots)
        if not self.rows:
            return
        started = time.perf_counter()
        scores_BV = self.steps.step([row.token for row in self.rows], slots)
        each = (time.perf_counter() - started) / len(self.rows)
        for row in self.rows:
            row.seconds += each
        self._choose(engine, slots, scores_BV)

    def _admit(self, engine: Engine, slots: Any) -> None:
        """Read the prompts that are taken, and others that fit beside them."""

        def as_long(ticket: Ticket) -> bool:
            return bool(ticket.prompt.length == self.new[-1].prompt.length)

        budget = PROMPT_PLACES if self.rows else NOBODY * PROMPT_PLACES
        while budget > sum(ticket.prompt.length for ticket in self.new):
            # What is as long as another is read together with it.
            like = as_long if self.new and self.steps.together else None
            ticket = engine.next(wait=False, like=like, fits=self._fits)
            if ticket is None:
                break
            self.new.append(ticket)
        # What is not read together is begun one by one, so that no two are held before they join.
        while self.new:
            some = self.new if self.steps.together else self.new[:1]
            with sharing.limited(self.worker.share()):
                self._begin(engine, slots, some)
            self.new = self.new[len(some) :]
            self._give_back()

    def _give_back(self) -> None:
        if time.monotonic() - self.given_back > GIVEN_BACK_S:
            give_back()
            self.given_back = time.monotonic()

    def _fits(self, ticket: Ticket) -> bool:
        return self.worker.fits(ticket, self)

    def _begin(self, engine: Engine, slots: Any, tickets: list[Ticket]) -> None:
        """Read prompts and say their first words. Where that fails, each is tried by itself."""
        if not tickets:
            return
        started = time.perf_counter()
        found = tried(lambda: self.steps.begin([ticket.prompt for ticket in tickets]))
        if isinstance(found, Wrong):
            if len(tickets) == 1:
                self._failed(engine, tickets[0], found)
                return
            for ticket in tickets:
                self._begin(engine, slots, [ticket])
            return
        each = (time.perf_counter() - started) / len(tickets)
        for ticket, begun in zip(tickets, found, strict=True):
            # It may be a grammar, a processor of the release, or no memory.
            wrong = tried(partial(self._join, engine, slots, ticket, begun, each))
            if isinstance(wrong, Wrong):
                self._failed(engine, ticket, wrong)

    def _failed(self, engine: Engine, ticket: Ticket, wrong: Wrong) -> None:
        """Tell a ticket what went wrong. One for which memory was short beside others has its turn again beside half as
        many, unless a part of its answer was heard."""
        others = sum(one is not ticket for lane in self.worker.lanes for one in lane.tickets)
        unheard = not ticket.ended and (ticket.whole or ticket.prompt.inputs is not None)
        again = wrong.no_memory and others > 0 and unheard
        if again and ticket.prompt.inputs is None:
            prepared = tried(partial(self.worker.check, ticket))
            if isinstance(prepared, Wrong):
                again, wrong = False, prepared
        if again:
            ticket.beside = others // 2
            engine.back(ticket)
        else:
            engine.left(ticket, Fault(wrong.why))

    def _join(
        self, engine: Engine, slots: Any, ticket: Ticket, found: Begun, seconds: float
    ) -> None:
        from looksay.models.decoding import seeded

        prompt: Prompt = ticket.prompt
        said = self.steps.transcript(prompt, ticket.options)
        row = Row(ticket, prompt, said, seeded(ticket.options.seed), found.reused, seconds)
        if ticket.wish.grammar is not None:
            row.matcher = self.worker.grammars.matcher(ticket.wish.grammar)
        row.prompt = ticket.prompt = Prompt(prompt.units)  # its pictures are read
        ticket.size_bytes = 0
        self.steps.keep(prompt.units, found.layers)
        if not self._say(engine, row, found.scores_V):
            slots.join(found.layers, found.ahead)
            self.rows.append(row)
            ticket.beside = None  # what it takes from now on grows slowly

    def _sweep(self, engine: Engine, slots: Any) -> None:
        """Let those go whose client is gone or whose time is over."""
        for at in reversed(range(len(self.rows))):
            ticket = self.rows[at].ticket
            if ticket.cancelled or ticket.late:
                self._leave(slots, at)
                engine.left(ticket, None if ticket.cancelled else too_late(ticket))

    def _broken(self, engine: Engine, slots: Any, wrong: Wrong) -> None:
        """A turn failed: where memory ran out beside others, the youngest makes room for them; else all are told."""
        every = len(self.worker.rows)
        if wrong.no_memory and self.rows and every > 1:
            self.worker.most_rows = min(self.worker.most_rows, every - 1)
            ticket = self.rows[-1].ticket
            self._leave(slots, len(self.rows) - 1)
            self._failed(engine, ticket, wrong)
            return
        broken, self.rows, self.new = self.tickets, [], []
        for ticket in broken:
            engine.left(ticket, Fault(wrong.why))

    def _choose(self, engine: Engine, slots: Any, scores_BV: Any) -> None:
        ended: list[tuple[int, bool]] = []
        for at, row in enumerate(self.rows):
            try:
                if self._say(engine, row, scores_BV[at]):
                    ended.append((at, True))
            except Exception as error:  # scores that are no numbers, say: this answer's fault alone
                ended.append((at, False))
                engine.left(row.ticket, Fault(_device.reason(error)))
        for at, whole in reversed(ended):
            if whole and not self.rows[at].ticket.whole:
                self._remember(slots, at)
            self._leave(slots, at)

    def _remember(self, slots: Any, at: int) -> None:
        """Keep what an answer that is complete was written from; where there is no memory for it, it is read anew."""
        row = self.rows[at]
        # The next turn of the same talk begins so. What was said last was never read.
        written = (*row.prompt.units, *row.said.ids[:-1])
        with suppress(MemoryError, RuntimeError):
            self.steps.keep(written, slots.copied(at))

    def _leave(self, slots: Any, at: int) -> None:
        slots.leave(at)
        last = self.rows.pop()
        if at < len(self.rows):
            self.rows[at] = last

    def _say(self, engine: Engine, row: Row, scores_V: Any) -> bool:
        """Choose a row's next id; whether it was its last. Its ticket is told."""
        from looksay.models.decoding import pick

        options, wish = row.ticket.options, row.ticket.wish
        scores_V = self.steps.bent(row.prompt, options, row.said.ids, scores_V).float()
        if row.matcher is not None:
            scores_V = row.matcher.allowed(scores_V)
        (row.token,) = pick(scores_V[None], options.temperature, options.top_p, [row.chance])
        row.sure += float(scores_V[row.token] - scores_V.logsumexp(-1))
        if wish.logprobs is not None:
            row.scored.append(self._scored(scores_V, row.token, wish.logprobs))
        ended = row.said.add(row.token)
        if row.matcher is not None and not ended:
            ended = row.matcher.take(row.token)
            if ended:
                row.said.reason = "stop"
        text = row.said.fresh() if ended or not row.ticket.whole else ""
        if text or (ended and row.scored):
            row.ticket.give(Piece(text, tuple(row.scored)))
            row.scored.clear()
        if ended:
            engine.left(
                row.ticket,
                Done(
                    row.said.reason,
                    row.prompt.length,
                    row.said.count,
                    row.reused,
                    seconds=row.seconds,
                    confidence=row.sure / len(row.said.ids),
                ),
            )
        return bool(ended)

    def _scored(self, scores_V: Any, token: int, top: int) -> Scored:
        chances_V = scores_V.log_softmax(-1)
        decode = self.steps.tokenizer.decode
        values, ids = chances_V.topk(top) if top else ((), ())
        beside = tuple((decode([int(i)]), float(v)) for i, v in zip(ids, values, strict=True))
        return Scored(decode([token]), float(chances_V[token]), beside)
