"""From a name to a backend: providers, presets, `auto`, and the leave that photos need to go away."""

from __future__ import annotations

from typing import cast

from looksay import plugins
from looksay.backends.base import Backend, LoadOptions, parse_name
from looksay.errors import RemoteNotAllowed


def load(name: str, options: LoadOptions | None = None) -> Backend:
    """Load the backend called `name`; heavy libraries are imported only here.

    Raises UnknownName (no such provider), MissingDependency, BackendError (not there, no key), and
    RemoteNotAllowed where images would leave this machine without `allow_remote`.
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
    module = plugins.load("looksay.backends", provider, "backend")
    backend = cast(Backend, module.load(model, options))
    if backend.profile.remote and not options.allow_remote:
        raise RemoteNotAllowed(
            f"{name} is not on this machine: the photos would be sent away (without their EXIF data). "
            "If you want that, add --allow-remote, or set allow_remote = true in looksay.toml."
        )
    return backend
