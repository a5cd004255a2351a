"""From a name such as "detection:FastestDet.onnx" to an expert."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, cast

from looksay import plugins
from looksay.errors import MissingDependency
from looksay.experts.base import Expert, Options

PACKAGE = "looksay.experts"
FACTS = frozenset({"cv2", "numpy", "onnxruntime", "rapidocr"})
"""Packages of the extra `facts`; those of other experts come with the extra `experts`."""


class Listed(NamedTuple):
    """An expert that there is."""

    name: str
    about: str
    lacking: str
    """What to type before it can be used; "" where nothing is in the way."""


def load(name: str, options: Options | None = None, *, cache: Path | None = None) -> Expert:
    """The expert called `name`, EXPERT or EXPERT:MODEL; with `cache`, a folder, it keeps what it finds.

    Raises UnknownName, MissingDependency, and InputError for a model that it cannot use.
    """
    kind, _, model = name.partition(":")
    try:
        module = plugins.load(PACKAGE, kind, "expert")
        expert = cast(Expert, module.load(model, options or Options()))
    except ImportError as error:
        raise _missing(kind, error) from error
    if cache is None:
        return expert
    from looksay.experts.cache import Cached

    return Cached(expert, cache)


def listed() -> Iterator[Listed]:
    """Every expert by name, and what it lacks here."""
    for kind in plugins.names(PACKAGE):
        try:
            module: ModuleType = plugins.load(PACKAGE, kind, "expert")
            yield Listed(kind, module.ABOUT, module.lacking())
        except ImportError as error:
            yield Listed(kind, "", str(_missing(kind, error)))


def _missing(kind: str, error: ImportError) -> MissingDependency:
    package = (error.name or "numpy").partition(".")[0]
    return MissingDependency(
        f"The expert {kind!r}", "facts" if package in FACTS else "experts", package
    )
