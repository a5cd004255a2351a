"""Run a claim: train its arms with every seed, measure them, and keep every answer: killed, it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import looksay
from looksay.claims import build
from looksay.claims.base import Claim, Figure
from looksay.claims.measuring import Task
from looksay.claims.results import Found, Model, Named, Row, Sample, Table
from looksay.errors import InputError
from looksay.evaluation import benchmark as benchmarks
from looksay.evaluation import embedding, measures
from looksay.evaluation import run as running
from looksay.evaluation.benchmark import Benchmark, Item
from looksay.evaluation.journal import data
from looksay.evaluation.measures import Measure
from looksay.evaluation.run import Result
from looksay.training.stages import TrainingError

SEEDS = (0, 1, 2)
SCENES = 1000


def reproduce(
    name: str,
    claim: Claim,
    folder: Path,
    *,
    seeds: Sequence[int] = SEEDS,
    size: str = "mini",
    scenes: int = SCENES,
    steps_share: float = 1.0,
    command: str = "",
    device: str = "auto",
    tell: Callable[[str], None] = lambda words: None,
    **how: Any,
) -> Found:
    """Everything that the claim called `name` ("llava/align") was measured by.

    `folder` keeps the trained stages and the answers; `scenes` pictures are asked about. With `steps_share`
    below 1 every stage is cut short: a trial, which shows that all is in place. `how` goes to the training loop.
    Raises InputError where the benchmark has no such figure, BackendError where an answer is missing.
    """
    bench, items = drawn(claim.benchmark, scenes)
    task = Task(claim.benchmark, bench, items, folder, device)
    models: list[Model] = []
    results: dict[tuple[str, int], Result] = {}
    faults = []
    for seed in seeds:
        for arm in claim.arms:
            tell(f"{name}: {arm.name}, seed {seed}")
            try:
                place, stages = build.build(
                    arm,
                    size,
                    seed,
                    folder / "stages",
                    steps_share=steps_share,
                    device=device,
                    **how,
                )
            except TrainingError as error:
                faults.append(f"{arm.name} with seed {seed} could not be trained: {error}")
                continue
            result = arm.measure(place, task)
            results[arm.name, seed] = result
            spent = sum(one.seconds for one in result.asked.completions if one is not None)
            models.append(Model(arm.name, seed, result.fingerprint, stages, round(spent, 1)))
    there = next(iter(results.values()), None)
    figure, sight, *beside = (
        _named(there, wanted) for wanted in (claim.figure, claim.sight, *claim.beside)
    )
    if there and not figure.better:
        raise InputError(
            f"Of '{claim.figure}' neither more nor less is better; {name} cannot be judged by it."
        )
    return Found(
        claim=name,
        looksay=looksay.__version__,
        command=command,
        size=size,
        seeds=tuple(seeds),
        scenes=scenes,
        steps_share=steps_share,
        benchmark=claim.benchmark,
        data=data(items),
        figure=figure,
        sight=sight,
        arms=tuple(arm.name for arm in claim.arms),
        faults=tuple(faults),
        models=tuple(models),
        samples=tuple(_samples(claim, seeds, results, items)),
        beside=tuple(beside),
    )


@lru_cache(maxsize=1)
def drawn(name: str, pictures: int) -> tuple[Benchmark, list[Item]]:
    """A benchmark that needs no files, and its items about the first so many pictures. Raises InputError for others."""
    found, variant = benchmarks.load(name)
    if found.CARD.needs:
        raise InputError(f"Claims are tested on what is drawn here; {name} needs files.")
    items = benchmarks.checked(found.read(Path(), variant), name)
    limited = embedding.limited if hasattr(found, "score_embeddings") else running.limited
    return found, limited(items, pictures)


def _measure(result: Result, wanted: Figure) -> Measure:
    found = [f.measure for f in result.figures if (f.measure.name, f.measure.kind) == tuple(wanted)]
    if not found or found[0].value is not measures.share:
        # Any other value than the ratio of two sums could not be computed from the results' file.
        raise InputError(
            f"{result.benchmark} has no figure '{wanted}' that is a ratio of sums. Where so few scenes were asked about "
            "that none has such a question, take more: --scenes 20"
        )
    return found[0]


def _named(result: Result | None, wanted: Figure) -> Named:
    if result is None:  # no arm could be trained
        return Named(*wanted, better=1, scale=100.0)
    found = _measure(result, wanted)
    return Named(found.name, found.kind, found.better, found.scale)


def _samples(
    claim: Claim, seeds: Sequence[int], results: dict[tuple[str, int], Result], items: list[Item]
) -> list[Sample]:
    """What counts for a figure or for sight, with the answers side by side."""
    cells = [[results.get((arm.name, seed)) for seed in seeds] for arm in claim.arms]
    tables = [
        [[dict(_measure(one, figure).rows) if one else {} for one in row] for row in cells]
        for figure in (claim.figure, claim.sight, *claim.beside)
    ]
    said = [
        [{a.item.id: a.text for a in one.asked.answers} if one else {} for one in row]
        for row in cells
    ]
    found = []
    for item in items:
        figure, sight, *beside = (_table(item.id, table) for table in tables)
        if figure or sight or any(beside):
            texts = tuple(tuple(one.get(item.id) for one in row) for row in said)
            found.append(Sample(item.id, item.image, figure, sight, texts, tuple(beside)))
    return found


def _table(item: str, cells: Sequence[Sequence[dict[str, Row]]]) -> Table | None:
    table = tuple(tuple(one.get(item) for one in row) for row in cells)
    return table if any(row is not None for arm in table for row in arm) else None
