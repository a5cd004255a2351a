"""looksay turns pixels into words and shows how far the words can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.backends.loading import load
    from looksay.describing.single import Description, describe

__all__ = ["Description", "Library", "describe", "load"]

_WHERE = {
    "Description": "looksay.describing.single",
    "Library": "looksay.api",
    "describe": "looksay.describing.single",
    "load": "looksay.backends.loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import looksay` costs nothing."""
    if name in _WHERE:
        import importlib

        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'looksay' has no attribute {name!r}")
