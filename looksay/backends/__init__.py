"""Backends answer conversations. One module per provider; `load("provider:model")` gives one.

A provider module has `load(model, options) -> Backend`, and may have `discover() -> list[str]`: the
model names that it can serve on this machine right now, quickly, without an error when there are none.
"""

from looksay.backends.base import Backend, LoadOptions, Profile
from looksay.backends.loading import load

MACHINERY = frozenset(
    {"base", "auto", "dialogue", "encoders", "http", "keys", "loading", "presets"}
    | {"engine", "opening", "preparing", "spread", "tickets"}
)

__all__ = ["Backend", "LoadOptions", "Profile", "load"]
