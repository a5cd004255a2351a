"""Score files that exist already: what a kind of score is, and the record of what was found.

A kind is a module of looksay.evaluation.results with

    ABOUT = "…"                 what it scores, in one sentence
    EXPECTS = ("…", …)          the files that it reads, one layout per line
    COMPAT = ("official", …)    whose rules it knows, the default first
    def read(paths, compat, *, partial, …) -> list[Scored]

and further keyword arguments of `read` for what that kind alone can be told.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import looksay
from looksay import plugins
from looksay.errors import InputError, UnknownName
from looksay.evaluation import measures
from looksay.evaluation.benchmark import Answer, Compat
from looksay.evaluation.measures import Measure
from looksay.evaluation.run import Figure, clusters

PACKAGE = "looksay.evaluation.results"
UNREADABLE = "unreadable"
"""The measure whose samples are counted, not only their share."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One set of answers, such as one model's, scored.

    Example: Scored("answers", [Measure("accuracy", {"q1": (1.0, 1.0)})], files=(Path("answers.jsonl"),)).
    """

    name: str
    measures: Sequence[Measure]
    """The figure that papers print first."""
    clusters: Mapping[str, str] = field(default_factory=dict)
    """Sample → what it shares with others (its image)."""
    plain: Mapping[str, float] = field(default_factory=dict)
    """Figures that no sums give (medians): without an interval, as printed."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know, one sentence each."""
    files: tuple[Path, ...] = ()


class Kind(Protocol):
    """A module of looksay.evaluation.results, or one that an entry point of that group names."""

    ABOUT: str
    EXPECTS: tuple[str, ...]
    COMPAT: tuple[Compat, ...]

    def read(
        self, paths: Sequence[Path], compat: Compat, *, partial: bool = False, **also: Any
    ) -> list[Scored]:
        """Every set of answers among the files. Raises InputError that names file and entry.

        `partial`: questions without an answer are left out; otherwise they are an error.
        """


def names() -> list[str]:
    """Kinds of scores, as they are typed."""
    return [name.replace("_", "-") for name in plugins.names(PACKAGE)]


def load(name: str) -> Kind:
    """A kind by its name. Raises UnknownName."""
    known = {shown: shown.replace("-", "_") for shown in names()}
    if name not in known:
        raise UnknownName("kind of score", name, known)
    return cast(Kind, plugins.load(PACKAGE, known[name], "kind of score"))


def read(
    name: str, paths: Sequence[Path], compat: str | None, partial: bool, also: Mapping[str, Any]
) -> tuple[Compat, list[Scored]]:
    """Read by kind `name`; `also` are options that only some kinds have, None where they were not given.

    Raises InputError for rules or options that this kind does not have.
    """
    kind = load(name)
    if compat is not None and compat not in kind.COMPAT:
        raise InputError(
            f"{name} has no rules of {compat!r}; it has {', '.join(kind.COMPAT)}. See looksay score {name}."
        )
    given = {option: value for option, value in also.items() if value is not None}
    known = inspect.signature(kind.read).parameters
    for option in given:
        if option not in known:
            raise InputError(
                f"--{option.replace('_', '-')} is no option of {name}; it belongs to "
                f"{', '.join(one for one in names() if option in inspect.signature(load(one).read).parameters)}."
            )
    rules = next((one for one in kind.COMPAT if one == compat), kind.COMPAT[0])
    return rules, kind.read(paths, rules, partial=partial, **given)


def of_answers(
    name: str,
    answers: Sequence[Answer],
    score: Callable[[Sequence[Answer]], list[Measure]],
    files: Sequence[Path],
    notes: Sequence[str] = (),
) -> Scored:
    """What a benchmark's own scorer says, its first figure by kinds of items too, as `evaluate` has it."""
    found = score(answers)
    kinds = {a.item.id: a.item.kind for a in answers}
    if len(set(kinds.values())) > 1:
        found += measures.by_kind(found[0], kinds)
    return Scored(
        name, found, clusters([a.item for a in answers]), notes=tuple(notes), files=tuple(files)
    )


def record(
    kind: str,
    compat: Compat,
    sets: Sequence[Scored],
    *,
    samples: int = measures.SAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that was found; `samples` 0: without intervals. What could not be measured is null."""
    return {
        "looksay": looksay.__version__,
        "kind": kind,
        "compat": compat,
        "samples": samples,
        "seed": seed,
        "results": [_result(one, samples, seed) for one in sets],
    }


def _result(scored: Scored, samples: int, seed: int) -> dict[str, Any]:
    from looksay.evaluation.report import figure_row

    rows = [figure_row(_figure(one, scored.clusters, samples, seed)) for one in scored.measures]
    rows += [
        {"name": name, "kind": "", "value": value, "low": None, "high": None, "of": None}
        for name, value in scored.plain.items()
    ]
    counted = [m for m in scored.measures if m.name == UNREADABLE and not m.kind]
    return {
        "name": scored.name,
        "files": [str(path) for path in scored.files],
        "figures": rows,
        "unreadable": int(sum(row[0] for row in counted[0].rows.values())) if counted else None,
        "answers": len(counted[0].rows) if counted else None,
        "notes": list(scored.notes),
    }


def _figure(measure: Measure, shared: Mapping[str, str], samples: int, seed: int) -> Figure:
    found = measures.interval(measure, shared, samples=samples or 1, seed=seed)
    return Figure(measure, found if samples else replace(found, low=math.nan, high=math.nan))


def table(found: Mapping[str, Any]) -> str:
    """As text for a terminal, a block per set of answers."""
    from looksay.evaluation.report import figure_lines

    lines: list[str] = []
    for result in found["results"]:
        lines += [f"{result['name']}: {found['kind']}, rules: {found['compat']}"]
        lines += figure_lines(result["figures"])
        if result["unreadable"] is not None:
            lines.append(f"  unreadable: {result['unreadable']} of {result['answers']} answers")
        lines += [*(f"  {note}" for note in result["notes"]), ""]
    return "\n".join(lines).rstrip()
