"""Ask models what benchmarks ask, and keep every answer: examples → answers → scores → report."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from looksay.backends.base import WAITING, Backend, Ranker
from looksay.backends.base import same_model as same_model
from looksay.data.answers import as_answer
from looksay.errors import BackendError, InputError, LooksayError
from looksay.evaluation import measures
from looksay.evaluation.benchmark import (
    Answer,
    Benchmark,
    Compat,
    Item,
    Judged,
    UnreadableVerdicts,
)
from looksay.evaluation.journal import Journal, data, key
from looksay.evaluation.measures import Interval, Measure
from looksay.evaluation.memory import Peak
from looksay.types import Completion, Conversation, Options


@dataclass(frozen=True, slots=True)
class Asked:
    """What came back for a list of items, in their order."""

    items: tuple[Item, ...]
    completions: tuple[Completion | None, ...]
    """None where nothing came: the run was stopped."""
    reused: int
    """Answers that an earlier run had."""
    memory: Peak | None = None
    """While answers came; None where none was asked for."""

    @property
    def failures(self) -> list[tuple[str, str]]:
        """(item, reason) of every call without an answer."""
        return [
            (item.id, "not asked" if one is None else str(one.error))
            for item, one in zip(self.items, self.completions, strict=True)
            if one is None or one.error
        ]

    @property
    def waiting(self) -> dict[str, str]:
        """Item → what to do, for every failure that is only a person who has not answered yet."""
        return {
            item.id: str(one.details[WAITING])
            for item, one in zip(self.items, self.completions, strict=True)
            if one is not None and one.error and WAITING in one.details
        }

    @property
    def answers(self) -> list[Answer]:
        return [
            Answer(item, one.text)
            for item, one in zip(self.items, self.completions, strict=True)
            if one is not None and not one.error
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure and its interval."""

    measure: Measure
    interval: Interval


@dataclass(frozen=True, slots=True)
class Result:
    """One model on one benchmark. Without figures where a call failed: a failed call is no score."""

    model: str
    fingerprint: str
    benchmark: str
    compat: Compat
    asked: Asked
    judge: str = ""
    judge_fingerprint: str = ""
    verdicts: Asked | None = None
    figures: tuple[Figure, ...] = ()
    """As the benchmark gives them, then the first of them for every type of item."""
    data: str = ""
    """Digest of items, prompts and pictures: two results with the same one answered the same."""
    whole: int = 0
    """Items of the benchmark; more than were asked where a part was chosen."""
    options: Options = field(default_factory=Options)

    @property
    def cut(self) -> int:
        """Answers that ended at the limit of tokens."""
        return sum(
            one is not None and one.finish_reason == "length" for one in self.asked.completions
        )

    @property
    def failures(self) -> list[tuple[str, str]]:
        judged = self.verdicts.failures if self.verdicts else []
        return self.asked.failures + [(item, f"judge: {fault}") for item, fault in judged]

    @property
    def waiting(self) -> dict[str, str]:
        """Of these failures, those that wait for a person."""
        return self.asked.waiting | (self.verdicts.waiting if self.verdicts else {})


