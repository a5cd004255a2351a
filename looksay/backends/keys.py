"""API keys: from the environment, else from the OS keyring. They are never stored, printed or logged."""

from __future__ import annotations

import os
import sys

from looksay.errors import BackendError

SERVICE = "looksay"


def key_for(provider: str, env: str) -> str | None:
    """The key of a provider: variable `env`, else keyring entry (service "looksay", user `provider`).

    Never raises: a keyring that is absent, locked or broken is a keyring without the key.
    """
    found = os.environ.get(env, "").strip()
    if found:
        return found
    try:
        import keyring

        return (keyring.get_password(SERVICE, provider) or "").strip() or None
    except Exception:  # backends raise anything, from missing D-Bus to their own classes
        return None


def how_to_set(provider: str, env: str) -> str:
    """What to type to give looksay a key."""
    shell = f"setx {env} KEY" if sys.platform == "win32" else f"export {env}=KEY"
    return f"{shell}  or: python -m keyring set {SERVICE} {provider}"


def missing(name: str, provider: str, env: str) -> BackendError:
    """The error for a key that is not there."""
    return BackendError(
        f"{name} needs an API key, and neither {env} nor the keyring has one. "
        f"Type: {how_to_set(provider, env)}"
    )


def user_of(key_env: str) -> str:
    """The keyring's user for a key variable: "OPENAI_API_KEY" → "openai"."""
    return key_env.removesuffix("_API_KEY").lower()
