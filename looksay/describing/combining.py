"""A run over the catalogue that combines what several models said of each photo into a text of its own."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from looksay.backends.base import Backend, Encoder, Profile, Ranker, same_model
from looksay.describing import rules, verify
from looksay.describing.claims import Reader, as_records
from looksay.describing.combine import COMBINE_VERSION, By, Combined, check_way, combine
from looksay.describing.evidence import Look
from looksay.describing.prompts import prompt_hash
from looksay.describing.run import Describer, Event
from looksay.errors import BackendError, InputError, LooksayError
from looksay.experts import exif
from looksay.library.catalog import Catalog
from looksay.library.records import FINAL, Key, Target
from looksay.spending import Budget
from looksay.types import Completion, Conversation, Image, Options

if TYPE_CHECKING:
    from looksay.experts.base import Expert

PREFIX = "combined:"
"""Begins the name of what combines, as a model's name stands in the catalogue."""
_IN_A_ROW = 5
"""So many photos one after the other that the verifier does not answer end the run."""
_SAME_SHARE, _SAME_LEAST = 0.5, 5
"""A model that says one thing of this share of at least so many photos does not look at them."""


@dataclass(slots=True)
class CombineReport:
    """What a run did, and what it left."""

    model: str
    combined: int = 0
    present: int = 0
    """Combined before, of the same texts in the same way."""
    incomplete: int = 0
    """Of the combined, those of which not every model had a text."""
    unconfirmed: int = 0
    """Of the combined, those of which no claim survived or none could be read."""
    lacking: int = 0
    """Not combined: no model has a text, or one has not been asked yet."""
    claims: dict[str, int] = field(default_factory=dict)
    """How many claims of all texts came to which verdict."""
    unreadable: int = 0
    """Answers of the verifier that were none of those asked for: no evidence."""
    same: list[str] = field(default_factory=list)
    """Models that said the same of most photos."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(target, reason)."""
    cost_usd: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    """As in `DescribeReport`."""


