"""What a claim is: what a paper says, the arms that show it, and the figure that they are compared by.

A module of looksay.claims (or one that an entry point of that group names) has

    CLAIMS = (Claim("align", "Without the first stage …", arms=(…), …), …)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from looksay import plugins
from looksay.claims.measuring import Asking, Measuring
from looksay.errors import InputError, UnknownName

if TYPE_CHECKING:
    from looksay.claims.build import Trainer
    from looksay.data import dataset
    from looksay.training.stages import Stage

PACKAGE = "looksay.claims"

LEAST_RECALL = 60.0
"""An arm whose captions name less (percent of the objects that are there) is blind: what it answers it guesses."""


class Figure(NamedTuple):
    """A measure of the benchmark, by name and kind. Example: Figure("questions", "all questions")."""

    name: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}" if self.kind else self.name


OBJECT_RECALL = Figure("object recall")
QUESTIONS = Figure("questions", "all questions")
"""Of those that were asked."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a claim is made."""

    what: str
    address: str
    place: str
    """Table or section."""
    checked: bool
    """The figures were read there; otherwise in notes on it."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One column of the source's table. Example: Reported("ScienceQA, accuracy in percent", {"all stages": "90.92"})."""

    measure: str
    values: Mapping[str, str]
    """Arm → figure, with the digits that are printed."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train, and to measure what came of it."""

    name: str
    make: Callable[[str, int], tuple[Any, list[Stage]]]
    """Size and seed → the untrained model and its stages."""
    alone: frozenset[str] = frozenset()
    """Stages whose outcome depends on the parts that they train and the tokenizer only (and on a tower that is one for
    all), whatever the other parts are: arms that differ elsewhere share them. Never the last one."""
    measure: Measuring = field(default_factory=Asking)
    """How the trained model becomes samples. Arms that differ in it alone share their model."""
    data: Callable[[str, int, Trainer], dataset.Source] | None = None
    """Size, seed and what trains → what the last stage learns from (and those before it that learn from the same), where
    models make it that are trained first."""
    over: Callable[[str, int], tuple[Any, list[Stage]]] | None = None
    """As `make`, of a model that is trained first and whose parts the arm's begins with: what arms share whose other
    parts differ."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and the experiment that tests it."""

    name: str
    says: str
    arms: tuple[Arm, ...]
    """In the claimed order, the worst first."""
    figure: Figure
    """What must rise (or fall, where less is better) from each arm to the next."""
    budget: str
    """What it trains, in words."""
    source: Source | None = None
    """None: it is ours and no paper's."""
    reported: tuple[Reported, ...] = ()
    margin: float = 0.0
    """Points of the figure, set before anything was run: of claims that something costs little or does not help. No arm
    may fall further behind the one before it. 0: it must be better."""
    beside: tuple[Figure, ...] = ()
    """Figures that are told with it, without a verdict (how long texts are)."""
    benchmark: str = "scenes/test"
    sight: Figure = OBJECT_RECALL
    """Of captions, or of embeddings; under LEAST_RECALL an arm is blind, and its claim undecided."""
    sighted: tuple[str, ...] | None = None
    """Arms to which that rule applies; None: all. A claim about blindness leaves the blind one out; one of retrieval
    leaves out all, because guessing finds nothing."""
    note: str = ""
    """How the experiment differs from the paper's."""


def names() -> list[str]:
    """Families that have claims."""
    return plugins.names(PACKAGE)


def every() -> dict[str, Claim]:
    """All claims, as "family/claim"."""
    return {f"{name}/{claim.name}": claim for name in names() for claim in _of(name)}


def chosen(wanted: Sequence[str]) -> dict[str, Claim]:
    """Claims by "family/claim", or all of a "family"; all where nothing is named. Raises UnknownName."""
    known = every()
    if not wanted:
        return known
    found: dict[str, Claim] = {}
    for name in wanted:
        some = {key: one for key, one in known.items() if name in (key, key.partition("/")[0])}
        if not some:
            raise UnknownName("claim", name, [*known, *names()])
        found |= some
    return found


def _of(name: str) -> tuple[Claim, ...]:
    claims: tuple[Claim, ...] = plugins.load(PACKAGE, name, "family with claims").CLAIMS
    for claim in claims:
        check(f"{name}/{claim.name}", claim)
    return claims


def check(name: str, claim: Claim) -> None:
    """Raise InputError where a claim's arms are no two or more, or it speaks of others, or its margin is below 0."""
    arms = [arm.name for arm in claim.arms]
    told = {arm for column in claim.reported for arm in column.values} | {*(claim.sighted or ())}
    if len(arms) < 2 or len(set(arms)) < len(arms) or told - set(arms):
        raise InputError(
            f"The claim {name} has the arms {', '.join(arms) or '(none)'}"
            f"{' and speaks of ' + ', '.join(sorted(told)) if told else ''}; expected two or more of distinct "
            "names, and to speak of no others."
        )
    if claim.margin < 0:
        raise InputError(
            f"The claim {name} has a margin of {claim.margin:g} points; expected 0 or more."
        )
