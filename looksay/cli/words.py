"""Commands that get words: describe, estimate, upgrade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from looksay.cli import asking, combined, console
from looksay.cli.options import (
    WORDS,
    AllOption,
    ContextOption,
    CostOption,
    DbOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    JudgeOption,
    LanguageOption,
    LimitOption,
    ModelOption,
    PathArgument,
    QuantizeOption,
    RemoteOption,
    TimeoutOption,
    TrustOption,
    WorkersOption,
    app,
    open_library,
    scan_first,
)
from looksay.errors import InputError
from looksay.types import Options

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.backends.base import Backend, LoadOptions
    from looksay.describing.run import Describer, Event


@app.command(rich_help_panel=WORDS)
def describe(
    path: PathArgument = Path(),
    model: ModelOption = None,
    language: LanguageOption = None,
    limit: LimitOption = None,
    max_cost: CostOption = None,
    everything: AllOption = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Ask once more where an answer is stored; the old one is kept."
        ),
    ] = False,
    combine: combined.CombineOption = None,
    by: combined.ByOption = "claims",
    reader: combined.ReaderOption = "english",
    verifier: combined.VerifierOption = None,
    own_verifier: combined.OwnVerifierOption = False,
    expert: combined.ExpertsOption = None,
    writer: combined.WriterOption = None,
    encoder: combined.FitOption = None,
    context: ContextOption = True,
    allow_remote: RemoteOption = False,
    concurrency: WorkersOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    timeout: TimeoutOption = 120.0,
    ray: Annotated[
        bool, typer.Option("--ray", help="With Ray: in several processes or machines.")
    ] = False,
    replicas: Annotated[
        str | None,
        typer.Option(
            "--replicas",
            help="With --ray: how many processes hold the model, or MIN-MAX.",
            show_default="one for each GPU, or one",
        ),
    ] = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a model for what has no words yet. Stop at any time: typing the same again goes on."""
    if combine is not None and model is not None:
        raise InputError("--combine names the models itself; leave --model out.")
    if replicas is not None and not ray:
        raise InputError("--replicas is for --ray.")
    if combine is not None and ray:
        raise InputError(
            "--ray is for --model. Describe with each model first, --model A,B --ray; then --combine A,B alone "
            "takes the answers that are stored."
        )
    with open_library(path, db, create=True) as library:
        console.tell_new_catalogue(library)
        unreadable = scan_first(library, as_json)
        if unreadable and as_json:
            console.print_json({"unreadable": dict(unreadable)}, line=True)
        load = asking.library_options(
            library, allow_remote, concurrency, device, dtype, quantize, trust_remote_code, language
        )
        failed, answers, asked = False, _Answers(), list["Describer"]()
        names = model_names(combine or model, library)
        how = (
            None
            if combine is None
            else combined.loaded(
                names,
                load,
                by=by,
                reader=reader,
                verifier=verifier,
                own_verifier=own_verifier,
                experts=expert,
                writer=writer,
                encoder=encoder,
                max_cost_usd=max_cost,
                again=again,
                as_json=as_json,
            )
        )
        for name in names:
            with ExitStack() as held:
                with console.loading(name, as_json):
                    describer = library.describer(
                        held.enter_context(_spread(name, load, replicas)) if ray else name,
                        path=library.path,
                        language=language,
                        which="all" if everything else "missing",
                        again=again,
                        options=Options(timeout_s=timeout),
                        limit=limit,
                        max_cost_usd=max_cost,
                        context=None if context else (),
                        load_options=load,
                    )
                failed |= _run(describer, library, as_json, answers)
            asked.append(describer)
        if how:
            run = how.combiner(asked)
            failed |= combined.run(run, answers.hear, as_json)
        if not as_json:
            console.tell_unreadable(unreadable)
            answers.tell(library)
    if failed or unreadable:
        raise typer.Exit(1)


