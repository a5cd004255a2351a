"""One backend in many processes or on many machines: Ray hands requests out, and who asks sees a `Backend`.

    with spread("hub:org/model", LoadOptions(), replicas=(2, 2)) as backend:
        library.describe(backend)

A replica is a process with the model loaded (`_spread_ends.Replica`), a reader one that reads photos for them
(`_spread_ends.Reader`): bytes go from the reader through Ray's object store to the replica and never through this
process, which draws conversations, says who answers them, and yields what they say. It draws `AHEAD` times what the
replicas work on at once, which bounds its memory and the store's.

A replica that dies takes along what it had in hand, which others are asked, and a new one is started in its place.
A request that was in hand at `TRIES` deaths is a completion with an error. Replicas that die again and again, with no
answer in between, and a model that cannot be loaded, are one BackendError.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from looksay.backends import _ray
from looksay.backends._spread_ends import About, Fault, Reader, Replica
from looksay.backends.base import LoadOptions
from looksay.errors import BackendError
from looksay.types import Completion, Conversation, Options

AHEAD = 2
"""Requests in hand of a replica, over what its backend works on at once: the next are there when it is ready."""
TRIES = 3
"""Deaths of replicas that a request is asked again after, and (for each replica) in a row."""
PATIENCE_S = 60.0
"""After which it is told that replicas are waited for."""
OF_A_READER = 8
"""Replicas that one reader reads for; it reads so many photos at once for each."""
_GONE = "gone"


@contextmanager
def spread(
    name: str,
    options: LoadOptions | None = None,
    replicas: tuple[int, int] | None = None,
    *,
    tell: Callable[[str], None] = lambda words: None,
) -> Iterator[Spread]:
    """The backend `name` on Ray, for as long as the context lasts.

    `replicas`: the fewest, which are waited for, and the most, which join as the cluster has room for them; None: one
    for each GPU, or one. Where RAY_ADDRESS names a cluster they run there; otherwise Ray is started on this machine.
    Raises what `looksay.backends.load` does, and BackendError where no replica can be started.
    """
    ray = _ray.started("looksay describe --ray", replicas, log_to_driver=False)
    try:
        options = options or LoadOptions()
        yield Spread(ray, name, options, replicas, tell)
    finally:
        ray.shutdown()


@dataclass(eq=False, slots=True)
class _Hand:
    """A replica as seen from here: Ray's handle, and how many requests it has in hand."""

    actor: Any
    about: About | None = None
    """What it said when it had loaded; None until then."""
    in_hand: int = 0

    @property
    def room(self) -> int:
        return 0 if self.about is None else AHEAD * self.about.profile.concurrency - self.in_hand


@dataclass(eq=False, slots=True)
class _Request:
    index: int
    conversation: Conversation
    deaths: int = 0


