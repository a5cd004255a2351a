"""A run over the catalogue that holds the texts that count to everything that is known of their photos."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from looksay.backends.base import Backend
from looksay.describing import checking, verify
from looksay.describing.claims import Checked, Claim, Evidence, Reader, as_records, from_records
from looksay.describing.combining import PREFIX
from looksay.describing.evidence import Look
from looksay.describing.judging import Judge
from looksay.describing.risk import Level, Risk, features
from looksay.describing.verify import Question
from looksay.errors import BackendError, LooksayError
from looksay.experts import exif
from looksay.library.catalog import Catalog
from looksay.library.records import Target, Words
from looksay.spending import Budget, Estimate, cost_usd
from looksay.types import Image

if TYPE_CHECKING:
    from looksay.experts.base import Expert

ASSESS_VERSION = 1
"""Changes whenever the same text and evidence would be assessed otherwise."""
_COMBINED = "combined"
"""What `combining` notes of a text that it has made."""
_IN_A_ROW = 5
"""So many texts one after the other of which the verifier answers nothing end the run."""


@dataclass(frozen=True, slots=True)
class Task:
    """A text to be assessed, and what other models say of its photo."""

    target: Target
    words: Words
    number: int
    """Of the generation."""
    texts: dict[str, str]
    """What others say, by their names."""
    method: str


@dataclass(frozen=True, slots=True)
class Assessed:
    """One text of which is known what there is to know, for progress displays and `--json`."""

    photo: str
    page: str
    occurrence: int
    model: str
    text: str = ""
    value: float = 0.0
    level: Level = "low"
    reasons: tuple[str, ...] = ()
    calibrated: bool = False
    verdicts: dict[str, int] = field(default_factory=dict)
    error: str = ""
    cost_usd: float = 0.0


@dataclass(slots=True)
class AssessReport:
    """What a run did, and what it left."""

    verifier: str
    assessed: int = 0
    present: int = 0
    """Assessed before, with the same texts beside them in the same way."""
    wordless: int = 0
    """Assessed texts of which the reader could read no claim."""
    alone: int = 0
    """Assessed texts of whose claims nothing else says anything."""
    own: int = 0
    """Texts that the verifier has written itself, and was not asked about."""
    levels: dict[str, int] = field(default_factory=dict)
    """How many of all texts that count have which level now."""
    riskiest: list[Assessed] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(target, reason)."""
    reviews: int = 0
    """What the risk has learned from."""
    unreadable: int = 0
    """Answers of the verifier that were none of those asked for: no evidence."""
    cost_usd: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    """As in `DescribeReport`."""


