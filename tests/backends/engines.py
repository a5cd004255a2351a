"""What tests of the engine share: tiny models with random weights, steps that wait to be let through, answers told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pictures import picture

from looksay.backends.base import Profile
from looksay.backends.engine import Engine
from looksay.backends.tickets import Done, Fault, Piece, Scored, Ticket
from looksay.types import Completion, Conversation, Image, Message, Options

WAIT_S = 120.0
"""Longer than anything takes that ends at all."""
WORDS = "what is in this picture ? "


def saved(folder: Path, seed: int = 0, words: bool = True, endless: bool = False) -> Path:
    """The checkpoint of a LLaVA of a few thousand weights, its words whole or single bytes; `endless`: one that never
    finds that an answer has an end."""
    from models.tiny import byte_tokenizer, tiny_llava, word_tokenizer

    from looksay.models import checkpoint

    tokenizer = word_tokenizer() if words else byte_tokenizer()
    model = tiny_llava(seed=seed, tokenizer=tokenizer, context=2048)
    if endless:
        model.language.head[0].data[tokenizer.eos_token_id] = (
            0.0  # the likeliest word never is this one
        )
    checkpoint.save(model, folder)
    return folder


def tiny(folder: Path, words: bool = True, endless: bool = False) -> Any:
    """It as the backend `local:`."""
    from looksay.backends import load

    return load(f"local:{saved(folder, words=words, endless=endless)}")


def shown(*seeds: int, times: int = 1, system: str | None = None) -> Conversation:
    """A question about the pictures of these seeds; `times` makes it longer."""
    return Conversation.ask(*(Image(picture(s)) for s in seeds), WORDS * times, system=system)


def talks() -> list[Conversation]:
    """No two alike: none, one and several pictures, short and long, a second turn, an instruction."""
    turns = Conversation(
        (
            Message("user", (Image(picture(1)), "what is this ?")),
            Message("assistant", ("a dog .",)),
            Message("user", ("where is it ?",)),
        )
    )
    return [
        shown(1),
        shown(2, times=5),
        shown(),
        shown(3, 4),
        turns,
        shown(5, 6, 7, times=2),
        shown(2, system="see the picture . " * 8),
        shown(times=9),
    ]


@dataclass
class Told:
    """What came of a ticket."""

    text: str
    end: Done | Fault
    scored: list[Scored] = field(default_factory=list)
    pieces: int = 0

    @property
    def done(self) -> Done:
        assert isinstance(self.end, Done), self.end
        return self.end

    @property
    def fault(self) -> Fault:
        assert isinstance(self.end, Fault), self.end
        return self.end


def told(ticket: Ticket) -> Told:
    """Wait for the last event of a ticket."""
    found = Told("", Fault("none"))
    while True:
        event = ticket.events.get(timeout=WAIT_S)
        if not isinstance(event, Piece):
            found.end = event
            return found
        found.text += event.text
        found.scored += event.scored
        found.pieces += 1


def ask(engine: Engine, talk: Conversation, options: Options, **more: Any) -> Told:
    return told(engine.submit(Ticket(talk, options, **more)))


def alone(backend: Any, talk: Conversation, options: Options) -> Any:
    """What the model answers by itself, without an engine: transformers' own cache, and nothing remembered."""
    (found,) = backend._model.generate([talk], options)
    return found


def until(true: Callable[[], bool]) -> None:
    """Wait until something has come to be."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)


class Gate:
    """Steps of a model that go through one by one, or as many as one likes."""

    def __init__(self, steps: Any, monkeypatch: Any) -> None:
        self._let, self.open, self.held, self.passed = threading.Semaphore(0), False, False, 0
        real = steps.step

        def step(ids: Sequence[int], slots: Any) -> Any:
            if not self.open:
                self.held = True
                self._let.acquire(timeout=WAIT_S)
                self.held = False
            self.passed += 1
            return real(ids, slots)

        monkeypatch.setattr(steps, "step", step)

    def let(self, steps: int) -> None:
        """Let so many through, and wait until they are."""
        wanted = self.passed + steps
        for _ in range(steps):
            self._let.release()
        until(lambda: self.passed >= wanted)

    def let_all(self) -> None:
        """From now on nothing is held."""
        self.open = True
        self._let.release(2)  # both lanes


class Scripted:
    """A backend that says each conversation's own words, once it may."""

    name, fingerprint = "scripted", "scripted-1"

    def __init__(self, concurrency: int = 1) -> None:
        self.profile = Profile(concurrency=concurrency)
        self.may = threading.Event()
        self.begun: list[str] = []
        self.closed: list[str] = []

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, one in enumerate(conversations):
            words = "".join(self.stream(one, options))
            yield Completion(index, words, 1, len(words.split()))

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        words = conversation.messages[-1].text
        self.begun.append(words)
        try:
            if words == "fail":
                raise RuntimeError("broken on purpose")
            for word in words.split():
                assert self.may.wait(WAIT_S)
                yield f"{word} "
        finally:
            self.closed.append(words)


SOME = Options(max_tokens=10)


class Bench:
    """An engine whose steps are let through by the test."""

    def __init__(self, backend: Any, monkeypatch: Any, rows: int | None = None) -> None:
        from looksay.backends.opening import open_engine

        vars(backend).pop("steps", None)
        self.backend, self.steps = backend, backend.steps
        self.slots: list[Any] = []
        made = self.steps.slots
        monkeypatch.setattr(
            self.steps, "slots", lambda: (self.slots.append(made()), self.slots[-1])[1]
        )
        self.gate = Gate(self.steps, monkeypatch)
        self.engine = open_engine(backend, rows=rows)

    def submit(
        self, talk: Conversation, options: Options = SOME, client: str = "", **more: Any
    ) -> Ticket:
        return self.engine.submit(Ticket(talk, options, client, **more))

    @property
    def batch(self) -> list[Any]:
        return list(self.engine.worker.rows)  # type: ignore[attr-defined]

    def rows(self, count: int) -> None:
        """Let steps through until so many are in the batch."""
        until(lambda: self.gate.held)
        while len(self.batch) != count:
            self.gate.let(1)
            until(lambda: self.gate.held)

    def still_works(self) -> None:
        self.gate.let_all()
        found = ask(self.engine, shown(3), SOME)
        assert found.text == alone(self.backend, shown(3), SOME).text


def benched(backend: Any, monkeypatch: Any) -> Iterator[Bench]:
    """A bench that ends as it should."""
    made = Bench(backend, monkeypatch)
    yield made
    made.gate.let_all()
    assert made.engine.close()
