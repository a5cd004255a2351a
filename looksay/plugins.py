"""Plug-ins are modules in a known folder, found by name and imported only when used."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType

from looksay.errors import UnknownName


def names(package: str) -> list[str]:
    """Names of the plug-ins of `package` ("looksay.backends"): its public modules that are marked as
    plug-ins by not being the package's own machinery (`base`, `engine`), and entry points of the
    group of the same name. Nothing is imported but the package itself."""
    parent = importlib.import_module(package)
    machinery = getattr(parent, "MACHINERY", frozenset({"base"}))
    found = {m.name for m in pkgutil.iter_modules(parent.__path__)}
    found |= {e.name for e in entry_points(group=package)}
    return sorted(n for n in found if not n.startswith("_") and n not in machinery)


def load(package: str, name: str, kind: str) -> ModuleType:
    """Import plug-in `name` of `package`. Raises UnknownName, listing what there is."""
    if name not in names(package):
        raise UnknownName(kind, name, names(package))
    for entry in entry_points(group=package):
        if entry.name == name:
            module = entry.load()
            assert isinstance(module, ModuleType), f"entry point {name} must name a module"
            return module
    return importlib.import_module(f"{package}.{name}")
