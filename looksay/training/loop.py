"""The training loop: examples → batch → losses → step. One loop runs every family, stage and device."""

from __future__ import annotations

import atexit
import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import checkpoint, preference
from looksay.models.adapters import merge
from looksay.models.batching import Batch
from looksay.models.batching import Sequence as Encoded
from looksay.models.fingerprint import fingerprint
from looksay.training import adapters, optim, reference, sharding, state
from looksay.training.cache import Features, fresh
from looksay.training.feed import Feed, Position
from looksay.training.gradients import Gradients
from looksay.training.layers import prepared_layers
from looksay.training.log import Log
from looksay.training.stages import Adapter, Stage, TrainingError
from looksay.training.sums import Sums
from looksay.types import Example


class Trainable(Protocol):
    """What the loop asks of a model, which is an nn.Module besides."""

    parts: Mapping[str, nn.Module]

    def encode(
        self, example: Example, template: str | None, objectives: Collection[str]
    ) -> Encoded: ...

    def __call__(self, batch: Batch, objectives: Collection[str]) -> dict[str, Tensor]: ...


def train(
    model: nn.Module,
    stages: Sequence[Stage],
    out: Path | str,
    *,
    seed: int = 0,
    resume: bool = True,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    shard: bool = False,
    workers: int = 0,
    save_every: int = 500,
    log_every: int = 20,
    features: Path | None = None,
    features_bytes: int = 2**31,
    card: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> nn.Module:
    """Train `model` through `stages`; returns it, on its device and in evaluation mode.

    `out/STAGE/` holds the model after each stage, `out/` after the last, `log.jsonl` and `curve.svg`
    the losses. Every `save_every` steps the run's state is written: the same call goes on from there
    and ends with the same numbers as an unbroken run (on one kind of machine). `precision` is auto
    (bf16 on an accelerator that has it), bf16 or fp32; what learns is held in fp32 either way.
    `compile` has torch compile the layers (on a CPU it needs a C++ compiler); `workers` processes encode
    examples (0: a thread). `features` is a folder for cached features.
    Under torchrun each process trains its share of the same steps; with `shard` it also holds only its
    share of weights, gradients and optimiser state, and the model that is returned lies on the CPU.
    Raises InputError for a plan that does not fit the model or the folder, and where another run is
    training there; TrainingError where a loss is no number.
    """
    run = _Run(
        model,
        stages,
        Path(out),
        seed,
        device,
        precision,
        compile,
        shard,
        log_every,
        save_every,
        quiet,
    )
    with ExitStack() as held:
        if run.main:
            held.enter_context(state.alone(run.out))
            if not resume:
                state.forget(run.out)
        run.accelerator.wait_for_everyone()
        if state.finished(run.out, run.plan, run.origin):
            if run.main and not quiet:
                Log(run.out, quiet=False, write=False).say(f"{run.out} holds this run, finished.")
            return checkpoint.load(run.out, device="cpu" if shard else str(run.device))
        found = state.load(run.out, run.plan, run.origin, mapped=shard) or state.State(run.plan)
        kept: Features | None = None
        run.accelerator.wait_for_everyone()
        with Log(run.out, quiet=quiet or not run.main, offset=found.offset, write=run.main) as log:
            for number, stage in enumerate(stages):
                run.adapt(stages[number - 1].adapter if number else None, stage.adapter)
                if number < found.stage:
                    run.learning(stage)
                    continue
                if stage.cache_features:
                    kept = fresh(
                        cast(Trainable, model).parts["tower"],
                        kept,
                        features,
                        features_bytes,
                        run.precision,
                    )
                run.stage(
                    number, stage, found, log, workers, kept if stage.cache_features else None
                )
                found = run.close(number, stage, log, dict(card or {}))
            run.restore(found)
            if run.main:
                checkpoint.save(model, run.out, **_card(dict(card or {}), stages, seed))
                log.draw()
                facts = {"origin": run.origin, "seconds": run.seconds, "seed": seed}
                state.finish(run.out, run.plan, facts)
        run.accelerator.wait_for_everyone()
        if run.world > 1:
            atexit.register(sharding.part)
        return model.eval()


class _Run:
    def __init__(
        self,
        model: nn.Module,
        stages: Sequence[Stage],
        out: Path,
        seed: int,
        device: str,
        precision: str,
        compile: bool,
        shard: bool,
        log_every: int,
        save_every: int,
        quiet: bool,
    ) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        keeping = [s.name for s in stages if s.cache_features and "tower" in s.trains]
        if keeping:
            raise InputError(
                f"The stage {keeping[0]!r} trains the tower, so its features change with every step. "
                "Turn cache_features off there."
            )
        for before, after in pairwise(stages):
            if before.adapter and before.adapter.quantize and after.adapter != before.adapter:
                raise InputError(
                    f"The stage {before.name!r} trains an adapter over 4-bit weights, which cannot be folded "
                    f"in for {after.name!r} without loss. Train {after.name!r} with the same adapter, or in a "
                    "run of its own that begins from this one's result."
                )
        if len({s.name for s in stages}) != len(stages) or not stages:
            raise InputError(f"Stages need distinct names; found {[s.name for s in stages]}.")
        # Batches without images leave the connector without a gradient, which DDP must expect.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Unless told so, accelerate takes the processes of torchrun on CPUs for runs of their own.
        cpu = device == "cpu" or (device == "auto" and not torch.accelerator.is_available())
        self.accelerator = Accelerator(cpu=cpu, kwargs_handlers=[unused])
        self.device = self.accelerator.device
        if device not in ("auto", self.device.type):
            raise InputError(f"There is no device {device!r} here; found {self.device.type!r}.")
        self.model, self.out, self.seed = model, out, seed
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.main = self.accelerator.is_main_process
        self.precision, self.compile = optim.precision(precision, self.device), compile
        self.shard = shard
        self.shards: sharding.Shards | None = None
        if shard:
            sharding.check(stages, self.world, compile)
        self.log_every, self.save_every, self.quiet = log_every, save_every, quiet
        self.plan = state.plan_of(stages, seed, self.world, model)
        self.origin = fingerprint(model)
        self.touched: dict[int, nn.Parameter] = {}
        self.seconds = 0.0

    def adapt(self, before: Adapter | None, now: Adapter | None) -> None:
        """The adapter of the next stage in the place of that before it, or of one that the model came with."""
        if before is None or before != now:
            self.touched |= {id(p): p for p in merge(self.model)}
        if now is not None and before != now:
            adapters.attach(self.model, now, seed=self.seed)

    def learning(self, stage: Stage) -> dict[str, list[nn.Parameter]]:
        parts = cast(Trainable, self.model).parts
        learning = optim.thaw(parts, stage)
        self.touched |= {id(p): p for p in self.model.parameters() if p.requires_grad}
        return learning

    def stage(
        self,
        number: int,
        stage: Stage,
        start: state.State,
        log: Log,
        workers: int,
        kept: Features | None,
    ) -> None:
        learning = self.learning(stage)
        self.restore(start)
        prepared = inner = self.model
        if self.shard:
            self.shards = sharding.Shards(self.model, self.device, self.precision)
            learning = self.shards.learning(learning)
            prepared = inner = self.shards.module
            if kept is not None:
                kept.to(self.device)
        else:
            self.model.to(self.device)
        optimizer = optim.optimizer(
            cast(Trainable, self.model).parts, learning, stage, self.precision
        )
        if start.optimizer and start.step:
            split = sharding.split_state(start.optimizer, optimizer) if self.shard else None
            optimizer.load_state_dict(split or start.optimizer)
        every = [p for found in learning.values() for p in found]
        if self.world > 1 and not self.shard:
            prepared = self.accelerator.prepare_model(self.model)
        log.stage(stage.name, stage.steps, start.step, optim.summary(self.model, learning))
        sums = Sums.of(start.pending[self.rank] if start.step and start.pending else {})
        began = time.monotonic()
        encode = partial(
            cast(Trainable, self.model).encode,
            template=stage.template,
            objectives=stage.objectives,
        )
        gradients = Gradients(
            prepared,
            stage,
            self.accelerator,
            self.precision,
            kept=kept,
            sharded=self.shard,
        )
        if preference.alone(stage.objectives):
            facts = [[digest for digest, _ in self.plan[: number + 1]], self.origin]
            reader = reference.Reader(inner, encode, gradients, _pad_id(self.model), workers)
            data = reader.referenced(stage, self.out, facts, self.accelerator, bool(start.step))
            stage = replace(stage, data=data)
        stepped = time.monotonic()
        position = start.positions[self.rank] if start.positions else Position()
        with (
            Feed(
                stage,
                encode,
                seed=self.seed * 101 + number,
                rank=self.rank,
                world=self.world,
                position=position,
                pad_id=_pad_id(self.model),
                image_id=getattr(getattr(self.model, "prompter", None), "image_id", None),
                workers=workers,
            ) as feed,
            prepared_layers(inner, stage.checkpoint_activations, self.compile),
        ):
            fed_steps = iter(feed)
            for step in range(start.step, stage.steps):
                feds, position = next(fed_steps)
                # A seed per step makes dropout independent of breaks, with no generator state to keep.
                torch.manual_seed(hash((self.seed, number, step, self.rank)) % 2**62)
                optim.set_rates(optimizer, stage, step)
                gradients.add(feds, sums)
                sums.norm = sharding.clip(every, stage.clip or math.inf)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                done = step + 1
                if done % self.log_every == 0 or done == stage.steps:
                    elapsed = time.monotonic() - began
                    each_s = (time.monotonic() - stepped) / (done - start.step)
                    left_s = each_s * (stage.steps - done)
                    self._record(stage, done, sums, optimizer, log, start.seconds + elapsed, left_s)
                    sums = Sums()
                # Before a gate, too: a stage that it holds back can then be trained for longer.
                if done % self.save_every == 0 if done < stage.steps else stage.gate:
                    elapsed = start.seconds + time.monotonic() - began
                    self._save(stage, number, done, position, optimizer, sums, log, elapsed)
                    log.draw()
        self.seconds = start.seconds + time.monotonic() - began
        if self.shards is not None:
            self.shards.gather()
            self.shards = None
            self.model.to("cpu")

    def _record(
        self,
        stage: Stage,
        done: int,
        sums: Sums,
        optimizer: optim.Optimizer,
        log: Log,
        elapsed_s: float,
        left_s: float,
    ) -> None:
        plain = self._gathered(sums.plain())
        losses = {
            key.removeprefix("loss:"): value / max(1, plain[key.replace("loss:", "count:", 1)])
            for key, value in plain.items()
            if key.startswith("loss:")
        }
        self._check(stage, done, plain)
        record = {
            "stage": stage.name,
            "step": done,
            "of": stage.steps,
            "losses": losses,
            "lr": {g["part"]: g["lr"] for g in optimizer.param_groups},
            "norm": float(sums.norm) if sums.norm is not None else 0.0,
            "tokens_per_s": round(plain["tokens"] * self.world / max(plain["seconds"], 1e-9), 1),
            "examples": int(plain["examples"]),
            "ms_per_step": round(1000 * plain["seconds"] / max(1, plain["steps"]), 2),
            "seconds": round(elapsed_s, 2),
        }
        log.step(record, left_s)

    def _gathered(self, plain: dict[str, float]) -> dict[str, float]:
        if self.world == 1:
            return plain
        from accelerate.utils import gather_object

        total: dict[str, float] = {}
        for found in gather_object([plain]):
            for key, value in found.items():
                total[key] = total.get(key, 0.0) + value
        return total

    def _save(
        self,
        stage: Stage,
        number: int,
        step: int,
        position: Position | None,
        optimizer: optim.Optimizer | None,
        sums: Sums,
        log: Log,
        seconds: float,
    ) -> state.State:
        positions: list[Position] = [position] if position else []
        pending = [sums.plain()]
        if self.world > 1 and position:
            from accelerate.utils import gather_object

            positions = gather_object(positions)
            pending = gather_object(pending)
        states: dict[str, Any] = {}
        if self.shards is not None and optimizer:
            self.shards.gather()
            states = sharding.whole_state(optimizer, keep=self.main)
        elif optimizer:
            states = optimizer.state_dict()
        # A state that is no number must not replace a good one.
        odd = {name: math.nan for name, p in self.model.named_parameters() if _no_number(p)}
        for found_sums in (*pending, odd):
            self._check(stage, step, found_sums)
        found = state.State(
            self.plan,
            number,
            step,
            tuple(positions),
            self._weights(),
            states,
            tuple(pending),
            log.offset,
            seconds,
            self.origin,
        )
        if self.main:
            state.save(found, self.out)
        return found

    def _check(self, stage: Stage, step: int, plain: Mapping[str, float]) -> None:
        wrong = [key for key, value in plain.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"{wrong[0].removeprefix('loss:')} is no number after step {step} of the stage "
                f"{stage.name!r}. Lower its learning rates (or clip more), or train in fp32; the last good "
                "state is kept."
            )

    def _weights(self) -> dict[str, Tensor]:
        """What has trained so far, and all running values (buffers); 4-bit weights are neither."""
        running = dict(self.model.named_buffers())
        return {
            key: value.detach()
            for key, value in self.model.state_dict(keep_vars=True).items()
            if id(value) in self.touched or key in running
        }

    def restore(self, found: state.State) -> None:
        if found.weights:
            unknown = self.model.load_state_dict(found.weights, strict=False).unexpected_keys
            if unknown:
                raise InputError(f"The state in {self.out} has unknown weights: {unknown[:3]}.")

    def close(self, number: int, stage: Stage, log: Log, card: dict[str, Any]) -> state.State:
        """Hold the model to the gate of its stage, write it, then the state before the next one."""
        self.model.eval()
        if stage.gate is not None and self.main:
            stage.gate(self.model)
        if self.main:
            checkpoint.save(self.model, self.out / stage.name, **_card(card, [stage], self.seed))
            log.draw()
        found = self._save(stage, number + 1, 0, None, None, Sums(), log, self.seconds)
        if self.main:
            (self.out / state.REFERENCE).unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return replace(found, weights={})


def _pad_id(model: nn.Module) -> int:
    return int(getattr(getattr(model, "tokenizer", None), "pad_token_id", None) or 0)


def _no_number(weight: nn.Parameter) -> bool:
    return weight.requires_grad and not bool(weight.detach().isfinite().all())


def _card(card: dict[str, Any], stages: Sequence[Stage], seed: int) -> dict[str, Any]:
    told = [{"name": s.name, "steps": s.steps, "trains": dict(s.trains)} for s in stages]
    return {**card, "training": json.loads(json.dumps({"seed": seed, "stages": told}))}
