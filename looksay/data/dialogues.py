"""Dialogues with backends that are held once, however often they are begun: several at a time, resumed from a file.

A dialogue is a generator: it yields a Request, is sent the Completion, and returns what came of it. Whether the
answer comes from the file (`looksay.data.answers`) or from the backend it does not know, so a run that was killed
goes on where it was:

    def told(backend: Backend, image: Image) -> Dialogue[str]:
        said = yield Request("describe", backend, Conversation.ask(image, "What is this?"), Options())
        return said.text
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from looksay.backends.base import Backend
from looksay.backends.dialogue import TRIES, Aside, Dialogue, Request, Unfit, insist
from looksay.data.answers import Answers, as_answer
from looksay.errors import BackendError, plainly
from looksay.spending import Budget, Estimate, cost_usd, prompt_tokens
from looksay.types import Completion, Conversation, Options

__all__ = [
    "TRIES",
    "Aside",
    "Dialogue",
    "Request",
    "Unanswered",
    "Unfit",
    "estimated",
    "hold",
    "insist",
    "missing",
]

T = TypeVar("T")
_AHEAD = 64
"""Dialogues that wait for another backend than the one that is asked now."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What a dialogue comes to whose request failed; the next run asks it again."""

    reason: str


def missing(dialogues: Iterable[Dialogue[T]], answers: Answers) -> Iterator[Request]:
    """Of each dialogue that the file does not bring to its end the request that comes next: what is there to pay."""
    for dialogue in dialogues:
        try:
            request = next(dialogue)
            while (kept := answers.get(request.key)) is not None:
                request = dialogue.send(kept)
        except (StopIteration, OSError):
            continue
        yield request
        dialogue.close()


def estimated(
    to_come: Iterable[tuple[str, Backend, int]], answers: Answers, typical: Mapping[str, int]
) -> list[Estimate]:
    """What requests to come will take, by backend: each is (what, backend, tokens of its prompt), and its answer has
    the tokens that are `typical` of what it is for. Time is known where answers of every kind were kept."""
    counts: dict[tuple[int, str], int] = {}
    backends: dict[int, Backend] = {}
    prompts: dict[int, int] = {}
    for what, backend, tokens in to_come:
        which = id(backend)
        backends[which] = backend
        counts[which, what] = counts.get((which, what), 0) + 1
        prompts[which] = prompts.get(which, 0) + tokens
    found = []
    for which, backend in backends.items():
        profile = backend.profile
        kinds = {what: count for (of, what), count in counts.items() if of == which}
        completion = sum(count * typical[what] for what, count in kinds.items())
        each = [answers.seconds(what) for what in kinds]
        known = [s * count for s, count in zip(each, kinds.values(), strict=True) if s is not None]
        found.append(
            Estimate(
                backend.name,
                sum(kinds.values()),
                prompts[which],
                completion,
                cost_usd(profile.price, profile.remote, prompts[which], completion),
                sum(known) / profile.workers if len(known) == len(each) else None,
            )
        )
    return found


@dataclass(slots=True)
class _Lane:
    """What waits for one backend and one way of asking: keys, in order; and those in flight by their number."""

    backend: Backend
    options: Options
    keys: deque[str] = field(default_factory=deque)
    drawn: int = 0
    in_flight: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Turn(Generic[T]):
    name: str
    dialogue: Dialogue[T]
    request: Request


