"""Shared by all tests: what must be there, and where."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No test is timed. (Where CI is set, hypothesis has a profile of its own, without a deadline too.)
settings.register_profile("untimed", deadline=None)
if not os.environ.get("CI"):
    settings.load_profile("untimed")

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser, Debian's Chromium by default."""
    chromium = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    need(chromium, "Chromium is not installed")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One `looksay serve` for all tests of tests/serve."""
    from running import several

    with several(tmp_path_factory.mktemp("served")) as server:
        yield server


collect_ignore = ["library/killed.py"]  # a program of its own, run by test_kill.py
