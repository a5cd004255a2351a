"""Pieces of one computation, shared out among as many threads as torch takes, each of which computes alone.

torch shares out every operation by itself and waits for all threads after each, which for small ones takes longer than
the work. Where some operations follow each other on pieces that know nothing of one another, this waits once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Piece = TypeVar("Piece")


def share(work: Callable[[Piece], None], pieces: Iterable[Piece]) -> None:
    """Do `work` on each piece, in any order. Nothing here learns."""
    left = list(pieces)
    threads = min(torch.get_num_threads(), len(left))
    if threads < 2:
        for piece in left:
            work(piece)
        return
    todo, inference = iter(left), torch.is_inference_mode_enabled()
    others = [
        _threads(threads - 1).submit(_some, work, todo, inference) for _ in range(threads - 1)
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # of this thread
    try:
        _some(work, todo, inference)
    finally:
        for other in others:
            other.exception()
        torch.set_num_threads(before)
    for other in others:
        other.result()


def _some(work: Callable[[Piece], None], todo: Iterator[Piece], inference: bool) -> None:
    with torch.inference_mode() if inference else torch.no_grad():
        for piece in todo:
            work(piece)


@cache
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, "looksay-pieces", lambda: torch.set_num_threads(1))
