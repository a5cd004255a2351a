"""Where a run stands, written so that a kill at any instant leaves the last good state."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from looksay.errors import InputError, plainly
from looksay.library import files
from looksay.training.feed import Position
from looksay.training.stages import Stage

FILE = "resume.pt"
DONE = "run.json"
LOG = "log.jsonl"
REFERENCE = "reference.json"
"""What a stage that learns from preferences compares with (`looksay.training.reference`)."""
Plan = tuple[tuple[str, int], ...]
"""A digest and the number of steps of each stage."""


@dataclass(frozen=True, slots=True)
class State:
    """After `step` steps of stage number `stage`. Everything else of a run follows from its plan."""

    plan: Plan
    stage: int = 0
    step: int = 0
    positions: tuple[Position, ...] = ()
    """One per rank."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """What has trained so far, in any stage."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    pending: tuple[dict[str, float], ...] = ()
    """Sums since the last record of the log, one per rank: added up before they are wanted, they would round
    otherwise than in an unbroken run."""
    offset: int = 0
    """Size of the log in bytes."""
    seconds: float = 0.0
    origin: str = ""
    """Fingerprint of the model that the run began with."""


def plan_of(stages: Sequence[Stage], seed: int, world: int, model: nn.Module) -> Plan:
    """What makes two runs the same, stage by stage: the stage, seed, ranks, and the shapes of the model."""
    plan = []
    shapes = [[name, list(p.shape)] for name, p in model.named_parameters()]
    for stage in stages:
        fields = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage)}
        data, steps, _ = (fields.pop(name) for name in ("data", "steps", "gate"))
        name = f"{type(data).__module__}.{type(data).__qualname__}"
        fields["data"] = [name, data.size, data.fingerprint]
        text = json.dumps([fields, seed, world, shapes], default=_plain, sort_keys=True)
        plan.append((hashlib.sha256(text.encode()).hexdigest()[:16], steps))
    return tuple(plan)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else str(value)  # type: ignore[arg-type]


def save(state: State, out: Path) -> None:
    """Write the state beside the old one, then put it in its place."""
    fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    fields["positions"] = [(p.drawn, list(p.waiting)) for p in state.positions]
    unfinished = out / f"{FILE}.part"
    with unfinished.open("wb") as file:
        torch.save(fields, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(out / FILE)


def load(out: Path, plan: Plan, origin: str = "", *, mapped: bool = False) -> State | None:
    """The state in `out`, None where there is none. Raises InputError for one of another run: what was
    done must be what would be done. The stage that it stands in may have become longer, and those after it
    may be others.

    `mapped` leaves the numbers in the file until they are read: several processes then share them."""
    if not (out / FILE).is_file():
        return None
    fields = torch.load(out / FILE, map_location="cpu", weights_only=True, mmap=mapped)
    fields["plan"] = tuple((digest, steps) for digest, steps in fields["plan"])
    at, step = fields["stage"], fields["step"]
    here = zip(fields["plan"][at : at + 1], plan[at : at + 1], strict=False)
    longer = all(ours[0] == now[0] and step <= now[1] for ours, now in here)
    same = fields["plan"][:at] == plan[:at] and (longer or not step)
    done = at + bool(step)
    _check(out, same, {**fields, "plan": fields["plan"][:done]}, origin, plan[:done])
    fields["positions"] = tuple(Position(d, tuple(w)) for d, w in fields["positions"])
    return State(**fields)


def _check(out: Path, same: bool, found: Mapping[str, Any], origin: str, plan: Plan) -> None:
    """Raise InputError for another run. `plan` is of as many stages as matter."""
    own = found.get("origin", origin) == origin
    if same and own:
        return
    digests = [[digest for digest, _ in one] for one in (found["plan"], plan)]
    if own and digests[0] == digests[1]:
        raise InputError(_other_steps(out, found["plan"], plan))
    raise InputError(
        f"{out} holds a run with other stages, data, seed, first weights or number of processes. "
        "Type the same command to go on with it, choose another --out, or start over with --fresh."
    )


def _other_steps(out: Path, before: Plan, now: Plan) -> str:
    """What to say where nothing but numbers of steps differs; the log has the stages' names."""
    log = out / LOG
    text = log.read_text("utf-8", errors="replace") if log.is_file() else ""
    names = list(dict.fromkeys(re.findall(r'"stage": "([^"]+)", "event": "start"', text)))
    names += [f"number {number}" for number in range(len(names) + 1, len(before) + 1)]
    changed = [
        (name, old, new)
        for name, (_, old), (_, new) in zip(names, before, now, strict=False)
        if old != new
    ]
    told = "; ".join(f"{name}: {old} steps, now {new} are asked for" for name, old, new in changed)
    again = ",".join(f"{name}={old}" for name, old, _ in changed)
    model = (out / DONE).is_file()
    also = f", or train on from its model: --from {out} --out ANOTHER" if model else ""
    return (
        f"{out} holds this run with other numbers of steps ({told}). Stages that are done keep theirs. Type "
        f"--steps {again} for the run that is there. For other numbers start over: --fresh{also}."
    )


def finish(out: Path, plan: Plan, facts: dict[str, Any]) -> None:
    """Mark the run as finished; its state is no longer needed."""
    unfinished = out / f"{DONE}.part"
    unfinished.write_text(json.dumps({"plan": plan, **facts}, indent=2) + "\n", "utf-8")
    unfinished.replace(out / DONE)
    (out / FILE).unlink(missing_ok=True)


def finished(out: Path, plan: Plan, origin: str = "") -> bool:
    """Whether `out` holds this very run, finished. Raises InputError for another one."""
    if not (out / DONE).is_file():
        return False
    found = json.loads((out / DONE).read_text("utf-8"))
    _check(out, found["plan"] == [list(stage) for stage in plan], found, origin, plan)
    return True


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made. Raises InputError where one trains there, or it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = files.lock(out / "run")
    except BlockingIOError as error:
        raise InputError(
            f"Another run is training in {out}. Wait for it, or choose another --out."
        ) from error
    except OSError as error:
        raise InputError(f"Nothing can be written to {out}: {plainly(error)}.") from error
    with closing(held):
        yield


def forget(out: Path) -> None:
    """Start over: an earlier run in `out` is no longer gone on with."""
    for name in (FILE, DONE, REFERENCE):
        (out / name).unlink(missing_ok=True)
