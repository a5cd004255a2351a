"""Export formats: one module each with `write(rows, out, root)`, found by its name."""

from __future__ import annotations

from dataclasses import dataclass

MACHINERY: frozenset[str] = frozenset()

GALLERY_MARK = b'name="generator" content="looksay gallery"'
"""Stands in the head of an exported gallery; a scan takes such a file for no page of the site."""


@dataclass(frozen=True, slots=True)
class Row:
    """One target and its words.

    Example: Row("assets/a.jpg", "posts/walk.md", 0, "en", "Two boats at a quay.", "", False, "reviewed",
    "ollama:llava", "", ()).
    """

    photo: str
    page: str
    occurrence: int
    language: str
    text: str
    extended: str
    decorative: bool
    state: str
    model: str
    current: str
    """The alt text that stands in the file now."""
    notes: tuple[str, ...]
