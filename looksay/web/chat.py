"""The chat page.

It talks to the server it came from through OpenAI's endpoints (`/v1/models`, `/v1/chat/completions`) and
`/api/explain`; conversations stay in the browser.
"""

from __future__ import annotations

from fastapi import FastAPI

from looksay.web import pages


def mount(app: FastAPI) -> None:
    """Add the page and its files to `app`; see `pages.mount`."""
    pages.mount(app, "chat")
