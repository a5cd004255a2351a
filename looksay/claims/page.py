"""What claims came to, told: as a record (JSON), as lines for a terminal, and as the page docs/claims.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from looksay.claims import results
from looksay.claims.base import Claim, Figure
from looksay.claims.results import Found
from looksay.claims.verdict import RULE, Outcome, outcome
from looksay.evaluation.published import SECOND_HAND

TRIAL = "trial: the stages were cut short, so nothing is said of the claim"

_HEAD = f"""\
# The papers' claims, tried on scenes

This page is what `looksay reproduce --page --out docs/claims` prints; a test compares the two. The answers that it \
is computed from, sample by sample, are in docs/claims as compressed JSONL: the files that a run leaves in its \
`--out`. Scenes are drawn pictures of which \
everything is known ([scenes.md](scenes.md)); models are small and trained from nothing ([training.md](training.md)). \
So a verdict speaks of this scale: what a paper found with large models may need them.

```sh
looksay reproduce --list
```

runs nothing. `looksay reproduce` runs all claims, `looksay reproduce llava` those of a family, `looksay reproduce \
llava/align` one. The small tower and language model, which stand where published \
systems download theirs, are trained once for all families; what else arms share, once per seed; broken off and typed again, it goes on. A trial with \
`--steps-share 0.001 --size tiny` shows in minutes that all is in place; it writes no results.

## The rule

{RULE}

