"""Chat models of the hub as the engine drives them (`_steps.Steps`): each prompt is read through the model's own
forward, whatever that does with pictures; the words after it are written side by side."""

# ruff: noqa: N803, N806 (shape suffixes are capitals)

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from looksay.backends._hub_asking import Asking, Question
from looksay.backends._hub_seeing import Seeing
from looksay.backends._hub_writing import ends_of
from looksay.backends._kept import Prefixes, Units, bytes_of, prompt_bytes, weight_bytes
from looksay.backends._steps import Begun, Joint, Prompt, separable
from looksay.images import digest
from looksay.models.decoding import Transcript
from looksay.models.slots import Layer, Slots, begun, place_bytes, plain, read_of
from looksay.types import Conversation, Options


class HubSteps:
    """A decoder with a chat template; `fingerprint` names its weights."""

    together = False

    def __init__(
        self,
        model: Any,
        fingerprint: str,
        asking: Asking,
        settings: Any,
        question: Callable[[Conversation], Question],
        lock: threading.Lock,
    ) -> None:
        self.model, self._asking = model, asking
        self._question = question
        self._set_up, self._setting_up = False, threading.Lock()
        self._settings = settings
        self._bending = LogitsProcessorList(
            made(settings)
            for name, made in _BENDING.items()
            if getattr(settings, name, None) not in (None, 0, 1.0)
        )
        self.tokenizer, self.device = asking.tokenizer, model.device
        config = model.config.get_text_config(decoder=True)
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self._layers = int(config.num_hidden_layers)
        self.place_bytes = place_bytes(config, model.dtype.itemsize)
        takes = inspect.signature(model.forward).parameters
        self._fewer = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        # Its old name until transformers 5.23.
        self._cache_name = "cache" if "cache" in takes else "past_key_values"
        self._image_id = image_id(model.config)
        inner = getattr(model, "model", model)
        self._counts_in_two = inner if hasattr(inner, "rope_deltas") else None
        self.apart = separable(model) and self._counts_in_two is None
        self._lock = Joint(lock) if self.apart else lock
        self._ahead: dict[str, int] = {"": 0}
        """By the pictures of a talk: how far ahead of its places it counts."""
        self._prefixes = Prefixes(prompt_bytes(weight_bytes(model), model.device))
        self._seeing = Seeing(model, fingerprint)

    def prompt(self, conversation: Conversation) -> Prompt:
        """The processor's tensors; places of pictures are named by all pictures of the talk."""
        inputs = self._tensors(self._question(conversation)).to(dtype=self.model.dtype)
        mask = inputs.get("pixel_attention_mask")
        if mask is not None:  # eight bytes for every pixel of every tile otherwise
            inputs["pixel_attention_mask"] = mask.bool()
        shown = "".join(digest(image.source) for image in conversation.images)
        units: list[Hashable] = inputs["input_ids"][0].tolist()
        if shown:
            units = [shown if one == self._image_id else one for one in units]
        return Prompt(tuple(units), inputs, bytes_of(inputs))

    def _tensors(self, question: Question) -> Any:
        if self._set_up:
            return self._asking.tensors([question])
        with (
            self._setting_up
        ):  # a tokenizer sets its padding at first, which suffers nobody beside it
            inputs = self._asking.tensors([question])
            self._set_up = True
            return inputs

    def begin(self, prompts: Sequence[Prompt]) -> list[Begun]:
        """One after the other: what a processor makes of pictures stands in no common row."""
        with self._lock:
            return [self._begin(prompt) for prompt in prompts]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _begin(self, prompt: Prompt) -> Begun:
        layers, known = self._prefixes.find(prompt.units)
        pictured = [at for at, unit in enumerate(prompt.units) if isinstance(unit, str)]
        shown = str(prompt.units[pictured[-1]]) if pictured else ""
        unseen = bool(pictured) and known <= pictured[-1]
        if unseen:  # its pictures have to be read, and they come whole
            known = min(known, pictured[0])
            if known < Prefixes.LEAST or self._counts_in_two is not None:
                known = 0
        inputs = prompt.inputs.to(self.model.device)
        given = {
            # What stands for places goes on behind those that are known.
            name: value[:, known:] if tuple(value.shape[:2]) == (1, prompt.length) else value
            for name, value in inputs.items()
            if name != "attention_mask"
        }
        if known:
            places = torch.arange(known, prompt.length, device=self.model.device)
            given |= self._places(places[None] + (0 if unseen else self._ahead[shown]))
            if not unseen:
                given = {name: given[name] for name in ("input_ids", "position_ids")}
        elif self._counts_in_two is not None:
            self._counts_in_two.rope_deltas = None  # of the prompt before
        cache = begun(layers, known)
        with self._seeing.at(shown if unseen else None):
            found = self.model(**given, **{self._cache_name: cache}, use_cache=True, **self._fewer)
        if unseen:
            deltas = getattr(self._counts_in_two, "rope_deltas", None)
            self._ahead[shown] = 0 if deltas is None else int(deltas.flatten()[0])
        return Begun(found.logits[0, -1], read_of(cache), known, self._ahead[shown])

    def keep(self, units: Units, layers: list[Layer]) -> None:
        self._prefixes.put(units, layers)

    def slots(self) -> Slots:
        return Slots(self._layers)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def step(self, ids: Sequence[int], slots: Slots) -> Tensor:
        with self._lock:
            found = self.model(
                input_ids=torch.tensor(ids, device=self.model.device)[:, None],
                attention_mask=slots.mask_BT(),
                **{self._cache_name: slots},
                **self._places(slots.positions_B[:, None]),
                use_cache=True,
                **self._fewer,
            )
        slots.advance()
        scores_BV: Tensor = found.logits[:, -1]
        return scores_BV

    def transcript(self, prompt: Prompt, options: Options) -> Transcript:
        room = options.max_tokens
        if self.context is not None:
            room = min(room, self.context - prompt.length)
        return Written(self.tokenizer, ends_of(self._settings), options.stop, room)

    def bent(
        self, prompt: Prompt, options: Options, said: Sequence[int], scores_V: Tensor
    ) -> Tensor:
        """As the release's generation settings have it (a penalty for what was said already, words that are never
        said)."""
        if not self._bending:
            return scores_V
        before = [self._image_id if isinstance(unit, str) else unit for unit in prompt.units]
        ids_1T = torch.tensor([[*before, *said]], device=scores_V.device)
        bent_1V: Tensor = self._bending(ids_1T, scores_V[None].float())
        return bent_1V[0]

    def _places(self, positions_BT: Tensor) -> dict[str, Tensor]:
        if self._counts_in_two is not None:
            return {"position_ids": positions_BT.expand(3, -1, -1)}
        return {"position_ids": positions_BT}


