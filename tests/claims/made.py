"""Results of claims made by hand: which questions each arm got right with each seed, and how much it saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from looksay.claims.base import Arm, Claim, Figure
from looksay.claims.results import Found, Model, Named, Sample, Trained

Rights = Mapping[str, Sequence[Sequence[float]]]
"""Arm → for each seed, for each question: 1 right, 0 wrong. Two questions in turn are about one scene."""
NAME = "made/claim"
FIGURE, SIGHT = Figure("questions", "all questions"), Figure("object recall")


def nothing(size: str, seed: int) -> Any:
    raise AssertionError("results made by hand train nothing")


def claim(*arms: str, **how: Any) -> Claim:
    made = tuple(Arm(arm, nothing) for arm in arms or ("bad", "good"))
    return Claim("claim", "Good beats bad.", made, FIGURE, "nothing", **how)


def found(
    rights: Rights, sight: Mapping[str, Sequence[float | None]] | None = None, **how: Any
) -> Found:
    """`sight`: arm → object recall with each seed, 90 where it is not told."""
    arms = tuple(rights)
    seeds = tuple(range(len(next(iter(rights.values())))))
    count = len(rights[arms[0]][0])
    saw = {arm: (sight or {}).get(arm, [90.0] * len(seeds)) for arm in arms}
    samples = [
        Sample(
            f"{number} where",
            f"test {number // 2}",
            tuple(tuple((rights[arm][seed][number], 1.0) for seed in seeds) for arm in arms),
            None,
            tuple(tuple("left" for _ in seeds) for _ in arms),
        )
        for number in range(count)
    ]
    samples.append(
        Sample(
            "0 description",
            "test 0",
            None,
            tuple(tuple(None if r is None else (r, 100.0) for r in saw[arm]) for arm in arms),
            tuple(tuple("A dog,\u2028a cat." for _ in seeds) for _ in arms),
        )
    )
    shared = Trained("tower", "tower-1", 10, 1800.0, "Linux, 2 cores")
    models = tuple(
        Model(arm, seed, f"{arm}-{seed}", (shared,), 180.0) for seed in seeds for arm in arms
    )
    facts: dict[str, Any] = {
        "claim": NAME,
        "looksay": "0",
        "command": f"looksay reproduce {NAME}",
        "size": "mini",
        "seeds": seeds,
        "scenes": (count + 1) // 2,
        "steps_share": 1.0,
        "benchmark": "scenes/test",
        "data": "d1",
        "figure": Named(*FIGURE, 1, 100.0),
        "sight": Named(*SIGHT, 1, 100.0),
        "arms": arms,
        "models": models,
        "samples": tuple(samples),
    }
    return Found(**{**facts, **how})


def right(share: int, of: int = 200) -> list[float]:
    """That many right answers of `of`, spread evenly."""
    return [float(number * share // of != (number + 1) * share // of) for number in range(of)]
