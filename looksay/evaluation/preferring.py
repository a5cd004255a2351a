"""Which of its own captions a model should prefer: pairs of which one names fewer things that are not there.

A model (any backend that sees) writes several captions of a picture. Each is held to the picture: by CHAIR, where it is
known what is there (scenes exactly, COCO by boxes and captions), or by a judge who looks. `metrics.preference.Rule`
pairs them. It lies here and not among the other engines of data because it measures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from looksay.backends.base import Backend, check_describes
from looksay.data import curate
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
from looksay.data.reading import save_json
from looksay.data.sources import preferences, scenes
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.benchmarks import rubric as asking
from looksay.evaluation.metrics import rubric
from looksay.evaluation.metrics.chair import hallucination
from looksay.evaluation.metrics.preference import Held, Rule, Two, means
from looksay.evaluation.run import same_model
from looksay.library.lines import Lines
from looksay.spending import Budget, Estimate, prompt_tokens
from looksay.types import Completion, Conversation, Example, Image, Message, Options

SAMPLED = Options(max_tokens=300, temperature=1.0, seed=0)
"""How captions are drawn: the model's own distribution, since it learns from what it does itself."""
SAMPLES = 8
"""Captions of a picture."""
RULE = Rule()
ANSWERS, REPORT, DATA = "answers.jsonl", "report.json", "preferences.jsonl"
AGAIN = "That cannot be used: {reason}"
TYPICAL = {"sample": 60, "judge": 60}
"""Tokens of an answer, for estimates."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture; `context`: what is known of it."""

    id: str
    image: Image
    context: Context | None = None


class Ruler(Protocol):
    """Holds captions to pictures. `name` says how."""

    @property
    def name(self) -> str: ...

    def held(self, shown: Shown, text: str) -> Dialogue[Held | Aside]:
        """A caption against its picture; set aside where it cannot be said."""


@dataclass(frozen=True, slots=True)
class Chair:
    """Objects named against objects known: `contexts` reads texts, and pictures come with theirs."""

    contexts: Contexts
    name: str = "CHAIR"

    def held(self, shown: Shown, text: str) -> Dialogue[Held | Aside]:
        assert shown.context is not None
        found = hallucination(self.contexts.named(text), shown.context.there)
        yield from ()
        return Held(text, len(found.hallucinated), found.found, found.present)


@dataclass(frozen=True, slots=True)
class Judge:
    """A backend that looks, by the criteria of the benchmark `rubric`: details that are not there count as false
    objects, key objects as those that are. Raises InputError for one that follows no instructions."""

    backend: Backend
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        profile = self.backend.profile
        if not (profile.instructable and profile.converses):
            raise InputError(
                f"{self.backend.name} follows no instructions, so it cannot judge. Name a model that does and sees: "
                "--judge ollama:MODEL; see looksay models"
            )

    @property
    def name(self) -> str:
        return f"{self.backend.name} ({self.backend.fingerprint})"

    def held(self, shown: Shown, text: str) -> Dialogue[Held | Aside]:
        told = {"alt": "", "language": "en"}
        (asked,) = asking.judge([Answer(Item("", Conversation.ask(shown.image), told), text)])
        options = Options(max_tokens=asked.max_tokens, timeout_s=self.timeout_s)

        def read(said: Completion) -> Held:
            try:
                seen = rubric.read(said.text)
            except InputError as error:
                raise Unfit(str(error)) from error
            return Held(text, seen.hallucinations, seen.named, seen.objects)

        request = Request("judge", self.backend, asked.conversation, options)
        return (yield from insist(request, read, AGAIN))


@dataclass(frozen=True, slots=True)
class Looked:
    """What a picture gave: pairs, or the reason why there are none."""

    shown: Shown
    pairs: tuple[Two, ...] = ()
    reason: str = ""
    texts: tuple[str, ...] = ()
    """All captions."""
    why: tuple[str, ...] = ()
    """What a judge said of some that could not be used."""


