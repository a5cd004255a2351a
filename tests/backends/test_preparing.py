"""Describing through the engine: photos are made ready before their turn, in bounds, and looked at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: nothing is written side by side")
pytest.importorskip("transformers", reason="no transformers: nothing is written side by side")

from engines import Gate, alone, saved, shown, talks, tiny, until
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.backends import LoadOptions, engine, load, preparing
from looksay.backends._kept import Recent, Seen, bytes_of
from looksay.backends.base import Profile
from looksay.backends.engine import OVERTAKEN, Line
from looksay.backends.opening import open_engine
from looksay.backends.tickets import Fault, Ticket
from looksay.types import Conversation, Image, Options

pytestmark = pytest.mark.local
SHORT = Options(max_tokens=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("tiny"), endless=True)


@pytest.fixture
def backend(folder: Path) -> Iterator[Any]:
    Seen.forget()
    yield load(f"local:{folder}")
    Seen.forget()


def drawn(count: int, into: list[int]) -> Iterator[Conversation]:
    for number in range(count):
        into.append(number)
        yield shown(number)


def in_background(answers: Iterator[Any], into: list[Any]) -> threading.Thread:
    thread = threading.Thread(target=lambda: into.extend(answers))
    thread.start()
    return thread


def test_answers_are_those_alone_in_whatever_order_they_come(backend: Any) -> None:
    asked = talks() * 3
    wanted = [alone(backend, talk, SHORT).text for talk in asked]
    for rows in (1, 3, 16):
        running = open_engine(backend, waiting=2 * rows, rows=rows)
        found = {one.index: one for one in preparing.completed(running, asked, SHORT, rows)}
        assert running.close()
        assert [found[n].text for n in range(len(asked))] == wanted


def test_the_next_photos_are_ready_before_a_step_is_made(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(backend.steps, monkeypatch)
    running = open_engine(backend, waiting=8, rows=4)
    taken: list[int] = []
    found: list[Any] = []
    thread = in_background(preparing.completed(running, drawn(32, taken), SHORT, 4), found)
    until(lambda: gate.held and running.running + len(running.line) == 8)
    assert gate.passed == 0
    assert len(taken) == 8
    gate.let_all()
    thread.join()
    assert sorted(one.index for one in found) == list(range(32))
    assert taken == list(range(32))
    assert running.close()


def test_no_more_lies_ready_than_there_is_memory_for(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(backend.steps, monkeypatch)
    one = backend.steps.prompt(shown(0)).size_bytes
    assert one > 0
    monkeypatch.setattr(engine, "READY_BYTES", one + 1)
    most: list[int] = []
    submit = engine.Engine.submit

    def watched(self: Any, ticket: Any) -> Any:
        found = submit(self, ticket)
        most.append(sum(waiting.size_bytes for waiting in self.line))
        return found

    monkeypatch.setattr(engine.Engine, "submit", watched)
    running = open_engine(backend, waiting=32, rows=2)
    found: list[Any] = []
    thread = in_background(preparing.completed(running, drawn(12, []), SHORT, 2), found)
    until(lambda: gate.held)
    gate.let_all()
    thread.join()
    assert len(found) == 12
    assert max(most) <= (1 + preparing.threads()) * one
    assert running.close()


def test_what_was_read_holds_no_pictures(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(backend.steps, monkeypatch)
    running = open_engine(backend, waiting=8, rows=3)
    found: list[Any] = []
    thread = in_background(preparing.completed(running, drawn(3, []), SHORT, 3), found)
    until(lambda: gate.held)
    assert running.worker.rows
    for row in running.worker.rows:
        assert row.ticket.prompt.inputs is None
        assert row.ticket.size_bytes == 0
    gate.let_all()
    thread.join()
    assert running.close()


def test_who_stops_early_leaves_no_thread(backend: Any) -> None:
    before = threading.active_count()
    taken: list[int] = []
    answers = backend.complete(drawn(500, taken), SHORT)
    next(answers)
    answers.close()
    assert len(taken) < 100
    until(lambda: threading.active_count() == before)


def test_a_fault_of_one_photo_is_its_own(backend: Any, tmp_path: Path) -> None:
    gone = Conversation.ask(Image(tmp_path / "gone.jpg"), "what ?")
    found = {one.index: one for one in backend.complete([shown(1), gone, shown(2)], SHORT)}
    assert [found[n].error is None for n in range(3)] == [True, False, True]
    assert "the file is gone" in str(found[1].error)


def test_two_models_over_one_tower_look_once(
    folder: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load(f"local:{folder}")
    narrow = load(f"local:{folder}", LoadOptions(dtype="bfloat16"))
    looked: list[str] = []
    for name, one in (("first", backend), ("other", other), ("narrow", narrow)):
        tower = one._model.tower
        whole = tower.forward
        monkeypatch.setattr(
            tower,
            "forward",
            lambda pixels, whole=whole, name=name: (
                looked.extend([name] * len(pixels)),
                whole(pixels),
            )[1],
        )
    (wanted,) = backend.complete([shown(1)], SHORT)
    again = [*other.complete([shown(1), shown(1, times=3)], SHORT)]
    assert {one.index: one for one in again}[0].text == wanted.text
    assert looked == ["first"]
    list(narrow.complete([shown(1)], SHORT))
    assert looked == ["first", "narrow"]


def test_other_weights_are_another_tower(
    tmp_path: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny(tmp_path / "other")
    import torch

    with torch.no_grad():
        next(iter(other._model.tower.parameters())).mul_(1.5)
    list(backend.complete([shown(1)], SHORT))
    looked: list[int] = []
    whole = other._model.tower.forward
    monkeypatch.setattr(
        other._model.tower, "forward", lambda pixels: (looked.append(1), whole(pixels))[1]
    )
    list(other.complete([shown(1)], SHORT))
    assert looked == [1]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.randoms())
def test_equal_ones_come_together_and_nobody_waits_for_good(kinds: list[int], chance: Any) -> None:
    line = Line()
    tickets = [Ticket(shown(), SHORT, prompt=kind) for kind in kinds]
    for ticket in tickets:
        line.put(ticket)
    found: list[Ticket] = []
    while line:
        wanted = chance.randrange(4)
        first = line.first()
        ticket = line.take(lambda one, wanted=wanted: one.prompt == wanted)
        fits = [one for one in tickets if one not in found and one.prompt == wanted]
        assert first is not None
        if first.overtaken > OVERTAKEN or not fits:
            assert ticket is first
        found.append(ticket)
    assert len(found) == len(tickets)
    assert all(ticket.overtaken <= OVERTAKEN for ticket in tickets)
    for kind in set(kinds):
        assert [one for one in found if one.prompt == kind] == [
            one for one in tickets if one.prompt == kind
        ]


def test_prompts_of_one_length_are_read_together(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[int]] = []
    begin = backend._model.begin

    def watched(prompts: Any, *rest: Any) -> Any:
        read.append([len(prompt.ids) for prompt in prompts])
        return begin(prompts, *rest)

    monkeypatch.setattr(backend._model, "begin", watched)
    backend.steps._prefixes.LEAST = 10_000  # nothing is known of a beginning
    gate = Gate(backend.steps, monkeypatch)
    running = open_engine(backend, rows=1)
    last = running.submit(Ticket(shown(99), SHORT))
    until(lambda: gate.held)
    asked = [shown(n, times=1 + n % 2) for n in range(8)]
    tickets = [running.submit(Ticket(talk, SHORT)) for talk in asked]
    running.worker.most_rows = 5  # type: ignore[attr-defined]
    gate.let_all()
    for ticket in (last, *tickets):
        assert not isinstance(list(ticket)[-1], Fault)
    assert running.close()
    sizes = [len(lengths) for lengths in read]
    assert all(len(set(lengths)) == 1 for lengths in read)
    assert max(sizes) >= 3


def test_what_is_kept_is_bounded() -> None:
    import torch

    kept: Recent[Any] = Recent(most_bytes=1000)
    for number in range(100):
        tree = {"a": torch.zeros(25), "b": [torch.zeros(5), None]}
        assert bytes_of(tree) == 120
        kept.put(number, tree, bytes_of(tree))
        assert kept.bytes <= 1000
    assert sorted(kept.items) == list(range(92, 100))


def test_time_that_answers_share_is_not_divided_again() -> None:
    assert Profile(concurrency=16, shared=True).workers == 1
    assert Profile(concurrency=4).workers == 4
    assert Profile(concurrency=0).workers == 1