class Assessor:
    """A run over the texts that nobody has reviewed; call it once. `stop` may be set from anywhere.

    Evidence of the verifier that an earlier run has paid for is used again. A text that the verifier has written itself
    is held to everything else, unless `own_verifier`.
    """

    def __init__(
        self,
        catalog: Catalog,
        reader: Reader,
        *,
        verifier: Backend | None = None,
        own_verifier: bool = False,
        experts: Sequence[Expert] = (),
        language: str | None = None,
        default_language: str = "en",
        prefix: str = "",
        limit: int | None = None,
        max_cost_usd: float | None = None,
        timeout_s: float = 120.0,
        on_event: Callable[[Assessed], None] | None = None,
    ) -> None:
        self.catalog, self.reader, self.experts = catalog, reader, experts
        self.verifier, self.own_verifier = verifier, own_verifier
        self.language, self.default_language = language, default_language
        self.prefix, self.limit, self.timeout_s = prefix, limit, timeout_s
        self.budget, self.on_event = Budget(max_cost_usd), on_event
        self.judge = Judge(catalog)
        self.stop = False
        self._cost_usd = 0.0
        self.report = AssessReport(verifier.name if verifier else "")

    def run(self) -> AssessReport:
        """Assess what is not; then tell the risk of all that counts. A fault of one photo is told in the report, and the
        next run tries it again; raises BackendError where the verifier answers nobody."""
        started, failed = time.perf_counter(), 0
        self.judge.learn()
        for done, task in enumerate(self.tasks()):
            if self.stop or (self.limit is not None and done >= self.limit):
                self.report.stopped = "interrupted" if self.stop else "limit"
                break
            if not self.budget.allows("", 0, verify.guess_usd(self.verifier)):
                self.report.stopped = "cost"
                break
            self._cost_usd = 0.0
            try:
                self._assess(task)
                failed = 0
            except LooksayError as error:
                failed += isinstance(error, BackendError)
                self.report.failures.append((task.target.name, str(error)))
                self._tell(task, error=str(error))
                if failed == _IN_A_ROW:
                    if not self.report.assessed:
                        raise
                    self.report.stopped = str(error)
                    break
            finally:
                self.budget.pay("", self._cost_usd)
        self.report.cost_usd = self.budget.spent_usd
        self.report.seconds = time.perf_counter() - started
        return self.report

    def estimate(self) -> Estimate:
        """Questions, tokens and cost of `run`, without asking anything. Time is not known."""
        kept, self.report = self.report, AssessReport(self.report.verifier)
        questions = 0
        if self.verifier is not None:
            for done, task in enumerate(self.tasks()):
                if self.limit is not None and done >= self.limit:
                    break
                if not self._is_own(task):
                    said = {one.claim for one in self.reader.read(task.words.text)}
                    questions += len(said - self._known(task).keys())
        self.report = kept
        profile = self.verifier.profile if self.verifier else None
        prompt = questions * ((profile.image_tokens if profile else 0) + verify.PROMPT_TOKENS)
        answers = questions * verify.ANSWER_TOKENS
        cost = cost_usd(profile.price, profile.remote, prompt, answers) if profile else 0.0
        return Estimate(self.report.verifier, questions, prompt, answers, cost, None)

    def texts(self) -> Iterator[tuple[Target, Words, int]]:
        """The texts that count and that nobody has reviewed, with the numbers of their generations; each once, however
        often it is shown."""
        seen = set[int]()
        for target in self.catalog.targets.all(self.prefix):
            words = self.catalog.ledger.words(target, self.language, self.default_language)
            number = words.generation_id
            if (
                words.state in ("ai", "draft")
                and number is not None
                and not words.decorative_proposed
                and number not in seen
            ):
                seen.add(number)
                yield target, words, number

    def tasks(self) -> Iterator[Task]:
        """What is not assessed; counts what is, in the report."""
        for target, words, number in self.texts():
            others = {
                one.model: one.extended or one.text
                for one in self.catalog.ledger.candidates(target, words.language)
                if one.model != words.model
                and not one.model.startswith(PREFIX)
                and not one.decorative_proposed
            }
            task = Task(target, words, number, others, self._method(others))
            if self.catalog.assessments.has(number, task.method):
                self.report.present += 1
            else:
                yield task

    def levels(self, riskiest: int = 5) -> None:
        """Tell in the report how many texts have which level now, and which are the riskiest."""
        found: list[tuple[float, Task, Risk]] = []
        levels = Counter[str]()
        for target, words, number in self.texts():
            risk = self.judge.risk(target, words)
            levels[risk.level] += 1
            found.append((risk.value, Task(target, words, number, {}, ""), risk))
            found = sorted(found, key=lambda one: -one[0])[:riskiest]
        self.report.levels = dict(levels)
        self.report.reviews = self.judge.scale.reviews
        self.report.riskiest = [_event(task, risk) for _, task, risk in found]

    def _method(self, texts: dict[str, str]) -> str:
        told = {
            "version": ASSESS_VERSION,
            "reader": self.reader.name,
            "texts": texts,
            "verifier": self.verifier.fingerprint if self.verifier else None,
            "own": self.own_verifier,
            "experts": [[expert.name, expert.fingerprint] for expert in self.experts],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def _assess(self, task: Task) -> None:
        path, words = self.catalog.root / task.target.path, task.words
        looks = [Look.of(expert, path) for expert in self.experts]
        checked = checking.check(
            words.text, self.reader, texts=task.texts, looks=looks, exif=exif.read(path)
        )
        own = self._is_own(task)
        verifier = None if own else self.verifier
        if verifier is not None:
            checked = checking.added(checked, self._asked(verifier, task, checked))
        sure = self.catalog.assessments.confidence(task.number)
        context = task.target.context
        told = features(words.text, checked, confidence=sure, context=context).as_record()
        if verifier is not None:
            told["verifier"] = verifier.fingerprint
        claims = as_records(checked)
        before = self.catalog.assessments.newest(task.number)
        if before is not None and _COMBINED in before.features:
            # How the text was made, and what was left out of it, stays known.
            told[_COMBINED] = before.features[_COMBINED]
            claims += [one for one in before.claims if not one["spans"]]
        stored = self.catalog.assessments.add(task.number, task.method, claims, told)
        self.report.assessed += stored
        self.report.present += not stored
        self.report.wordless += not checked
        self.report.alone += bool(checked) and not any(one.evidence for one in checked)
        self.report.own += own
        risk = self.judge.risk(task.target, words)
        verdicts = Counter(one.verdict for one in checked)
        self._tell(task, risk, verdicts=dict(verdicts))

    def _asked(
        self, verifier: Backend, task: Task, checked: Sequence[Checked]
    ) -> list[Evidence | None]:
        """What the verifier says of each claim; raises BackendError where one is not answered at all."""
        known = self._known(task)
        found: list[Evidence | None] = [known.get(one.claim) for one in checked]
        open_ = [n for n, one in enumerate(found) if one is None]
        image = Image(self.catalog.root / task.target.path)
        questions = [Question.of(checked[n].claim, image, self.reader) for n in open_]
        answered, fault = 0, ""
        for number, asked in verify.ask(verifier, questions, self.timeout_s):
            self._cost_usd += asked.cost_usd
            found[open_[number]] = asked.evidence
            answered += not asked.error
            fault = fault or asked.error
            self.report.unreadable += not asked.error and asked.evidence is None
        if answered < len(questions):
            raise BackendError(
                f"{verifier.name} was asked about a claim: {fault or 'no answer came'}"
            )
        return found

    def _known(self, task: Task) -> dict[Claim, Evidence]:
        """What this verifier said before of the photo, claim by claim, whichever text made the claim."""
        if self.verifier is None:
            return {}
        photo, verifier = task.target.photo_id, self.verifier.fingerprint
        return {
            one.claim: each
            for claims in self.catalog.assessments.of_photo(photo, verifier)
            for one in from_records(claims)
            for each in one.evidence
            if each.how == "asked"
        }

    def _is_own(self, task: Task) -> bool:
        """Whether the verifier has written the text, and may not be asked about it."""
        if self.verifier is None or self.own_verifier:
            return False
        name, fingerprint = self.catalog.assessments.author(task.number)
        before = self.catalog.assessments.newest(task.number)
        parts = before.features.get(_COMBINED, {}).get("texts", ()) if before else ()
        return self.verifier.fingerprint == fingerprint or self.verifier.name in (name, *parts)

    def _tell(self, task: Task, risk: Risk | None = None, **what: Any) -> None:
        if self.on_event:
            self.on_event(_event(task, risk, cost_usd=self._cost_usd, **what))


def _event(task: Task, risk: Risk | None, **what: Any) -> Assessed:
    target, words = task.target, task.words
    if risk is not None:
        what |= {"value": risk.value, "level": risk.level, "reasons": risk.reasons}
        what["calibrated"] = risk.calibrated
    return Assessed(
        target.path, target.page, target.occurrence, words.model, text=words.text, **what
    )