class Spread:
    """A backend whose requests many replicas answer; see `spread`. One run of `complete` at a time."""

    def __init__(
        self,
        ray: Any,
        name: str,
        options: LoadOptions,
        replicas: tuple[int, int] | None,
        tell: Callable[[str], None],
    ) -> None:
        least, self._most, share = _ray.shared(replicas, _ray.resources(ray), options.device)
        self._ray, self._tell = ray, tell
        self._events: queue.SimpleQueue[tuple[Any, Any, Any]] = queue.SimpleQueue()
        self._make = (
            ray.remote(Replica)
            .options(**share, scheduling_strategy="SPREAD", max_concurrency=1000)
            .remote
        )
        self._arguments = (name, options)
        self._hands: list[_Hand] = []
        self._deaths = 0
        """Of replicas, since the last answer."""
        self.asked_again = 0
        """Requests that a replica had in hand when it died."""
        self._found: About | None = None
        self._readers = self._open_readers()
        for _ in range(self._most):
            self._start()
        while sum(hand.about is not None for hand in self._hands) < min(least, len(self._hands)):
            try:
                self._hear(*self._events.get(timeout=PATIENCE_S))
            except queue.Empty:
                loaded = sum(hand.about is not None for hand in self._hands)
                tell(
                    f"{loaded} of {least} replicas have loaded; the others load, or wait for room."
                )
        found = next(hand.about for hand in self._hands if hand.about)
        self.name, self.fingerprint = found.name, found.fingerprint
        self.profile = replace(found.profile, concurrency=least * found.profile.concurrency)
        ray.get(self._readers[0].ready.remote())
        tell(f"{least} replicas" if least == self._most else f"{least} to {self._most} replicas")

    def _open_readers(self) -> list[Any]:
        """The first is on this machine, which has the photos; the others wherever Ray has room, and ask it for those that
        they do not see."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = self._ray.get_runtime_context().get_node_id()
        places = [NodeAffinitySchedulingStrategy(here, soft=False)]
        places += ["SPREAD"] * ((self._most - 1) // OF_A_READER)
        kind = self._ray.remote(Reader)
        of_it = {
            "num_cpus": 0,
            "max_restarts": -1,
            "max_task_retries": -1,
            "max_concurrency": OF_A_READER,
        }
        found: list[Any] = []
        for place in places:
            make = kind.options(scheduling_strategy=place, **of_it).remote
            found.append(make(found[0] if found else None))
        return found

    # --- replicas ---------------------------------------------------------------------------------

    def _start(self) -> None:
        hand = _Hand(self._make(*self._arguments))
        self._hands.append(hand)
        self._listen(hand.actor.load.remote(), hand, None)
        self._listen(hand.actor.last.remote(), hand, _GONE)

    def _listen(self, ref: Any, hand: _Hand, what: Any) -> None:
        """Put (hand, what, outcome) among the events once it is there."""

        def put(future: Any) -> None:
            self._events.put((hand, what, future.exception() or future.result()))

        ref.future().add_done_callback(put)

    def _hear(self, hand: _Hand, what: Any, outcome: Any) -> None:
        """What is not an answer: a replica has loaded, cannot load, or is gone. Raises BackendError where none is left."""
        if hand not in self._hands:
            return
        if isinstance(outcome, About):
            first = self._found = self._found or outcome
            if outcome.fingerprint == first.fingerprint:
                hand.about = outcome
                return
            outcome = Fault(
                BackendError,
                f"{outcome.name} is not the same model on all machines: {outcome.fingerprint} on one, "
                f"{first.fingerprint} on another.",
            )
        if isinstance(outcome, Fault):
            self._drop(hand)
            if self._found is None or not self._hands:
                raise outcome.error
            self._tell(f"A replica could not be started, the others go on: {outcome.words}")
            return
        self._drop(hand)
        self._deaths += 1
        if self._deaths >= (TRIES if self._found is None else TRIES * (self._most + 1)):
            raise BackendError(
                f"Replicas of {self._arguments[0]} died {self._deaths} times with no answer in between (too little memory?). "
                f"Ray says: {outcome}"
            )
        if self._found is not None:
            self._tell("A replica died. What it had in hand is asked again; another is started.")
        self._start()

    @property
    def pids(self) -> list[int]:
        """The replicas' processes, each on its machine."""
        return [hand.about.pid for hand in self._hands if hand.about]

    def _drop(self, hand: _Hand) -> None:
        self._hands.remove(hand)
        self._ray.kill(hand.actor)

    # --- requests ---------------------------------------------------------------------------------

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        """As `Backend.complete`; a completion comes the moment that its replica has it."""
        given = self._ray.put(options)
        source = enumerate(conversations)
        waiting: deque[_Request] = deque()
        """To be asked again."""
        asked: set[_Request] = set()
        exhausted = False
        while True:
            while hand := self._free():
                if not waiting and not exhausted:
                    one = next(source, None)
                    exhausted = one is None
                    waiting.extend([] if one is None else [_Request(*one)])
                if not waiting:
                    break
                asked.add(request := waiting.popleft())
                self._ask(request, hand, given)
            if exhausted and not asked and not waiting:
                return  # else replicas are being started, for what has not been drawn yet
            hand, what, outcome = self._events.get()
            if not isinstance(what, _Request):
                self._hear(hand, what, outcome)
                continue
            hand.in_hand -= 1
            if what not in asked:
                continue  # of a run that was left before its end
            if isinstance(outcome, Fault):
                raise outcome.error
            asked.remove(what)
            if isinstance(outcome, Completion):
                self._deaths = 0
                yield replace(outcome, index=what.index)
                continue
            if getattr(outcome, "actor_id", "") == hand.actor._actor_id.hex():
                self._hear(hand, _GONE, outcome)
            what.deaths += 1
            self.asked_again += 1
            if what.deaths < TRIES:
                waiting.append(what)
                continue
            why = f"no answer came, {TRIES} times: {type(outcome).__name__}"
            yield Completion(what.index, error=why, finish_reason="error")

    def _free(self) -> _Hand | None:
        """Who has room for most."""
        hand = max(self._hands, key=lambda one: one.room, default=None)
        return hand if hand and hand.room > 0 else None

    def _ask(self, request: _Request, hand: _Hand, options: Any) -> None:
        hand.in_hand += 1
        talk: Any = request.conversation
        if talk.images:
            talk = self._readers[request.index % len(self._readers)].read.remote(
                talk, self.profile.reads_px
            )
        self._listen(hand.actor.answer.remote(talk, options), hand, request)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """The whole answer as one piece. Raises BackendError."""
        (found,) = self.complete([conversation], options)
        if found.error:
            raise BackendError(found.error)
        yield found.text
