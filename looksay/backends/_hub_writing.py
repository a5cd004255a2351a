"""What happens around `generate`: settings from Options, sampling, stop strings, and where answers end.

Shapes: B rows of a batch, T tokens so far, V vocabulary.
"""

# ruff: noqa: N803, N806 (shape suffixes are capitals)

from __future__ import annotations

import copy
import secrets
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from looksay.types import FinishReason, Options


class PromptLength(LogitsProcessor):  # type: ignore[misc]
    """Notes how long the sequence is before the first new token.

    What `generate` returns begins with the prompt, with a start token, or with neither, depending on the
    type; this is how many ids to skip in all of them.
    """

    tokens = 0
    seen = False

    def __call__(self, ids_BT: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        if not self.seen:
            self.tokens, self.seen = ids_BT.shape[1], True
        return scores_BV


class Certainty(LogitsProcessor):  # type: ignore[misc]
    """Notes how likely each chosen token was, before chance is added. Of beams it would tell nothing."""

    def __init__(self) -> None:
        self.chosen: list[torch.Tensor] = []
        self.before: torch.Tensor | None = None

    def __call__(self, ids_BT: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        self.note(ids_BT)
        self.before = scores_BV.float().log_softmax(-1)
        return scores_BV

    def note(self, ids_BT: torch.Tensor) -> None:
        """The last token of each row was chosen from the scores before."""
        if self.before is not None:
            self.chosen.append(self.before.gather(1, ids_BT[:, -1:]))


class Sampling(LogitsProcessor):  # type: ignore[misc]
    """Draws tokens by adding Gumbel noise, so that the greedy choice is a sample (the Gumbel-max trick).

    Each row has its own generator: with a seed, an answer does not depend on what else is in the batch.
    """

    def __init__(self, options: Options, rows: int) -> None:
        self.warpers = [TemperatureLogitsWarper(options.temperature)]
        if options.top_p < 1:
            self.warpers.append(TopPLogitsWarper(options.top_p))
        seeds = [
            secrets.randbits(63) if options.seed is None else options.seed for _ in range(rows)
        ]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, ids_BT: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        for warp in self.warpers:
            scores_BV = warp(ids_BT, scores_BV)
        width = scores_BV.shape[1]
        noise = [-torch.empty(width).exponential_(generator=g).log() for g in self.generators]
        return scores_BV + torch.stack(noise).to(scores_BV.device)


class StopAt(StoppingCriteria):  # type: ignore[misc]
    """Ends a row once its new text holds a stop string, and all rows once `cancelled` is set or the
    positions that the model has learned are used up."""

    def __init__(
        self, stop: Sequence[str], tokenizer: Any, prompt: PromptLength, positions: int | None
    ) -> None:
        self.stop, self.tokenizer, self.prompt, self.positions = stop, tokenizer, prompt, positions
        self.cancelled = self.full = False

    def __call__(self, ids_BT: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.full = self.positions is not None and ids_BT.shape[1] >= self.positions
        done = [self.cancelled or self.full] * ids_BT.shape[0]
        if self.stop and not done[0]:
            texts = self.tokenizer.batch_decode(
                ids_BT[:, self.prompt.tokens :], skip_special_tokens=True
            )
            done = [any(s in text for s in self.stop) for text in texts]
        return torch.tensor(done, device=ids_BT.device)


def greedy(base: Any, tokens: int, *, beams: bool) -> Any:
    """A copy of generation settings that takes the best score each time (with `beams`, of as many ways on as
    the release keeps), for at most so many new tokens."""
    settings = copy.deepcopy(base)
    settings.max_new_tokens, settings.max_length = tokens, None
    settings.do_sample = False
    settings.temperature = settings.top_p = settings.top_k = settings.min_p = None
    if not beams:
        settings.num_beams = 1
    return settings


def ends_of(settings: Any) -> set[int]:
    """The ids at which generation ends by these settings."""
    ends = settings.eos_token_id
    return set(ends if isinstance(ends, list) else [ends]) - {None}


class Writing:
    """One call of `generate`: what to pass, and how to read what comes back."""

    def __init__(
        self,
        base: Any,
        tokenizer: Any,
        options: Options,
        rows: int,
        *,
        positions: int | None = None,
        beams: bool = True,
    ) -> None:
        self.tokenizer, self.options = tokenizer, options
        # Sampling is done by our own processor, so that transformers always takes the best score.
        beams = beams and not options.temperature > 0
        self.settings = settings = greedy(base, options.max_tokens, beams=beams)
        settings.return_dict_in_generate = False
        self.ends = ends_of(settings)
        if settings.pad_token_id is None:
            settings.pad_token_id = tokenizer.pad_token_id
        self.prompt = PromptLength()
        self.stop = StopAt(options.stop, tokenizer, self.prompt, positions)
        self.certainty = Certainty() if (settings.num_beams or 1) == 1 else None
        processors: list[Any] = [self.prompt, *([self.certainty] if self.certainty else [])]
        if options.temperature > 0:
            processors.append(Sampling(options, rows))
        self.arguments = {
            "generation_config": settings,
            "logits_processor": LogitsProcessorList(processors),
            "stopping_criteria": StoppingCriteriaList([self.stop]),
        }

    def confidences(self, ids_BT: torch.Tensor) -> list[float | None]:
        """Mean log-probability (nats) of each returned row's new tokens, its end included; None after beams."""
        if self.certainty is None:
            return [None] * len(ids_BT)
        self.certainty.note(ids_BT)
        logs_BT = torch.cat(self.certainty.chosen, dim=1).cpu()
        found: list[float | None] = []
        for logs_T, ids_T in zip(logs_BT, ids_BT[:, self.prompt.tokens :].tolist(), strict=True):
            end = next((at + 1 for at, token in enumerate(ids_T) if token in self.ends), len(ids_T))
            found.append(float(logs_T[:end].mean()))
        return found

    def read(self, ids_T: torch.Tensor) -> tuple[str, int, FinishReason]:
        """The text of one returned row, its number of tokens without the end token, and why it ended."""
        ids = ids_T[self.prompt.tokens :].tolist()
        end = next((at for at, token in enumerate(ids) if token in self.ends), None)
        # BART-like models are forced to write the end token when the limit is reached.
        forced = (
            self.settings.forced_eos_token_id is not None and end == self.options.max_tokens - 1
        )
        reason: FinishReason = "length" if forced else "stop"
        if end is None:
            limit = self.stop.full or len(ids) >= self.options.max_tokens
            reason, end = "length" if limit else "stop", len(ids)
            while end and ids[end - 1] == self.settings.pad_token_id:
                end, reason = end - 1, "stop"
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        cuts = [at for s in self.options.stop if (at := text.find(s)) >= 0]
        if cuts:
            text, reason = text[: min(cuts)], "stop"
        return self._answer(text, ids_T).strip(), end, reason

    def _answer(self, text: str, ids_T: torch.Tensor) -> str:
        prompt = ids_T[: self.prompt.tokens][-8:].tolist()
        return without_thoughts(text, self.tokenizer.decode(prompt, skip_special_tokens=False))


def without_thoughts(text: str, lead: str) -> str:
    """The text without the thoughts of a model that thinks aloud; nothing if it got no further. `lead`: how the prompt
    ended, for some templates open the thoughts themselves."""
    _, closed, answer = text.rpartition("</think>")
    if closed:
        return answer
    opened = lead.rstrip().endswith("<think>") or text.lstrip().startswith("<think>")
    return "" if opened else text
