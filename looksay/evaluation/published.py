"""What papers and repositories print, to stand beside what was measured here: published.toml, read and checked.

One column of a printed table there is as many entries here as it has models.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, NoReturn

from looksay.data.reading import kind as kind_of
from looksay.errors import InputError
from looksay.evaluation import benchmark as benchmarks

FILE = "published.toml"
NOTE = (
    "Published elsewhere, not measured here: splits, prompts, readers of answers and judges differ, as each line "
    "says as far as its source does."
)
"""What stands above published figures, wherever they are shown."""
SECOND_HAND = "second-hand"
"""How figures are marked that were not read at their source."""


@dataclass(frozen=True, slots=True)
class Published:
    """One printed figure. Example: Published("LLaVA-1.5 7B", "pope", "F1", 85.9, "85.9", "mean of …", …)."""

    model: str
    benchmark: str
    """A part as "pope/random", or a benchmark, where the figure is of no one part: `how` says of which."""
    figure: str
    """As the benchmark's `score` calls it."""
    value: float
    """In the figure's own unit, as it is printed."""
    printed: str
    """The value, with the digits that the source prints."""
    how: str
    """Split, prompt, decoding, judge: as far as the source tells."""
    source: str
    address: str
    checked: bool
    """It was read at the address; otherwise in notes on it."""
    kind: str = ""
    """The type of sample that it is about; empty: all."""


@cache
def every() -> tuple[Published, ...]:
    """All entries of the file, in its order. Raises InputError that names the entry."""
    return parse((files("looksay.evaluation") / FILE).read_text("utf-8"))


def about(name: str) -> list[Published]:
    """The entries about a benchmark, all parts of it, or about a part ("pope/random") and the whole."""
    base, slash, _ = name.partition("/")
    return [
        one
        for one in every()
        if one.benchmark.partition("/")[0] == base and (not slash or one.benchmark in (base, name))
    ]


def beside(benchmark: str, figure: str, kind: str = "") -> list[Published]:
    """The entries that belong beside a measured figure. A benchmark named without a part is its default part,
    as in a run. None for a benchmark of which nothing is published here."""
    found = [one for one in about(benchmark) if (one.figure, one.kind) == (figure, kind)]
    if not found or "/" in benchmark:
        return found
    part = benchmarks.load(benchmark)[1]
    return [one for one in found if one.benchmark in (benchmark, f"{benchmark}/{part}")]


