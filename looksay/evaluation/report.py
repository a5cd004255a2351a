"""What a run of benchmarks found, as one record (JSON) from which every page and table is drawn.

{"looksay": "0.3.0", "results": [{"model": "mini", "benchmark": "scenes/test", "figures": [{"name":
"questions", "kind": "where", "value": 81.2, "low": 78.0, "high": 84.1, "of": 431, "clusters": 431,
"better": 1}], …}], "differences": [{"benchmark": "scenes/test", "name": "questions", "kind": "where",
"first": "mini", "second": "facts", "value": -70.1, "low": -74.0, "high": -66.0, "p": 0.001, "of": 431}],
"published": [what others print of the same figures; see `looksay.evaluation.published.rows`],
"waits": "12 rows wait in grades.csv. …" or, where no person has yet to answer, ""}
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import looksay
from looksay.data.reading import save_json
from looksay.evaluation import measures, published
from looksay.evaluation.run import Figure, Result, clusters
from looksay.types import Completion


def record(
    results: Sequence[Result], *, samples: int = measures.SAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Everything that was found; what could not be measured is null."""
    return {
        "looksay": looksay.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "samples": samples,
        "seed": seed,
        "results": [_result(one) for one in results],
        "differences": [
            row
            for first, second in combinations(results, 2)
            if first.benchmark == second.benchmark and first.compat == second.compat
            for row in _differences(first, second, samples, seed)
        ],
        "published": published.rows(
            (result.benchmark, figure.measure.name, figure.measure.kind)
            for result in results
            # Figures of a part compare with no one's.
            if len(result.asked.items) == result.whole
            for figure in result.figures
        ),
        # What is said of the last one counts all that wait by now.
        "waits": next((one for r in reversed(results) for one in r.waiting.values()), ""),
    }


def _result(result: Result) -> dict[str, Any]:
    said = [one for one in result.asked.completions if one is not None and not one.error]
    read = result.verdicts.completions if result.verdicts else ()
    options = asdict(result.options)
    del options["timeout_s"]
    return {
        "model": result.model,
        "fingerprint": result.fingerprint,
        "benchmark": result.benchmark,
        "compat": result.compat,
        "data": result.data,
        "judge": result.judge,
        "judge_fingerprint": result.judge_fingerprint,
        "options": options,
        "asked": len(result.asked.items),
        "whole": result.whole,
        "reused": result.asked.reused,
        "cut": result.cut,
        "failed": len(result.failures),
        "waiting": len(result.waiting),
        "failures": [
            f"{item}: {fault}" for item, fault in result.failures if item not in result.waiting
        ][:10],
        **_spent(said),
        # A verdict that nobody could read was paid for as well.
        **{f"judge_{name}": spent for name, spent in _spent(filter(None, read)).items()},
        "memory_mb": _rounded(result.asked.memory.process if result.asked.memory else None),
        "device_memory_mb": _rounded(result.asked.memory.device if result.asked.memory else None),
        "figures": [figure_row(figure) for figure in result.figures],
    }


def _spent(completions: Iterable[Completion]) -> dict[str, Any]:
    """What answers took."""
    found = list(completions)
    return {
        "seconds": round(sum(one.seconds for one in found), 3),
        "prompt_tokens": sum(one.prompt_tokens or 0 for one in found),
        "completion_tokens": sum(one.completion_tokens or 0 for one in found),
        "cost_usd": sum(one.cost_usd for one in found),
    }


def figure_row(figure: Figure) -> dict[str, Any]:
    """A figure as the record has it."""
    return {
        "name": figure.measure.name,
        "kind": figure.measure.kind,
        "value": _plain(figure.interval.value),
        "low": _plain(figure.interval.low),
        "high": _plain(figure.interval.high),
        "of": figure.interval.samples,
        "clusters": figure.interval.clusters,
        "better": figure.measure.better,
    }


def _differences(first: Result, second: Result, samples: int, seed: int) -> list[dict[str, Any]]:
    """Of every figure that both have and of which more or less is better."""
    others = {(f.measure.name, f.measure.kind): f.measure for f in second.figures}
    shared = clusters(first.asked.items)
    rows = []
    for figure in first.figures:
        measure = figure.measure
        other = others.get((measure.name, measure.kind))
        if other is None or not measure.better:
            continue
        found = measures.difference(measure, other, shared, samples=samples, seed=seed)
        rows.append(
            {
                "benchmark": first.benchmark,
                "name": measure.name,
                "kind": measure.kind,
                "first": first.model,
                "second": second.model,
                "value": _plain(found.value),
                "low": _plain(found.low),
                "high": _plain(found.high),
                "p": _plain(found.p),
                "of": found.samples,
            }
        )
    return rows


def part(result: Mapping[str, Any]) -> str:
    """ ", 20 of 5,000 items" where a part was asked, whose figures compare with no one's; else empty."""
    if result["asked"] == result["whole"]:
        return ""
    return f", {result['asked']:,} of {result['whole']:,} items"


def unscored(result: Mapping[str, Any]) -> str:
    """Why a result has no figures, in words; empty where it has."""
    waiting, asked = result["waiting"], result["asked"]
    told = []
    if broken := result["failed"] - waiting:
        told.append(
            f"{broken} of {asked} calls failed. Run again: only those are asked, for a failed call is no score."
        )
    if waiting:
        told.append(f"{waiting} of {asked} wait for a person's answer.")
    return " ".join(told)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def table(found: dict[str, Any]) -> str:
    """As text for a terminal: a block per model and benchmark, the differences that were tested, and what
    others print of the same figures."""
    lines: list[str] = []
    for result in found["results"]:
        rules = f", rules: {result['compat']}"
        judge = f", judged by {result['judge']}" if result["judge"] else ""
        lines.append(f"{result['model']} on {result['benchmark']}{part(result)}{rules}{judge}")
        if result["failed"]:
            lines += [
                f"  not scored: {unscored(result)}",
                *(f"    {fault}" for fault in result["failures"][:3]),
                "",
            ]
            continue
        lines += figure_lines(result["figures"])
        if result["cut"]:
            lines.append(
                f"  {result['cut']} of {result['asked']} answers were cut off at the limit of tokens."
            )
        lines.append("")
    if found["differences"]:
        lines.append("Differences on the same samples (second less first)")
        for row in found["differences"]:
            if row["value"] is None:
                continue
            name = f"{row['name']}: {row['kind']}" if row["kind"] else row["name"]
            interval = f"{number(row['low'])} to {number(row['high'])}"
            lines.append(
                f"  {row['benchmark']}, {name}: {row['second']} - {row['first']} = "
                f"{number(row['value'])} ({interval}; p = {row['p'] if row['p'] is None else round(row['p'], 3)})"
            )
        lines.append("")
    lines += published.lines(found["published"])
    lines.append(found["waits"])
    return "\n".join(lines).rstrip()


def figure_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Figures of a record as lines of a table."""
    lines = [f"  {'':<44}{'value':>8}   {'95% interval':<18}{'of':>7}"]
    for row in rows:
        name = f"{row['name']}: {row['kind']}" if row["kind"] else row["name"]
        interval = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
        of = "" if row["of"] is None else row["of"]
        lines.append(f"  {name:<44}{number(row['value']):>8}   {interval:<18}{of:>7}")
    return lines


def write(found: dict[str, Any], folder: Path) -> None:
    """The record as `folder`/report.json, in one step. Raises InputError."""
    save_json(folder / "report.json", found)


def number(value: float | None) -> str:
    """As tables print it."""
    return "-" if value is None else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
