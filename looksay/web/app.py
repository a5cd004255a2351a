"""The server with its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from looksay.serve import api
from looksay.web import chat

if TYPE_CHECKING:
    from fastapi import FastAPI

    from looksay.serve.shelf import Shelf


def create_app(shelf: Shelf, *, pages: bool = True, **settings: Any) -> FastAPI:
    """`looksay.serve.api.create_app`, and the pages of the browser where they are wanted."""
    app = api.create_app(shelf, **settings)
    if pages:
        chat.mount(app)
    return app