class Combiner:
    """A run that combines the texts of several describers, which have run by then; call it once.

    Raises InputError where two of the models are one, where the verifier is one of them (unless `own_verifier`), and
    where a way lacks what it needs.
    """

    def __init__(
        self,
        describers: Sequence[Describer],
        reader: Reader,
        *,
        by: By = "claims",
        verifier: Backend | None = None,
        own_verifier: bool = False,
        experts: Sequence[Expert] = (),
        encoder: Encoder | None = None,
        writer: Backend | None = None,
        again: bool = False,
        max_cost_usd: float | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if len(describers) < 2:
            raise InputError(
                "There is nothing to combine. Type two models or more: --combine a,b,c"
            )
        backends = [describer.backend for describer in describers]
        for one, other in combinations(backends, 2):
            if same_model(one, other):
                raise InputError(
                    f"{one.name} and {other.name} are one model. Combine different ones."
                )
        if verifier is not None and not own_verifier:
            for backend in backends:
                if same_model(backend, verifier):
                    raise InputError(
                        f"{verifier.name} would check what it said itself, and models agree with themselves. Choose "
                        "another --verifier, or add --own-verifier."
                    )
        check_way(by, verifier, experts, encoder)
        self.describers, self.reader, self.by = describers, reader, by
        self._first = describers[0]
        self.catalog: Catalog = self._first.catalog
        self.ledger, self.assessments = self.catalog.ledger, self.catalog.assessments
        self._spent = _Spent()
        self.verifier, self.writer = self._spent.by(verifier), self._spent.by(writer)
        self.experts, self.encoder = experts, encoder
        self.again, self.on_event = again, on_event
        self.budget = Budget(max_cost_usd)
        self.stop = False
        self.name = PREFIX + "+".join(backend.name for backend in backends)
        self.report = CombineReport(self.name)
        told = {
            "version": COMBINE_VERSION,
            "models": [[backend.name, backend.fingerprint] for backend in backends],
            "by": by,
            "reader": reader.name,
            "verifier": verifier.fingerprint if verifier else None,
            "experts": [[expert.name, expert.fingerprint] for expert in experts],
            "encoder": encoder.fingerprint if encoder else None,
            "writer": writer.fingerprint if writer else None,
            "target": self._first.target_characters,
        }
        how = json.dumps(told, sort_keys=True)
        self.method = hashlib.sha256(how.encode()).hexdigest()[:16]
        draft = any(backend.profile.draft for backend in backends)
        self.model_id = self.ledger.model_id(self.name, self.method, draft)
        self._prompt = prompt_hash(how)
        self.ledger.note_prompt(self._prompt, how)
        self._said: dict[str, Counter[str]] = {b.name: Counter() for b in backends}

    def run(self) -> CombineReport:
        """Combine everything that all models were asked about. A fault of one photo is told in the report, and the next
        run tries it again; raises BackendError where the verifier answers nobody."""
        started = time.perf_counter()
        failed = 0
        for target, key, texts in self.tasks():
            if self.stop or not self.budget.allows("", 0, verify.guess_usd(self.verifier)):
                self.report.stopped = "interrupted" if self.stop else "cost"
                break
            before, began = self._spent.usd, time.perf_counter()
            try:
                found = self._combined(target, texts)
                failed = 0
            except LooksayError as error:
                failed += isinstance(error, BackendError)
                self._fail(target, key, str(error))
                if failed == _IN_A_ROW:
                    if not self.report.combined:
                        raise
                    self.report.stopped = str(error)
                    break
                continue
            finally:
                self.budget.pay("", self._spent.usd - before)
            self._store(
                target, key, texts, found, self._spent.usd - before, time.perf_counter() - began
            )
        for name, said in self._said.items():
            many, most = said.total(), max(said.values(), default=0)
            if many >= _SAME_LEAST and most > _SAME_SHARE * many:
                self.report.same.append(name)
        self.report.cost_usd = self._spent.usd
        self.report.seconds = time.perf_counter() - started
        return self.report

    def waiting(self) -> int:
        """How many are to be combined."""
        kept, said = self.report, self._said
        self.report, self._said = CombineReport(self.name), {name: Counter() for name in said}
        many = sum(1 for _ in self.tasks())
        self.report, self._said = kept, said
        return many

    def tasks(self) -> Iterator[tuple[Target, Key, dict[str, str]]]:
        """What is to combine, with the texts by their models; counts what is not, and why, in the report."""
        first, report = self._first, self.report
        sources = None if first.which == "all" else {"missing", "empty", "text"}
        done = set[Key]()
        for target in self.catalog.targets.all(first.prefix, sources=sources):
            words = self.ledger.words(target, first.language, first.default_language)
            if not target.photo_id or (
                first.which != "all" and (words.state in FINAL or self.ledger.follows(target))
            ):
                continue
            language = target.language(first.language, first.default_language)
            texts = self._texts(target, language)
            if texts is None:
                report.lacking += 1
                continue
            digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]
            of_page = any(d.key(target, language).context_hash for d in self.describers)
            place = target.context_hash if of_page else ""
            key = Key(target.photo_id, self.model_id, self._prompt, digest, language, place)
            if key in done:
                continue
            done.add(key)
            if self.again:
                key = replace(key, attempt=self.ledger.attempts(key))
            elif self.ledger.has(key):
                report.present += 1
                continue
            yield target, key, texts

    def _texts(self, target: Target, language: str) -> dict[str, str] | None:
        """What each model said, by its name; None where one has still to be asked, or nobody has words."""
        found = {}
        for describer in self.describers:
            name, languages = describer.backend.name, describer.backend.profile.languages
            said = self.assessments.said(describer.key(target, language))
            if said is not None:
                found[name] = "" if said.decorative else said.text
                if said.text:
                    self._said[name][said.text] += 1
            elif (languages is None or language in languages) and not any(
                name == target.name for name, _ in describer.report.failures
            ):
                return None
        return found or None

    def _combined(self, target: Target, texts: dict[str, str]) -> Combined:
        captions = {name: text for name, text in texts.items() if text}
        whole = len(texts) == len(self.describers)
        of = () if whole else (f"of {len(texts)} of {len(self.describers)} models",)
        if not captions:
            return Combined("", (), ("proposed as decoration", *of))
        path = self.catalog.root / target.path
        looks = [Look.of(expert, path) for expert in self.experts]
        language = target.language(self._first.language, self._first.default_language)
        found = combine(
            captions,
            self.reader,
            by=self.by,
            image=Image(path),
            looks=looks,
            exif=exif.read(path),
            verifier=self.verifier,
            encoder=self.encoder,
            writer=self.writer,
            language=language,
            target=self._first.target_characters,
            timeout_s=self._first.options.timeout_s,
        )
        return replace(found, notes=(*found.notes, *of))

    def _store(
        self,
        target: Target,
        key: Key,
        texts: dict[str, str],
        found: Combined,
        cost_usd: float,
        seconds: float,
    ) -> None:
        alt, extended = rules.split(found.text, self._first.target_characters)
        many = f"{len(alt)} characters"
        notes = [*found.notes, *([many] if len(alt) > self._first.max_characters else [])]
        decorative = not found.text
        features: dict[str, Any] = {
            "combined": {"by": self.by, "texts": texts, "notes": list(found.notes)}
        }
        if self.verifier is not None:
            features["verifier"] = self.verifier.fingerprint
        with self.catalog.transaction():
            stored = self.ledger.add_generation(
                key,
                raw=found.text,
                alt=alt,
                extended=extended,
                decorative=decorative,
                notes=notes,
                prompt_tokens=None,
                completion_tokens=None,
                cost_usd=cost_usd,
                seconds=seconds,
                details={},
            )
            if stored:
                said = self.assessments.said(key)
                assert said is not None
                claims = as_records(found.checked)
                self.assessments.add(said.generation_id, self.method, claims, features)
        self.report.combined += stored
        self.report.present += not stored
        self.report.incomplete += len(texts) < len(self.describers)
        self.report.unconfirmed += bool(found.text) and not found.confirmed
        verdicts = Counter(one.verdict for one in found.checked)
        for verdict, many_of_it in verdicts.items():
            self.report.claims[verdict] = self.report.claims.get(verdict, 0) + many_of_it
        if self.verifier is not None and self.by in ("claims", "union"):
            asked = sum(any(e.how == "asked" for e in one.evidence) for one in found.checked)
            self.report.unreadable += len(found.checked) - asked
        self._tell(
            target,
            text=alt,
            extended=extended,
            decorative=decorative,
            notes=tuple(notes),
            seconds=seconds,
            cost_usd=cost_usd,
        )

    def _fail(self, target: Target, key: Key, reason: str) -> None:
        self.ledger.add_failure(target.photo_id, self.model_id, key.context_hash, reason)
        self.report.failures.append((target.name, reason))
        self._tell(target, error=reason)

    def _tell(self, target: Target, **what: Any) -> None:
        if self.on_event:
            self.on_event(Event(target.path, target.page, target.occurrence, self.name, **what))


class _Spent:
    """What backends cost that are asked through it."""

    def __init__(self) -> None:
        self.usd = 0.0

    def by(self, backend: Backend | None) -> Backend | None:
        """The backend, its costs counted. Who ranks answers is on this machine and costs nothing."""
        return (
            backend if backend is None or isinstance(backend, Ranker) else _Counted(backend, self)
        )


class _Counted:
    def __init__(self, backend: Backend, spent: _Spent) -> None:
        self._backend, self._spent = backend, spent
        self.name, self.fingerprint = backend.name, backend.fingerprint
        self.profile: Profile = backend.profile

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for completion in self._backend.complete(conversations, options):
            self._spent.usd += completion.cost_usd
            yield completion

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        return self._backend.stream(conversation, options)
