"""Describe: ask a backend for what is missing, and store each answer the moment it comes."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from looksay.backends.base import Backend, check_describes
from looksay.describing import about, places, prompts, rules
from looksay.errors import BackendError, InputError
from looksay.library.catalog import Catalog
from looksay.library.pages import Context
from looksay.library.records import FINAL, Key, Target, Words
from looksay.library.standing import Met, pieces
from looksay.settings import REMOTE_CONTEXT, USUAL_CONTEXT
from looksay.spending import Budget, Estimate, cost_usd, prompt_tokens
from looksay.types import Completion, Conversation, Options

Which = Literal["missing", "all", "ai"]
"""missing: what has no words of a person; all: every target; ai: only what a model described before."""

_ANSWER_TOKENS = 60
"""Completion tokens that an alt text costs, for estimates."""
_READ = 1000
"""Photos that an estimate reads; of those beyond, one in a hundred."""


@dataclass(frozen=True, slots=True)
class Task:
    """One request to come: a target and the key under which its answer is stored."""

    target: Target
    key: Key
    conversation: Conversation
    words: Words
    problem: str = ""
    """What was wrong with a first answer, when this is the second request."""


@dataclass(frozen=True, slots=True)
class Event:
    """One finished request, for progress displays and `--json`."""

    photo: str
    page: str
    occurrence: int
    model: str
    text: str = ""
    extended: str = ""
    decorative: bool = False
    notes: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    cost_usd: float = 0.0


@dataclass(slots=True)
class DescribeReport:
    """What a run did, and what it left."""

    model: str
    described: int = 0
    present: int = 0
    """Targets whose answer was stored already: not asked again."""
    waiting: int = 0
    """Near-duplicates that will share the words of an earlier photo once those are reviewed."""
    unavailable: int = 0
    """Pages show these photos, but the files are not there or unreadable."""
    foreign: int = 0
    """Targets that want words in a language that the model does not write."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(target, reason)."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    """Why the run ended early: "limit", "cost", "interrupted", or a backend's fault; "" when it did not."""


