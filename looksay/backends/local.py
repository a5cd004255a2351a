"""Models trained with looksay, run here: `local:FOLDER` is what `looksay train … --out FOLDER` wrote.

How a model wants to be asked stands in its checkpoint's card: `instructable` (false: it follows no
instructions beyond those it was trained on, so page context and purpose are not sent), `describe` (what it
is asked where a conversation has no words, or that by language), `languages`, `draft` (its texts need a
person's eye), and `knows` (where that is little).
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from looksay.backends import _device, _quantized, preparing
from looksay.backends.base import LoadOptions, Profile, searches
from looksay.errors import BackendError, InputError, LooksayError, MissingDependency
from looksay.types import Completion, Conversation, Message, Options

if TYPE_CHECKING:
    from looksay.backends._looking import Looked

DEFAULT_BATCH = {"cpu": 1, "mps": 2, "cuda": 8}
SMALL, SMALL_BATCH = 100_000_000, 16
"""With fewer weights than that a step is mostly overhead, also on a CPU: of a model of 7 million, 16 answers
at a time came 4.8 times as fast as one by one."""
WINDOW = 4
"""Conversations are drawn for so many batches at once, so that those of one length come together."""
SCENES = {
    "describe": "Describe the picture in detail.",
    "languages": ["en"],
    "draft": True,
    "knows": "drawn scenes only, not photographs: docs/scenes.md",
}
"""What the card of a model says that was trained on scenes, unless it says otherwise itself."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


class Speaker(Protocol):
    """What every family that answers offers (looksay.models.families); and perhaps `cannot_describe`, why it has no
    words for a picture of which nothing is asked."""

    def prepare(self, conversation: Conversation) -> Any:
        """The conversation as ids and pixels, `ids` being a list. Raises InputError."""

    def answer(
        self, prompts: Sequence[Any], options: Options, batch_size: int
    ) -> Sequence[tuple[str, int, int, Any]]:
        """Text, prompt tokens, new tokens and finish reason of each."""

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]: ...


