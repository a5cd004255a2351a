"""Weights that are read from a file where they lie, and what stays in memory that nobody uses."""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from torch import Tensor, nn


def shared(model: nn.Module) -> set[int]:
    """Where weights lie that more than one layer reads."""
    users = Counter(
        weight.data_ptr() for m in model.modules() for weight in m.parameters(recurse=False)
    )
    return {place for place, times in users.items() if times > 1}


def let_go(weight: Tensor) -> None:
    """A file that weights are read from lies in memory as long as one of them is used; the pages of one that nobody
    reads any more are given back by themselves; what was changed in them is lost. Where the system does not tell what is a file's, they stay."""
    start = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (weight.data_ptr() + weight.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if start < end and any(first <= start and end <= last for first, last in of_files()):
        madvise = ctypes.CDLL(None).madvise
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def of_files() -> Iterator[tuple[int, int]]:
    """Addresses at which files lie in this process's memory."""
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else ():
        span, *_, path = line.split(maxsplit=5)
        if path.startswith("/"):
            first, last = span.split("-")
            yield int(first, 16), int(last, 16)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        return None
    return found


def give_back() -> None:
    """Give memory back that was freed between things still used. Long prompts leave some hundred megabytes of it, and
    each thread would keep its own. It takes some milliseconds."""
    trim = _trim()
    if trim is not None:
        trim(0)