class _Holding(Generic[T]):
    def __init__(
        self,
        dialogues: Iterable[tuple[str, Dialogue[T]]],
        answers: Answers,
        budget: Budget,
        typical: Mapping[str, int],
    ) -> None:
        self._starting, self._answers = iter(dialogues), answers
        self._budget, self._typical = budget, typical
        self._lanes: dict[tuple[int, Options], _Lane] = {}
        self._waiting: dict[str, list[_Turn[T]]] = {}
        self.ended: deque[tuple[str, T | Unanswered]] = deque()

    def start(self) -> bool:
        """Begin one more dialogue; whether there was one."""
        found = next(self._starting, None)
        if found is not None:
            self._go_on(*found)
        return found is not None

    def _go_on(self, name: str, dialogue: Dialogue[T], said: Completion | None = None) -> None:
        try:
            request = next(dialogue) if said is None else dialogue.send(said)
            while (kept := self._answers.get(request.key)) is not None:
                request = dialogue.send(kept)
        except StopIteration as stop:
            self.ended.append((name, stop.value))
            return
        except OSError as error:
            self.ended.append((name, Unanswered(plainly(error))))
            return
        key = request.key
        turns = self._waiting.setdefault(key, [])
        turns.append(_Turn(name, dialogue, request))
        if len(turns) == 1:  # who asks the same waits for the same answer
            which = id(request.backend), request.options
            lane = self._lanes.setdefault(which, _Lane(request.backend, request.options))
            lane.keys.append(key)

    def fullest(self) -> _Lane | None:
        """Where most waits; None where nothing does."""
        lanes = [lane for lane in self._lanes.values() if lane.keys]
        return max(lanes, key=lambda lane: len(lane.keys), default=None)

    def feed(self, lane: _Lane) -> Iterator[Conversation]:
        """What a lane asks, as it is wanted; dialogues begin as far as they are needed for it."""
        profile = lane.backend.profile
        while True:
            while not lane.keys:
                ahead = sum(len(other.keys) for other in self._lanes.values())
                if ahead >= _AHEAD or not self.start():
                    return
            request = self._waiting[lane.keys[0]][0].request
            tokens = prompt_tokens(request.conversation, profile.image_tokens)
            answer = self._typical.get(request.what, lane.options.max_tokens)
            guess_usd = profile.price.cost(tokens, answer) if profile.price else 0.0
            if not self._budget.allows(lane.backend.name, len(lane.in_flight), guess_usd):
                return
            lane.in_flight[lane.drawn] = lane.keys.popleft()
            lane.drawn += 1
            yield request.conversation

    def take(self, lane: _Lane, completion: Completion) -> None:
        """Keep an answer, and go on with every dialogue that waits for it."""
        key = lane.in_flight.pop(completion.index)
        turns = self._waiting.pop(key)
        self._budget.pay(lane.backend.name, completion.cost_usd)
        if completion.finish_reason == "error":
            for turn in turns:
                turn.dialogue.close()
                self.ended.append((turn.name, Unanswered(completion.error or "no answer came")))
            return
        said = as_answer(completion)
        self._answers.add(key, turns[0].name, said, turns[0].request.what)
        for turn in turns:
            self._go_on(turn.name, turn.dialogue, said)


def hold(
    dialogues: Iterable[tuple[str, Dialogue[T]]],
    answers: Answers,
    budget: Budget | None = None,
    typical: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, T | Unanswered]]:
    """Hold dialogues, each with its name, several at once; yield the name and what came of each as they end.

    Two that ask the same ask once. At the budget's end no more is asked: those that it left over do not end, and
    `budget.reached` is set. `typical` as of `estimated`: what an answer costs before the first has come. Raises BackendError where a backend cannot be used at all; what it had answered is kept.
    """
    budget = budget or Budget()
    holding = _Holding(dialogues, answers, budget, typical or {})
    ended = holding.ended
    while True:
        while ended:
            yield ended.popleft()
        lane = holding.fullest()
        if lane is None:
            if holding.start():
                continue
            if not ended:
                return
            continue
        lane.drawn = 0
        for completion in lane.backend.complete(holding.feed(lane), lane.options):
            holding.take(lane, completion)
            while ended:
                yield ended.popleft()
        if lane.in_flight:
            many = len(lane.in_flight)
            raise BackendError(
                f"{lane.backend.name} left {many} requests without an answer or an error."
            )
        if budget.reached:
            return
