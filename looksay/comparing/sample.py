"""Which photos a comparison looks at: some of every kind that the library holds, each kind by its share."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence

from looksay.library.records import Target

Stratum = tuple[str, ...]


def stratum(target: Target) -> Stratum:
    """The kind of a target: its album, what it is for, and whether a text stands there already.

    Example: ("holiday", "link", "text").
    """
    album = target.path.rpartition("/")[0]
    purpose = "link" if target.context.link else "page" if target.page else "alone"
    return album, purpose, "text" if target.source == "text" else "no text"


def draw(targets: Iterable[Target], size: int, seed: int = 0) -> list[Target]:
    """At most `size` targets, no photo and no group of near-duplicates twice, in the order of their names.

    Every stratum has one if there is room, the rest goes by share (Webster's method). Within a stratum the draw
    depends on each name and the seed alone, so a library that grows keeps most of its sample.
    """
    strata: dict[Stratum, list[Target]] = {}
    seen: set[int] = set()
    for target in targets:
        group = target.lead_id or target.photo_id
        if not target.photo_id or group in seen:
            continue
        seen.add(group)
        strata.setdefault(stratum(target), []).append(target)
    seats = shares({name: len(found) for name, found in strata.items()}, size)
    drawn = [
        target
        for name, found in strata.items()
        for target in sorted(found, key=lambda t: _lot(t, seed))[: seats[name]]
    ]
    return sorted(drawn, key=lambda t: (t.path, t.page, t.occurrence))


def shares(sizes: Mapping[Stratum, int], places: int) -> dict[Stratum, int]:
    """How many of each stratum are drawn: one of each first, the largest before the others, then by share.

    >>> shares({("big",): 70, ("small",): 28, ("tiny",): 2}, 10)
    {('big',): 6, ('small',): 3, ('tiny',): 1}
    """
    seats = dict.fromkeys(sizes, 0)
    # An empty stratum comes before every other; a stratum that has all it holds comes no more.
    waiting = [(-float("inf"), -size, name) for name, size in sizes.items() if size]
    heapq.heapify(waiting)
    for _ in range(min(places, sum(sizes.values()))):
        _, _, name = heapq.heappop(waiting)
        seats[name] += 1
        size = sizes[name]
        if seats[name] < size:
            heapq.heappush(waiting, (-size / (2 * seats[name] + 1), -size, name))
    return seats


def told(targets: Sequence[Target]) -> dict[str, int]:
    """How many targets of each kind there are, for people: {"holiday, in a link": 3, …}."""
    words = {"link": "in a link", "page": "on a page", "alone": "on no page"}
    found: dict[str, int] = {}
    for target in targets:
        album, purpose, text = stratum(target)
        name = f"{album or 'the library’s own folder'}, {words[purpose]}"
        name += ", with a text already" if text == "text" else ""
        found[name] = found.get(name, 0) + 1
    return found


def _lot(target: Target, seed: int) -> str:
    name = "\0".join((str(seed), target.path, target.page, str(target.occurrence)))
    return hashlib.sha256(name.encode()).hexdigest()
