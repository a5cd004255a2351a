"""The open chat page, before a server that answers by script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="no fastapi: no server")
pytest.importorskip("uvicorn", reason="no uvicorn: no server")

from web.hand import visit
from web.stub import Stub, app, serving

TIMEOUT_MS = 300_000
"""No test is timed: this ends one that waits for what never comes."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    with serving(app(made)) as made.url:
        yield made
        made.release.set()


@pytest.fixture
def page(stub: Stub, browser: Any) -> Iterator[Any]:
    """The open page. It asks no other server, breaks no rule of its security policy, and no script fails."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], locale="en-GB")
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on(
        "request",
        lambda sent: sent.url.startswith((stub.url, "blob:", "data:")) or wrong.append(sent.url),
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda said: "Failed to load resource" in said.text or wrong.append(said.text)
    )
    visit(page, stub.url)
    yield page
    context.close()
    assert not wrong
