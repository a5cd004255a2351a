"""Any image-to-text checkpoint of transformers, run here: `hub:OWNER/NAME`, or `hub:/path/to/folder`.

What a checkpoint is comes from its config.json (`model_type`, `architectures`), never from its name.
docs/models.md lists the types that are proven, and how.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from looksay.backends import _device, preparing
from looksay.backends._hub_asking import Asking, Question
from looksay.backends._hub_loading import Checkpoint, open_checkpoint
from looksay.backends._hub_source import on_disk
from looksay.backends.base import LoadOptions, Profile
from looksay.backends.tickets import Ticket
from looksay.errors import BackendError, InputError, LooksayError
from looksay.images import load_rgb
from looksay.types import CONFIDENCE, Completion, Conversation, Options

if TYPE_CHECKING:
    from looksay.backends._looking import Looked

DEFAULT_BATCH = {"cpu": 1, "mps": 2, "cuda": 8}
"""Of models whose answers cannot join each other (`preparing.ROWS` are of the others)."""


class Hub:
    """A transformers checkpoint, loaded."""

    def __init__(
        self, name: str, checkpoint: Checkpoint, batch_size: int | None, max_side_px: int | None
    ) -> None:
        model, captioner = checkpoint.model, checkpoint.captioner
        self.name, self.fingerprint = name, checkpoint.fingerprint
        self._model, self._device, self._dtype = model, checkpoint.device, checkpoint.dtype
        self._asking = Asking(checkpoint.processor, captioner)
        self._tokenizer = checkpoint.processor.tokenizer
        self._max_side_px = max_side_px
        self._lock = threading.Lock()
        speaker = getattr(model, captioner.speaker) if captioner and captioner.speaker else model
        self._settings = speaker.generation_config
        if captioner and captioner.end_id:
            self._settings.eos_token_id = getattr(model.config.text_config, captioner.end_id)
        # Captioners are small decoders whose learned positions end; going past them is an IndexError.
        text = model.config.get_text_config(decoder=True) if captioner else None
        self._positions: int | None = getattr(text, "max_position_embeddings", None)
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        # A decoder goes on from the last position, so what is shorter is padded in front of the prompt.
        if not model.config.is_encoder_decoder:
            self._tokenizer.padding_side = "left"
        self._batch_size = batch_size or self._usual_batch
        self.profile = Profile(
            instructable=captioner is None,
            converses=captioner is None,
            languages=("en",) if captioner else None,
            concurrency=self._batch_size,
            shared=True,
            reads_px=max_side_px,
        )

    @property
    def _usual_batch(self) -> int:
        return DEFAULT_BATCH[self._device.type]

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        """Answer in batches of `batch_size`; `Completion.seconds` is the batch's time over its size.

        A batch that fails is halved and tried again, down to the conversation that is at fault; after
        running out of memory, later batches are no larger than what fitted. `options.timeout_s` is not
        used: a model that is slow on this machine is not broken. At temperature 0, nothing is random, and
        a checkpoint that was released with beam search uses it.
        """
        source = enumerate(conversations)
        while batch := list(islice(source, self._batch_size)):
            questions = []
            for index, conversation in batch:
                try:
                    questions.append(self._question(index, conversation))
                except LooksayError as error:
                    yield Completion(index, error=str(error), finish_reason="error")
            questions.sort(key=lambda q: str(q.kind))
            for _, alike in groupby(questions, key=lambda q: q.kind):
                yield from self._answer(list(alike), options)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """Yield the answer as it is written (without beam search). Raises BackendError where it fails."""
        from transformers import TextIteratorStreamer

        question = self._question(0, conversation)
        writing = self._writing(options, 1, beams=False)
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        fault: list[Exception] = []

        def write() -> None:
            try:
                self._generate([question], writing, streamer=streamer)
            except Exception as error:
                fault.append(error)
            finally:
                streamer.end()

        thread = threading.Thread(target=write, name="looksay-hub-stream", daemon=True)
        thread.start()
        try:
            yield from _until(streamer, options.stop)
        finally:
            writing.stop.cancelled = True
            thread.join()
        if fault:
            raise BackendError(f"{self.name}: {_device.reason(fault[0])}") from fault[0]

    def _question(self, index: int, conversation: Conversation) -> Question:
        images = [
            load_rgb(image.source, max_side_px=self._max_side_px, seen_px=self._asking.seen_px)
            for image in conversation.images
        ]
        return self._asking.question(index, conversation, images)

    def _answer(self, questions: list[Question], options: Options) -> Iterator[Completion]:
        def answer(some: Sequence[Question]) -> list[Completion]:
            started = time.perf_counter()
            writing = self._writing(options, len(some))
            rows, prompt_tokens = self._generate(some, writing)
            answers = [writing.read(row) for row in rows.cpu()]
            sure = [_told(one) for one in writing.confidences(rows)]
            seconds = (time.perf_counter() - started) / len(some)
            return [
                Completion(
                    q.index, text, prompt, tokens, seconds, finish_reason=reason, details=details
                )
                for q, (text, tokens, reason), prompt, details in zip(
                    some, answers, prompt_tokens, sure, strict=True
                )
            ]

        for question, completion, fault in _device.in_halves(answer, questions, self._shrink):
            yield completion or Completion(question.index, error=fault, finish_reason="error")

    def _shrink(self, size: int) -> None:
        _device.empty_cache(self._device)
        self._batch_size = max(1, min(self._batch_size, size))

    def _writing(self, options: Options, rows: int, *, beams: bool = True) -> Any:
        from looksay.backends._hub_writing import Writing

        return Writing(
            self._settings, self._tokenizer, options, rows, positions=self._positions, beams=beams
        )

    def _generate(
        self, questions: Sequence[Question], writing: Any, **more: Any
    ) -> tuple[Any, list[int]]:
        """What `generate` returns (ids, one row per question, unless `writing` asks for more) and the number
        of prompt tokens of each."""
        import torch

        inputs = self._asking.tensors(questions)
        mask = inputs.get("attention_mask")
        prompt_tokens = [0] * len(questions) if mask is None else mask.sum(dim=-1).tolist()
        with self._lock, torch.inference_mode():
            inputs = inputs.to(self._device, dtype=self._dtype)
            found = self._model.generate(**inputs, **writing.arguments, **more)
        return found, prompt_tokens


class Chat(Hub):
    """A decoder with a chat template, loaded: it can also say how likely it finds given answers."""

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        """Answer side by side, each joining and leaving between two words; models that cannot, and those released with
        beam search, in batches as others do."""
        beams = (self._settings.num_beams or 1) > 1 and options.temperature <= 0
        if self.steps is None or beams:
            yield from super().complete(conversations, options)
            return
        yield from preparing.side_by_side(
            self, conversations, options, self._batch_size, self._without_thoughts
        )

    @property
    def _usual_batch(self) -> int:
        device: str = self._device.type
        return DEFAULT_BATCH[device] if self.steps is None else preparing.ROWS[device]

    def _without_thoughts(self, ticket: Ticket, text: str) -> str:
        from looksay.backends._hub_writing import without_thoughts

        lead = [unit for unit in ticket.prompt.units[-8:] if isinstance(unit, int)]
        return without_thoughts(text, self._tokenizer.decode(lead, skip_special_tokens=False))

    @cached_property
    def steps(self) -> Any:
        """How an engine writes many answers at once (`looksay.backends.engine`); None for models that cannot."""
        from looksay.backends._hub_steps import HubSteps, joinable

        if not joinable(self._model, self._settings):
            return None
        return HubSteps(
            self._model,
            self.fingerprint,
            self._asking,
            self._settings,
            lambda talk: self._question(0, talk),
            self._lock,
        )

    def rank(self, conversation: Conversation, choices: Sequence[str]) -> list[float]:
        """Log-likelihood of each choice as the answer (nats, its end included), in order; see `_hub_ranking`.

        The prompt is computed once for each choice, in batches as in `complete`. Raises InputError and
        BackendError.
        """
        from looksay.backends._hub_ranking import Weighing

        question = self._question(0, conversation)

        def weigh(some: Sequence[str]) -> list[float]:
            answers = [self._answers.ids(choice) for choice in some]
            weighing = Weighing(self._settings, answers, self._answers.ends)
            output, _ = self._generate([question] * len(some), weighing)
            return weighing.read(output)

        found = []
        rest = iter(choices)
        while batch := list(islice(rest, self._batch_size)):
            for _, value, fault in _device.in_halves(weigh, batch, self._shrink):
                if value is None:
                    raise BackendError(f"{self.name}: {fault}")
                found.append(value)
        return found

    def looked(self, conversation: Conversation, answer: str) -> list[Looked]:
        """Where it looked when it said `answer`: an overlay and words for each picture, in order. Raises InputError,
        UnreadablePhoto and BackendError."""
        from looksay.backends import _looking

        return _looking.looked(self.rank, conversation, answer)

    @cached_property
    def _answers(self) -> Any:
        from looksay.backends._hub_ranking import Answers

        return Answers(self._asking, self._settings)


def load(model: str, options: LoadOptions) -> Hub:
    """Load a checkpoint from disk, fetching it first if it is not there and a hub is in reach.

    Raises BackendError (not there, not a model of this kind, damaged), MissingDependency, InputError.
    """
    if not model:
        raise InputError(
            "hub needs a checkpoint: hub:OWNER/NAME or hub:/path/to/folder, for example "
            "hub:Salesforce/blip-image-captioning-large"
        )
    checkpoint = open_checkpoint(model, options)
    if checkpoint.device.type == "cpu":
        from looksay.models import packed

        packed.ready(checkpoint.model)
    chats = checkpoint.captioner is None and not checkpoint.model.config.is_encoder_decoder
    kind = Chat if chats else Hub
    return kind(f"hub:{model}", checkpoint, options.batch_size, options.max_side_px)


def discover() -> list[str]:
    """Names of the checkpoints in the hub's cache on disk that describe images; reads config files only."""
    return [f"hub:{repository}" for repository in on_disk()]


def _told(confidence: float | None) -> dict[str, float]:
    """What `Completion.details` says of it."""
    return {} if confidence is None else {CONFIDENCE: confidence}


def _until(pieces: Iterable[str], stop: tuple[str, ...]) -> Iterator[str]:
    """Pass pieces on up to the first stop string, holding back what may be the beginning of one."""
    held = ""
    for piece in pieces:
        held += piece
        if cuts := [at for s in stop if (at := held.find(s)) >= 0]:
            yield held[: min(cuts)]
            return
        keep = max((n for s in stop for n in range(1, len(s)) if held.endswith(s[:n])), default=0)
        if ready := held[: len(held) - keep]:
            yield ready
        held = held[len(held) - keep :]
    if held:
        yield held
