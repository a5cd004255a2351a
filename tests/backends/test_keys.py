"""Keys come from the environment or the OS keyring, and a broken keyring breaks nothing."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
from conftest import need

from looksay.backends import keys


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A real keyring backend in memory, in place of the system's."""
    need(importlib.util.find_spec("keyring"), 'pip install ".[keyring]"')
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def __init__(self) -> None:
            self.held: dict[tuple[str, str], str] = {}
            self.broken: Exception | None = None

        def get_password(self, service: str, username: str) -> str | None:
            if self.broken:
                raise self.broken
            return self.held.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.held[service, username] = password

    before, memory = keyring.get_keyring(), Memory()
    keyring.set_keyring(memory)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    yield memory
    keyring.set_keyring(before)


def test_the_environment_comes_first(ring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ring.set_password("looksay", "openai", "from-ring")
    assert keys.key_for("openai", "OPENAI_API_KEY") == "from-ring"
    monkeypatch.setenv("OPENAI_API_KEY", " from-env\n")
    assert keys.key_for("openai", "OPENAI_API_KEY") == "from-env"


def test_an_empty_variable_is_no_key(ring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "  ")
    assert keys.key_for("openai", "OPENAI_API_KEY") is None


@pytest.mark.parametrize("error", [RuntimeError("no D-Bus"), OSError("locked")])
def test_a_broken_keyring_has_no_key(ring: Any, error: Exception) -> None:
    ring.broken = error
    assert keys.key_for("openai", "OPENAI_API_KEY") is None


def test_without_the_package_there_is_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert keys.key_for("openai", "OPENAI_API_KEY") is None


@pytest.mark.parametrize(
    ("system", "shell"),
    [("linux", "export OPENAI_API_KEY=KEY"), ("win32", "setx OPENAI_API_KEY KEY")],
)
def test_the_error_says_what_to_type(
    system: str, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys.sys, "platform", system)
    text = str(keys.missing("openai:gpt-4o", "openai", "OPENAI_API_KEY"))
    assert shell in text
    assert "python -m keyring set looksay openai" in text