class Describer:
    """A run over a catalogue with one backend; call it once. `stop` may be set from anywhere (a signal
    handler): the requests in flight are finished and stored."""

    def __init__(
        self,
        catalog: Catalog,
        backend: Backend,
        *,
        options: Options | None = None,
        language: str | None = None,
        default_language: str = "en",
        target_characters: int = 125,
        max_characters: int = 250,
        which: Which = "missing",
        again: bool = False,
        prefix: str = "",
        limit: int | None = None,
        max_cost_usd: float | None = None,
        context: Collection[str] = USUAL_CONTEXT,
        remote_context: Collection[str] = REMOTE_CONTEXT,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.catalog, self.backend, self.ledger = catalog, backend, catalog.ledger
        self.options = options or Options()
        self.language, self.default_language = language, default_language
        self.target_characters, self.max_characters = target_characters, max_characters
        self.which, self.again, self.prefix = which, again, prefix
        self.limit, self.on_event = limit, on_event
        self.budget = Budget(max_cost_usd)
        self.stop = False
        check_describes(backend)
        profile = backend.profile
        if language and profile.languages is not None and language not in profile.languages:
            raise InputError(
                f"{backend.name} does not write {prompts.language_name(language)}; it writes "
                f"{', '.join(profile.languages)}. Choose another model; type: looksay models"
            )
        self.told = about.told_to(profile.remote, context, remote_context)
        """What requests tell besides the photo, of settings.CONTEXTS."""
        if "place" in self.told and profile.instructable:
            places.check()
        self.report = DescribeReport(backend.name)
        self.model_id = self.ledger.model_id(backend.name, backend.fingerprint, profile.draft)
        self._prompts: dict[str, str] = {}
        self._earlier_prompts: dict[str, str] = {}
        self.settings_hash = settings_hash(self.options)
        self._root = catalog.root
        self._asked: set[Key] = set()
        self._drawn = 0
        self._second: deque[Task] = deque()

    def run(self) -> DescribeReport:
        """Ask for everything missing; raises nothing for a photo's fault. A fault that dooms the whole
        run (no server) is raised as BackendError if nothing was described yet, else told in the report."""
        started = time.perf_counter()
        try:
            self._round(self.tasks())
            if self._second and not self.stop:
                self._round(list(self._second))
        except BackendError as error:
            if not self.report.described:
                raise
            self.report.stopped = str(error)
        if self.stop:
            self.report.stopped = "interrupted"
        else:
            for task in self._second:  # the money or the server ended before their second request
                if task.problem == "language":
                    why = f"the answer is not in {task.key.language}, and was not asked for again"
                    self.report.failures.append((task.target.name, why))
        self.report.seconds = time.perf_counter() - started
        return self.report

    def estimate(self) -> Estimate:
        """Requests, tokens, time and cost of `run`, without asking anything."""
        kept, self.report = self.report, DescribeReport(self.backend.name)
        met, requests, tokens = Met(self.catalog), 0, 0
        for target, key, _ in self._lacking_now():
            if not met.new(key):
                continue
            # What a photo's file tells is a few tokens of each request: beyond the first, some stand for all.
            many = 1 if requests < _READ else 100
            if requests % many == 0:
                question = self.question(target, key.language)
                tokens += many * prompt_tokens(question, self.backend.profile.image_tokens)
            requests += 1
            if self.limit is not None and requests >= self.limit:
                break
        planned, self.report = self.report, kept
        answers = requests * _ANSWER_TOKENS
        profile = self.backend.profile
        cost = cost_usd(profile.price, profile.remote, tokens, answers)
        named = [t for t in self.ledger.tallies() if t["model"] == self.backend.name]
        same = [t for t in named if t["fingerprint"] == self.backend.fingerprint]
        each = next((t["seconds"] for t in same or named if t["generations"]), None)
        return Estimate(
            self.backend.name,
            requests,
            tokens,
            answers,
            cost,
            requests * each / profile.workers if each is not None else None,
            planned.waiting,
        )

    def tasks(self) -> Iterator[Task]:
        """What is missing, drawn one by one; counts what is not asked, and why, in the report."""
        for target, _, _ in self._lacking_now():
            # Looked up again when its turn comes: answers and decisions have come since its piece was.
            if task := self._task(target):
                yield task

    def _task(self, target: Target) -> Task | None:
        for _, key, words in self._lacking([target]):
            return Task(target, key, self.question(target, key.language), words)
        return None

    def _lacking_now(self) -> Iterator[tuple[Target, Key, Words]]:
        """What is missing as far as was known when its piece of the catalogue was read."""
        for piece in pieces(self.every_target()):
            yield from self._lacking(piece)

    def every_target(self) -> Iterator[Target]:
        """What may be asked about."""
        sources = None if self.which == "all" else {"missing", "empty", "text"}
        return self.catalog.targets.all(self.prefix, sources=sources)

    def _prompt(self, language: str) -> str:
        """The hash of the prompt in a language; its text is noted in the catalogue on first use."""
        if language not in self._prompts:
            text = prompts.prompt_text(
                language, self.target_characters, self.backend.profile, self.told
            )
            self._prompts[language] = prompts.prompt_hash(text)
            self.ledger.note_prompt(self._prompts[language], text)
        return self._prompts[language]

    def _lacking(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Key, Words]]:
        """Those of the targets that a model is to be asked about, looked up together."""
        every = self.ledger.standing.words(targets, self.language, self.default_language)
        wanted = [
            (target, words)
            for target, words in zip(targets, every, strict=True)
            if (self.which == "all" or words.state not in FINAL)
            and (self.which != "ai" or words.state in ("ai", "draft"))
        ]
        follows = self.ledger.standing.following([target for target, _ in wanted])
        known = self.backend.profile.languages
        keys: dict[int, Key] = {}
        for n, (target, _) in enumerate(wanted):
            language = target.language(self.language, self.default_language)
            if target.photo_id and (known is None or language in known):
                keys[n] = self.key(target, language)
        there = self.ledger.standing.having(keys.values())
        earlier = {e: k for k in keys.values() if k not in there and (e := self._earlier(k))}
        there |= {earlier[one] for one in self.ledger.standing.having(earlier)}
        for n, (target, words) in enumerate(wanted):
            if not target.photo_id:
                self.report.unavailable += 1
            elif self.which != "all" and follows[n]:
                self.report.waiting += 1
            elif n not in keys:
                self.report.foreign += 1
            elif (key := keys[n]) in self._asked:
                continue
            elif self.again:
                yield target, replace(key, attempt=self.ledger.attempts(key)), words
            elif key in there:
                self.report.present += 1
            else:
                yield target, key, words

    def key(self, target: Target, language: str) -> Key:
        """Under which the answer for a target is stored."""
        return Key(
            target.photo_id,
            self.model_id,
            self._prompt(language),
            self.settings_hash,
            language,
            target.context_hash if self._tells_page else "",
        )

    def _earlier(self, key: Key) -> Key | None:
        """The key of the request as it was before it told of albums and dates, if it was another."""
        if key.language not in self._earlier_prompts:
            text = prompts.earlier_text(
                key.language, self.target_characters, self.backend.profile, self.told
            )
            self._earlier_prompts[key.language] = prompts.prompt_hash(text) if text else ""
        earlier = self._earlier_prompts[key.language]
        return replace(key, prompt_hash=earlier) if earlier else None

    @property
    def _tells_page(self) -> bool:
        return self.backend.profile.instructable and "page" in self.told

    def question(self, target: Target, language: str) -> Conversation:
        """What is asked about a target."""
        profile = self.backend.profile
        return prompts.conversation(
            self._root / target.path,
            target.context if self._tells_page else Context(),
            language=language,
            target=self.target_characters,
            profile=profile,
            about=about.read(self._root, target.path, self.told if profile.instructable else ()),
        )

    # --- asking -----------------------------------------------------------------------------------

    def _round(self, tasks: Iterable[Task]) -> None:
        in_flight: dict[int, Task] = {}

        def feed() -> Iterator[Conversation]:
            for number, task in enumerate(tasks):
                if self._must_stop(task, len(in_flight)):
                    return
                in_flight[number] = task
                self._asked.add(task.key)
                if task.problem:
                    self._second.popleft()
                else:
                    self._drawn += 1
                yield task.conversation
                if self._must_stop(task, len(in_flight)):
                    return

        for completion in self.backend.complete(feed(), self.options):
            task = in_flight.pop(completion.index)
            self._asked.discard(task.key)
            self._store(task, completion)

    def _must_stop(self, task: Task, in_flight: int) -> bool:
        report = self.report
        if self.stop:
            return True
        # A second request belongs to a photo that the limit has let in.
        if self.limit is not None and self._drawn >= self.limit and not task.problem:
            report.stopped = "limit"
            return True
        price = self.backend.profile.price
        tokens = self.backend.profile.image_tokens + 500, _ANSWER_TOKENS
        if not self.budget.allows("", in_flight, price.cost(*tokens) if price else 0.0):
            report.stopped = "cost"
            return True
        return False

    def _store(self, task: Task, completion: Completion) -> None:
        report = self.report
        report.prompt_tokens += completion.prompt_tokens or 0
        report.completion_tokens += completion.completion_tokens or 0
        report.cost_usd += completion.cost_usd
        self.budget.pay("", completion.cost_usd)
        if completion.error:
            self._fail(task, completion, _whole(completion.error))
            return
        completion = replace(completion, text=_whole(completion.text))
        answer = rules.read_answer(
            completion.text,
            language=task.key.language,
            target=self.target_characters,
            limit=self.max_characters,
        )
        can_correct = self.backend.profile.instructable and not task.problem
        if answer.problem in ("empty", "language"):
            if answer.problem == "language" and can_correct:
                self._again(task, completion.text, answer.problem)
            self._fail(
                task,
                completion,
                "the answer is empty"
                if answer.problem == "empty"
                else f"the answer is {answer.notes[-1]}: {answer.alt[:80]!r}",
                final=not (answer.problem == "language" and can_correct),
            )
            return
        notes = list(answer.notes)
        if completion.finish_reason == "length":
            notes.append("cut off at the token limit")
        if self.which == "ai" and rules.differs_in_substance(task.words.text, answer.alt):
            notes.append("changed in substance")
        stored = self.ledger.add_generation(
            task.key,
            raw=completion.text,
            alt=answer.alt,
            extended=answer.extended,
            decorative=answer.decorative,
            notes=notes,
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            cost_usd=completion.cost_usd,
            seconds=completion.seconds,
            details=completion.details,
        )
        report.described += stored and task.problem != "long"  # else it was counted before
        report.present += not stored
        if answer.problem == "long" and can_correct:
            self._again(task, completion.text, "long")
        self._tell(
            task,
            completion,
            text=answer.alt,
            extended=answer.extended,
            decorative=answer.decorative,
            notes=tuple(notes),
        )

    def _again(self, task: Task, answer: str, problem: str) -> None:
        """Ask once more, after the others. A text that was too long is stored already, so the second
        answer is a new attempt; after a wrong language nothing was stored, so it is the first."""
        attempt = task.key.attempt + (problem == "long")
        asked = prompts.correction(
            task.conversation,
            answer,
            problem,
            language=task.key.language,
            target=self.target_characters,
        )
        key = Key(**(asdict(task.key) | {"attempt": attempt}))
        self._second.append(Task(task.target, key, asked, task.words, problem))

    def _fail(self, task: Task, completion: Completion, reason: str, *, final: bool = True) -> None:
        self.ledger.add_failure(task.target.photo_id, self.model_id, task.key.context_hash, reason)
        if final:
            self.report.failures.append((task.target.name, reason))
            self._tell(task, completion, error=reason)

    def _tell(self, task: Task, completion: Completion, **what: Any) -> None:
        if self.on_event:
            target = task.target
            self.on_event(
                Event(
                    target.path,
                    target.page,
                    target.occurrence,
                    self.backend.name,
                    seconds=completion.seconds,
                    cost_usd=completion.cost_usd,
                    **what,
                )
            )


def _whole(text: str) -> str:
    """Half of a surrogate pair, as a server leaves that cuts an answer inside a character, cannot be stored."""
    return text.encode("utf-8", "replace").decode()


def settings_hash(options: Options) -> str:
    """What of the options changes an answer; the time limit does not."""
    values = asdict(options)
    del values["timeout_s"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
