"""The engine where memory is short: who goes first, who is asked again, and that nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: nothing is written side by side")
pytest.importorskip("transformers", reason="no transformers: nothing is written side by side")

from engines import SOME, WAIT_S, Bench, alone, benched, shown, tiny, told, until

from looksay.backends.opening import open_engine
from looksay.backends.tickets import Fault, Ticket
from looksay.models.slots import Slots
from looksay.types import Options

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny(tmp_path_factory.mktemp("words"), endless=True)


@pytest.fixture
def bench(words: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from benched(words, monkeypatch)


def large_ones(bench: Bench, monkeypatch: pytest.MonkeyPatch, most: int = 0) -> list[int]:
    """Have a long prompt find memory only beside so many others; how many there were at each try."""
    begin, tries = bench.steps.begin, []

    def short(prompts: Any) -> Any:
        if any(prompt.length > 100 for prompt in prompts):
            tries.append(len(bench.batch))
            if len(bench.batch) > most:
                raise MemoryError("no memory")
        return begin(prompts)

    monkeypatch.setattr(bench.steps, "begin", short)
    return tries


def three_being_written(bench: Bench, whole: bool) -> list[Ticket]:
    """Requests whose next step is held."""
    tickets = [bench.submit(shown(n), whole=whole) for n in range(3)]
    bench.rows(3)
    bench.gate.let(2)
    until(lambda: bench.gate.held)
    return tickets


def test_a_prompt_without_memory_has_its_turn_beside_fewer_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = large_ones(bench, monkeypatch)
    talks = [shown(n) for n in range(6)]
    first = [
        bench.submit(talk, Options(max_tokens=8 + 3 * n), whole=True)
        for n, talk in enumerate(talks)
    ]
    bench.rows(6)
    large, after = bench.submit(shown(2, times=30), whole=True), bench.submit(shown(7), whole=True)
    bench.gate.let_all()
    assert told(large).text == alone(bench.backend, shown(2, times=30), SOME).text
    assert told(after).text == alone(bench.backend, shown(7), SOME).text
    for n, ticket in enumerate(first):
        assert (
            told(ticket).text == alone(bench.backend, talks[n], Options(max_tokens=8 + 3 * n)).text
        )
    assert tries[0] == 6
    assert tries[-1] == 0
    assert len(tries) <= 5  # beside half as many each time, not one fewer
    assert bench.engine.worker.most_rows > 6  # type: ignore[attr-defined]  # the others are as many as before
    load = bench.engine.load()
    assert (load.running, load.answered, load.faults) == (0, 8, 0)


def test_those_that_are_put_back_keep_their_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    large_ones(bench, monkeypatch)
    first = bench.submit(shown(1), whole=True)
    bench.rows(1)
    ended: list[int] = []
    for n in range(3):
        bench.submit(shown(n, times=30), whole=True, deliver=lambda event, n=n: ended.append(n))
    bench.gate.let_all()
    told(first)
    until(lambda: len(set(ended)) == 3)
    assert list(dict.fromkeys(ended)) == [0, 1, 2]


@pytest.mark.parametrize("whole", [False, True])
def test_no_memory_for_a_step(bench: Bench, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """The one who came last makes room, and is asked again where nobody heard of it; the others' answers are what they
    would have been."""
    tickets = three_being_written(bench, whole=whole)
    step, faults = bench.steps.step, [MemoryError("no memory")]

    def short(ids: Any, slots: Any) -> Any:
        if faults and len(ids) == 3:
            # Keys and values are written already where memory runs out; nothing counts them.
            patch.setattr(slots, "advance", lambda: None)
            step(ids, slots)
            raise faults.pop()
        return step(ids, slots)

    with monkeypatch.context() as patch:
        patch.setattr(bench.steps, "step", short)
        bench.gate.let(2)  # one step is held already, and is sound
        until(lambda: not faults and bench.gate.held)
    bench.gate.let_all()
    results = [told(ticket) for ticket in tickets]
    assert sum(isinstance(one.end, Fault) for one in results) == (not whole)
    if not whole:
        assert "out of memory" in results[2].fault.why
    for n in range(2 + whole):
        assert results[n].text == alone(bench.backend, shown(n), SOME).text


def test_a_second_fault_while_one_is_put_back_is_told_and_ends_no_lane(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets = three_being_written(bench, whole=True)
    step, faults = bench.steps.step, [MemoryError("no memory")]

    def short(ids: Any, slots: Any) -> Any:
        if faults and len(ids) == 3:
            raise faults.pop()
        return step(ids, slots)

    def broken(talk: Any) -> Any:
        raise MemoryError("nor for the photo")

    with monkeypatch.context() as patch:
        patch.setattr(bench.steps, "step", short)
        patch.setattr(bench.steps, "prompt", broken)
        bench.gate.let_all()
        results = [told(ticket) for ticket in tickets]
    assert [isinstance(one.end, Fault) for one in results] == [False, False, True]
    assert bench.engine.alive
    bench.still_works()


def test_no_memory_to_join_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.submit(shown(1), whole=True)
    bench.rows(1)
    join, faults = Slots.join, [MemoryError("no memory")]

    def short(self: Slots, *given: Any) -> int:
        if faults:
            raise faults.pop()
        return join(self, *given)

    monkeypatch.setattr(Slots, "join", short)
    second = bench.submit(shown(2), whole=True)
    bench.gate.let_all()
    for ticket, seed in ((first, 1), (second, 2)):
        assert told(ticket).text == alone(bench.backend, shown(seed), SOME).text
    assert not faults


# -- beside another lane


def test_a_prompt_for_which_another_lane_leaves_no_memory(
    words: Any,
    cores: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vars(words).pop("steps", None)
    begin, lock = words.steps.begin, threading.Lock()
    inside, met, refused = [0], threading.Event(), []

    def short(prompts: Any) -> Any:
        with lock:
            inside[0] += 1
            late = inside[0] > 1
            if late:
                met.set()
        try:
            met.wait(WAIT_S)
            if late:
                refused.append(1)
                raise MemoryError("no memory beside the other")
            return begin(prompts)
        finally:
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(words.steps, "begin", short)
    engine = open_engine(words, rows=2, lanes=2)
    tickets = [engine.submit(Ticket(shown(n), SOME, whole=True)) for n in range(2)]
    assert not any(isinstance(told(ticket).end, Fault) for ticket in tickets)
    assert engine.close()
    assert refused


def test_one_that_never_finds_memory_holds_nobody_up_for_long(
    words: Any, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vars(words).pop("steps", None)
    begin, tries = words.steps.begin, []

    def short(prompts: Any) -> Any:
        if any(prompt.length > 100 for prompt in prompts):
            tries.append(1)
            time.sleep(0.05)  # the other lane has time to take somebody
            raise MemoryError("never")
        return begin(prompts)

    monkeypatch.setattr(words.steps, "begin", short)
    engine = open_engine(words, rows=4, lanes=2)
    talks = [shown(n, times=30 if n == 5 else 1) for n in range(24)]
    tickets = [engine.submit(Ticket(talk, SOME, whole=True)) for talk in talks]
    ends = [told(ticket).end for ticket in tickets]
    assert [n for n, end in enumerate(ends) if isinstance(end, Fault)] == [5]
    assert len(tries) <= 5
    assert engine.worker.most_rows == 4  # type: ignore[attr-defined]
    assert engine.close()


def test_a_step_for_which_another_lane_leaves_no_memory(
    words: Any,
    cores: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vars(words).pop("steps", None)
    options = Options(max_tokens=60)
    engine = open_engine(words, rows=2, lanes=2)
    worker, step, faults = engine.worker, words.steps.step, [1]

    def short(ids: Any, slots: Any) -> Any:
        time.sleep(0.01)
        if faults and len(ids) == 1 and len(worker.rows) == 2:  # type: ignore[attr-defined]
            faults.clear()
            raise MemoryError("no memory")
        return step(ids, slots)

    monkeypatch.setattr(words.steps, "step", short)
    tickets = [engine.submit(Ticket(shown(n), options, whole=True)) for n in range(2)]
    found = [told(ticket) for ticket in tickets]
    assert engine.close()
    assert not any(isinstance(one.end, Fault) for one in found)
    assert [one.text for one in found] == [alone(words, shown(n), options).text for n in range(2)]
    assert not faults
