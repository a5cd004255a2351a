"""The same photos through every entrant; what is answered already, here or by `describe`, is not asked again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from looksay.backends.base import Backend
from looksay.comparing.board import Board, Place, Plan, Prompt, entrants, token
from looksay.comparing.sample import draw, told
from looksay.describing import prompts
from looksay.describing.run import Describer, DescribeReport, Event
from looksay.errors import BackendError, InputError, LooksayError
from looksay.evaluation.memory import Peak
from looksay.library.catalog import Catalog
from looksay.library.records import TRIAL, Key, Target
from looksay.types import Conversation, Image

COMMON = """Write alternative text for this image in {language}: one sentence of at most {target} characters that says \
what matters in it, for people who cannot see it. Answer with the sentence alone."""
GONE = "the photo is no longer in the library"


def plan(
    catalog: Catalog,
    models: list[str],
    *,
    size: int = 50,
    prompts: tuple[Prompt, ...] = ("own", "common"),
    prefix: str = "",
    language: str | None = None,
    default_language: str = "en",
    seed: int = 0,
) -> Plan:
    """A comparison of models on `size` photos under `prefix`; photos are drawn only where it is a new one.

    Raises InputError where there is no photo to look at.
    """
    wanted = {
        "models": list(dict.fromkeys(models)),
        "prompts": list(prompts),
        "sample": size,
        "prefix": prefix,
        "language": language,
        "seed": seed,
    }
    known = catalog.ratings.find(token(wanted))
    if known is not None:
        return Plan.of(known.settings)
    everything = list(catalog.targets.all(prefix))
    drawn = draw(everything, size, seed)
    if not drawn:
        raise InputError(
            f"There is no photo to compare models on in {catalog.root}. Put photos there, then type: looksay scan "
            f"{catalog.root}"
        )
    about = {
        "library": len({t.lead_id or t.photo_id for t in everything if t.photo_id}),
        "strata": told(drawn),
    }
    places = tuple(place_of(catalog, target, language, default_language) for target in drawn)
    return Plan(entrants(models, prompts), places, wanted, about)


def place_of(catalog: Catalog, target: Target, language: str | None, default: str) -> Place:
    """A target as a comparison keeps it, with what people wrote for it."""
    words = catalog.ledger.words(target, language, default)
    context = target.context
    around = [context.heading, context.caption, context.before, context.after]
    return Place(
        target.photo_id,
        target.path,
        target.page,
        target.occurrence,
        target.language(language, default),
        " … ".join(part for part in around if part)[:300],
        bool(context.link),
        (words.text,) if words.state == "human" and words.text else (),
    )


class Asker(Describer):
    """Asks one backend about the photos of a comparison in the way of one entrant; call `run` once, then `note`.

    What it asks for is stored under a context of its own, so that it is no words of any target: comparing changes
    nothing in the library.
    """

    def __init__(
        self, catalog: Catalog, backend: Backend, board: Board, number: int, **choices: Any
    ) -> None:
        self.board, self.number, self.peak = board, number, Peak()
        self.prompt = board.plan.entrants[number].prompt
        if self.prompt == "bare":
            choices["context"] = ()
        super().__init__(catalog, backend, which="all", **choices)
        on_event = self.on_event

        def hear(event: Event) -> None:
            self.peak.look()
            if on_event:
                on_event(event)

        self.on_event = hear
        self.targets = [
            catalog.targets.find(one.path, one.page, one.occurrence)
            if (self._root / one.path).is_file()
            else None
            for one in board.places
        ]
        """None: the photo, or the page that showed it, is no longer there."""

    @property
    def asks_the_common(self) -> bool:
        """Who follows no prompt has one way of being asked."""
        return self.prompt == "common" and self.backend.profile.instructable

    def every_target(self) -> Iterator[Target]:
        """The sample's photos that are still there."""
        return (target for target in self.targets if target is not None)

    def key(self, target: Target, language: str) -> Key:
        """That of an answer which is there already, if it was this prompt's, else one of comparisons alone."""
        usual = super().key(target, language)
        if self.asks_the_common:
            return replace(usual, context_hash=TRIAL)
        own = replace(usual, context_hash=TRIAL + usual.context_hash)
        return usual if self.ledger.has(usual) and not self.ledger.has(own) else own

    def question(self, target: Target, language: str) -> Conversation:
        """What is asked about a target."""
        if not self.asks_the_common:
            return super().question(target, language)
        words = self._common(language)
        return replace(
            Conversation.ask(Image(self._root / target.path), words), hints={"language": language}
        )

    def _prompt(self, language: str) -> str:
        if not self.asks_the_common:
            return super()._prompt(language)
        text = self._common(language)
        hash_ = prompts.prompt_hash(text)
        self.ledger.note_prompt(hash_, text)
        return hash_

    def _common(self, language: str) -> str:
        name = prompts.language_name(language)
        return COMMON.format(language=name, target=self.target_characters)

    def note(self, fault: str = "") -> None:
        """Write down for every photo which answer is this entrant's, or why it has none (`fault`: what is wrong with
        all of those)."""
        number, ratings = self.number, self.catalog.ratings
        failed = dict(self.report.failures)
        languages = self.backend.profile.languages
        for place, target in enumerate(self.targets):
            known = self.board.places[place]
            language = known.language
            found = None
            if target is not None:
                found = ratings.generation(self.key(target, language))
            if found is not None:
                ratings.note(self.board.comparison, number, place, found, memory_mb=self._memory_mb)
                continue
            reason = failed.get(target.name, fault) if target is not None else GONE
            if languages is not None and language not in languages:
                reason = f"it does not write {prompts.language_name(language)}"
            if reason and not (target is None and self.board.answered(place, number)):
                ratings.note(self.board.comparison, number, place, None, reason)
        self.board.read()

    @property
    def _memory_mb(self) -> float | None:
        return self.peak.device if self.peak.device is not None else self.peak.process


