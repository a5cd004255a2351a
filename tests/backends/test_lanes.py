"""Two batches beside each other over one model: both compute at once, share the cores, and answer as one batch does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import two_threads
from engines import WAIT_S, Gate, alone, ask, saved, shown, talks, told, until
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.backends import load
from looksay.backends._kept import Prefixes, Seen
from looksay.backends._steps import Joint, separable
from looksay.backends.engine import Engine
from looksay.backends.opening import open_engine
from looksay.backends.tickets import Fault, Ticket
from looksay.types import Options

pytestmark = pytest.mark.local
SHORT = Options(max_tokens=10)


@pytest.fixture
def backend(tmp_path: Path) -> Any:
    Seen.forget()
    return load(f"local:{saved(tmp_path / 'talker', endless=True)}")


def opened(backend: Any, rows: int = 4) -> Engine:
    engine = open_engine(backend, rows=rows, lanes=2)
    assert engine.worker.threads == 2
    return engine


def test_both_compute_at_once_each_on_half_of_the_cores(
    backend: Any, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    real, both = backend.steps.step, threading.Barrier(2)
    met: dict[int, int] = {}

    def step(ids: Sequence[int], slots: Any) -> Any:
        if threading.get_ident() not in met:
            both.wait(WAIT_S)  # nobody gets past it alone
            met[threading.get_ident()] = torch.get_num_threads()
        return real(ids, slots)

    monkeypatch.setattr(backend.steps, "step", step)
    engine = opened(backend, rows=2)
    tickets = [engine.submit(Ticket(shown(n), SHORT)) for n in range(2)]
    for ticket in tickets:
        assert not isinstance(list(ticket)[-1], Fault)
    assert engine.close()
    assert len(met) == 2
    assert 1 in met.values()


def test_one_that_is_alone_takes_all_cores(
    backend: Any, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    gate, taken = Gate(backend.steps, monkeypatch), []
    held = backend.steps.step

    def step(ids: Sequence[int], slots: Any) -> Any:
        taken.append(torch.get_num_threads())
        return held(ids, slots)

    monkeypatch.setattr(backend.steps, "step", step)
    engine = opened(backend, rows=2)
    first = engine.submit(Ticket(shown(1), Options(max_tokens=30)))
    until(lambda: gate.held)
    gate.let(3)
    assert taken == [2] * len(taken)
    second = engine.submit(Ticket(shown(2), SHORT))
    until(lambda: len(engine.worker.rows) == 2)  # type: ignore[attr-defined]
    taken.clear()
    gate.let_all()
    told(second)
    assert 1 in taken
    told(first)
    assert taken[-1] == 2, "the other has ended"
    assert engine.close()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(2, 5))
def test_answers_are_those_alone(lanes_backend: Any, order: list[int], rows: int) -> None:
    backend, wanted = lanes_backend
    engine = opened(backend, rows)
    asked = talks()
    tickets = [
        engine.submit(Ticket(asked[n % len(asked)], SHORT, client=str(at)))
        for at, n in enumerate(order)
    ]
    for n, ticket in zip(order, tickets, strict=True):
        assert told(ticket).text == wanted[n % len(asked)]
    assert engine.close()


@pytest.fixture(scope="module")
def lanes_backend(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with two_threads():
        backend = load(f"local:{saved(tmp_path_factory.mktemp('lanes') / 'talker')}")
        yield backend, [alone(backend, talk, SHORT).text for talk in talks()]


def test_a_step_that_fails_in_one_is_no_matter_of_the_other(
    backend: Any, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, both, failed = backend.steps.step, threading.Barrier(2), []

    def step(ids: Sequence[int], slots: Any) -> Any:
        if not failed:
            place = both.wait(WAIT_S)
            if place == 0:
                failed.append(threading.get_ident())
            both.wait(WAIT_S)
        if threading.get_ident() in failed and len(failed) == 1:
            failed.append(0)
            raise ValueError("this one")
        return real(ids, slots)

    monkeypatch.setattr(backend.steps, "step", step)
    engine = opened(backend, rows=2)
    tickets = [engine.submit(Ticket(shown(n), SHORT)) for n in range(2)]
    ends = [list(ticket)[-1] for ticket in tickets]
    assert sum(isinstance(end, Fault) for end in ends) == 1
    assert not isinstance(list(engine.submit(Ticket(shown(3), SHORT)))[-1], Fault)
    assert engine.close()


def test_what_does_not_fit_waits_for_room(backend: Any, cores: int) -> None:
    engine = opened(backend, rows=4)
    worker: Any = engine.worker
    until(lambda: len(worker.lanes) == 2)
    long = shown(1, times=6)
    worker.places = backend.steps.prompt(long).length + 20  # one of them, and no second
    found: list[bool] = []
    most: set[int] = set()

    def watch() -> None:
        while not found:
            most.add(len(worker.rows))

    tickets = [engine.submit(Ticket(long, SHORT)) for _ in range(6)]
    watching = threading.Thread(target=watch)
    watching.start()
    for ticket in tickets:
        told(ticket).done  # noqa: B018 (fails where it is a fault)
    found.append(True)
    watching.join()
    assert max(most) == 1
    assert engine.close()


def test_prompts_are_read_on_half_of_the_cores_and_no_fewer(
    backend: Any, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    torch.set_num_threads(4)
    both, taken, begin = threading.Barrier(2), [], backend.steps.begin

    def begun(prompts: Any) -> Any:
        both.wait(WAIT_S)
        both.wait(WAIT_S)  # both are busy
        taken.append(torch.get_num_threads())
        return begin(prompts)

    monkeypatch.setattr(backend.steps, "begin", begun)
    engine = opened(backend, rows=2)
    tickets = [engine.submit(Ticket(shown(n), SHORT)) for n in range(2)]
    for ticket in tickets:
        assert told(ticket).done
    assert engine.close()
    assert sorted(taken) in ([2, 2], [2, 4]), "whoever was first may have been alone"


def test_no_more_are_answered_at_once_than_were_asked_for(backend: Any, cores: int) -> None:
    engine = opened(backend, rows=3)
    worker: Any = engine.worker
    seen, ended = set(), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            seen.add(len(worker.rows))

    watching = threading.Thread(target=watch)
    watching.start()
    tickets = [engine.submit(Ticket(shown(n % 4), SHORT)) for n in range(12)]
    for ticket in tickets:
        assert told(ticket).done
    ended.set()
    watching.join()
    assert engine.close()
    assert 1 < max(seen) <= 3


def test_what_asks_the_model_by_itself_waits_for_both_and_they_for_it() -> None:
    alone, inside = threading.Lock(), []
    joint = Joint(alone)

    def hold() -> None:
        with joint:
            inside.append(1)
            until(lambda: len(inside) == 2)

    with alone:
        threads = [threading.Thread(target=hold) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert not inside
    for thread in threads:
        thread.join(WAIT_S)
    assert len(inside) == 2, "both held it at once"
    assert alone.acquire(timeout=WAIT_S)


@pytest.mark.parametrize(
    "kind",
    ["bitsandbytes.nn.modules", "transformers_modules.their.own", "longrope", "dynamic", ""],
)
def test_layers_that_change_while_they_compute_keep_a_model_to_one_lane(kind: str) -> None:
    import torch

    layer = type("Layer", (torch.nn.Module,), {"__module__": kind or __name__})()
    layer.rope_type = kind
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), layer)
    model.device = torch.device("cpu")
    assert separable(model) == (not kind)
    model.device = torch.device("meta")
    assert not separable(model)


def test_a_model_that_computes_one_at_a_time_has_one_lane(
    backend: Any, cores: int, tmp_path: Path
) -> None:
    backend._model.language.one_at_a_time = True
    engine = open_engine(backend, rows=4, lanes=2)
    assert engine.worker.threads == 1
    assert ask(engine, shown(1), SHORT).done
    assert engine.close()


def test_many_threads_put_and_find_what_was_read() -> None:
    import torch

    prefixes, faults = Prefixes(most_bytes=4000), []

    def work(seed: int) -> None:
        try:
            for n in range(300):
                units = tuple(range(seed, seed + 20 + n % 7))
                prefixes.put(units, [(torch.zeros(1, 1, 20, 2), torch.zeros(1, 1, 20, 2))])
                prefixes.find(units)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert prefixes.recent.bytes == sum(size for _, size in prefixes.recent.items.values())
    assert prefixes.recent.bytes <= 4000
