"""The models that a server has: loaded when they are first asked for, and put back, the least used first, where memory
is short."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from looksay.backends.base import Backend, Encoder, LoadOptions
from looksay.backends.engine import WAITING, Engine
from looksay.backends.opening import open_engine
from looksay.backends.tickets import Busy
from looksay.errors import BackendError, LooksayError, MissingDependency, UnknownName

Loaded = TypeVar("Loaded")


@dataclass(eq=False)
class Place(Generic[Loaded]):
    """One model of the shelf."""

    id: str
    name: str
    """As `looksay models` writes it."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    it: Loaded | None = None
    bytes: int = 0
    """What its weights took when it was last loaded."""
    used: float = 0.0
    in_hand: int = 0
    """Requests that have it."""
    fault: str = ""
    """Why it could not be loaded when that was last tried."""


@dataclass
class Serving:
    """A backend and the queue in front of it."""

    backend: Backend
    engine: Engine


class Shelf:
    """Models by the ids under which clients ask for them. Clients name nothing else: no path, no other model."""

    def __init__(
        self,
        names: Mapping[str, str],
        encoders: Mapping[str, str] | None = None,
        options: LoadOptions | None = None,
        *,
        memory_bytes: int | None = None,
        waiting: int = WAITING,
        rows: int | None = None,
        tell: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.options = options or LoadOptions()
        self.memory_bytes, self.waiting, self.rows, self.tell = memory_bytes, waiting, rows, tell
        self.models = {id: Place[Serving](id, name) for id, name in names.items()}
        self.encoders = {id: Place[Encoder](id, name) for id, name in (encoders or {}).items()}
        self._room = threading.Lock()

    @contextmanager
    def serving(self, id: str) -> Iterator[Serving]:
        """The model `id`, which stays loaded meanwhile. Raises UnknownName, and BackendError where it cannot be
        loaded."""
        with self._held(self._place(self.models, id), self._load) as found:
            yield found

    @contextmanager
    def encoder(self, id: str) -> Iterator[Encoder]:
        """The dual encoder `id`; raises as `serving`."""
        with self._held(self._place(self.encoders, id), self._load_encoder) as found:
            yield found

    def _place(self, places: Mapping[str, Place[Loaded]], id: str) -> Place[Loaded]:
        if id not in places:
            raise UnknownName("model", id, places)
        return places[id]

    @contextmanager
    def _held(self, place: Place[Loaded], load: Callable[[str], Loaded]) -> Iterator[Loaded]:
        with place.lock:
            place.in_hand += 1  # before all else: what is in hand is not put back
            try:
                if place.it is None:
                    self._make_room(place)
                    place.it = self._loaded(place, load)
                    with suppress(Busy):  # only now it is known how much it takes
                        self._make_room(place)
            except BaseException:
                place.in_hand -= 1
                raise
            place.used = time.monotonic()
            found = place.it
        try:
            yield found
        finally:
            with place.lock:
                place.in_hand -= 1

    def _loaded(self, place: Place[Any], load: Callable[[str], Loaded]) -> Loaded:
        started = time.monotonic()
        self.tell(f"{place.id}: loading")
        try:
            found = load(place.name)
        except MissingDependency as error:
            place.fault = str(error)
            raise
        except LooksayError as error:  # the owner's fault, not the client's, whatever kind it is
            place.fault = str(error)
            raise BackendError(f"{place.id} could not be loaded: {place.fault}") from error
        except Exception as error:  # torch raises anything, MemoryError too
            place.fault = f"{type(error).__name__}: {error}"
            raise BackendError(f"{place.id} could not be loaded: {place.fault}") from error
        place.fault = ""
        place.bytes = weight_bytes(found)
        self.tell(f"{place.id}: loaded in {time.monotonic() - started:.1f} s")
        return found

    def _load(self, name: str) -> Serving:
        from looksay.backends.loading import load

        backend = load(name, self.options)
        return Serving(backend, open_engine(backend, self.waiting, self.rows))

    def _load_encoder(self, name: str) -> Encoder:
        from looksay.backends import encoders

        return encoders.load(name, self.options)

    def _make_room(self, place: Place[Any]) -> None:
        """Put models back until this one's weights have room, as far as is known how much they take."""
        if self.memory_bytes is None:
            return
        with self._room:
            while True:
                every: list[Place[Any]] = [*self.models.values(), *self.encoders.values()]
                others = [one for one in every if one.it is not None and one is not place]
                taken = sum(one.bytes for one in others)
                if not others or taken + max(place.bytes, 1) <= self.memory_bytes:
                    return
                idle = [one for one in others if not _busy(one)]
                if not idle:
                    raise Busy(
                        5.0,
                        f"{place.id} has no room in memory while {', '.join(o.id for o in others)} answers. Come "
                        "again in 5 seconds.",
                    )
                self._put_back(min(idle, key=lambda one: one.used))

    def _put_back(self, place: Place[Any]) -> None:
        with place.lock:
            if _busy(place):
                return  # somebody was faster
            found, place.it = place.it, None
        if isinstance(found, Serving):
            found.engine.close(5.0)
        del found
        gc.collect()
        self.tell(f"{place.id}: put back")

    def close(self, wait_s: float = 30.0) -> None:
        """Answer what is being answered, and nothing new."""
        for place in self.models.values():
            if place.it is not None:
                place.it.engine.close(wait_s)


def _busy(place: Place[Any]) -> bool:
    if place.in_hand:
        return True
    load = place.it.engine.load() if isinstance(place.it, Serving) else None
    return load is not None and bool(load.waiting or load.running)


def weight_bytes(found: Any) -> int:
    """What a loaded model's weights take; 0 where it is not here."""
    backend = found.backend if isinstance(found, Serving) else found
    model = getattr(backend, "_model", None)
    weights = getattr(model, "parameters", None)
    if weights is None:
        return 0
    return sum(one.numel() * one.element_size() for one in weights())
