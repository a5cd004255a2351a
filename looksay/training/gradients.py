"""The gradients of one optimiser step, from its batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models.batching import Batch
from looksay.training.cache import Features
from looksay.training.feed import Fed
from looksay.training.stages import Stage
from looksay.training.sums import Sums

if TYPE_CHECKING:
    from accelerate import Accelerator


class Gradients:
    """Adds up, in the parameters of `module`, the gradients of a stage's batches.

    The mean of the loss of texts is over all their ids, that of any other over all examples, in all
    batches and ranks, however they are split. (A loss that is itself a mean over something else, as
    those of `recognise` over things, is weighed by examples.) `kept` has features of the frozen tower;
    `sharded`: every process holds a share of the gradients, which are summed at once.
    """

    def __init__(
        self,
        module: nn.Module,
        stage: Stage,
        accelerator: Accelerator,
        precision: torch.dtype,
        *,
        kept: Features | None = None,
        sharded: bool = False,
    ) -> None:
        self._module, self._stage, self._accelerator = module, stage, accelerator
        self._precision, self._kept, self._sharded = precision, kept, sharded
        self._device, self._world = accelerator.device, accelerator.num_processes

    def add(self, feds: Sequence[Fed], sums: Sums) -> None:
        """Of one step; `sums` takes in what the log tells: losses, and figures beside them, which have no gradient.
        Raises InputError where there is no loss."""
        stage = self._stage
        totals = self._totals(feds)
        for place, fed in enumerate(feds):
            last = place == len(feds) - 1
            # Shards are summed at once: whole gradients would not fit.
            shared = self._world > 1 and not last and not self._sharded
            with self._accelerator.no_sync(self._module) if shared else nullcontext():
                with self.autocast():
                    batch = self.ready(fed)
                    losses: dict[str, Tensor] = self._module(batch, objectives=stage.objectives)
                if not losses:
                    asked = ", ".join(stage.objectives)
                    raise InputError(
                        f"The model has no loss for {asked} on the data of {stage.name!r}."
                    )
                total: Tensor | float = 0.0
                for key, loss in losses.items():
                    kind = "lm" if key == "lm" else ""
                    count = fed.learned if kind else fed.examples
                    share = count * self._world / (totals[kind] or 1)
                    total = total + loss * (_weight(stage, key) * share)
                    sums.add(key, loss, count)
                if isinstance(total, Tensor) and total.requires_grad:
                    self._accelerator.backward(total)
            sums.tokens += fed.tokens
            sums.examples += fed.examples
        sums.steps += 1

    def _totals(self, feds: Sequence[Fed]) -> dict[str, Any]:
        """What the losses of this step are means over: learned ids, and examples, of all ranks."""
        own = [sum(f.learned for f in feds), sum(f.examples for f in feds)]
        if self._world == 1:
            return {"lm": own[0], "": own[1]}
        whole = torch.tensor(own, dtype=torch.float64).to(self._device)
        whole = self._accelerator.reduce(whole, reduction="sum")
        return {"lm": whole[0].clamp(min=1).float(), "": whole[1].clamp(min=1).float()}

    def ready(self, fed: Fed) -> Batch:
        """A batch on the device, with the features that are kept of its pictures."""
        batch = fed.batch.to(self._device)
        if self._kept is None or not fed.images:
            return batch
        features_IND = self._kept.of(fed, self._device)
        return replace(batch, pixels_ICHW=None, features_IND=features_IND)

    def autocast(self) -> AbstractContextManager[Any]:
        if self._precision is torch.float32:
            return nullcontext()
        context: AbstractContextManager[Any] = torch.autocast(self._device.type, self._precision)
        return context


def _weight(stage: Stage, key: str) -> float:
    """Of a loss by its full name ("recognise/where"), else of its objective, else 1."""
    return stage.weights.get(key, stage.weights.get(key.split("/")[0], 1.0))
