"""What Prometheus reads: how many ask, how long they wait, how busy each model is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from looksay.backends.tickets import Done
    from looksay.serve.answering import Answering
    from looksay.serve.shelf import Shelf

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One registry per application."""

    CONTENT_TYPE = CONTENT_TYPE_LATEST

    def __init__(self, shelf: Shelf) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Shelf(shelf))

        def histogram(name: str, what: str) -> Any:
            return Histogram(name, what, ["model"], buckets=_SECONDS, registry=self.registry)

        self._first = histogram("looksay_first_word_seconds", "From request to first word.")
        self._whole = histogram("looksay_answer_seconds", "From request to last word.")
        self._refused = Counter(
            "looksay_refused",
            "Requests that ended with a fault.",
            ["status"],
            registry=self.registry,
        )

    def asked(self, model: str, answering: Answering, started: float) -> None:
        """A request stands in line; it is measured from `started` (seconds of perf_counter)."""
        seen = False

        def first() -> None:
            nonlocal seen
            if not seen:
                seen = True
                self._first.labels(model).observe(time.perf_counter() - started)

        def ended(ends: list[Done]) -> None:
            self._whole.labels(model).observe(time.perf_counter() - started)

        answering.first, answering.ended = first, ended

    def refused(self, status: int) -> None:
        """A request was answered with a fault."""
        self._refused.labels(str(status)).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        found: bytes = generate_latest(self.registry)
        return found


class _Shelf(Collector):
    """The engines' own counts, read when somebody asks."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def collect(self) -> Iterator[Any]:
        """One family per count, one sample per model."""
        gauges = {
            "waiting": "Requests that wait.",
            "running": "Requests that are being answered.",
        }
        counters = {
            "answered": "Answers given.",
            "faults": "Answers that failed.",
            "words": "Tokens written.",
            "reused": "Prompt tokens that an earlier prompt had read.",
        }
        found = {
            id: serving.engine.load()
            for id, place in self._shelf.models.items()
            if (serving := place.it)  # it may be put back meanwhile
        }
        for kind, names in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
            for name, what in names.items():
                family = kind(f"looksay_{name}", what, labels=["model"])
                for id, load in found.items():
                    family.add_metric([id], getattr(load, name))
                yield family
        loaded = GaugeMetricFamily("looksay_weights_bytes", "Weights in memory.", labels=["model"])
        for id, place in self._shelf.models.items():
            loaded.add_metric([id], place.bytes if place.it else 0)
        yield loaded
