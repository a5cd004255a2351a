"""One server's door: how fast it may be asked, and the clock that says so."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds that only grow."""

    def wall(self) -> float:
        """Seconds since 1970, to read an HTTP date."""

    def sleep(self, seconds: float, leaving: threading.Event) -> None:
        """Wait, but no longer than until `leaving` is set."""


class SystemClock:
    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float, leaving: threading.Event) -> None:
        leaving.wait(seconds)


class Gate:
    """The door to one server, shared by all workers: when the server says "slow down", all slow down.

    Closed until the time that the server named; after that, requests start at least `gap_s` apart. The
    gap doubles with each refusal and shrinks with each success (additive increase would take minutes
    to recover; a factor of 0.8 takes about ten answers).
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.gap_s = 0.0
        self._closed_until = 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def enter(self, leaving: threading.Event) -> None:
        """Wait for one's turn."""
        with self._lock:
            now = self.clock.now()
            turn = max(now, self._next)
            if self.gap_s:
                self._next = turn + self.gap_s
        if turn > now:
            self.clock.sleep(turn - now, leaving)

    def refused(self, wait_s: float) -> None:
        with self._lock:
            now = self.clock.now()
            if now >= self._closed_until:  # else it was in flight already and tells nothing new
                self.gap_s = min(30.0, max(0.1, self.gap_s * 2))
            self._closed_until = max(self._closed_until, now + max(wait_s, self.gap_s))
            self._next = max(self._next, self._closed_until)

    def passed(self) -> None:
        with self._lock:
            self.gap_s = self.gap_s * 0.8 if self.gap_s > 0.02 else 0.0
