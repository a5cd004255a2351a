"""The command line: one verb per job, each a thin layer over `looksay.Library`.

Exit codes: 0 all done; 1 done, but some photos, pages or files failed (the summary names them);
2 nothing was done, and the message says what to type; 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import (
    capfilt,
    chat,
    check,
    compare,
    console,
    curate,
    evaluate,
    experts,
    explain,
    instruct,
    prefer,
    reproduce,
    review,
    scenes,
    score,
    search,
    see,
    serve,
    train,
    words,
    write,
)
from looksay.cli.options import PANELS, app
from looksay.errors import LooksayError

__all__ = [
    "app",
    "capfilt",
    "chat",
    "check",
    "compare",
    "curate",
    "evaluate",
    "experts",
    "explain",
    "instruct",
    "main",
    "prefer",
    "reproduce",
    "review",
    "scenes",
    "score",
    "search",
    "see",
    "serve",
    "train",
    "words",
    "write",
]


app.registered_commands.sort(key=lambda command: PANELS.index(str(command.rich_help_panel)))


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import looksay

        console.out.print(looksay.__version__)
        raise typer.Exit


def main() -> None:
    """The `looksay` command: users see no traceback for their own mistakes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        app()
    except LooksayError as error:
        console.err.print(escape(str(error)), style="red")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        console.err.print("Interrupted; what was finished is kept.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
