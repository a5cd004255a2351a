"""Models as the engine drives them: read a prompt, write the next word of many answers at once.

`SplicedSteps` are looksay's own models that put pictures into a causal language model's text; those of the hub are in
`_hub_steps`. What was read of a prompt is kept for those that begin alike (a shared instruction, an earlier turn of
the same talk), and so is what the tower saw in a picture (`_kept`).
"""

# ruff: noqa: N803, N806, N815 (shape suffixes are capitals)

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from looksay.backends._kept import (
    Prefixes,
    Seen,
    Units,
    bytes_of,
    prompt_bytes,
    weight_bytes,
)
from looksay.models.decoding import Transcript
from looksay.models.slots import Layer, Slots, begun, place_bytes, read_of
from looksay.types import Conversation, Options


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that is ready to be read."""

    units: Units
    inputs: Any = None
    """As the model wants it; None once it is read."""
    size_bytes: int = 0
    """What the inputs take."""

    @property
    def length(self) -> int:
        return len(self.units)


class Begun(NamedTuple):
    """What came of reading a prompt."""

    scores_V: Tensor
    layers: list[Layer]
    reused: int
    """Places that an earlier prompt had read already."""
    ahead: int = 0
    """As `Slots.join` takes it."""


class Steps(Protocol):
    """One loaded model. `prompt` may be called from any thread, all else from the engine's."""

    tokenizer: Any
    device: Any
    context: int | None
    """Places of prompt and answer together; None: no limit."""
    place_bytes: int
    """What a place of one row costs in memory."""
    together: bool
    """Whether prompts are read several at once, where that is faster."""
    apart: bool
    """Whether several threads may read and write at once, each with slots of its own; else one waits for another."""

    def prompt(self, conversation: Conversation) -> Prompt:
        """Raises InputError, UnreadablePhoto and what else a picture or an odd text may raise."""

    def begin(self, prompts: Sequence[Prompt]) -> list[Begun]:
        """Read prompts, together where that is faster."""

    def keep(self, units: Units, layers: list[Layer]) -> None:
        """Remember what was read and written, for prompts that begin so."""

    def slots(self) -> Slots: ...

    def step(self, ids: Sequence[int], slots: Slots) -> Tensor:
        """Take one more id in each row; scores BV of the next."""

    def transcript(self, prompt: Prompt, options: Options) -> Transcript: ...

    def bent(
        self, prompt: Prompt, options: Options, said: Sequence[int], scores_V: Tensor
    ) -> Tensor:
        """The scores as the model's release wants them bent (a penalty for repetition, say)."""


