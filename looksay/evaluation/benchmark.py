"""What a benchmark is: a module of looksay.evaluation.benchmarks with a card, a reader and a scorer.

    CARD = Card(…)                                     what it measures, what it needs, its licence
    def read(folder, variant) -> list[Item]            items from the official files
    def score(answers, compat, verdicts) -> list[Measure]    figures, the one that papers print first

A benchmark whose answers a judge reads has also

    def judge(answers) -> list[Item]                   what the judge is asked; its answers are the verdicts

A benchmark of dual encoders has, in place of `score`,

    def score_embeddings(items, vectors, compat) -> list[Measure]    figures of what its items embed to
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from looksay import plugins
from looksay.errors import InputError, UnknownName
from looksay.evaluation.measures import Measure
from looksay.types import Conversation

PACKAGE = "looksay.evaluation.benchmarks"

Compat = Literal["strict", "official", "lmms-eval", "vlmevalkit"]
"""Whose rules read an answer. strict: ours, which guess nothing; official: those of the benchmark's own scorer;
the others those of the harnesses, where they differ."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a benchmark is and what must be on disk for it."""

    title: str
    measures: str
    """What it shows, in one sentence."""
    needs: Mapping[str, str]
    """Path below the benchmark's folder → what it is. Example: {"val2014/": "images of COCO 2014"}."""
    where: str
    """Address where the files are to be had."""
    licence: str
    loader: str
    """The official loader or scorer that the reader follows."""
    paper: str
    variants: tuple[str, ...] = ("",)
    """Parts that can be chosen as name/variant; the first is the default."""
    compat: tuple[Compat, ...] = ("strict",)
    """Whose rules it can be scored by."""
    likelihood: bool = False
    """Its items have choices that can be ranked by their likelihood."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a benchmark, and what its answer is held to.

    Example: Item("17", Conversation.ask(Image(path), "Is there a dog?"), {"answer": "yes"}, image="42.jpg").
    """

    id: str
    """Distinct within the benchmark; of one rotation of a question "17 r2"."""
    conversation: Conversation
    truth: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    """What it shares with others that are not independent of it: the image's name."""
    kind: str = ""
    """Type of question, domain or task, for figures by type."""
    choices: tuple[str, ...] = ()
    """Possible answers, for benchmarks that rank them by likelihood."""
    max_tokens: int = 0
    """At most so many tokens for the answer; 0: as the run says."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said to an item. Failed calls give none."""

    item: Item
    text: str


class UnreadableVerdicts(InputError):
    """Replies of a judge that are no verdicts: calls that failed, to be made again.

    `faults`: item's id → what was found and expected.
    """

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        name, fault = next(iter(self.faults.items()))
        more = f" ({len(self.faults) - 1} more alike)" if len(self.faults) > 1 else ""
        super().__init__(f"Item {name!r}: {fault}{more}")


class Benchmark(Protocol):
    """A module of looksay.evaluation.benchmarks, or one that an entry point of that group names."""

    CARD: Card

    def read(self, folder: Path, variant: str) -> Sequence[Item]:
        """The items, in the order of the official files. Raises InputError that names file and entry."""

    def score(
        self, answers: Sequence[Answer], compat: Compat, verdicts: Sequence[Answer]
    ) -> list[Measure]:
        """The figures. An answer that cannot be read is counted as such, never guessed."""


class Judged(Benchmark, Protocol):
    """A benchmark whose answers a judge reads."""

    def judge(self, answers: Sequence[Answer]) -> Sequence[Item]:
        """What the judge is asked; ids are those of the answers' items, so that verdicts find them."""


class Embedded(Protocol):
    """A benchmark of dual encoders; `looksay.evaluation.embedding` runs it.

    Its items are not asked but embedded: each shows pictures alone (several are frames of one video) or says
    texts alone (several are wordings of one thing), and what has several parts is embedded as their mean.
    """

    CARD: Card

    def read(self, folder: Path, variant: str) -> Sequence[Item]:
        """The items, in the order of the official files. Raises InputError that names file and entry."""

    def score_embeddings(
        self, items: Sequence[Item], vectors: NDArray[np.float32], compat: Compat
    ) -> list[Measure]:
        """The figures from unit rows (n, d), one for each item."""


class Reranked(Embedded, Protocol):
    """One whose first candidates a slower model may look at again, pair by pair (`backends.base.Matcher`)."""

    def candidates(self, items: Sequence[Item], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """The pairs to look at, (k, 2): places of a picture and of a text among the items."""

    def score_reranked(
        self,
        items: Sequence[Item],
        vectors: NDArray[np.float32],
        pairs: NDArray[np.int64],
        logits: NDArray[np.float32],
        compat: Compat,
    ) -> list[Measure]:
        """The figures from those pairs' logits (k,), to stand beside the plain ones."""


def names() -> list[str]:
    """Benchmarks that there are."""
    return plugins.names(PACKAGE)


def load(name: str) -> tuple[Benchmark, str]:
    """A benchmark and its variant by "name" or "name/variant". Raises UnknownName."""
    base, _, variant = name.partition("/")
    found = cast(Benchmark, plugins.load(PACKAGE, base, "benchmark"))
    variants = found.CARD.variants
    if not variant:
        return found, variants[0]
    if variant not in variants:
        raise UnknownName(f"variant of {base}", variant, [one or "(none)" for one in variants])
    return found, variant


def checked(items: Iterable[Item], name: str) -> list[Item]:
    """The items, once their ids are seen to be distinct. Raises InputError."""
    found: dict[str, Item] = {}
    for item in items:
        if item.id in found:
            raise InputError(f"{name}: two items have the id {item.id!r}; ids must be distinct.")
        found[item.id] = item
    if not found:
        raise InputError(f"{name} holds no item.")
    return list(found.values())