def evaluate(
    backend: Backend,
    name: str,
    benchmark: Benchmark,
    items: Sequence[Item],
    folder: Path,
    *,
    options: Options,
    compat: Compat = "strict",
    likelihood: bool = False,
    judge: Backend | None = None,
    whole: int = 0,
    samples: int = measures.SAMPLES,
    seed: int = 0,
    on_answer: Callable[[], None] | None = None,
) -> Result:
    """Ask `backend` every item that `folder` holds no answer to, have the judge read them where the
    benchmark wants one, and score.

    With `likelihood` the answer is the most likely of an item's choices. `whole`: how many items the benchmark
    has, where `items` is a part of it. A reply of the judge that is no verdict is a failed call. Killed and started again it asks
    only what is missing and ends with the same result. Raises InputError (no judge, or one that is the
    judged model; rules that the benchmark does not know; nothing to rank) and BackendError (nothing can be
    answered at all).
    """
    judged = hasattr(benchmark, "judge")
    check(name, benchmark, items, compat, likelihood, judge is not None)
    if judged and judge is not None and same_model(backend, judge):
        raise InputError(
            f"The judge {judge.name} is the model that it would judge. Choose another: --judge MODEL"
        )
    how = _Ranking(backend, items) if likelihood else backend
    asked = ask(how, items, _journal(folder, name, how), options, on_answer)
    verdicts: Asked | None = None
    path = _journal(folder, f"{name}-judged", backend, judge) if judge else folder
    if judged and not asked.failures and judge is not None:
        questions = cast(Judged, benchmark).judge(asked.answers)
        verdicts = ask(judge, questions, path, replace(options, temperature=0.0), on_answer)
    result = Result(
        how.name,
        how.fingerprint,
        name,
        compat,
        asked,
        judge.name if judge and judged else "",
        judge.fingerprint if judge and judged else "",
        verdicts,
        data=data(items),
        whole=whole or len(items),
        options=options,
    )
    if result.failures:
        return result
    try:
        found = benchmark.score(asked.answers, compat, verdicts.answers if verdicts else [])
    except UnreadableVerdicts as error:
        if verdicts is None or judge is None:
            raise
        return replace(result, verdicts=_spoilt(verdicts, error.faults, path, judge, options))
    kinds = {item.id: item.kind for item in items}
    if len(set(kinds.values())) > 1 and not found[0].kind:
        found += measures.by_kind(found[0], kinds)
    shared = clusters(items)
    figures = [
        Figure(one, measures.interval(one, shared, samples=samples, seed=seed)) for one in found
    ]
    return replace(result, figures=tuple(figures))


def clusters(items: Sequence[Item]) -> dict[str, str]:
    """Item → the picture that it shares with others."""
    return {item.id: item.image for item in items if item.image}


def limited(items: Sequence[Item], pictures: int | None) -> list[Item]:
    """The items of the first so many pictures (of the first so many items, where none names one)."""
    if pictures is None:
        return list(items)
    first = dict.fromkeys(item.image or item.id for item in items)
    kept = set(list(first)[:pictures])
    return [item for item in items if (item.image or item.id) in kept]


def missing(folder: Path, benchmark: Benchmark) -> list[str]:
    """What the benchmark needs and `folder` lacks, in words."""
    return [
        f"{folder / name} ({what})"
        for name, what in benchmark.CARD.needs.items()
        if not (folder / name).exists()
    ]


def ask(
    backend: Backend,
    items: Sequence[Item],
    path: Path,
    options: Options,
    on_answer: Callable[[], None] | None = None,
) -> Asked:
    """Every item's answer, from the journal at `path` where it has one, else from the backend. Raises
    BackendError where the backend cannot be used; what it had answered by then is kept."""
    found: dict[str, Completion] = {}
    with Journal(path) as journal:
        groups: dict[Options, list[tuple[str, Item]]] = {}
        for item in items:
            how = _how(options, item)
            name = key(backend.fingerprint, item, how)
            kept = journal.get(name)
            if kept is None:
                groups.setdefault(how, []).append((name, item))
                continue
            found[item.id] = kept
            if on_answer:
                on_answer()
        reused = len(found)
        memory = Peak()
        for how, missing in groups.items():
            conversations = (item.conversation for _, item in missing)
            for completion in backend.complete(conversations, how):
                name, item = missing[completion.index]
                completion = as_answer(completion)
                if WAITING not in completion.details:
                    journal.add(name, item.id, completion)
                found[item.id] = completion
                memory.look()
                if on_answer:
                    on_answer()
    if items and not any(not one.error or WAITING in one.details for one in found.values()):
        reason = next((one.error for one in found.values()), "no answer came")
        raise BackendError(f"{backend.name} answered none of {len(items)} requests: {reason}")
    said = tuple(found.get(item.id) for item in items)
    return Asked(tuple(items), said, reused, memory if reused < len(items) else None)


