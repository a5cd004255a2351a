"""The part of `looksay describe --combine` that makes one text of several models'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.asking import finish_on_interrupt
from looksay.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from looksay.backends.base import Backend, Encoder, LoadOptions
    from looksay.describing.claims import Reader
    from looksay.describing.combining import Combiner, CombineReport
    from looksay.describing.run import Describer, Event
    from looksay.experts.base import Expert

CombineOption = Annotated[
    str | None,
    typer.Option(
        "--combine",
        metavar="A,B,C",
        help="Ask these models, and make one text of what they say (docs/combining.md).",
    ),
]
ByOption = Annotated[
    str,
    typer.Option(
        "--by",
        help="How to combine: claims (what is supported), medoid (the most central text), union (everything that is "
        "checked), fuse (the two that fit the photo best).",
    ),
]
ReaderOption = Annotated[
    str,
    typer.Option(
        "--reader",
        help="Who takes texts apart into claims: english, coco, scenes, or asked:MODEL for texts in other languages.",
    ),
]
VerifierOption = Annotated[
    str | None,
    typer.Option("--verifier", help="Model that is asked about each claim alone: provider:model."),
]
OwnVerifierOption = Annotated[
    bool, typer.Option("--own-verifier", help="Let the verifier be one of the models combined.")
]
ExpertsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--expert",
        metavar="NAME[:MODEL]",
        help="Vision expert that looks for what is claimed; may be given again. looksay experts lists them.",
    ),
]
WriterOption = Annotated[
    str | None,
    typer.Option(
        "--writer", help="Model that words what survived, without seeing the photo: provider:model."
    ),
]
FitOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", help="With --by fuse: dual encoder, as hub:openai/clip-vit-base-patch32."
    ),
]


@dataclass(frozen=True, slots=True)
class How:
    """What is loaded besides the models that are combined."""

    by: Any
    reader: Reader
    verifier: Backend | None
    own_verifier: bool
    experts: Sequence[Expert]
    writer: Backend | None
    encoder: Encoder | None
    max_cost_usd: float | None
    again: bool

    def combiner(self, describers: Sequence[Describer]) -> Combiner:
        from looksay.describing.combining import Combiner

        left = self.max_cost_usd
        if left is not None:
            left = max(0.0, left - sum(describer.report.cost_usd for describer in describers))
        return Combiner(
            describers,
            self.reader,
            by=self.by,
            verifier=self.verifier,
            own_verifier=self.own_verifier,
            experts=self.experts,
            writer=self.writer,
            encoder=self.encoder,
            again=self.again,
            max_cost_usd=left,
        )


def loaded(
    models: Sequence[str],
    load: LoadOptions,
    *,
    by: str,
    reader: str,
    verifier: str | None,
    own_verifier: bool,
    experts: Sequence[str] | None,
    writer: str | None,
    encoder: str | None,
    max_cost_usd: float | None,
    again: bool,
    as_json: bool,
) -> How:
    """Everything but the models, so that a mistake is told before a model is asked."""
    try:
        from looksay.data import readers
        from looksay.describing.combine import check_way
        from looksay.experts.loading import load as load_expert
    except ImportError as error:
        raise MissingDependency("Combining", "facts", error.name or "numpy") from error
    from looksay.backends import encoders
    from looksay.backends.loading import load as load_backend

    check_way(by, verifier, experts or (), encoder)
    if len(set(models)) < max(2, len(models)):
        raise InputError(
            f"Two different models or more are combined, and {', '.join(models)} was typed. Type --combine a,b,c"
        )
    if verifier in models and not own_verifier:
        raise InputError(
            f"{verifier} would check what it said itself, and models agree with themselves. Choose another --verifier, "
            "or add --own-verifier."
        )

    def backend(name: str | None) -> Backend | None:
        if name is None:
            return None
        with console.loading(name, as_json):
            return load_backend(name, load)

    return How(
        by,
        readers.load(reader, load),
        backend(verifier),
        own_verifier,
        [load_expert(name) for name in experts or ()],
        backend(writer),
        encoders.load(encoder, load) if encoder else None,
        max_cost_usd,
        again,
    )


def run(combiner: Combiner, hear: Callable[[Event], None], as_json: bool) -> bool:
    """Combine with a progress bar; whether anything failed."""
    many = combiner.waiting()
    with console.progress(combiner.name, many, as_json) as count_one:

        def tell(event: Event) -> None:
            hear(event)
            if as_json:
                console.print_json(event, line=True)
            elif event.error:
                console.err.print(f"{escape(event.photo)}: {escape(event.error)}", style="red")
            count_one(None)

        combiner.on_event = tell
        with finish_on_interrupt(combiner):
            report = combiner.run()
    if as_json:
        console.print_json({"summary": asdict(report)}, line=True)
    else:
        _print(report, combiner)
    if report.stopped == "interrupted":
        console.err.print("Interrupted. What was combined is stored; type the same again to go on.")
        raise typer.Exit(130)
    return bool(report.failures) or report.stopped not in ("", "cost")


def _print(report: CombineReport, combiner: Combiner) -> None:
    out = console.out
    out.print(
        f"[bold]{escape(report.model)}[/]: combined {report.combined} in {console.duration(report.seconds)}"
        + (f" for {report.cost_usd:.2f} USD" if report.cost_usd else "")
        + (f"; {report.present} were there already" if report.present else "")
    )
    if report.claims:
        told = [f"{many} {verdict}" for verdict, many in sorted(report.claims.items())]
        out.print(f"Claims: {', '.join(told)}")
    if report.incomplete:
        out.print(f"{report.incomplete} without the words of every model, which failed there")
    if report.lacking:
        out.print(
            f"{report.lacking} not combined: a model has still to be asked, or none has words"
        )
    if report.unconfirmed:
        out.print(
            f"{report.unconfirmed} of which no claim survived, or none could be read: the most central text stands, "
            "unconfirmed. To list them: looksay status --list noted"
        )
    if report.unreadable and combiner.verifier is not None:
        out.print(
            f"{escape(combiner.verifier.name)} gave {console.count(report.unreadable, 'answer')} that cannot be read "
            "as one of those asked for: no evidence"
        )
    for name in report.same:
        out.print(
            f"{escape(name)} says the same of most photos: it does not look at them. Leave it out."
        )
    console.tell_left(report.failures, report.stopped)
