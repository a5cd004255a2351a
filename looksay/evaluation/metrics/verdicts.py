"""Right, wrong or unreadable: what scoring one answer comes to, and how many of each there are.

A verdict is True, False, or None where the answer could not be read. An unreadable answer earns nothing and
has its own count, so that nobody takes it for a wrong one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

Verdict = bool | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Verdicts counted. Example: Tally(n=10, right=7, unparsed=1)."""

    n: int
    right: int
    unparsed: int

    @property
    def accuracy(self) -> float:
        """Right ones of all, 0 to 1, unreadable ones among them; 0 where there is none."""
        return self.right / self.n if self.n else 0.0


def tally(verdicts: Iterable[Verdict]) -> Tally:
    """Count verdicts.

    >>> tally([True, False, None, True]).accuracy
    0.5
    """
    found = list(verdicts)
    return Tally(len(found), found.count(True), found.count(None))


def by_slice(rows: Iterable[tuple[Iterable[str], Verdict]]) -> dict[str, Tally]:
    """Tallies of slices, from (names of the slices that a sample belongs to, verdict); names in order."""
    found: defaultdict[str, list[Verdict]] = defaultdict(list)
    for names, verdict in rows:
        for name in names:
            found[name].append(verdict)
    return {name: tally(found[name]) for name in sorted(found)}
