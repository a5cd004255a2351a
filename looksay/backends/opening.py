"""The engine for a backend: side by side where it writes word by word, else in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from looksay.backends.engine import WAITING, Engine, Turns, Worker

if TYPE_CHECKING:
    from looksay.backends.base import Backend


def open_engine(
    backend: Backend,
    waiting: int = WAITING,
    rows: int | None = None,
    memory: int | None = None,
    lanes: int = 1,
) -> Engine:
    """The queue in front of a loaded backend. Of models that can: `rows` answers are written at once, in `lanes` beside
    each other; `memory`: bytes for what they remember, where the device does not say how much is free."""
    steps = getattr(backend, "steps", None)
    if steps is None:
        return Engine(backend.name, Turns(backend), waiting)
    from looksay.backends._side_by_side import MEMORY, SideBySide

    worker = SideBySide(backend.name, steps, rows, memory or MEMORY, lanes)
    return Engine(backend.name, cast(Worker, worker), waiting)