def _how(options: Options, item: Item) -> Options:
    return replace(options, max_tokens=item.max_tokens) if item.max_tokens else options


class _Ranking:
    """A backend whose answer is the most likely of an item's choices."""

    def __init__(self, backend: Backend, items: Sequence[Item]) -> None:
        if not isinstance(backend, Ranker):
            raise InputError(
                f"{backend.name} does not say how likely it finds an answer; models of looksay (local:) and chat "
                "models of transformers (hub:) do. Leave --mode likelihood out."
            )
        self._ranker, self.profile = backend, backend.profile
        self.name, self.fingerprint = f"{backend.name} by likelihood", f"{backend.fingerprint}-rank"
        self._choices = {id(item.conversation): item.choices for item in items}

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for number, conversation in enumerate(conversations):
            choices = self._choices[id(conversation)]
            started = time.perf_counter()
            try:
                found = self._ranker.rank(conversation, choices)
            except LooksayError as error:  # one item's fault stops no run
                yield Completion(number, error=str(error), finish_reason="error")
                continue
            if not all(map(math.isfinite, found)):
                fault = f"the likelihoods of its choices are no numbers: {found}"
                yield Completion(number, error=fault, finish_reason="error")
                continue
            best = choices[max(range(len(choices)), key=found.__getitem__)]
            seconds = time.perf_counter() - started
            yield Completion(number, best, seconds=seconds, details={"log_likelihoods": found})

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield next(self.complete([conversation], options)).text


def check(
    name: str,
    benchmark: Benchmark,
    items: Sequence[Item],
    compat: Compat,
    likelihood: bool = False,
    judged: bool = False,
) -> None:
    """Raise InputError where that cannot be measured, whatever the model: rules that the benchmark does not
    know, no judge (`judged` false) where it wants one, nothing to rank."""
    if compat not in benchmark.CARD.compat:
        raise InputError(
            f"{name} has no rules of {compat!r}; it has {', '.join(benchmark.CARD.compat)}."
        )
    if hasattr(benchmark, "judge") and not judged:
        raise InputError(f"The answers to {name} are read by a judge. Name one: --judge MODEL")
    if likelihood and not (benchmark.CARD.likelihood and all(item.choices for item in items)):
        raise InputError(f"{name} names no choices to rank. Leave --mode likelihood out.")


def failed(
    model: str, name: str, compat: Compat, items: Sequence[Item], fault: str, whole: int = 0
) -> Result:
    """What stands for a model that could not be measured at all."""
    none = tuple(Completion(n, error=fault, finish_reason="error") for n in range(len(items)))
    return Result(model, "", name, compat, Asked(tuple(items), none, 0), whole=whole or len(items))


def _spoilt(
    verdicts: Asked, faults: Mapping[str, str], path: Path, judge: Backend, options: Options
) -> Asked:
    """The verdicts with those that nobody can read as failed calls, in the journal too."""
    told = []
    with Journal(path) as journal:
        for item, one in zip(verdicts.items, verdicts.completions, strict=True):
            if one is not None and item.id in faults:
                where = f"{one.details['where']}: " if "where" in one.details else ""
                one = replace(one, error=where + faults[item.id], finish_reason="error")
                how = _how(replace(options, temperature=0.0), item)
                journal.add(key(judge.fingerprint, item, how), item.id, one)
            told.append(one)
    return replace(verdicts, completions=tuple(told))


def _journal(folder: Path, name: str, *backends: Backend) -> Path:
    """A file for each benchmark and model (and judge), named for people, distinct by the fingerprints."""
    told = "".join(c if c.isalnum() or c in "-._" else "-" for c in backends[0].name)[-60:]
    which = hashlib.sha256("\0".join(b.fingerprint for b in backends).encode()).hexdigest()[:8]
    return folder / "answers" / name.replace("/", "-") / f"{told}-{which}.jsonl"
