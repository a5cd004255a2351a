"""Pieces of one computation, shared out among as many threads as torch takes, each of which computes alone.

torch shares out every operation by itself and waits for all threads after each, which for small ones takes longer than
the work. Where some operations follow each other on pieces that know nothing of one another, this waits once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

Piece = TypeVar("Piece")


class _Here(threading.local):
    """What is known of a thread."""

    told: int | None = None
    """So many threads it was told to take."""
    known = False
    helpers: ThreadPoolExecutor | None = None
    """Who help it, and no other thread."""


_here = _Here()
_wanted = 1
"""So many threads torch takes in threads that nobody told anything."""


def count() -> int:
    """So many threads torch takes in this one. A thread that is born while another one computes in fewer would go on
    like that: what one thread says is what new ones begin with."""
    global _wanted
    if _here.told is not None:
        return _here.told
    found = int(torch.get_num_threads())
    if not _here.known:
        _here.known = True
        if found < _wanted:
            torch.set_num_threads(_wanted)
            return _wanted
    _wanted = found
    return found


def share(work: Callable[[Piece], None], pieces: Iterable[Piece]) -> None:
    """Do `work` on each piece, in any order. Nothing here learns."""
    left = list(pieces)
    before = count()
    threads = min(before, len(left))
    todo, inference = iter(left), torch.is_inference_mode_enabled()
    if threads < 2:
        _some(work, todo, inference)
        return
    if _here.helpers is None:
        _here.helpers = ThreadPoolExecutor(os.cpu_count(), "looksay-pieces", _begin)
    pool = _here.helpers
    others = [pool.submit(_some, work, todo, inference) for _ in range(threads - 1)]
    torch.set_num_threads(1)
    try:
        _some(work, todo, inference)
    finally:
        torch.set_num_threads(before)
        # What has not begun finds nothing left; the others are at their last piece.
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()


@contextmanager
def alone(few: bool) -> Iterator[None]:
    """While this holds and there are `few` numbers, torch computes in this thread alone: to wake others takes it 25 µs
    at every operation, to be told so one."""
    threads = count() if few else 1
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """While this holds, torch takes so many threads in this one, whatever others take."""
    before, told = count(), _here.told
    _here.told = threads
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        _here.told = told
        torch.set_num_threads(before)


def _some(work: Callable[[Piece], None], todo: Iterator[Piece], inference: bool) -> None:
    with torch.inference_mode() if inference else torch.no_grad():
        for piece in todo:
            work(piece)


def _begin() -> None:
    torch.get_num_threads()  # torch would take what is usual at its first operation otherwise
    _here.told = 1
    torch.set_num_threads(1)


def _born() -> None:
    _here.helpers = None


if hasattr(os, "register_at_fork"):  # a child has no threads but its own
    os.register_at_fork(after_in_child=_born)
