"""Shared by all tests: what must be there, and where."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
# No processes beside the two that test; they would be forked from one with many threads, too.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def need(condition: object, reason: str) -> None:
    """Skip where something that a user's machine may lack is absent; in CI its absence is a failure."""
    if not condition:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have it: {reason}")
        pytest.skip(reason)


class AtOnce:
    """Tells of a failure when it happens: a run that is ended from outside prints no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.terminal.write_line(f"\n{report.nodeid} ({report.when})\n{report.longreprtext}")


@pytest.hookimpl(trylast=True)  # the terminal is there by then
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:  # a worker has none
        config.pluginmanager.register(AtOnce(terminal), "at-once")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The reference data beside the checkout; it is not part of the project, so its absence is a skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip("reference data (../shared/data) is not beside this checkout")
    return SHARED / "data"


@contextmanager
def two_threads() -> Iterator[int]:
    """Torch takes two threads, whatever there is."""
    import torch

    from looksay.models import sharing

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    sharing.count()
    yield 2
    torch.set_num_threads(before)
    sharing.count()


@pytest.fixture
def cores() -> Iterator[int]:
    with two_threads() as number:
        yield number


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
            executable_path=chromium,
            # (A container may have little shared memory.)
            args=["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"],
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