def rows(figures: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """For a record: the entries beside every (benchmark, figure, kind) that was measured, each once.

    {"benchmark": "pope", "name": "F1", "kind": "", "model": "LLaVA-1.5 7B", "value": 85.9, "printed": "85.9",
    "how": …, "source": …, "address": …, "checked": true}; `benchmark` and `name` are those of the figure.
    """
    return [
        row(one, name)
        for name, figure, kind in dict.fromkeys(figures)
        for one in beside(name, figure, kind)
    ]


def row(one: Published, benchmark: str = "") -> dict[str, Any]:
    """An entry as a record has it, under the name that the benchmark was run by."""
    found = asdict(one)
    return {
        "benchmark": benchmark or one.benchmark,
        "name": found.pop("figure"),
        "kind": found.pop("kind"),
        **{key: value for key, value in found.items() if key != "benchmark"},
    }


def lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows of a record as lines for a terminal, figure by figure, the sources at the end; none without rows."""
    if not found:
        return []
    told = [NOTE]
    sources: dict[tuple[str, str, bool], int] = {}
    figure = way = ""
    for one in found:
        name = f"  {one['benchmark']}, {one['name']}{': ' + one['kind'] if one['kind'] else ''}"
        if name != figure:
            told.append(name)
            figure, way = name, ""
        key = (one["source"], one["address"], one["checked"])
        how = f"    {one['how']} [{sources.setdefault(key, len(sources) + 1)}]"
        if how != way:
            told.append(how)
            way = how
        told.append(f"    {one['printed']:>8}  {one['model']}")
    for (source, address, checked), number in sources.items():
        told.append(f"  [{number}] {source}: {address}{'' if checked else f' ({SECOND_HAND})'}")
    return told


def parse(text: str, name: str = FILE) -> tuple[Published, ...]:
    """Entries from the file's text. Raises InputError that names the file and the entry: an unknown or missing
    key, a wrong type, a source or benchmark that there is not, no address, a figure entered twice."""
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is no TOML: {error}.") from error
    sources, columns = content.get("sources"), content.get("columns")
    if not isinstance(sources, dict) or not isinstance(columns, list) or len(content) != 2:
        raise InputError(
            f"{name}: expected tables [sources.NAME] and [[columns]] and nothing else; found "
            f"{', '.join(content) or 'nothing'}."
        )
    for source, about_it in sources.items():
        _source(f"{name}, source {source!r}", about_it)
    known = frozenset(benchmarks.names())
    seen: dict[tuple[str, ...], str] = {}
    found = []
    for number, column in enumerate(columns, 1):
        for one in _entries(f"{name}, column {number} of {len(columns)}", column, sources, known):
            key = (one.model, one.benchmark, one.figure, one.kind, one.how)
            where = f"{name}, column {number} of {len(columns)} ({one.benchmark}, {one.figure})"
            if key in seen:
                _fail(where, f"{one.model!r} is in {seen[key]} too, measured in the same way.")
            seen[key] = f"column {number}"
            found.append(one)
    return tuple(found)


def _source(where: str, table: Any) -> None:
    _keys(where, table, {"what": str, "address": str, "checked": bool}, frozenset())
    if not table["address"].startswith("https://"):
        _fail(where, f"expected an address that begins with https://; found {table['address']!r}.")


def _entries(
    where: str, column: Any, sources: Mapping[str, Any], known: frozenset[str]
) -> Iterator[Published]:
    wanted: dict[str, type] = dict.fromkeys(("benchmark", "figure", "kind", "source", "how"), str)
    if isinstance(column, dict) and isinstance(column.get("benchmark"), str):
        where += f" ({column['benchmark']}, {column.get('figure', 'no figure')})"
    _keys(where, column, {**wanted, "values": dict}, frozenset({"kind"}))
    if column["benchmark"].partition("/")[0] not in known:
        _fail(where, f"there is no benchmark {column['benchmark']!r}. See: looksay benchmarks")
    if column["source"] not in sources:
        _fail(where, f"there is no [sources.{column['source']}]; known: {', '.join(sources)}.")
    if not column["values"]:
        _fail(where, "'values' is empty; expected a number for each model.")
    source = sources[column["source"]]
    for model, value in column["values"].items():
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or value != value:
            _fail(where, f"the value of {model!r} should be a number; found {kind_of(value)}.")
        yield Published(
            model,
            column["benchmark"],
            column["figure"],
            float(value),
            str(value),
            column["how"],
            source["what"],
            source["address"],
            source["checked"],
            column.get("kind", ""),
        )


def _keys(where: str, table: Any, wanted: Mapping[str, type], spare: frozenset[str]) -> None:
    """Every key there, of its type and not empty; `spare` ones may be missing."""
    if not isinstance(table, dict):
        _fail(where, f"expected a table; found {kind_of(table)}.")
    if odd := set(table) - set(wanted):
        _fail(where, f"{', '.join(sorted(odd))} is unknown. Known: {', '.join(wanted)}.")
    for key, kind in wanted.items():
        if key not in table:
            if key not in spare:
                _fail(where, f"there is no {key!r}.")
            continue
        value = table[key]
        if not isinstance(value, kind):
            _fail(where, f"{key!r} should be {_WORDS[kind]}; found {kind_of(value)}.")
        if isinstance(value, str) and not value.strip():
            _fail(where, f"{key!r} is empty.")


_WORDS: Mapping[type, str] = {str: "text", bool: "true or false", dict: "a table of models"}


def _fail(where: str, fault: str) -> NoReturn:
    raise InputError(f"{where}: {fault}")
