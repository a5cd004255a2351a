"""Ask models what benchmarks ask, and keep every answer: examples → answers → scores → report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from looksay.backends.base import Backend, Ranker
from looksay.errors import BackendError, InputError, LooksayError
from looksay.evaluation import measures
from looksay.evaluation.benchmark import Answer, Benchmark, Compat, Item, Judged
from looksay.evaluation.journal import Journal, digest, key
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
    samples: int = measures.SAMPLES,
    seed: int = 0,
    on_answer: Callable[[], None] | None = None,
) -> Result:
    """Ask `backend` every item that `folder` holds no answer to, have the judge read them where the
    benchmark wants one, and score.

    With `likelihood` the answer is the most likely of an item's choices. Killed and started again it asks
    only what is missing and ends with the same result. Raises InputError (no judge, or one that is the
    judged model; rules that the benchmark does not know; nothing to rank) and BackendError (nothing can be
    answered at all).
    """
    judged = hasattr(benchmark, "judge")
    _allowed(backend, judge, name, benchmark, judged, compat)
    how = _Ranking(backend, items) if likelihood else backend
    asked = ask(how, items, _journal(folder, name, how), options, on_answer)
    verdicts: Asked | None = None
    if judged and not asked.failures and judge is not None:
        questions = cast(Judged, benchmark).judge(asked.answers)
        path = _journal(folder, f"{name}-judged", backend, judge)
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
        data=_data(items),
        options=options,
    )
    if result.failures:
        return result
    found = benchmark.score(asked.answers, compat, verdicts.answers if verdicts else [])
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
            how = replace(options, max_tokens=item.max_tokens) if item.max_tokens else options
            name = key(backend.fingerprint, item.id, item.conversation, how)
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
                journal.add(name, item.id, completion)
                found[item.id] = completion
                memory.look()
                if on_answer:
                    on_answer()
    if items and not any(not one.error for one in found.values()):
        reason = next((one.error for one in found.values()), "no answer came")
        raise BackendError(f"{backend.name} answered none of {len(items)} requests: {reason}")
    said = tuple(found.get(item.id) for item in items)
    return Asked(tuple(items), said, reused, memory if reused < len(items) else None)


class _Ranking:
    """A backend whose answer is the most likely of an item's choices."""

    def __init__(self, backend: Backend, items: Sequence[Item]) -> None:
        if not isinstance(backend, Ranker):
            raise InputError(
                f"{backend.name} does not say how likely it finds an answer; models of looksay (local:) do. "
                "Leave --mode likelihood out."
            )
        if any(not item.choices for item in items):
            raise InputError("These items name no choices to rank. Leave --mode likelihood out.")
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
            best = choices[max(range(len(choices)), key=found.__getitem__)]
            seconds = time.perf_counter() - started
            yield Completion(number, best, seconds=seconds, details={"log_likelihoods": found})

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield next(self.complete([conversation], options)).text


def _allowed(
    backend: Backend,
    judge: Backend | None,
    name: str,
    benchmark: Benchmark,
    judged: bool,
    compat: Compat,
) -> None:
    if compat not in benchmark.CARD.compat:
        raise InputError(
            f"{name} has no rules of {compat!r}; it has {', '.join(benchmark.CARD.compat)}."
        )
    if judged and judge is None:
        raise InputError(f"The answers to {name} are read by a judge. Name one: --judge MODEL")
    if judged and judge is not None and judge.fingerprint == backend.fingerprint:
        raise InputError(
            f"The judge {judge.name} is the model that it would judge. Choose another: --judge MODEL"
        )


def _journal(folder: Path, name: str, *backends: Backend) -> Path:
    """A file for each benchmark and model (and judge), named for people, distinct by the fingerprints."""
    told = "".join(c if c.isalnum() or c in "-._" else "-" for c in backends[0].name)[-60:]
    which = hashlib.sha256("\0".join(b.fingerprint for b in backends).encode()).hexdigest()[:8]
    return folder / "answers" / name.replace("/", "-") / f"{told}-{which}.jsonl"


def _data(items: Sequence[Item]) -> str:
    total = hashlib.sha256()
    for item in items:
        parts = [
            [digest(p) if not isinstance(p, str) else p for p in message.parts]
            for message in item.conversation.messages
        ]
        truth = json.dumps(dict(item.truth), sort_keys=True, default=str)
        total.update(json.dumps([item.id, parts, truth]).encode())
    return total.hexdigest()[:16]
