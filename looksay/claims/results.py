"""What a run of one claim found, sample by sample, as a file that everything else is computed from.

NAME.jsonl.gz (gzip, the same bytes for the same content). The first line says what was run:
{"claim": "llava/align", "looksay": "0.3.0", "command": "looksay reproduce …", "size": "mini", "seeds": [0, 1],
"scenes": 1000, "steps_share": 1.0, "benchmark": "scenes/test", "data": "9c…", "figure": {"name": "questions",
"kind": "all questions", "better": 1, "scale": 100.0}, "sight": {…}, "arms": ["without align", "all stages"],
"faults": []}. Then a line for each model: {"arm": "all stages", "seed": 0, "fingerprint": "1f…", "stages":
[{"name": "tower", "key": "tower-4e…", "steps": 8000, "seconds": 3612.5, "machine": "Linux …"}, …],
"asked_seconds": 402.1}. Then a line for each sample, the answers of all arms and seeds side by side:
{"id": "12 where", "image": "test 12", "figure": [[[1.0, 1.0], null], …], "sight": null, "said": [["left", …], …]};
of retrieval, what is said is the place at which a picture or a caption found its own, from 1. Where figures stand beside
the claim's, the first line has "beside": [{…}, …], and each sample as many tables.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from looksay.data.reading import write
from looksay.errors import InputError, plainly
from looksay.evaluation.measures import Measure

Row = tuple[float, ...]
Table = tuple[tuple[Row | None, ...], ...]
"""By arm, then by seed: what a sample adds to a measure; None where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One stage of one model."""

    name: str
    key: str
    """The folder that it lies in; models that share it share the stage."""
    steps: int
    seconds: float
    machine: str


@dataclass(frozen=True, slots=True)
class Model:
    """One arm with one seed."""

    arm: str
    seed: int
    fingerprint: str
    stages: tuple[Trained, ...]
    asked_seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of the benchmark."""

    id: str
    image: str
    figure: Table | None
    sight: Table | None
    said: tuple[tuple[str | None, ...], ...]
    beside: tuple[Table | None, ...] = ()
    """Of each figure that stands beside."""


@dataclass(frozen=True, slots=True)
class Named:
    """A measure without its rows; its value is the sum of first numbers over the sum of second ones."""

    name: str
    kind: str
    better: int
    scale: float


@dataclass(frozen=True, slots=True)
class Found:
    """One claim, run."""

    claim: str
    looksay: str
    command: str
    size: str
    seeds: tuple[int, ...]
    scenes: int
    steps_share: float
    """Below 1 it was a trial, and no result."""
    benchmark: str
    data: str
    """Digest of items, prompts and pictures."""
    figure: Named
    sight: Named
    arms: tuple[str, ...]
    faults: tuple[str, ...] = ()
    """Why a model could not be trained."""
    models: tuple[Model, ...] = ()
    samples: tuple[Sample, ...] = ()
    beside: tuple[Named, ...] = ()

    @property
    def trial(self) -> bool:
        return self.steps_share != 1

    @property
    def clusters(self) -> dict[str, str]:
        return {one.id: one.image for one in self.samples if one.image}

    @property
    def whole_seeds(self) -> tuple[int, ...]:
        """Seeds with which every arm was trained."""
        there = {(model.arm, model.seed) for model in self.models}
        return tuple(s for s in self.seeds if all((arm, s) in there for arm in self.arms))

    def measure(self, which: Literal["figure", "sight"] | int, arm: str, seed: int) -> Measure:
        """The figure or the sight of one model, or by its place a figure that stands beside."""

        def of(owner: Found | Sample) -> Any:
            return owner.beside[which] if isinstance(which, int) else getattr(owner, which)

        named: Named = of(self)
        row, column = self.arms.index(arm), self.seeds.index(seed)
        rows = {}
        for one in self.samples:
            table: Table | None = of(one)
            if table is not None and (found := table[row][column]) is not None:
                rows[one.id] = found
        return Measure(named.name, rows, scale=named.scale, better=named.better, kind=named.kind)

    @property
    def hours(self) -> float:
        """Training and answering, what arms share counted once."""
        stages = {stage.key: stage.seconds for model in self.models for stage in model.stages}
        asked = {(model.fingerprint, model.arm): model.asked_seconds for model in self.models}
        return (sum(stages.values()) + sum(asked.values())) / 3600

    @property
    def machines(self) -> tuple[str, ...]:
        return tuple(sorted({stage.machine for model in self.models for stage in model.stages}))


def file(folder: Path, claim: str) -> Path:
    """Where the results of a claim lie."""
    return folder / f"{claim.replace('/', '-')}.jsonl.gz"


def save(found: Found, folder: Path) -> Path:
    """Write the results in one step. Raises InputError."""
    path = file(folder, found.claim)
    write(path, packed(found))
    return path


def packed(found: Found) -> bytes:
    """The file's bytes: the same for the same results, whenever they are written."""
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in _lines(found))
    stream = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, stream, mtime=0) as file:
        file.write(text.encode())
    return stream.getvalue()


def _lines(found: Found) -> Iterator[dict[str, Any]]:
    head = asdict(replace(found, models=(), samples=()))
    yield _without_nothing({k: v for k, v in head.items() if k not in _LISTS})
    yield from map(asdict, found.models)
    yield from (_without_nothing(asdict(one)) for one in found.samples)


_LISTS = ("models", "samples")


def _without_nothing(line: dict[str, Any]) -> dict[str, Any]:
    """Most claims have no figures beside theirs."""
    return {k: v for k, v in line.items() if k != "beside" or v}


def load(path: Path) -> Found:
    """Results as they were saved. Raises InputError that names file and line."""
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except OSError as error:  # also of what is no gzip
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
    except (EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}. Run the claim again.") from error
    models: list[Model] = []
    samples: list[Sample] = []
    head: Found | None = None
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        try:
            row = json.loads(line)
            if head is None:
                head = _head(row)
            elif "stages" in row:
                models.append(_model(row))
            else:
                samples.append(_sample(row))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}, line {number}: no line of results ({error}). Run the claim again."
            ) from error
    if head is None:
        raise InputError(f"{path} is empty. Run the claim again.")
    return replace(head, models=tuple(models), samples=tuple(samples))


def _head(row: Mapping[str, Any]) -> Found:
    lists = {name: tuple(row[name]) for name in ("seeds", "arms", "faults")}
    named = {name: Named(**row[name]) for name in ("figure", "sight")}
    beside = tuple(Named(**one) for one in row.get("beside", ()))
    return Found(**{**row, **lists, **named, "beside": beside})


def _model(row: Mapping[str, Any]) -> Model:
    return Model(**{**row, "stages": tuple(Trained(**stage) for stage in row["stages"])})


def _sample(row: Mapping[str, Any]) -> Sample:
    said = tuple(tuple(arm) for arm in row["said"])
    figure, sight, *beside = map(_table, (row["figure"], row["sight"], *row.get("beside", ())))
    return Sample(row["id"], row["image"], figure, sight, said, tuple(beside))


def _table(rows: Sequence[Sequence[Sequence[float] | None]] | None) -> Table | None:
    if rows is None:
        return None
    return tuple(tuple(None if row is None else tuple(row) for row in arm) for arm in rows)
