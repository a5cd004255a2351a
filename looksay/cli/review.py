"""The command that lets people review."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import WRITE, DbOption, HostOption, PathArgument, app, open_library
from looksay.cli.serve import KEY, address, answered, listening
from looksay.errors import MissingDependency


@app.command(rich_help_panel=WRITE)
def review(
    path: PathArgument = Path(),
    who: Annotated[
        str | None,
        typer.Option("--who", help="Your name, for the decisions.", show_default="your login"),
    ] = None,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", envvar=KEY, help="What reviewers must type before they see anything."
        ),
    ] = None,
    browse: Annotated[
        bool, typer.Option("--open", help="Open the page in this machine's browser.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder for thumbnails.", show_default="the system's cache"),
    ] = None,
    db: DbOption = None,
) -> None:
    """Review texts in a browser, the riskiest first: http://127.0.0.1:8080. Writes no file; `looksay apply` does."""
    try:
        import uvicorn

        from looksay.web import review as page
        from looksay.web.desk import Desk
    except ImportError as error:
        raise MissingDependency("looksay review", "serve", error.name or "fastapi") from error
    from looksay.library.decisions import user
    from looksay.library.thumbnails import Thumbnails, folder

    hosts = answered(host, key)
    with open_library(path, db) as library:
        file, settings = library.catalog.path, library.settings
    with (
        console.spinner("Reading in the texts", False) as tick,
        contextlib.closing(Desk(file, settings)) as desk,
    ):
        while left := desk.keep_up():
            tick(f"Reading in the texts: {left} photos to go")
    application = page.create_app(
        file, settings, Thumbnails(cache or folder()), key=key, hosts=hosts, who=who or user()
    )
    socket = listening(host, port)
    place = address(host, socket.getsockname()[1])
    console.err.print(
        escape(
            f"The review page: {place}/ (open it in a browser; Ctrl+C ends this). Next: looksay apply --dry-run"
        )
    )
    if browse:
        import webbrowser

        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(f"{place}/")
    config = uvicorn.Config(
        application, log_level="warning", timeout_graceful_shutdown=5, server_header=False
    )
    uvicorn.Server(config).run(sockets=[socket])
