"""The engine when things go wrong: clients gone, time over, queue full, memory short, a model that breaks, the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: nothing is written side by side")
pytest.importorskip("transformers", reason="no transformers: nothing is written side by side")

import torch
from engines import SOME, Bench, Scripted, alone, ask, benched, shown, tiny, told, until

from looksay.backends.opening import open_engine
from looksay.backends.tickets import Busy, Piece, Ticket
from looksay.errors import UnreadablePhoto
from looksay.types import Conversation, Image, Options

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny(tmp_path_factory.mktemp("words"), endless=True)


@pytest.fixture
def bench(words: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from benched(words, monkeypatch)


# -- clients who go


def test_one_who_goes_is_dropped_and_harms_nobody(bench: Bench) -> None:
    tickets = [bench.submit(shown(n), client=str(n)) for n in range(4)]
    bench.rows(4)
    bench.gate.let(2)
    tickets[1].cancel()
    bench.gate.let(2)
    until(lambda: tickets[1] not in [row.ticket for row in bench.batch])
    bench.gate.let_all()
    for n in (0, 2, 3):
        assert told(tickets[n]).text == alone(bench.backend, shown(n), SOME).text
    left = []
    while not tickets[1].events.empty():
        left.append(tickets[1].events.get())
    assert all(isinstance(event, Piece) for event in left)  # nobody is told an end
    until(lambda: bench.engine.load().running == 0)
    load = bench.engine.load()
    assert (load.answered, load.faults) == (3, 0)
    until(lambda: not bench.slots[-1].lengths)
    kept = [layer for layer in bench.slots[-1].layers if layer.is_initialized]
    assert not any(layer.keys.numel() for layer in kept)  # memory is given back


def test_one_who_goes_while_waiting_is_never_begun(words: Any, monkeypatch: Any) -> None:
    bench = Bench(words, monkeypatch, rows=1)
    bench.engine.most = 2
    first = bench.submit(shown(1))
    bench.rows(1)
    gone = [bench.submit(shown(2)) for _ in range(2)]
    with pytest.raises(Busy):
        bench.submit(shown(3))
    for ticket in gone:
        ticket.cancel()
    third = bench.submit(shown(3))  # their places are free, although no step was made
    bench.gate.let_all()
    assert told(first).text
    assert told(third).text == alone(words, shown(3), SOME).text
    assert all(ticket.events.empty() for ticket in gone)
    assert bench.engine.close()


def test_a_stream_of_another_backend_is_closed_when_its_reader_goes() -> None:
    backend = Scripted()
    engine = open_engine(backend)
    ticket = engine.submit(Ticket(Conversation.ask("one two three"), SOME))
    until(lambda: bool(backend.begun))
    ticket.cancel()
    backend.may.set()
    until(lambda: engine.load().running == 0)
    assert backend.closed == ["one two three"]
    assert ticket.events.empty()
    assert engine.close()


# -- time


def test_time_is_over_for_one_who_is_being_answered(bench: Bench) -> None:
    late = bench.submit(shown(1), Options(max_tokens=50, timeout_s=500))
    other = bench.submit(shown(2))
    bench.rows(2)
    late.submitted -= 501
    bench.gate.let_all()
    found = told(late)
    assert found.fault.kind == "timeout"
    assert "500 seconds" in found.fault.why
    assert told(other).text == alone(bench.backend, shown(2), SOME).text


def test_time_is_over_for_one_who_waits_while_all_rows_are_taken(
    words: Any, monkeypatch: Any
) -> None:
    bench = Bench(words, monkeypatch, rows=1)
    first = bench.submit(shown(1))
    bench.rows(1)
    late = bench.submit(shown(2), Options(timeout_s=500))
    late.submitted -= 501
    bench.gate.let(2)  # the first one's row is still there
    assert told(late).fault.kind == "timeout"
    bench.gate.let_all()
    assert told(first).text == alone(words, shown(1), SOME).text
    assert bench.engine.close()


# -- the queue


def test_a_full_queue_refuses_and_says_for_how_long() -> None:
    backend = Scripted()
    engine = open_engine(backend, waiting=2)
    tickets = [engine.submit(Ticket(Conversation.ask("one"), SOME))]
    until(lambda: engine.load().running == 1)
    tickets += [engine.submit(Ticket(Conversation.ask("two"), SOME)) for _ in range(2)]
    with pytest.raises(Busy, match="2 requests wait") as refused:
        engine.submit(Ticket(Conversation.ask("three"), SOME))
    assert 1 <= refused.value.after_s <= 10
    backend.may.set()
    assert all(told(ticket).text for ticket in tickets)
    assert ask(engine, Conversation.ask("three"), SOME).text == "three "
    assert engine.close()


def test_the_wait_that_is_told_is_that_of_answers_not_of_the_queue() -> None:
    """Answers take no time here, but each came in a hundred seconds ago, as behind a long queue."""
    backend = Scripted()
    backend.may.set()
    engine = open_engine(backend, waiting=2)
    for _ in range(30):
        old = Ticket(Conversation.ask("one"), Options(timeout_s=500))
        old.submitted -= 100
        told(engine.submit(old))
    backend.may.clear()
    tickets = [engine.submit(Ticket(Conversation.ask("one two"), SOME))]
    until(lambda: engine.load().running == 1)
    tickets += [engine.submit(Ticket(Conversation.ask("two"), SOME)) for _ in range(2)]
    with pytest.raises(Busy) as refused:
        engine.submit(Ticket(Conversation.ask("three"), SOME))
    assert refused.value.after_s < 10
    backend.may.set()
    assert engine.close()


def test_a_hundred_requests_of_one_hold_up_no_other() -> None:
    backend = Scripted()
    engine = open_engine(backend)
    many = [engine.submit(Ticket(Conversation.ask(f"a{n}"), SOME, "a")) for n in range(50)]
    until(lambda: engine.load().running == 1)
    one = engine.submit(Ticket(Conversation.ask("b"), SOME, "b"))
    two = [engine.submit(Ticket(Conversation.ask(f"c{n}"), SOME, "c")) for n in range(2)]
    backend.may.set()
    for ticket in (*many, one, *two):
        assert told(ticket).text
    # In turns; who has been served stands behind the others; each one's own in order.
    assert backend.begun[:6] == ["a0", "a1", "b", "c0", "a2", "c1"]
    assert backend.begun[6:] == [f"a{n}" for n in range(3, 50)]
    assert engine.close()


def test_side_by_side_too(words: Any, monkeypatch: Any) -> None:
    bench = Bench(words, monkeypatch, rows=2)
    ended: list[str] = []

    def ends(name: str) -> Any:
        return lambda event: None if isinstance(event, Piece) else ended.append(name)

    for n in range(50):
        short = Options(max_tokens=2)
        bench.engine.submit(Ticket(shown(n % 3), short, "a", deliver=ends(f"a{n}")))
    bench.rows(2)
    bench.engine.submit(Ticket(shown(4), Options(max_tokens=2), "b", deliver=ends("b")))
    bench.gate.let_all()
    until(lambda: len(ended) == 51)
    assert ended.index("b") < 6
    assert bench.engine.close()


# -- what breaks


def test_a_picture_that_cannot_be_read_never_stands_in_line(bench: Bench) -> None:
    with pytest.raises(UnreadablePhoto):
        bench.submit(Conversation.ask(Image(b"no picture"), "what is this ?"))
    bench.still_works()


def test_no_memory_for_a_prompt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = bench.steps.begin

    def short(prompts: Any) -> Any:
        if any(prompt.length > 100 for prompt in prompts):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return begin(prompts)

    monkeypatch.setattr(bench.steps, "begin", short)
    first = bench.submit(shown(1))
    bench.rows(1)
    large = bench.submit(shown(2, times=30))
    second = bench.submit(shown(2))
    bench.gate.let_all()
    assert "out of memory" in told(large).fault.why
    for ticket, seed in ((first, 1), (second, 2)):
        assert told(ticket).text == alone(bench.backend, shown(seed), SOME).text
    bench.still_works()


def test_a_step_that_raises_is_told_to_all_and_ends_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets = [bench.submit(shown(n)) for n in range(3)]
    bench.rows(3)
    step = bench.steps.step

    def broken(ids: Any, slots: Any) -> Any:
        step(ids, slots)
        raise RuntimeError("a kernel failed")

    with monkeypatch.context() as patch:
        patch.setattr(bench.steps, "step", broken)
        bench.gate.let(2)  # one step is held already, and is sound
        assert all("a kernel failed" in told(ticket).fault.why for ticket in tickets)
    bench.still_works()
    load = bench.engine.load()
    assert (load.running, load.faults) == (0, 3)


def test_scores_that_are_no_numbers_are_one_answers_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets = [
        bench.submit(shown(n), Options(max_tokens=8, temperature=1.0, seed=n)) for n in range(3)
    ]
    bench.rows(3)
    step = bench.steps.step

    def overflown(ids: Any, slots: Any) -> Any:
        scores_BV = step(ids, slots).clone()
        if len(ids) == 3:
            scores_BV[1] = float("nan")
        return scores_BV

    monkeypatch.setattr(bench.steps, "step", overflown)
    bench.gate.let_all()
    assert told(tickets[1]).fault.kind == "model"
    for n in (0, 2):
        options = Options(max_tokens=8, temperature=1.0, seed=n)
        assert told(tickets[n]).text == alone(bench.backend, shown(n), options).text
    bench.still_works()


def test_a_backend_that_raises_fails_one_request() -> None:
    backend = Scripted()
    backend.may.set()
    engine = open_engine(backend)
    for whole in (True, False):
        found = ask(engine, Conversation.ask("fail"), SOME, whole=whole)
        assert "broken on purpose" in found.fault.why
        assert ask(engine, Conversation.ask("go on"), SOME, whole=whole).text == "go on "
    assert engine.load().faults == 2
    assert engine.close()


# -- the end


def test_closing_answers_who_is_there_and_takes_nobody_else(bench: Bench) -> None:
    tickets = [bench.submit(shown(n)) for n in range(3)]
    bench.rows(3)
    closed: list[bool] = []
    closing = threading.Thread(target=lambda: closed.append(bench.engine.close(60)))
    closing.start()
    until(lambda: bench.engine.closing)
    with pytest.raises(Busy, match="closing"):
        bench.submit(shown(4))
    bench.gate.let_all()
    for n, ticket in enumerate(tickets):
        assert told(ticket).text == alone(bench.backend, shown(n), SOME).text
    closing.join()
    assert closed == [True]


def test_who_still_waits_when_the_time_to_close_is_over_is_told(
    words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(words, monkeypatch, rows=1)
    running = bench.submit(shown(1))
    bench.rows(1)
    waiting = bench.submit(shown(2))
    assert not bench.engine.close(wait_s=0.05)
    assert "has closed" in told(waiting).fault.why
    bench.gate.let_all()
    assert told(running).text == alone(words, shown(1), SOME).text
    assert bench.engine.close()