Figures of papers are their own, from other models, data and measures: only their order can be compared. \
"{SECOND_HAND}" marks those that were taken from notes on the paper.
"""


def record(name: str, claim: Claim, found: Found, result: Outcome) -> dict[str, Any]:
    """A claim as JSON; what could not be measured is null. Arms have, in the order of "beside", their other figures.

    {"claim": "llava/align", "verdict": "holds", "reasons": [], "arms": [{"arm": …, "value": 61.2, "low": …, "high":
    …, "seeds": [60.9, …], "sight": [88.1, …]}, …], "differences": [{"worse": …, "better": …, "value": 2.3, "low": …,
    "high": …, "seeds": [{"seed": 0, "value": …, "low": …, "high": …, "p": …}, …], "verdict": "holds"}], …}
    """
    return {
        **listed(name, claim),
        "verdict": result.word,
        "reasons": list(result.reasons),
        "arms": [
            {
                "arm": row.arm,
                "value": _plain(row.mean.value),
                "low": _plain(row.mean.low),
                "high": _plain(row.mean.high),
                "of": row.mean.samples,
                "seeds": [_plain(one) for one in row.seeds],
                "sight": [_plain(one) for one in row.sight],
                "beside": [[_plain(one) for one in figure] for figure in row.beside],
            }
            for row in result.rows
        ],
        "differences": [
            {
                "worse": step.worse,
                "better": step.better,
                "value": _plain(step.mean.value),
                "low": _plain(step.mean.low),
                "high": _plain(step.mean.high),
                "seeds": [
                    {"seed": seed, **{k: _plain(getattr(one, k)) for k in _DIFFERENCE}}
                    for seed, one in zip(found.whole_seeds, step.seeds, strict=True)
                ],
                "verdict": "trial" if found.trial else step.word,
            }
            for step in result.steps
        ],
        "beside": [{"name": one.name, "kind": one.kind} for one in found.beside],
        "size": found.size,
        "seeds": list(found.seeds),
        "scenes": found.scenes,
        "steps_share": found.steps_share,
        "data": found.data,
        "hours": found.hours,
        "machines": list(found.machines),
        "command": found.command,
        "looksay": found.looksay,
    }


_DIFFERENCE = ("value", "low", "high", "p")


def listed(name: str, claim: Claim) -> dict[str, Any]:
    """What a claim is, as JSON, before anything is run."""
    return {
        "claim": name,
        "says": claim.says,
        "source": asdict(claim.source) if claim.source else None,
        "order": [arm.name for arm in claim.arms],
        "reported": [{"measure": one.measure, **one.values} for one in claim.reported],
        "benchmark": claim.benchmark,
        "figure": claim.figure._asdict(),
        "beside": [one._asdict() for one in claim.beside],
        "margin": claim.margin,
        "sight": claim.sight._asdict(),
        "sighted": list(claim.sighted) if claim.sighted is not None else None,
        "budget": claim.budget,
        "note": claim.note,
    }


def about(name: str, claim: Claim) -> list[str]:
    """A claim in a list."""
    rows = {
        "from": _source(claim),
        "order": order(claim),
        "by": f"{claim.figure} on {claim.benchmark}",
        "trains": claim.budget,
    }
    return [f"{name}  {claim.says}", *(f"  {word:<8}{told}" for word, told in rows.items())]


def order(claim: Claim) -> str:
    """The arms as they are claimed to lie: "bad < good", or with a margin "good - 3 < cheap"."""
    less = f" - {claim.margin:g} < " if claim.margin else " < "
    return less.join(arm.name for arm in claim.arms)


def lines(row: Mapping[str, Any], claim: Claim) -> list[str]:
    """A record as lines for a terminal."""
    told = [f"{row['claim']}  {claim.says}", f"  from {_source(claim)}"]
    told.append(f"  {'':<24}{claim.figure!s:>26}   {'95% interval':<16}by seed")
    for arm in row["arms"]:
        told.append(
            f"  {arm['arm']:<24}{_number(arm['value']):>26}   {_interval(arm):<16}{_several(arm['seeds'])}"
            f"   {'   '.join(map(' '.join, zip(_beside(row, claim), _values(arm), strict=True)))}"
        )
        told += [
            f"    {one.values[arm['arm']]:>48}   {one.measure} (paper)"
            for one in claim.reported
            if arm["arm"] in one.values
        ]
    told += [f"  {_difference(one)}" for one in row["differences"]]
    told += [f"  {reason}" for reason in row["reasons"]]
    told += [f"  Verdict: {TRIAL if row['verdict'] == 'trial' else row['verdict']}"]
    told += [f"  {_how(row)}", f"  {row['command']}"]
    return told


def markdown(claims: Mapping[str, Claim], folder: Path) -> str:
    """The page, from the results in `folder`; claims without results are told as not run."""
    parts = [_HEAD]
    for name, claim in claims.items():
        parts.append(f"\n## {name}\n\n{claim.says} Source: {_source(claim, linked=True)}.\n")
        if claim.note:
            parts.append(f"\n{claim.note}\n")
        if claim.margin:
            parts.append(f"\nMargin: {claim.margin:g} points. Claimed: {order(claim)}.\n")
        path = results.file(folder, name)
        if not path.is_file():
            parts.append(f"\n{_printed(claim)}\n\n**Not run yet.**\n")
            continue
        found = results.load(path)
        parts.append(_section(record(name, claim, found, outcome(claim, found)), claim))
    return "".join(parts)


def _section(row: Mapping[str, Any], claim: Claim) -> str:
    head = [
        "arm",
        *(f"{one.measure} (paper)" for one in claim.reported),
        f"{claim.figure} (ours)",
        "95 % interval",
        "by seed",
        *(f"{what}, by seed" for what in _beside(row, claim)),
    ]
    body = [
        [
            arm["arm"],
            *(one.values.get(arm["arm"], "") for one in claim.reported),
            _number(arm["value"]),
            _interval(arm),
            _several(arm["seeds"]),
            *_values(arm),
        ]
        for arm in row["arms"]
    ]
    told = [f"\n{_table(head, body)}\n" if body else f"\n{_printed(claim)}\n"]
    told += [f"\n{_difference(one)}\n" for one in row["differences"]]
    reasons = f": {'; '.join(row['reasons'])}" if row["reasons"] else ""
    told.append(f"\nVerdict: **{row['verdict']}**{reasons}.\n")
    told.append(f"\n{_how(row)}. `{row['command']}`\n")
    return "".join(told)


def _beside(row: Mapping[str, Any], claim: Claim) -> list[str]:
    """What is told of an arm beside its figure: sight, then the others."""
    return [str(claim.sight), *(str(Figure(**one)) for one in row["beside"])]


def _values(arm: Mapping[str, Any]) -> list[str]:
    """The same for each seed."""
    return [_several(seeds) for seeds in (arm["sight"], *arm["beside"])]


def _printed(claim: Claim) -> str:
    """The claimed order, with what the paper prints."""
    head = ["arm", *(f"{one.measure} (paper)" for one in claim.reported)]
    return _table(
        head,
        [[a.name, *(one.values.get(a.name, "") for one in claim.reported)] for a in claim.arms],
    )


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _source(claim: Claim, linked: bool = False) -> str:
    if claim.source is None:
        return "ours, no paper's"
    one = claim.source
    hand = "" if one.checked else f" ({SECOND_HAND})"
    if linked:
        return f"[{one.what}]({one.address}), {one.place}{hand}"
    return f"{one.what}, {one.place}{hand}: {one.address}"


def _difference(row: Mapping[str, Any]) -> str:
    by_seed = [one["value"] for one in row["seeds"]]
    return (
        f"{row['better']} less {row['worse']}: {_number(row['value'], sign=True)} ({_interval(row)}); by seed "
        f"{_several(by_seed, sign=True)}"
    )


def _how(row: Mapping[str, Any]) -> str:
    share = f", {row['steps_share']:g} of the steps" if row["steps_share"] != 1 else ""
    seeds = f"{len(row['seeds'])} seed{'s' if len(row['seeds']) != 1 else ''}"
    return (
        f"{row['hours']:.2f} hours on {' and '.join(row['machines']) or 'no machine'}; size {row['size']}, {seeds}, "
        f"{row['scenes']} scenes{share}"
    )


def _interval(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}"


def _several(values: Sequence[float | None], sign: bool = False) -> str:
    return ", ".join(_number(one, sign) for one in values)


def _number(value: float | None, sign: bool = False) -> str:
    return "-" if value is None else f"{value:+.1f}" if sign else f"{value:.1f}"


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
