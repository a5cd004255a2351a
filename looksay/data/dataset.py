"""Where examples come from: a `Source` gives the example at an index, so that training resumes exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Protocol

from looksay import images
from looksay.errors import InputError, LooksayError, UnreadablePhoto
from looksay.types import Conversation, Example
from looksay.types import Image as Picture

BLOCK = 4096
"""A mixture keeps its shares exactly in every run of so many examples."""


class Source(Protocol):
    """Examples by number. The same index always gives the same example."""

    @property
    def size(self) -> int | None:
        """How many there are; None: endless, every index is fresh."""

    @property
    def fingerprint(self) -> str:
        """What the examples depend on: two sources that differ in it may give other examples, and a run
        on one is not gone on with on the other."""

    def example(self, index: int) -> Example:
        """The example number `index`, from 0. Raises InputError where the data are at fault."""


class Examples:
    """A source of examples that are there already."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        self.size: int | None = len(examples)
        told = [(e.id, [(m.role, m.text) for m in e.conversation.messages]) for e in examples]
        worse = [e.truth["rejected"] for e in examples if "rejected" in e.truth]
        self.fingerprint = named("Examples", told, *([worse] if worse else []))

    def example(self, index: int) -> Example:
        return self._examples[index]


class Part:
    """The examples from `start` up to `stop` (not included) of another source."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        limit = stop if source.size is None else min(stop, source.size)
        if not 0 <= start < limit:
            raise InputError(f"Examples {start} to {stop} were asked for; there are {source.size}.")
        self._source, self._start = source, start
        self.size: int | None = limit - start
        self.fingerprint = named("Part", start, limit, source.fingerprint)

    def example(self, index: int) -> Example:
        return self._source.example(self._start + index)


class Noted:
    """The examples of another source with more in the truth of each. Example: Noted(pairs, beta=0.2)."""

    def __init__(self, source: Source, **facts: Any) -> None:
        self._source, self._facts = source, facts
        self.size = source.size
        self.fingerprint = named("Noted", sorted(facts.items()), source.fingerprint)

    def example(self, index: int) -> Example:
        example = self._source.example(index)
        return replace(example, truth={**example.truth, **self._facts})


class Pictured:
    """The examples of another source with other pictures: what `change` makes of each.

    `how` says what that is, for the fingerprint; `change` goes to other processes, so it is no lambda.
    """

    def __init__(self, source: Source, change: Callable[[Picture], Picture], how: str) -> None:
        self._source, self._change = source, change
        self.size = source.size
        self.fingerprint = named("Pictured", how, source.fingerprint)

    def example(self, index: int) -> Example:
        example = self._source.example(index)
        return replace(example, conversation=pictured(example.conversation, self._change))


def pictured(conversation: Conversation, change: Callable[[Picture], Picture]) -> Conversation:
    """The conversation with what `change` makes of each of its pictures."""
    messages = tuple(
        replace(m, parts=tuple(change(p) if isinstance(p, Picture) else p for p in m.parts))
        for m in conversation.messages
    )
    return replace(conversation, messages=messages)


class FirstTurns:
    """The first question and answer of every example of another source: what the first stage of LLaVA
    learns from, which shows the picture and wants words for it."""

    def __init__(self, source: Source) -> None:
        self._source, self.size = source, source.size
        self.fingerprint = named("FirstTurns", source.fingerprint)

    def example(self, index: int) -> Example:
        example = self._source.example(index)
        spoken = [m for m in example.conversation.messages if m.role != "system"]
        return replace(example, conversation=Conversation(tuple(spoken[:2])))


class Rounds:
    """The numbers below `size` over and over, each round in another order, which depends on `seed` and the round's
    number alone. Numbers in a run of `together` stay neighbours. Raises InputError where runs do not fill a round."""

    def __init__(self, size: int, seed: object = 0, together: int = 1) -> None:
        if size < 1 or size % together:
            raise InputError(
                f"{size} examples do not fill runs of {together}; expected a multiple."
            )
        self._size, self._seed, self._together = size, seed, together
        self._orders: dict[int, list[int]] = {}

    def place(self, index: int) -> tuple[int, int]:
        """The round of what comes `index`-th, and its number."""
        turn, place = divmod(index, self._size)
        run, place = divmod(place, self._together)
        return turn, self._order(turn)[run] * self._together + place

    def _order(self, turn: int) -> list[int]:
        if turn not in self._orders:
            self._orders = {t: o for t, o in self._orders.items() if t == turn - 1}
            runs = self._size // self._together
            self._orders[turn] = _permutation(runs, f"{self._seed}-{turn}")
        return self._orders[turn]


class Shuffled:
    """A finite source over and over, each time in another order (`Rounds`); an endless one as it is."""

    size: int | None = None

    def __init__(self, source: Source, seed: int = 0) -> None:
        if source.size == 0:
            raise InputError("There are no examples to learn from: the source is empty.")
        self._source = source
        self._rounds = None if source.size is None else Rounds(source.size, seed)
        self.fingerprint = named("Shuffled", seed, source.fingerprint)

    def example(self, index: int) -> Example:
        return self._source.example(self._rounds.place(index)[1] if self._rounds else index)


class Mixture:
    """Several sources by weight: itself an endless source, each index of which is fixed by `seed`.

    Shares hold exactly in every run of BLOCK examples. A finite source is gone through in a new random
    order each time round, so that no example comes again before all have come; a source that weighs
    nothing never comes. Raises InputError where there is nothing to mix.
    """

    size: int | None = None

    def __init__(self, parts: Sequence[tuple[Source, float]], seed: int = 0) -> None:
        if not parts or min(weight for _, weight in parts) < 0:
            raise InputError(f"A mixture takes weights of 0 and more; found {_weights(parts)}.")
        total = sum(weight for _, weight in parts)
        if not total > 0:
            raise InputError(f"A mixture takes a weight above 0; found {_weights(parts)}.")
        kept = [(source, weight / total) for source, weight in parts if weight > 0]
        self._seed = seed
        self._sources = [Shuffled(s, seed * 1_000_003 + n) for n, (s, _) in enumerate(kept)]
        self._quotas = _quotas([share for _, share in kept])
        self.fingerprint = named("Mixture", seed, [(s.fingerprint, share) for s, share in kept])
        self._blocks: dict[int, list[tuple[int, int]]] = {}

    def example(self, index: int) -> Example:
        number, place = divmod(index, BLOCK)
        source, rank = self._block(number)[place]
        return self._sources[source].example(number * self._quotas[source] + rank)

    def _block(self, number: int) -> list[tuple[int, int]]:
        """(source, how many of it came before in this block) by place."""
        if number not in self._blocks:
            slots = [(s, rank) for s, quota in enumerate(self._quotas) for rank in range(quota)]
            order = _permutation(BLOCK, f"{self._seed}-block-{number}")
            seen = [0] * len(self._quotas)
            block: list[tuple[int, int]] = []
            for slot in order:
                source = slots[slot][0]
                block.append((source, seen[source]))
                seen[source] += 1
            self._blocks = {n: b for n, b in self._blocks.items() if n == number - 1}
            self._blocks[number] = block
        return self._blocks[number]


def named(*facts: object) -> str:
    """16 hex digits for what a source depends on."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def problems(
    source: Source, *, decode: bool = False, seen: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """What is wrong with a finite source, one sentence per faulty example.

    With `decode` every image is read to its last pixel, which takes as long as one pass of training
    reads; without, files are only opened. `seen` is called after each example.
    """
    for index in range(source.size or 0):
        seen()
        try:
            example = source.example(index)
            if decode:
                for image in example.conversation.images:
                    whole(image, example.id)
        except LooksayError as error:
            yield str(error)


def whole(image: Picture, name: str) -> None:
    """Raise InputError with the example's name where an image cannot be decoded."""
    try:
        images.load_rgb(image.source)
    except UnreadablePhoto as error:
        raise InputError(f"Example {name}: the image cannot be read: {error}") from error


def _permutation(size: int, seed: str) -> list[int]:
    # `random()` alone has a sequence that Python guarantees across versions; `shuffle` has not
    draw = Random(seed).random
    return sorted(range(size), key=[draw() for _ in range(size)].__getitem__)


def _quotas(shares: list[float]) -> list[int]:
    """Places in a block by share: whole numbers, at least 1, that sum to BLOCK."""
    exact = [max(1.0, share * BLOCK) for share in shares]
    quotas = [int(q) for q in exact]
    by_rest = sorted(range(len(exact)), key=lambda n: quotas[n] - exact[n])
    for step in range(BLOCK - sum(quotas)):
        quotas[by_rest[step % len(quotas)]] += 1
    while sum(quotas) > BLOCK:
        quotas[quotas.index(max(quotas))] -= 1
    return quotas


def _weights(parts: Sequence[tuple[Source, float]]) -> str:
    return ", ".join(f"{weight:g}" for _, weight in parts) or "none"
