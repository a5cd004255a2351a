"""Readers take texts apart into claims and put claims into words, each for one kind of text.

A module here is found by its name and has `ABOUT: str` (one line) and `load(model, options) -> Reader`; only a reader
that asks a model has one: "asked:ollama:qwen2.5".
"""

from __future__ import annotations

from typing import cast

from looksay import plugins
from looksay.backends.base import LoadOptions
from looksay.texts.claims import Reader

MACHINERY = frozenset[str]()


def load(name: str, options: LoadOptions | None = None) -> Reader:
    """The reader called `name`, READER or READER:MODEL. Raises UnknownName, and what loading its model raises."""
    kind, _, model = name.partition(":")
    module = plugins.load(__name__, kind, "reader")
    return cast(Reader, module.load(model, options or LoadOptions()))