@app.command(rich_help_panel=WORDS)
def estimate(
    path: PathArgument = Path(),
    model: ModelOption = None,
    language: LanguageOption = None,
    limit: LimitOption = None,
    everything: AllOption = False,
    context: ContextOption = True,
    allow_remote: RemoteOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Requests, tokens, time and cost of a describe, before it. Sends no photo."""
    with open_library(path, db, create=True) as library:
        console.tell_new_catalogue(library)
        scan_first(library, as_json)
        # Estimating sends nothing, so a remote model needs no leave here.
        load = asking.library_options(
            library, True, None, device, dtype, quantize, trust_remote_code, language
        )
        found = []
        for name in model_names(model, library):
            with console.loading(name, as_json):
                row = library.estimate(
                    name,
                    path=library.path,
                    language=language,
                    limit=limit,
                    which="all" if everything else "missing",
                    context=None if context else (),
                    load_options=load,
                )
            found.append(row)
    if as_json:
        console.print_json(found)
        return
    for row in found:
        console.out.print(asking.estimated(row, "photos are described"))
        if row.waiting:
            console.out.print(
                f"  {row.waiting} near-duplicates are not asked: they share a photo's words once those are reviewed"
            )


@app.command(rich_help_panel=WORDS)
def upgrade(
    to: Annotated[str, typer.Option("--to", help="The better model: provider:model.")],
    path: PathArgument = Path(),
    check: Annotated[
        int | None,
        typer.Option(
            "--check",
            min=1,
            help="Only compare the model blind with the texts in use, on so many photos, and say whether it is better.",
        ),
    ] = None,
    judge: JudgeOption = None,
    out: Annotated[
        Path, typer.Option("--out", help="With --check: the report.", show_default="upgrade.html")
    ] = Path("upgrade.html"),
    language: LanguageOption = None,
    limit: LimitOption = None,
    max_cost: CostOption = None,
    context: ContextOption = True,
    allow_remote: RemoteOption = False,
    concurrency: WorkersOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    timeout: TimeoutOption = 120.0,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe again, with another model, what only models described; words of people stay."""
    with open_library(path, db) as library:
        load = asking.library_options(
            library, allow_remote, concurrency, device, dtype, quantize, trust_remote_code, language
        )
        if check is not None:
            from looksay.cli.compared import Runner, check_upgrade

            runner = Runner(library, load, limit, max_cost, timeout, as_json)
            if check_upgrade(library, runner, to, check, judge, language, out):
                raise typer.Exit(1)
            return
        with console.loading(to, as_json):
            describer = library.describer(
                to,
                path=library.path,
                language=language,
                which="ai",
                options=Options(timeout_s=timeout),
                limit=limit,
                max_cost_usd=max_cost,
                context=None if context else (),
                load_options=load,
            )
        failed = _run(describer, library, as_json, answers := _Answers())
        queue = [
            (t, w) for t, w in library.targets(library.path) if "changed in substance" in w.notes
        ]
        if queue and not as_json:
            console.out.print(f"{len(queue)} texts changed in substance; look at these first:")
            for target, words in queue[:20]:
                console.out.print(f"  {escape(target.name)}: {escape(words.text)}")
        if not as_json:
            answers.tell(library)
    if failed:
        raise typer.Exit(1)


def _spread(name: str, load: LoadOptions, replicas: str | None) -> AbstractContextManager[Backend]:
    from looksay.backends import _ray, spread

    wanted = None if replicas is None else _ray.replicas_of(replicas)
    return spread.spread(name, load, wanted, tell=lambda words: console.err.print(escape(words)))


def model_names(model: str | None, library: Library) -> list[str]:
    names = [n.strip() for n in (model or library.settings.model).split(",") if n.strip()]
    if not names:
        raise InputError("--model is empty. Expected provider:model; type: looksay models")
    found = []
    for name in names:
        if name == "auto":
            from looksay.backends import auto

            choice = auto.choose()
            console.err.print(escape(f"Model: {choice.name}. {choice.reason}"))
            name = choice.name
        found.append(name)
    return found


def _run(describer: Describer, library: Library, as_json: bool, answers: _Answers) -> bool:
    """Run with a progress bar; Ctrl-C finishes what is in flight. Returns whether anything failed."""
    profile = describer.backend.profile
    planned = describer.estimate()
    if planned.requests:
        console.tell_limits(describer.backend)
    if profile.remote and planned.requests:
        cost = planned.cost_usd
        said = "an unknown cost (no price is known)" if cost is None else f"about {cost:.2f} USD"
        console.err.print(
            f"{planned.requests} photos go to {escape(describer.backend.name)}, without EXIF data"
            f"{_also_told(describer.told)}, for {said}."
        )
    with console.progress(describer.backend.name, planned.requests, as_json) as count_one:

        def tell(event: Event) -> None:
            answers.hear(event)
            if as_json:
                console.print_json(event, line=True)
            elif event.error:
                console.err.print(f"{escape(event.photo)}: {escape(event.error)}", style="red")
            count_one(describer.report.cost_usd if profile.price else None)

        describer.on_event = tell
        with asking.finish_on_interrupt(describer):
            report = describer.run()
    answers.left |= bool(report.failures or report.foreign)
    console.print_describe(report, as_json)
    if report.stopped == "interrupted":
        console.err.print(
            "Interrupted. Everything that was answered is stored; type the same again to go on."
        )
        raise typer.Exit(130)
    return bool(report.failures) or report.stopped not in ("", "limit", "cost")


def _also_told(told: Collection[str]) -> str:
    """What leaves this machine in words, though it stands in no page."""
    kinds = [kind for kind in ("album", "date", "place") if kind in told]
    return f" but with their {' and '.join(kinds)} in words" if kinds else ""


@dataclass(slots=True)
class _Answers:
    """What the end of a command tells of its answers: the words themselves where one photo was described, else
    how many have notes; and what to type next."""

    photo: str = ""
    last: str = ""
    """The model that spoke last."""
    several: bool = False
    left: bool = False
    """Something failed, or was not for the model: the summary has said what to do."""
    words: dict[tuple[str, str, int], Event] = field(default_factory=dict)
    """Of the first photo, by model and place."""
    notes: dict[tuple[str, str, str, int], tuple[str, ...]] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        """Count an answer in; a later one for the same place takes the place of the earlier."""
        if event.error:
            return
        self.photo, self.last = self.photo or event.photo, event.model
        if event.photo == self.photo:
            self.words[event.model, event.page, event.occurrence] = event
        else:
            self.several = True
        place = (event.model, event.photo, event.page, event.occurrence)
        self.notes.pop(place, None)
        if event.notes:
            self.notes[place] = event.notes

    def tell(self, library: Library) -> None:
        if self.photo and not self.several:
            self._tell_one(library)
            return
        # The words of the model that spoke last are those that count.
        noted = {place: notes for place, notes in self.notes.items() if place[0] == self.last}
        if noted:
            common = Counter(note for notes in noted.values() for note in notes).most_common(3)
            console.out.print(
                f"{console.count(len(noted), 'text')} with notes ({', '.join(n for n, _ in common)}). "
                f"To list them: looksay status --list noted{escape(console.here(library))}"
            )
        if self.photo:
            console.review_step(library)
        elif not self.left:
            console.next_step(library)

    def _tell_one(self, library: Library) -> None:
        for event in self.words.values():
            where = f" on {event.page}" if event.page else ""
            said = "(proposed as decoration)" if event.decorative else event.text
            notes = "" if event.decorative or not event.notes else f" ({', '.join(event.notes)})"
            console.say(f"{event.model}{where}: {said}{notes}\n")
        photo = library.root / self.photo
        if photo.is_relative_to(Path.cwd()):
            photo = photo.relative_to(Path.cwd())
        console.out.print(
            f'Next: looksay decide {escape(console.quoted(photo))} --accept  or  --edit "BETTER WORDS"'
        )
