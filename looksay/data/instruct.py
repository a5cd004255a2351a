"""Instructions about pictures from a model without eyes (LLaVA, arXiv 2304.08485, section 3).

A teacher (any backend of words) is told a picture's captions and boxes, and writes a conversation, a description in
detail, or a question that takes thought, in LLaVA's shares of 58, 23 and 77. Its answers are held to what it was told:
one that names an object which is nowhere in it is asked for again, and then set aside.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from looksay.backends.base import Backend
from looksay.data import teaching
from looksay.data.answers import Answers
from looksay.data.contexts import Context, Contexts
from looksay.data.dialogues import (
    Aside,
    Dialogue,
    Request,
    Unanswered,
    Unfit,
    estimated,
    hold,
    insist,
    missing,
)
from looksay.data.reading import safe, save_json, write, write_image
from looksay.data.sources.llava_instruct import IMAGE
from looksay.data.teaching import SHARES, Kind, Turns
from looksay.errors import InputError
from looksay.library.lines import Lines
from looksay.spending import Budget, Estimate, prompt_tokens
from looksay.types import Completion, Options

OPTIONS = Options(max_tokens=1024, temperature=0.7, seed=0)
"""Drawn, so that conversations differ; another seed, other ones."""
ANSWERS, ASIDE, REPORT, DATA = "answers.jsonl", "aside.jsonl", "report.json", "conversations.json"
TYPICAL: dict[str, int] = {"conversation": 250, "detail": 200, "reasoning": 200}
"""Tokens of an answer, for estimates."""
KINDS: tuple[Kind, ...] = tuple(SHARES)
_PATIENCE = 10
"""So many may be set aside, or as many as are wanted, before no others are asked in their stead."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a teacher wrote about context number `index`, fit to be learned from; the id says both.

    Example: Sample("9-reasoning", "reasoning", 9, (("Why are there bins?", "They keep the food apart."),)).
    """

    id: str
    kind: Kind
    index: int
    turns: Turns


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was set aside, and why. Example: {"id": "9-detail", "kind": "detail", "reason": "…", "text": "…"}."""

    id: str
    kind: Kind
    reason: str
    text: str
    """The teacher's last answer."""


