"""What the figures of benchmarks mean, a sentence each: figures.toml, read."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files

FILE = "figures.toml"


@cache
def _every() -> tuple[tuple[re.Pattern[str], frozenset[str], str], ...]:
    content = tomllib.loads((files("looksay.evaluation") / FILE).read_text("utf-8"))
    return tuple(
        (re.compile(one["name"]), frozenset(one.get("of", ())), one["means"])
        for one in content["figure"]
    )


def means(benchmark: str, figure: str) -> str:
    """What a figure of a benchmark ("pope/random") says; empty for one that is not ours."""
    base = benchmark.partition("/")[0]
    fitting = (
        said for name, of, said in _every() if name.fullmatch(figure) and (not of or base in of)
    )
    return next(fitting, "")
