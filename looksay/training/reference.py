"""What a model thought of two answers before it learned which is the better one: the reference of preference training.

Measured once, at the beginning of the stage, so no second model is held, whatever trains (an adapter or whole parts),
and a step costs what the answers cost. It lies in the run's folder until the stage ends:
{"of": "9f2c…", "likelihoods": [[-21.4, -30.2], …]}, in nats, chosen first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from looksay.data.dataset import Source, named
from looksay.data.reading import save_json
from looksay.errors import InputError
from looksay.models.batching import Batch
from looksay.models.decoding import resting
from looksay.training import state
from looksay.training.encoding import Encode, encoder
from looksay.training.feed import fed
from looksay.training.gradients import Gradients
from looksay.training.stages import Stage
from looksay.types import Example

if TYPE_CHECKING:
    from accelerate import Accelerator

_AT_ONCE = 8
"""Pairs, where the stage does not say."""


class Referenced:
    """The pairs of another source, each with its reference in its truth."""

    def __init__(self, source: Source, likelihoods: list[tuple[float, float]]) -> None:
        self._source, self._likelihoods = source, likelihoods
        self.size = source.size
        self.fingerprint = named("Referenced", source.fingerprint, likelihoods)

    def example(self, index: int) -> Example:
        found = self._source.example(index)
        return replace(found, truth={**found.truth, "reference": self._likelihoods[index]})


@dataclass(frozen=True, slots=True)
class Reader:
    """Measures references by a model as it is."""

    model: nn.Module
    encode: Encode
    gradients: Gradients
    """What makes batches ready for the model."""
    pad_id: int = 0
    workers: int = 0

    def referenced(
        self, stage: Stage, out: Path, facts: Any, accelerator: Accelerator, begun: bool
    ) -> Referenced:
        """The stage's pairs with their references: those in `out` where they are of the run that `facts` (JSON) tell,
        else measured, and written there.

        Raises InputError where the stage has `begun` and they are lost, for data without an end, and for a family
        whose answers are no words of a language model.
        """
        of = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        path = out / state.REFERENCE
        found: Mapping[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        accelerator.wait_for_everyone()  # before any of them writes it
        if found.get("of") == of:
            return Referenced(
                stage.data, [(first, second) for first, second in found["likelihoods"]]
            )
        if begun:
            raise InputError(
                f"{path} is gone, without which {stage.name!r} cannot go on. Start over with --fresh."
            )
        rank, world = accelerator.process_index, accelerator.num_processes
        likelihoods = self._measured(stage, rank, world)
        if accelerator.is_main_process:
            save_json(path, {"of": of, "likelihoods": likelihoods})
        return Referenced(stage.data, likelihoods)

    def _measured(self, stage: Stage, rank: int, world: int) -> list[tuple[float, float]]:
        """Of every pair. Each process measures its share, in as many passes as the others: layers in shards are
        gathered by all."""
        size = stage.data.size
        if size is None:
            raise InputError(
                f"The stage {stage.name!r} learns from pairs without end, of which no reference can be measured "
                "beforehand. Take a part of them (looksay.data.dataset.Part)."
            )
        likelihoods: Callable[[Batch], Tensor] | None = getattr(self.model, "likelihoods", None)
        if likelihoods is None:
            raise InputError(untaught(self.model))
        each = stage.examples_per_batch or _AT_ONCE
        passes = range(rank * each, -(-size // (each * world)) * each * world, each * world)
        places = [place % size for start in passes for place in range(start, start + each)]
        asked, own = 0, []
        with (
            encoder(stage.data, self.encode, self.workers) as encoding,
            resting(self.model, torch.no_grad),
        ):
            for done in range(0, len(places), each):
                while asked < min(len(places), done + max(each, encoding.ahead)):
                    encoding.ask(places[asked])
                    asked += 1
                rows = [[encoding.take()] for _ in range(each)]
                with self.gradients.autocast():
                    batch = self.gradients.ready(fed(rows, self.pad_id))
                    pairs = likelihoods(batch).T.tolist()
                own += [(place, *pair) for place, pair in zip(places[done:], pairs, strict=False)]
        if world > 1:
            from accelerate.utils import gather_object

            own = gather_object(own)
        by_place = {place: (chosen, rejected) for place, chosen, rejected in own}
        return [by_place[place] for place in range(size)]


def untaught(model: Any) -> str:
    """Why a model does not learn from preferences, and what does."""
    return (
        f"A {getattr(model, 'family', type(model).__name__)} does not learn from preferences; expected a family whose "
        "answers a language model writes, such as llava, minigpt4 or blip2 (docs/models.md)."
    )