@dataclass(slots=True)
class Taught:
    """What came of a run."""

    teacher: str
    """Name and fingerprint."""
    wanted: dict[Kind, int]
    samples: list[Sample] = field(default_factory=list)
    aside: list[Rejected] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(id, reason); asked again by the next run."""
    cost_usd: float = 0.0
    """Of all answers that the file holds."""
    stopped: bool = False
    """The budget left some over."""

    @property
    def counts(self) -> dict[Kind, int]:
        found = Counter(sample.kind for sample in self.samples)
        return {kind: found[kind] for kind in KINDS}


def shares(total: int) -> dict[Kind, int]:
    """How many of each kind make `total` in LLaVA's shares.

    >>> shares(158), shares(10)
    ({'conversation': 58, 'detail': 23, 'reasoning': 77}, {'conversation': 4, 'detail': 1, 'reasoning': 5})
    """
    whole = sum(SHARES.values())
    exact = {kind: total * share / whole for kind, share in SHARES.items()}
    found = {kind: int(value) for kind, value in exact.items()}
    by_rest = sorted(KINDS, key=lambda kind: found[kind] - exact[kind])
    for kind in by_rest[: total - sum(found.values())]:
        found[kind] += 1
    return found


@dataclass(frozen=True, slots=True)
class Instructor:
    """Has a teacher write about contexts. `out` is the folder of every answer. Raises InputError for a teacher that
    does not do as it is told."""

    out: Path
    teacher: Backend
    contexts: Contexts
    options: Options = OPTIONS

    def __post_init__(self) -> None:
        profile = self.teacher.profile
        if not (profile.instructable and profile.converses):
            raise InputError(
                f"{self.teacher.name} follows no instructions, so it cannot teach. Name a model of words: "
                "--model ollama:MODEL; see looksay models"
            )

    def run(
        self,
        total: int,
        *,
        budget: Budget | None = None,
        seen: Callable[[float], None] = lambda spent_usd: None,
    ) -> Taught:
        """Write `total` conversations, or as many as the contexts and the teacher give; for what is set aside others of
        its kind are asked. What the folder holds is not asked again. `seen` is called after each that is written, with
        what this run has spent. Raises BackendError where the teacher cannot be used at all, InputError where there are too few
        contexts."""
        wanted, pool = self._wanted(total), self._pool(total)
        who = f"{self.teacher.name} ({self.teacher.fingerprint})"
        taught, budget = Taught(who, wanted), budget or Budget()
        taken = dict.fromkeys(KINDS, 0)
        short = dict(wanted)
        with Lines(self.out / ANSWERS, "an answer") as lines:
            while pairs := self._next(short, taken, pool):
                places = {self._name(kind, index): (kind, index) for kind, index in pairs}
                asked = ((name, self._one(*place)) for name, place in places.items())
                for name, found in hold(asked, Answers(lines), budget, TYPICAL):
                    kind, index = places[name]
                    if isinstance(found, Aside):
                        taught.aside.append(Rejected(name, kind, found.reason, found.text))
                        continue
                    short[kind] -= 1
                    if isinstance(found, Unanswered):
                        taught.failures.append((name, found.reason))
                    else:
                        taught.samples.append(Sample(name, kind, index, found))
                    seen(budget.spent_usd)
                if budget.reached or len(taught.aside) >= max(total, _PATIENCE):
                    break
            taught.cost_usd = Answers(lines).cost_usd()
        taught.samples.sort(key=lambda sample: (sample.index, KINDS.index(sample.kind)))
        taught.aside.sort(key=lambda one: one.id)
        taught.failures.sort()
        taught.stopped = budget.reached
        return taught

    def estimate(self, total: int, seen: Callable[[], None] = lambda: None) -> list[Estimate]:
        """What is still to be asked, without asking: as if every answer could be used. `seen` is called for each."""
        pairs = self._next(self._wanted(total), dict.fromkeys(KINDS, 0), self._pool(total))

        def dialogues() -> Iterator[Dialogue[Turns | Aside]]:
            for pair in pairs:
                yield self._one(*pair)
                seen()

        def to_come(answers: Answers) -> Iterator[tuple[str, Backend, int]]:
            for request in missing(dialogues(), answers):
                yield request.what, request.backend, prompt_tokens(request.conversation, 0)

        with Lines(self.out / ANSWERS, "an answer") as lines:
            return estimated(to_come(Answers(lines)), Answers(lines), TYPICAL)

    def _one(self, kind: Kind, index: int) -> Dialogue[Turns | Aside]:
        context = self.contexts.at(index)
        chosen = int(hashlib.sha256(context.id.encode()).hexdigest()[:8], 16)
        question = teaching.DETAIL[chosen % len(teaching.DETAIL)]

        def fit(said: Completion) -> Turns:
            turns = teaching.read(kind, said, question)
            if absent := self.absent(turns, context):
                raise Unfit(f"it names {', '.join(absent)}, which is not in the picture")
            return turns

        asked = teaching.asked(kind, context.told)
        request = Request(kind, self.teacher, asked, self.options)
        return (yield from insist(request, fit, teaching.AGAIN))

    def absent(self, turns: Turns, context: Context) -> list[str]:
        """The objects that the turns name and that are nowhere in the context, each once."""
        named = (name for pair in turns for text in pair for name in self.contexts.named(text))
        return list(dict.fromkeys(name for name in named if name not in context.there))

    def _name(self, kind: Kind, index: int) -> str:
        return f"{index}-{kind}"

    def _pool(self, total: int) -> int:
        """How many contexts are drawn from; of endless ones as many as there are to be conversations."""
        return total if self.contexts.size is None else self.contexts.size

    def _wanted(self, total: int) -> dict[Kind, int]:
        wanted, pool = shares(total), self._pool(total)
        if max(wanted.values()) > pool:
            most = pool * sum(SHARES.values()) // max(SHARES.values())
            raise InputError(
                f"{total} conversations in these shares need {max(wanted.values())} pictures, each being asked about "
                f"once in each way; there are {pool}. Type --limit {most} or less."
            )
        return wanted

    def _next(
        self, short: dict[Kind, int], taken: dict[Kind, int], pool: int
    ) -> list[tuple[Kind, int]]:
        """Pairs to ask for what is still short, kinds well mixed; each kind goes through the contexts once, beginning
        where another one ends, so that few pictures are asked about twice before all were asked about."""
        found: list[tuple[float, Kind, int]] = []
        start = 0.0
        for kind in KINDS:
            many = min(short[kind], pool - taken[kind])
            for number in range(many):
                index = (int(start) + taken[kind] + number) % pool
                found.append(((number + 0.5) / many, kind, index))
            taken[kind] += many
            start += pool * SHARES[kind] / sum(SHARES.values())
        return [(kind, index) for _, kind, index in sorted(found, key=lambda one: one[0])]


def save(instructor: Instructor, taught: Taught, seen: Callable[[], None] = lambda: None) -> int:
    """Write what was set aside (aside.jsonl), counts (report.json) and LLaVA's conversations (conversations.json).

    Pictures that are files stay where they are: their names start from the folder of the contexts (--images of looksay
    train); others lie in images/. Returns how many conversations; `seen` is called after each. Raises InputError where
    there are none, the rest being written.
    """
    out = instructor.out
    rows = [json.dumps(asdict(one), ensure_ascii=False) for one in taught.aside]
    write(out / ASIDE, "".join(f"{row}\n" for row in rows).encode("utf-8", "backslashreplace"))
    save_json(out / REPORT, _report(taught))
    if not taught.samples:
        failed = f" ({taught.failures[0][1]})" if taught.failures else ""
        raise InputError(
            f"No answer could be used: {len(taught.aside)} were set aside, {len(taught.failures)} failed{failed}. "
            f"{out / ASIDE} has each with its reason; a larger --model may keep to the form."
        )
    entries: list[dict[str, Any]] = []
    names: dict[int, str] = {}
    for sample in taught.samples:
        if sample.index not in names:
            names[sample.index] = _picture(instructor, instructor.contexts.at(sample.index))
        turns = [
            {"from": who, "value": text}
            for pair in sample.turns
            for who, text in zip(("human", "gpt"), pair, strict=True)
        ]
        turns[0]["value"] = f"{IMAGE}\n{turns[0]['value']}"
        entries.append({"id": sample.id, "image": names[sample.index], "conversations": turns})
        seen()
    save_json(out / DATA, entries)
    return len(entries)


def _picture(instructor: Instructor, context: Context) -> str:
    """The name of a context's picture, which is written where it is no file."""
    source, folder = context.image.source, instructor.contexts.folder
    if isinstance(source, Path) and folder is not None:
        return source.relative_to(folder).as_posix()
    there = instructor.out / "images" / f"{safe(context.id)}.png"
    if there.is_file():
        return f"images/{there.name}"
    return f"images/{write_image(there.parent, there.stem, context.image)}"


def _report(taught: Taught) -> dict[str, Any]:
    aside: Counter[str] = Counter(one.kind for one in taught.aside)
    return {
        "teacher": taught.teacher,
        "kinds": {
            kind: {"wanted": taught.wanted[kind], "written": count, "set aside": aside[kind]}
            for kind, count in taught.counts.items()
        },
        "failed": [{"id": name, "reason": reason} for name, reason in taught.failures],
        "cost_usd": round(taught.cost_usd, 6),
    }
