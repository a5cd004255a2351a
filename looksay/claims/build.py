"""Train an arm stage by stage, each in a folder named by all that its outcome depends on: what arms share is
trained once, and a run that was killed goes on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from looksay.claims.base import Arm
from looksay.claims.results import Trained
from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.fingerprint import exact_fingerprint
from looksay.training import state
from looksay.training.loop import train
from looksay.training.stages import Stage


def build(
    arm: Arm, size: str, seed: int, folder: Path, *, steps_share: float = 1.0, **how: Any
) -> tuple[Path, tuple[Trained, ...]]:
    """Train the arm below `folder`, as far as that is not done; returns the folder of its last stage, which
    holds the model, and what was done for each.

    Stages that stand alone are trained with seed 0, whatever the arm's: they make what published systems
    download. `how` goes to the loop, its `precision` not for these. Raises TrainingError where a stage does not
    learn what its gate asks for.
    """
    model, stages = arm.make(size, seed)
    if not stages or stages[-1].name in arm.alone:
        raise InputError(
            f"The arm {arm.name!r} ends with {stages[-1].name if stages else 'no stage'!r}, which it "
            "shares with other models; expected a last stage of its own."
        )
    trainer = Trainer(folder, size, seed, arm.alone, steps_share, how)
    if arm.over:
        base, first = arm.over(size, seed)
        _take(model, trainer(base, first), base.parts.keys() & model.parts.keys())
    if arm.data:
        made, before = arm.data(size, seed, trainer), stages[-1].data.fingerprint
        stages = [replace(s, data=made) if s.data.fingerprint == before else s for s in stages]
    place = trainer(model, stages)
    return place, tuple(trainer.done.values())


@dataclass(slots=True)
class Trainer:
    """Trains stages one after the other, unless that was done before, and remembers what that took."""

    folder: Path
    size: str
    seed: int
    alone: frozenset[str]
    share: float
    """Of the stages' steps, and of what else takes time; below 1 it is a trial."""
    how: Mapping[str, Any]
    done: dict[str, Trained] = field(default_factory=dict)
    """By folder."""

    def __call__(self, model: Any, stages: Iterable[Stage]) -> Path:
        """The folder of what came of the last stage. Raises TrainingError as `build` does."""
        place = self.folder
        for stage in scaled(stages, self.share):
            alone = stage.name in self.alone
            seed = 0 if alone else self.seed
            how = {**self.how, **({"precision": "auto"} if alone else {})}
            place = _place(self.folder, model, stage, seed, alone, how.get("precision", "auto"))
            if not (place / state.DONE).is_file():
                card = {"data": "scenes", "size": self.size, "machine": machine()}
                # What the tower sees in a picture is the same for all arms, seeds and families.
                kept = {"features": self.folder.with_name("features"), **how}
                train(model, [stage], place, seed=seed, card=card, **kept)
                shutil.rmtree(place / stage.name)  # the same weights again
            if alone:
                _take(model, place, stage.trains)
            else:
                model = checkpoint.load(place)
            self.done[place.name] = _trained(place, stage)
        return place


def scaled(stages: Iterable[Stage], share: float) -> list[Stage]:
    """The stages with that share of their steps, at least one; a trial is held to no gate."""
    if share == 1:
        return list(stages)
    return [replace(s, steps=max(1, round(s.steps * share)), gate=None) for s in stages]


def _place(folder: Path, model: Any, stage: Stage, seed: int, alone: bool, precision: str) -> Path:
    """The folder of a stage. One that depends on its own parts alone may have been finished with another model;
    unfinished, its state fits the very model that began it."""
    whole = _key(model, stage, seed, model.parts)
    if not alone:
        computed = "" if precision == "auto" else f"-{precision}"
        return folder / f"{stage.name}-{whole}{computed}"
    own = f"{stage.name}-{_key(model, stage, seed, stage.trains)}"
    finished = [one for one in sorted(folder.glob(f"{own}-*")) if (one / state.DONE).is_file()]
    return finished[0] if finished else folder / f"{own}-{whole[:8]}"


def _key(model: Any, stage: Stage, seed: int, names: Iterable[str]) -> str:
    """Of the stage, the seed, the tokenizer and every value of the parts' weights; of the family too where all
    parts matter."""
    parts = {name: model.parts[name] for name in sorted(names)}
    words = [sorted(model.tokenizer.get_vocab().items()), model.tokenizer.chat_template]
    depends = [
        state.plan_of([stage], seed, 1, nn.ModuleDict(parts)),
        hashlib.sha256(json.dumps(words).encode()).hexdigest(),
        {name: exact_fingerprint(part.state_dict()) for name, part in parts.items()},
        [model.family, model.arguments] if len(parts) == len(model.parts) else None,
    ]
    return hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]


def _take(model: Any, place: Path, names: Iterable[str]) -> None:
    """The parts that a stage trained, into a model whose other parts it may not have known."""
    found = checkpoint.load(place)
    model.to("cpu")
    for name in names:
        model.parts[name].load_state_dict(found.parts[name].state_dict())


def _trained(place: Path, stage: Stage) -> Trained:
    facts: Mapping[str, Any] = json.loads((place / state.DONE).read_text("utf-8"))
    where = str(checkpoint.read(place)["card"].get("machine", ""))
    return Trained(stage.name, place.name, stage.steps, round(facts["seconds"], 1), where)


def machine() -> str:
    """What trains here, in words: system, processor and cores, accelerator."""
    return ", ".join([f"{platform.system()} {_processor()}", f"{os.cpu_count()} cores", *_device()])


def _processor() -> str:
    told = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty there
    lines = told.read_text("utf-8").splitlines() if told.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(named), "") or platform.processor() or platform.machine()


def _device() -> list[str]:
    if torch.cuda.is_available():
        return [torch.cuda.get_device_name(0)]
    return ["MPS"] if torch.backends.mps.is_available() else []