@dataclass(slots=True)
class Preferred:
    """What came of a run, in the pictures' order."""

    looked: list[Looked] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(id, reason); asked again by the next run."""
    cost_usd: float = 0.0
    """Of all answers that the file holds."""
    stopped: bool = False
    """The budget left some pictures over."""

    @property
    def pairs(self) -> list[Two]:
        return [pair for one in self.looked for pair in one.pairs]

    @property
    def pictures(self) -> int:
        return len(self.looked) + len(self.failures)

    @property
    def aside(self) -> dict[str, int]:
        """Pictures without pairs, by reason."""
        return dict(Counter(one.reason for one in self.looked if one.reason).most_common())

    @property
    def sides(self) -> dict[str, dict[str, float]]:
        """Means of both sides, so that it shows what they differ in besides false objects."""
        chosen, rejected = zip(*self.pairs, strict=True) if self.pairs else ((), ())
        return {"chosen": means(chosen), "rejected": means(rejected)}


@dataclass(frozen=True, slots=True)
class Preferrer:
    """Makes pairs of a model's captions; `out` is the folder of every answer.

    Raises InputError for a model that does not describe, and where it would judge itself.
    """

    out: Path
    model: Backend
    ruler: Ruler
    question: str
    samples: int = SAMPLES
    options: Options = SAMPLED
    rule: Rule = RULE

    def __post_init__(self) -> None:
        check_describes(self.model)
        if isinstance(self.ruler, Judge) and same_model(self.model, self.ruler.backend):
            raise InputError(
                f"The judge {self.ruler.backend.name} is the model that it would judge. Choose another: --judge MODEL"
            )
        if self.samples < 2:
            raise InputError(
                f"Pairs take two captions of a picture or more; found --samples {self.samples}."
            )

    def run(
        self,
        pictures: Iterable[Shown],
        *,
        budget: Budget | None = None,
        seen: Callable[[float], None] = lambda spent_usd: None,
    ) -> Preferred:
        """Make the pairs; what the folder holds is not asked again. `seen` is called after each picture, with what this
        run has spent. Raises BackendError where a backend cannot be used at all, InputError where the folder cannot."""
        budget, preferred = budget or Budget(), Preferred()
        found: dict[str, Looked] = {}
        order: list[str] = []

        def dialogues() -> Iterator[tuple[str, Dialogue[Looked]]]:
            for shown in pictures:
                order.append(shown.id)
                yield shown.id, self._one(shown)

        with Lines(self.out / ANSWERS, "an answer") as lines:
            for name, came in hold(dialogues(), Answers(lines), budget, TYPICAL):
                if isinstance(came, Unanswered):
                    preferred.failures.append((name, came.reason))
                else:
                    found[name] = came
                seen(budget.spent_usd)
            preferred.cost_usd = Answers(lines).cost_usd()
        preferred.looked = [found[name] for name in order if name in found]
        preferred.failures.sort()
        preferred.stopped = budget.reached
        return preferred

    def estimate(
        self, pictures: Iterable[Shown], seen: Callable[[], None] = lambda: None
    ) -> list[Estimate]:
        """What is still to be asked of each backend, without asking, as if no two captions were the same. `seen` is
        called for each picture."""
        first = self.options.seed or 0

        def dialogues() -> Iterator[Dialogue[Looked]]:
            for shown in pictures:
                yield self._one(shown)
                seen()

        def to_come(answers: Answers) -> Iterator[tuple[str, Backend, int]]:
            for request in missing(dialogues(), answers):
                sees = request.backend.profile.image_tokens
                tokens = prompt_tokens(request.conversation, sees)
                if request.what == "judge":
                    yield request.what, request.backend, tokens
                    continue
                for _ in range(self.samples - (request.options.seed or 0) + first):
                    yield request.what, request.backend, tokens
                if isinstance(self.ruler, Judge):
                    judge = self.ruler.backend
                    for _ in range(self.samples):
                        yield "judge", judge, judge.profile.image_tokens + 250

        with Lines(self.out / ANSWERS, "an answer") as lines:
            return estimated(to_come(Answers(lines)), Answers(lines), TYPICAL)

    def _one(self, shown: Shown) -> Dialogue[Looked]:
        """Write captions, hold each to the picture, and choose."""
        asked = Conversation.ask(shown.image, self.question)
        texts: dict[str, None] = {}
        for number in range(self.samples):
            how = replace(self.options, seed=(self.options.seed or 0) + number)
            said = yield Request("sample", self.model, asked, how)
            # One that broke off would teach to break off.
            if said.text.strip() and said.finish_reason == "stop":
                texts[said.text.strip()] = None
        if len(texts) == 1:  # nothing to ask a judge about
            return Looked(shown, reason="all captions are the same", texts=tuple(texts))
        held, why = [], []
        for text in texts:
            one = yield from self.ruler.held(shown, text)
            if isinstance(one, Aside):
                why.append(f"{one.reason}: {one.text[:200]!r}")
            else:
                held.append(one)
        found = self.rule.pairs(held)
        pairs, reason = ((), found) if isinstance(found, str) else (tuple(found), "")
        if reason and why and len(held) < 2:
            reason = "the judge could not be read"
        return Looked(shown, pairs, reason, tuple(texts), tuple(why))


def usual(data: str) -> str:
    """What a model is asked about pictures of this name, unless told otherwise."""
    return scenes.DESCRIBE if data == "scenes" else curate.DESCRIBE


def known(contexts: Contexts, count: int) -> Iterator[Shown]:
    """The first so many pictures of which something is known."""
    for index in range(count):
        context = contexts.at(index)
        yield Shown(context.id, context.image, context)


def unknown(files: Mapping[str, Path]) -> Iterator[Shown]:
    """Pictures of which nothing is known, by the SHA-256 of their bytes."""
    for digest, path in files.items():
        yield Shown(f"{path.stem}-{digest[:8]}", Image(path))


def examples(preferred: Preferred, question: str) -> Iterator[Example]:
    """The pairs to learn from. `truth`: rejected."""
    for one in preferred.looked:
        asked = Conversation.ask(one.shown.image, question)
        for number, (chosen, rejected) in enumerate(one.pairs):
            turns = Conversation((*asked.messages, Message("assistant", (chosen.text,))))
            name = f"{one.shown.id}-{number}" if number else one.shown.id
            yield Example(name, turns, {"rejected": rejected.text})


def write(
    preferrer: Preferrer, preferred: Preferred, seen: Callable[[], None] = lambda: None
) -> int:
    """Write counts and what gave no pair (report.json), and the pairs with their pictures (preferences.jsonl, images/).
    Returns how many; `seen` is called after each. Raises InputError where there are none, the report being written."""
    out = preferrer.out
    save_json(out / REPORT, report(preferrer, preferred))
    if not preferred.pairs:
        told = [f"{reason} {many}" for reason, many in preferred.aside.items()]
        if preferred.failures:
            told.append(f"{len(preferred.failures)} failed, such as: {preferred.failures[0][1]}")
        raise InputError(
            f"None of {preferred.pictures} pictures gave a pair ({', '.join(told) or 'none was asked about'}). More "
            f"--samples, a higher --temperature or more pictures find more; {out / REPORT} has every picture."
        )

    def counted() -> Iterator[Example]:
        for one in examples(preferred, preferrer.question):
            yield one
            seen()

    return preferences.write(counted(), out / DATA)


def report(preferrer: Preferrer, preferred: Preferred) -> dict[str, Any]:
    """What was done and what came of it, picture by picture where no pair did (JSON)."""
    return {
        "model": f"{preferrer.model.name} ({preferrer.model.fingerprint})",
        "ordered by": preferrer.ruler.name,
        "rule": asdict(preferrer.rule),
        "question": preferrer.question,
        "samples": preferrer.samples,
        "pictures": preferred.pictures,
        "pairs": len(preferred.pairs),
        **preferred.sides,
        "set aside": preferred.aside,
        "captions without a verdict": sum(len(one.why) for one in preferred.looked),
        "failed": [{"id": name, "reason": reason} for name, reason in preferred.failures],
        "cost_usd": round(preferred.cost_usd, 6),
        "pictures set aside": [
            {
                "id": one.shown.id,
                "reason": one.reason,
                "texts": list(one.texts),
                "judge": list(one.why),
            }
            for one in preferred.looked
            if one.reason
        ],
    }