class Local:
    """A checkpoint of looksay.models.checkpoint, loaded."""

    def __init__(
        self,
        name: str,
        model: Speaker,
        device: Any,
        fingerprint: str,
        card: Mapping[str, Any],
        batch_size: int,
        image_tokens: int,
        cannot_describe: str = "",
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._model, self._device, self._batch_size = model, device, batch_size
        words = card.get("describe", "Describe the image.")
        self._describe: Mapping[str, str] = words if isinstance(words, dict) else {"": str(words)}
        languages = card.get("languages")
        self.profile = Profile(
            instructable=not cannot_describe
            and bool(card.get("instructable", "describe" not in card)),
            cannot_describe=cannot_describe,
            draft=bool(card.get("draft", False)),
            knows=str(card.get("knows", "")),
            languages=tuple(languages) if languages else None,
            concurrency=batch_size,
            shared=True,
            image_tokens=image_tokens,
        )
        self._lock = threading.Lock()

    @cached_property
    def steps(self) -> Any:
        """How an engine writes many answers at once (`looksay.backends.engine`); None for families that cannot."""
        if not getattr(self._model, "joinable", False):
            return None
        from looksay.backends._steps import SplicedSteps

        return SplicedSteps(self._model, self._worded, self._lock)

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        """Answer side by side, or, families that cannot, in batches of similar length; `Completion.seconds` is each
        one's part of the time.

        What fails together is tried alone, down to the conversation that is at fault; after running out of memory, no
        more are answered at once than what fitted. `options.timeout_s` is not used: a model that is slow on this
        machine is not broken.
        """
        if self.steps is None:
            yield from self._in_batches(conversations, options)
            return
        yield from preparing.side_by_side(self, conversations, options, self._batch_size)

    def _in_batches(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        source = enumerate(conversations)
        while window := list(
            islice(source, self._batch_size * (WINDOW if self._batch_size > 1 else 1))
        ):
            ready = []
            for index, conversation in window:
                try:
                    ready.append((index, self._model.prepare(self._worded(conversation))))
                except Exception as error:  # one picture or odd text stops no run
                    yield Completion(index, error=_device.reason(error), finish_reason="error")
            ready.sort(key=lambda item: len(item[1].ids))
            while ready:
                batch, ready = ready[: self._batch_size], ready[self._batch_size :]
                yield from self._answer(batch, options)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """Yield the answer as it is written, other requests between its pieces where the reader is slow.
        Raises InputError and BackendError."""
        try:
            pieces = self._model.stream(self._worded(conversation), options)
            while True:
                with self._lock:
                    piece = next(pieces, None)
                if piece is None:
                    return
                yield piece
        except LooksayError:
            raise
        except Exception as error:
            raise BackendError(f"{self.name}: {_device.reason(error)}") from error

    def rank(self, conversation: Conversation, choices: Sequence[str]) -> list[float]:
        """Log-likelihood of each choice as the answer (nats). Raises InputError and BackendError."""
        from looksay.models.likelihood import log_likelihoods

        try:
            with self._lock:
                found: list[float] = log_likelihoods(
                    self._model, self._worded(conversation), choices
                )
            return found
        except LooksayError:
            raise
        except Exception as error:
            raise BackendError(f"{self.name}: {_device.reason(error)}") from error

    def looked(self, conversation: Conversation, answer: str) -> list[Looked]:
        """Where it looked when it said `answer`: an overlay and words for each picture, in order. Raises InputError,
        UnreadablePhoto and BackendError."""
        from looksay.backends import _looking

        return _looking.looked(self.rank, conversation, answer)

    def _answer(self, batch: Sequence[tuple[int, Any]], options: Options) -> Iterator[Completion]:
        def answer(some: Sequence[tuple[int, Any]]) -> list[Completion]:
            started = time.perf_counter()
            with self._lock:
                said = self._model.answer([prompt for _, prompt in some], options, len(some))
            seconds = (time.perf_counter() - started) / len(some)
            return [
                Completion(index, text.strip(), prompt, new, seconds, finish_reason=reason)
                for (index, _), (text, prompt, new, reason) in zip(some, said, strict=True)
            ]

        for (index, _), completion, fault in _device.in_halves(answer, batch, self._shrink):
            yield completion or Completion(index, error=fault, finish_reason="error")

    def _shrink(self, size: int) -> None:
        _device.empty_cache(self._device)
        self._batch_size = max(1, min(self._batch_size, size))

    def _worded(self, conversation: Conversation) -> Conversation:
        """The conversation, with the model's own words for "describe this" where its last turn has none."""
        if not conversation.messages:
            raise InputError("There is nothing to answer: the conversation is empty.")
        *before, last = conversation.messages
        if last.role != "user" or last.text.strip():
            return conversation
        if self.profile.cannot_describe:
            raise InputError(self.profile.cannot_describe)
        usual = next(iter(self._describe.values()))
        words = self._describe.get(conversation.hints.get("language", ""), usual)
        return replace(conversation, messages=(*before, Message("user", (*last.images, words))))


def load(model: str, options: LoadOptions) -> Local:
    """Load a folder. Raises InputError (no such folder, no checkpoint), BackendError, MissingDependency."""
    return open_folder(f"local:{model}", folder_of(model), options)


def folder_of(model: str) -> Path:
    """The folder that local:`model` names. Raises InputError where there is none."""
    if not model:
        raise InputError(
            "local needs the folder of a model that looksay trained: local:runs/llava. "
            "To train one, type: looksay train --help"
        )
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Expected what looksay train --out wrote.")
    return folder


def open_folder(
    name: str, folder: Path, options: LoadOptions, card: Mapping[str, Any] | None = None
) -> Local:
    """The backend `name` of a checkpoint; `card` overrides what the checkpoint's own says. Raises as `load`."""
    model, content, fingerprint = opened(name, folder, options, card)
    if not hasattr(model, "answer"):
        embeds = hasattr(model, "embed_images") and hasattr(model, "embed_texts")
        raise BackendError(
            f"{name} is a {content['family']}, which answers no questions."
            + (f" {searches(name)}" if embeds else "")
        )
    parameters = sum(weight.numel() for weight in model.parameters())
    if model.device.type == "cpu":
        from looksay.models import packed

        for name_of_part in {"tower", "language"} & set(getattr(model, "parts", ())):
            packed.ready(model.parts[name_of_part])
    device = _device.device_for(options.device)
    default = SMALL_BATCH if parameters < SMALL else DEFAULT_BATCH[device]
    if getattr(model, "joinable", False):
        default = preparing.ROWS[device]
    return Local(
        name,
        cast(Speaker, model),
        model.device,
        fingerprint,
        content["card"],
        options.batch_size or default,
        model.prompter.image_tokens,
        _cannot_describe(name, model, folder),
    )


def _cannot_describe(name: str, model: Any, folder: Path) -> str:
    """Why a model describes nothing, and what to type instead; empty where it does."""
    from looksay.models import checkpoint

    why = getattr(model, "cannot_describe", "")
    if not why:
        return ""
    stages = (folder / "caption", folder.parent / "caption")
    there = [place for place in stages if (place / checkpoint.FILE).is_file()]
    alike = [place for place in there if checkpoint.read(place)["family"] == model.family]
    other = 'a blip after its stage "caption" (looksay train blip --help)'
    if alike:
        other = f"local:{alike[0]}"
    return f'{why}. Type: looksay ask IMAGE "What is there?" --model {name}. To describe, take {other}.'


def opened(
    name: str, folder: Path, options: LoadOptions, card: Mapping[str, Any] | None = None
) -> tuple[Any, dict[str, Any], str]:
    """The model of a checkpoint, what its looksay.json says (its card overridden by `card`), and the
    fingerprint of both in the precision that it has here. Raises as `load`."""
    _device.check(options.device, options.dtype)
    _quantized.check(options.quantize, _device.device_for(options.device), options.runtime)
    try:
        from looksay.models import checkpoint
    except ImportError as error:
        raise MissingDependency(name, "local", error.name or "torch") from error
    content = checkpoint.read(folder)
    own = content["card"]
    content["card"] = {**(SCENES if own.get("data") == "scenes" else {}), **own, **(card or {})}
    device = _device.device_for(options.device)
    dtype = _device.dtype_for(options.dtype, device)
    quantize = options.quantize
    try:
        # Layers become narrow on the CPU, from the precision in which they were saved.
        model: Any = checkpoint.load(
            folder, "cpu" if quantize else device, None if quantize else dtype
        )
    except ImportError as error:
        raise MissingDependency(name, "train", error.name or "peft") from error
    if quantize:
        _quantized.hold_parts(name, model, quantize, device, dtype, options.runtime)
        model = checkpoint.moved(model, device, dtype)
    precision = _quantized.precision(dtype, quantize, device, options.runtime)
    return model, content, f"{_fingerprint(folder, content)}-{precision}"


def _fingerprint(folder: Path, content: Mapping[str, Any]) -> str:
    """Digest of the weights (the checkpoint has it) and of everything else that shapes an answer: the parts'
    arguments, the tokenizer, the words for "describe this". Where the folder lies does not matter."""
    shaping = {key: content[key] for key in ("family", "fingerprint", "arguments", "parts")}
    shaping["describe"] = content["card"].get("describe")
    digest = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode())
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
