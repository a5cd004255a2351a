"""Memory that nobody uses goes back to the system, where the system can be told."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="no torch: there are no weights")

import torch

from looksay.models import mapped

pytestmark = pytest.mark.local
STATM = Path("/proc/self/statm")


def resident_mb() -> float:
    return int(STATM.read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(
    not STATM.exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc on Linux"
)
def test_what_lay_between_things_still_used_is_given_back() -> None:
    many = [torch.ones(12_000) for _ in range(4000)]  # 48 kB each, none by itself from the system
    kept = many[::10]
    del many
    before = resident_mb()
    mapped.give_back()
    assert resident_mb() < before - 100
    assert all(bool((one == 1).all()) for one in kept)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(name: None) -> object:
        return object()

    mapped._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", bare)
    mapped.give_back()
    mapped._trim.cache_clear()
