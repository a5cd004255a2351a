"""Shared by all tests: what must be there, and where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: two threads only wait for each other

SHARED = Path(__file__).resolve().parents[2] / "shared"


def need(condition: object, reason: str) -> None:
    """Skip where something that a user's machine may lack is absent; in CI its absence is a failure."""
    if not condition:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have it: {reason}")
        pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The reference data beside the checkout; it is not part of the project, so its absence is a skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip("reference data (../shared/data) is not beside this checkout")
    return SHARED / "data"


collect_ignore = ["library/killed.py"]  # a program of its own, run by test_kill.py
