"""The shelf: models loaded when asked for, the least used put back, never one that is in use; no thread waits for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: weights have no size")

import torch
from engines import WAIT_S, ask, until
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.backends import loading
from looksay.backends.base import LoadOptions, Profile
from looksay.backends.tickets import Busy
from looksay.errors import BackendError, UnknownName
from looksay.serve.shelf import Shelf
from looksay.types import Completion, Conversation, Options

pytestmark = pytest.mark.local
SIZE = 4000
HELLO = Conversation.ask("hello")


class Heavy:
    """Says its name; its weights take SIZE bytes."""

    fingerprint, profile = "heavy", Profile()

    def __init__(self, name: str) -> None:
        self.name, self._model = name, torch.nn.Linear(SIZE // 4, 1, bias=False)

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, _ in enumerate(conversations):
            yield Completion(index, self.name, 1, 1)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield self.name


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that have been loaded."""
    found: list[str] = []

    def load(name: str, options: LoadOptions) -> Any:
        found.append(name)
        if name == "broken":
            raise MemoryError("no room at all")
        return Heavy(name)

    monkeypatch.setattr(loading, "load", load)
    return found


def shelf(names: str, fits: float | None = None) -> Shelf:
    return Shelf(
        {n: n for n in names.split()}, memory_bytes=None if fits is None else int(fits * SIZE)
    )


def use(of: Shelf, name: str) -> None:
    with of.serving(name) as serving:
        assert ask(serving.engine, HELLO, Options()).text == name


def there(of: Shelf) -> set[str]:
    return {id for id, place in of.models.items() if place.it is not None}


def test_each_is_loaded_once_and_when_it_is_asked_for(loaded: list[str]) -> None:
    of = shelf("a b c")
    assert not loaded
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: use(of, name), ["a", "b"] * 8))
    assert sorted(loaded) == ["a", "b"]
    assert of.models["a"].bytes == SIZE
    with pytest.raises(UnknownName, match="Known: a, b, c"), of.serving("/etc/passwd"):
        pass
    of.close()


def test_the_least_used_is_put_back(loaded: list[str]) -> None:
    """Also the first time, when it is not known yet how much a model takes."""
    of = shelf("a b c", fits=2.5)
    use(of, "a")
    use(of, "b")
    use(of, "a")
    use(of, "c")
    assert there(of) == {"a", "c"}
    use(of, "b")
    assert there(of) == {"b", "c"}
    assert loaded == ["a", "b", "c", "b"]
    of.close()


@settings(max_examples=10)
@given(asked=st.lists(st.sampled_from("abcde"), max_size=12), fits=st.integers(1, 6))
def test_memory_holds_what_was_used_last(asked: list[str], fits: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load", lambda name, options: Heavy(name))
        of = shelf("a b c d e", fits=fits + 0.5)
        for at, name in enumerate(asked):
            use(of, name)
            until(lambda: of.models[name].in_hand == 0)  # noqa: B023
            recent = list(dict.fromkeys(reversed(asked[: at + 1])))
            assert there(of) == set(recent[:fits])
        of.close()


def test_one_that_is_in_use_stays(loaded: list[str]) -> None:
    of = shelf("a b", fits=1.5)
    with of.serving("a") as held:
        use_refused(of, "b")
        assert ask(held.engine, HELLO, Options()).text == "a"
    use(of, "b")
    assert there(of) == {"b"}
    of.close()


def use_refused(of: Shelf, name: str) -> None:
    """Not known before it is loaded for the first time, so it is known from then on."""
    of.models[name].bytes = SIZE
    with pytest.raises(Busy, match="no room in memory while a answers"), of.serving(name):
        pass


def test_one_that_cannot_be_loaded_says_why_and_is_tried_again(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = shelf("broken a", fits=1.5)
    for _ in range(2):
        with pytest.raises(BackendError, match="MemoryError: no room at all"), of.serving("broken"):
            pass
    assert "no room at all" in of.models["broken"].fault
    assert of.models["broken"].in_hand == 0
    use(of, "a")
    monkeypatch.setattr(loading, "load", lambda name, options: Heavy(name))
    use(of, "broken")
    assert of.models["broken"].fault == ""
    assert there(of) == {"broken"}
    of.close()


def test_many_who_ask_for_more_than_fits(loaded: list[str]) -> None:
    """Each is answered or told to come again; none waits for ever, and none is answered by a model that is gone."""
    of = shelf("a b c d", fits=2.5)
    answered, busy, faults = [], [], []

    def visit(seed: int) -> None:
        for name in random.Random(seed).choices("abcd", k=10):
            try:
                use(of, name)
                answered.append(name)
            except Busy:
                busy.append(name)
            except BaseException as error:
                faults.append(error)

    threads = [threading.Thread(target=visit, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads)
    assert not faults
    assert len(answered) + len(busy) == 80
    assert set(answered) == set("abcd")
    of.close()


def test_after_closing_nothing_is_taken(loaded: list[str]) -> None:
    of = shelf("a")
    use(of, "a")
    of.close()
    with pytest.raises(Busy, match="closing"):
        use(of, "a")
