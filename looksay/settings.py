"""Settings of a library, from `looksay.toml` beside its catalogue. A key that nobody knows is an error."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from looksay.errors import InputError, UnknownName

FILE_NAME = "looksay.toml"
CONTEXTS = ("page", "album", "date", "place")
"""What a model can be told besides the photo: the page's words around it, its folder, when it was taken, and where."""
USUAL_CONTEXT, REMOTE_CONTEXT = ("page", "album", "date"), ("page",)
"""What it is told where nobody says otherwise, and what of that if it is not on this machine."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that may stand in `looksay.toml`, with its default."""

    model: str = "auto"
    """The model that `describe` uses when none is named."""
    language: str = "en"
    """BCP 47 code of the language to write in."""
    allow_remote: bool = False
    """Photos may be sent to models that are not on this machine."""
    context: tuple[str, ...] = USUAL_CONTEXT
    """What models are told besides the photo: page, album, date, place (docs/context.md)."""
    remote_context: tuple[str, ...] = REMOTE_CONTEXT
    """Of that, what models that are not on this machine are told."""
    exclude: tuple[str, ...] = ("node_modules", "_site", "__pycache__", ".*")
    """File and folder names (with * and ?) that a scan passes over."""
    max_megapixels: int = 100
    """Larger pictures are reported, not decoded."""
    max_side_px: int = 1536
    """Longest side of what a model gets to see."""
    target_characters: int = 125
    """Alt text is kept to this length where whole sentences allow; the rest is extended description."""
    max_characters: int = 250
    """Alt text above this is asked for again, and flagged."""
    template_escape: str = "auto"
    """How a quote inside a template call is written: backslash, entity, or auto (Jekyll: entity)."""
    templates: tuple[dict[str, Any], ...] = ()
    """Template calls that show images: call, photo, alt (see docs/pages.md)."""


def load(root: Path) -> Settings:
    """Settings of the library at `root`. Raises InputError for a file that does not hold what it should."""
    path = root / FILE_NAME
    if not path.is_file():
        return Settings()
    try:
        with path.open("rb") as stream:
            values = tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from error
    known = {f.name: f for f in fields(Settings)}
    for name, value in values.items():
        if name not in known:
            raise UnknownName(f"setting (in {path})", name, known)
        default = known[name].default
        wanted = list if isinstance(default, tuple) else type(default)
        if not isinstance(value, wanted):
            raise InputError(f"{path}: {name} should be {wanted.__name__}, found {value!r}.")
        values[name] = tuple(value) if isinstance(value, list) else value
    if values.get("template_escape", "auto") not in ("auto", "backslash", "entity"):
        raise InputError(f"{path}: template_escape should be auto, backslash or entity.")
    for name in ("context", "remote_context"):
        for kind in values.get(name, ()):
            if kind not in CONTEXTS:
                raise UnknownName(f"context (in {path}, {name})", str(kind), CONTEXTS)
    return Settings(**values)