class Written(Transcript):
    """An answer whose end is not counted, as `_hub_writing` has it."""

    @property
    def count(self) -> int:
        return len(self.ids) - (self.ids[-1] in self.stop_ids)


_BENDING: dict[str, Callable[[Any], Any]] = {
    "repetition_penalty": lambda settings: RepetitionPenaltyLogitsProcessor(
        settings.repetition_penalty
    ),
    "no_repeat_ngram_size": lambda settings: NoRepeatNGramLogitsProcessor(
        settings.no_repeat_ngram_size
    ),
    "suppress_tokens": lambda settings: SuppressTokensLogitsProcessor(settings.suppress_tokens),
}
"""Settings of a release that change what is said, and how."""
_ALSO_BEND = (
    "bad_words_ids",
    "begin_suppress_tokens",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "guidance_scale",
    "min_length",
    "min_new_tokens",
    "sequence_bias",
    "stop_strings",
)
"""Settings that `generate` alone heeds."""


def joinable(model: Any, settings: Any) -> bool:
    """Whether the model's answers can be written side by side, with all that its release asks for."""
    if model.config.is_encoder_decoder or any(getattr(settings, name, None) for name in _ALSO_BEND):
        return False
    takes = inspect.signature(model.forward).parameters
    known = "position_ids" in takes and ("cache" in takes or "past_key_values" in takes)
    return known and image_id(model.config) is not None and plain(model.config)


def image_id(config: Any) -> int | None:
    """The id that stands where a picture is."""
    found = (getattr(config, name, None) for name in ("image_token_id", "image_token_index"))
    return next((int(one) for one in found if one is not None), None)
