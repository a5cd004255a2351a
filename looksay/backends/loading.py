"""From a name to a backend: providers, presets, `auto`, and the leave that photos need to go away."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from looksay import plugins
from looksay.backends.base import Backend, LoadOptions, parse_name
from looksay.errors import InputError, RemoteNotAllowed, UnknownName


def load(name: str, options: LoadOptions | None = None) -> Backend:
    """Load the backend called `name`; heavy libraries are imported only here.

    Raises UnknownName (no such provider), InputError (a folder without its provider), MissingDependency,
    BackendError (not there, no key), and RemoteNotAllowed where images would leave this machine without
    `allow_remote`.
    """
    options = options or LoadOptions()
    provider, model = parse_name(name)
    if provider == "auto" or (not model and provider not in plugins.names("looksay.backends")):
        from looksay.backends import (  # they look for servers: not needed for a plain name
            auto,
            presets,
        )

        if provider == "auto":
            return load(auto.choose().name, options)
        if provider in {preset.name for preset in presets.all()}:
            return load(auto.resolve(provider), options)
    try:
        module = plugins.load("looksay.backends", provider, "backend")
    except UnknownName:
        if _is_folder(name):
            raise InputError(
                f"{name} is a folder; expected provider:model. Did you mean {_provider_of(name)}:{name}?"
            ) from None
        raise
    backend = cast(Backend, module.load(model, options))
    if backend.profile.remote and not options.allow_remote:
        raise RemoteNotAllowed(
            f"{name} is not on this machine: the photos would be sent away (without their EXIF data). "
            "If you want that, add --allow-remote, or set allow_remote = true in looksay.toml."
        )
    return backend


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # no path can be called so
        return False


def _provider_of(folder: str) -> str:
    """Whose a folder is: of transformers are those with a config.json, and every other should be looksay's."""
    return "hub" if (Path(folder).expanduser() / "config.json").is_file() else "local"