def ask(asker: Asker) -> DescribeReport:
    """Run, and note what came of it. A fault that dooms the whole run is the error of every photo without answer."""
    fault = ""
    try:
        asker.run()
    except BackendError as error:
        fault = asker.report.stopped = str(error)
        asker.report.failures.append((asker.backend.name, fault))
    if asker.report.stopped not in ("limit", "cost", "interrupted"):
        fault = fault or asker.report.stopped
    asker.note(fault)
    return asker.report


def unavailable(board: Board, model: str, reason: str) -> None:
    """Note that a model could not be loaded: its cells are empty, and say why."""
    for number, entrant in enumerate(board.plan.entrants):
        if entrant.model == model:
            for place in range(len(board.places)):
                if not board.answered(place, number):
                    board.catalog.ratings.note(board.comparison, number, place, None, reason)
    board.read()


Loader = Callable[[str], Backend]
"""From a model's name to the model; raises LooksayError."""


def run(
    board: Board,
    load: Loader,
    models: Iterable[str] | None = None,
    *,
    follow: Callable[[Asker], DescribeReport] = ask,
    max_cost_usd: float | None = None,
    **choices: Any,
) -> list[DescribeReport]:
    """Every entrant in turn (or those of `models`), one model in memory at a time. What cannot be loaded leaves its
    cells empty.

    `follow` runs one asker (the command line shows progress around `ask`); `max_cost_usd` is for all of them together.
    Raises nothing for one model's fault.
    """
    reports: list[DescribeReport] = []
    for model in models or dict.fromkeys(entrant.model for entrant in board.plan.entrants):
        try:
            backend = load(model)
        except LooksayError as error:
            unavailable(board, model, f"it could not be loaded: {error}".rstrip("."))
            reports.append(DescribeReport(model, stopped=str(error)))
            continue
        for number, entrant in enumerate(board.plan.entrants):
            if entrant.model != model:
                continue
            if max_cost_usd is not None:
                spent = math.fsum(report.cost_usd for report in reports)
                choices["max_cost_usd"] = max(0.0, max_cost_usd - spent)
            reports.append(follow(Asker(board.catalog, backend, board, number, **choices)))
            if reports[-1].stopped == "interrupted":
                return reports
    return reports
