"""Whose words are accepted, where several models have spoken."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import jpeg, put

import looksay
from looksay.backends.base import Profile
from looksay.errors import InputError


class Says:
    """A model that says one thing."""

    def __init__(self, name: str, text: str, draft: bool = True) -> None:
        self.name = self.fingerprint = name
        self.text, self.profile = text, Profile(draft=draft, instructable=False)

    def complete(self, conversations, options):  # type: ignore[no-untyped-def]
        from looksay.types import Completion

        for number, _ in enumerate(conversations):
            yield Completion(number, self.text)


@pytest.fixture
def library(tmp_path: Path):  # type: ignore[no-untyped-def]
    put(tmp_path / "a.jpg", jpeg(1, (64, 48)))
    put(tmp_path / "b.jpg", jpeg(2, (64, 48)))
    with looksay.Library(tmp_path) as opened:
        opened.scan()
        opened.describe(Says("first", "Two boats."))
        opened.describe(Says("second", "Three laptops."))
        yield opened


def texts(library: looksay.Library) -> list[tuple[str, str]]:
    return [(words.state, words.text) for _, words in library.targets()]


def test_the_words_of_a_model_are_accepted_after_another_has_spoken(
    library: looksay.Library,
) -> None:
    assert texts(library) == [("draft", "Three laptops.")] * 2
    library.decide(library.root / "a.jpg", "accept", model="first")
    assert texts(library) == [("reviewed", "Two boats."), ("draft", "Three laptops.")]
    assert library.accept_all() == 0, "drafts only where their model is named"
    assert library.accept_all(model="first") == 1
    assert texts(library) == [("reviewed", "Two boats.")] * 2
    assert library.accept_all(model="second") == 0, "a person has decided"


def test_a_model_that_said_nothing_is_told_with_those_that_did(library: looksay.Library) -> None:
    with pytest.raises(InputError, match=r"third said nothing of a\.jpg.*second, first"):
        library.decide(library.root / "a.jpg", "accept", model="third")
    assert texts(library) == [("draft", "Three laptops.")] * 2
