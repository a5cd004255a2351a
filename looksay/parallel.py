"""Work on a stream of items in threads, never holding more of them than are being worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def as_they_finish(
    work: Callable[[T], R], items: Iterable[T], workers: int
) -> Iterator[tuple[int, R]]:
    """Run `work` on `items` in `workers` threads; yield (index, result) as they finish.

    Items are drawn only when a worker is free, so memory is bounded and a source that ends early ends
    the run after what is in flight.
    """
    with ThreadPoolExecutor(max_workers=workers) as pool:
        pending: dict[Future[R], int] = {}
        source = enumerate(items)
        exhausted = False
        while True:
            while not exhausted and len(pending) < workers:
                try:
                    index, item = next(source)
                except StopIteration:
                    exhausted = True
                    break
                pending[pool.submit(work, item)] = index
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
