"""The small model that comes with looksay. It knows drawn scenes (docs/scenes.md), not photographs.

So its texts are drafts, `auto` never takes it, and its use is to try things out without a download: a
chat, a server, a library, a notebook.
"""

from __future__ import annotations

from pathlib import Path

from looksay.backends import local
from looksay.backends.base import LoadOptions
from looksay.errors import BackendError, InputError

FOLDER = Path(__file__).resolve().parents[1] / "mini"
CARD = {"draft": True, "knows": "drawn scenes only, not photographs: docs/mini.md"}


def is_here() -> bool:
    """Whether this copy of looksay holds the weights."""
    return (FOLDER / "looksay.json").is_file()


def load(model: str, options: LoadOptions) -> local.Local:
    """Load it; `model` is empty, for there is only one. Raises BackendError where it did not come along."""
    if model:
        raise InputError(f"There is only one mini, and {model!r} was asked for. Type: --model mini")
    if not is_here():
        raise BackendError(
            "The small model did not come with this copy of looksay. To train one of the kind, type: "
            "looksay train llava15 --data scenes --out runs/mini; then use it as local:runs/mini"
        )
    return local.open_folder("mini", FOLDER, options, CARD)


def discover() -> list[str]:
    return ["mini"] if is_here() else []