class SplicedSteps:
    """A model of looksay's own whose answers are `joinable` (looksay.models.spliced)."""

    together = True

    def __init__(
        self, model: Any, worded: Callable[[Conversation], Conversation], lock: threading.Lock
    ) -> None:
        self.model, self._worded = model.eval(), worded
        self.apart = separable(model) and model.begins_alike
        self._lock = Joint(lock) if self.apart else lock
        self.tokenizer, self.device = model.tokenizer, model.device
        self._image_id: int = model.prompter.image_id
        self._each: int = model.prompter.image_tokens
        self.context: int | None = getattr(model.language.config, "max_position_embeddings", None)
        config = model.language.config
        weight: Tensor = model.language.head[0]
        self._layers: int = config.num_hidden_layers
        self.place_bytes = place_bytes(config, weight.element_size())
        self._prefixes = Prefixes(prompt_bytes(weight_bytes(model), self.device))
        self._seen_before = Seen(_named(model.tower, weight.dtype, self.device))

    def prompt(self, conversation: Conversation) -> Prompt:
        """The ids, each picture's places named by its bytes."""
        found = self.model.prepare(self._worded(conversation))
        units: list[Hashable] = list(found.ids)
        shown = [place for place, unit in enumerate(units) if unit == self._image_id]
        for number, place in enumerate(shown):
            units[place] = found.keys[number // self._each]
        return Prompt(tuple(units), found, bytes_of(found.pixels))

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def begin(self, prompts: Sequence[Prompt]) -> list[Begun]:
        """Those of one length together, unless most of one was read before."""
        with self._lock:
            return self._begin(prompts)

    def _begin(self, prompts: Sequence[Prompt]) -> list[Begun]:
        alike: dict[int, list[int]] = {}
        for at, prompt in enumerate(prompts):
            alike.setdefault(prompt.length, []).append(at)
        found: dict[int, Begun] = {}
        seen = self._seen([prompt.inputs for prompt in prompts])
        for length, places in alike.items():
            together = []
            for at in places:
                layers, known = self._known(
                    prompts[at], at_least=1 if len(places) == 1 else length // 2
                )
                if known:
                    cache = begun(layers, known)
                    scores_BV = self._read([prompts[at]], cache, seen, known)
                    found[at] = Begun(scores_BV[0], read_of(cache), known)
                else:
                    together.append(at)
            if together:
                cache = begun([], 0)
                scores_BV = self._read([prompts[at] for at in together], cache, seen, 0)
                for row, at in enumerate(together):
                    found[at] = Begun(scores_BV[row], read_of(cache, row), 0)
        return [found[at] for at in range(len(prompts))]

    def _known(self, prompt: Prompt, at_least: int) -> tuple[list[Layer], int]:
        """What was read of a prompt's beginning, up to a place between pictures."""
        if not self.model.begins_alike:
            return [], 0
        layers, known = self._prefixes.find(prompt.units)
        known -= self._shown(prompt.inputs.ids[:known]) % self._each
        return (layers, known) if known >= at_least else ([], 0)

    def _read(
        self, prompts: Sequence[Prompt], cache: Any, seen: Mapping[str, Tensor], known: int
    ) -> Tensor:
        before = self._shown(prompts[0].inputs.ids[:known]) // self._each
        keys = [key for prompt in prompts for key in prompt.inputs.keys[before:]]
        images = torch.stack([seen[key] for key in keys]) if keys else None
        scores_BV: Tensor = self.model.begin([p.inputs for p in prompts], cache, images, known)
        return scores_BV

    def _shown(self, ids: Sequence[int]) -> int:
        return sum(one == self._image_id for one in ids)

    def keep(self, units: Units, layers: list[Layer]) -> None:
        if self.model.begins_alike:
            self._prefixes.put(units, layers)

    def slots(self) -> Slots:
        return Slots(self._layers)

    def step(self, ids: Sequence[int], slots: Slots) -> Tensor:
        new = torch.tensor(ids, device=self.model.device)
        with self._lock:
            scores: Tensor = self.model.language.step(new, slots)
        return scores

    def transcript(self, prompt: Prompt, options: Options) -> Transcript:
        found: Transcript = self.model.transcripts(options, [prompt.inputs])[0]
        return found

    def bent(
        self, prompt: Prompt, options: Options, said: Sequence[int], scores_V: Tensor
    ) -> Tensor:
        return scores_V

    def _seen(self, sequences: Sequence[Any]) -> dict[str, Tensor]:
        """What each picture becomes, by its key; the tower does not look again at those that it saw lately."""
        pixels = {
            key: chw for one in sequences for key, chw in zip(one.keys, one.pixels, strict=True)
        }
        if not pixels:
            return {}
        known = {key: self._seen_before.get(key) for key in pixels}
        new = [key for key, features in known.items() if features is None]
        if new:
            stacked = torch.stack([pixels[key] for key in new]).to(self.model.device)
            for key, features_ND in zip(new, self.model.tower(stacked), strict=True):
                known[key] = features_ND.clone()
                self._seen_before.put(key, known[key])
        found: Tensor = self.model.images(torch.stack(list(known.values())))
        return dict(zip(known, found, strict=True))


class Joint:
    """A lock that several threads hold together; whoever takes it alone waits for all of them."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock, self._own, self._holders = lock, threading.Lock(), 0

    def __enter__(self) -> None:
        with self._own:
            if not self._holders:
                self._lock.acquire()
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._own:
            self._holders -= 1
            if not self._holders:
                self._lock.release()


def separable(model: Any) -> bool:
    """Whether a model may compute in several threads at once: on a CPU, where nothing in it changes meanwhile."""
    return model.device.type == "cpu" and not any(map(_changes, model.modules()))


def _changes(module: Any) -> bool:
    """Whether a layer keeps something of a call that is another's business, too, or may: layers of bitsandbytes are laid
    out anew at their first call, some frequencies depend on the length of a text, and of foreign code nobody knows."""
    foreign = type(module).__module__.partition(".")[0] in ("bitsandbytes", "transformers_modules")
    places = str(getattr(module, "rope_type", ""))
    return (
        foreign
        or getattr(module, "one_at_a_time", False)
        or "longrope" in places
        or "dynamic" in places
    )


def _named(tower: Any, dtype: Any, device: Any) -> Hashable:
    """What tells a tower from others that see a picture otherwise."""
    if not any(weight.is_floating_point() for weight in tower.parameters()):
        return id(tower)  # nothing to know it by
    arguments = json.dumps(getattr(tower, "arguments", None), sort_keys=True, default=str)
    return type(tower).__qualname__, tower.fingerprint, arguments, str(dtype), str(device)
