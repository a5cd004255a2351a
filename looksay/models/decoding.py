"""From scores to words: choosing an id, and the text of an answer as it grows.

Shapes: B rows, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from looksay.models import batching


def pick(
    logits_BV: Tensor, temperature: float, top_p: float, generators: Sequence[torch.Generator]
) -> list[int]:
    """The next id of each row: the best one at temperature 0, else one drawn (by the row's own
    generator) from the smallest set of words whose probabilities reach `top_p`."""
    if temperature <= 0:
        best: list[int] = logits_BV.argmax(-1).tolist()
        return best
    chances_BV = (logits_BV.float().cpu() / temperature).softmax(-1)
    if top_p < 1:
        sorted_BV, order_BV = chances_BV.sort(descending=True)
        beyond_BV = sorted_BV.cumsum(-1) - sorted_BV >= top_p
        beyond_BV[:, 0] = False  # the likeliest word remains, also at top_p 0
        chances_BV = chances_BV.scatter(-1, order_BV, sorted_BV.masked_fill(beyond_BV, 0.0))
    return [
        int(torch.multinomial(chances_V, 1, generator=generator))
        for chances_V, generator in zip(chances_BV, generators, strict=True)
    ]


def seeded(seed: int | None) -> torch.Generator:
    """A row's own source of chance; None: a fresh one."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


WINDOW = 48
"""Ids at the end of an answer that are decoded when another comes."""


class Transcript:
    """One answer while it is spoken: its ids, its text so far, and why it ended.

    The text ends before the first of `stop` (strings); `fresh` gives what is new and will not change
    any more, so that the pieces of a stream join to `text`.
    """

    def __init__(
        self, tokenizer: Any, stop_ids: Iterable[int], stop: Iterable[str], max_tokens: int
    ) -> None:
        self.tokenizer = tokenizer
        self.stop_ids, self.stop = frozenset(stop_ids), tuple(s for s in stop if s)
        self.max_tokens = max_tokens
        self.ids: list[int] = []
        self.text = ""
        self.reason: Literal["stop", "length"] | None = None
        self._given = 0
        self._before = ""
        self._from = self._skip = 0

    @property
    def count(self) -> int:
        """How many ids the answer took."""
        return len(self.ids)

    def add(self, token: int) -> bool:
        """Take the next id; True when the answer is complete."""
        self.ids.append(token)
        if token in self.stop_ids:
            self.reason = "stop"
        else:
            said = self._said()
            cut = min((at for s in self.stop if (at := said.find(s)) >= 0), default=None)
            self.text = said if cut is None else said[:cut]
            if cut is not None:
                self.reason = "stop"
            elif len(self.ids) >= self.max_tokens:
                self.reason = "length"
        if self.reason is not None:
            self.text = self.text.rstrip()
        return self.reason is not None

    def fresh(self) -> str:
        """What can be shown now and was not given before."""
        end = len(self.text)
        if self.reason is None:
            end = self._settled()
        piece = self.text[self._given : end]
        self._given = max(self._given, end)
        return piece

    def _said(self) -> str:
        """The text of all ids. What lies further back than `WINDOW` is not decoded again: from there on a few ids more
        than are wanted are decoded, and what they say is skipped, for a tokenizer writes the first id of a text
        otherwise than the same id within one."""
        piece = self._decoded(self._from)[self._skip :]
        if len(self.ids) - self._from > WINDOW:
            middle = len(self.ids) - WINDOW // 2
            start = middle - WINDOW // 8
            skip = len(self._decoded(start, middle))
            tail = self._decoded(start)[skip:]
            if piece.endswith(tail):
                self._before += piece[: len(piece) - len(tail)]
                self._from, self._skip, piece = start, skip, tail
        return (self._before + piece).lstrip()

    def _decoded(self, start: int, end: int | None = None) -> str:
        found: str = self.tokenizer.decode(self.ids[start:end], skip_special_tokens=True)
        return found

    def _settled(self) -> int:
        """Length of the text that no later id can change: no half characters, no beginning of a stop
        string, no space at the end."""
        text = self.text.rstrip("\ufffd")
        longest = max((len(s) for s in self.stop), default=0)
        for start in range(max(0, len(text) - longest), len(text)):
            if any(s.startswith(text[start:]) for s in self.stop):
                text = text[:start]
                break
        return len(text.rstrip())


class Answer(NamedTuple):
    """What was said, from how many ids, with how many, and why it ended."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length"]


Prompts = Sequence[batching.Sequence]
Begin = Callable[[Prompts], list[Transcript]]
"""An empty answer for each prompt."""
Speak = Callable[[Prompts, Sequence[Transcript]], Iterable[object]]
"""Adds to the answers, one id per turn, until all are complete."""


def answer_all(
    model: nn.Module, prompts: Prompts, begin: Begin, speak: Speak, batch_size: int
) -> list[Answer]:
    """The model's answer to each prompt, in order; those of similar length are answered together."""
    answers: dict[int, Answer] = {}
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        some = [prompts[i] for i in chosen]
        said = begin(some)
        with resting(model):
            for _ in speak(some, said):
                pass
        for i, one in zip(chosen, said, strict=True):
            answers[i] = Answer(one.text, len(prompts[i].ids), len(one.ids), one.reason or "length")
    return [answers[i] for i in range(len(prompts))]


def stream_one(
    model: nn.Module, prompt: batching.Sequence, begin: Begin, speak: Speak
) -> Iterator[str]:
    """The answer to one prompt piece by piece; the pieces join to the text of `answer_all`."""
    said = begin([prompt])
    turns = iter(speak([prompt], said))
    while True:
        # Only while it speaks: between two pieces others ask the same model, or train it.
        with resting(model):
            ended = next(turns, None) is None
        if ended:
            return
        if piece := said[0].fresh():
            yield piece


@contextmanager
def resting(
    model: nn.Module, graphless: Callable[[], AbstractContextManager[Any]] = torch.inference_mode
) -> Iterator[None]:
    """The model in evaluation mode and without a graph, then each of its modules in the mode that it was in: what a
    stage has frozen rests anyway. `graphless` torch.no_grad: for weights in shards, which are gathered for good."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with graphless():
            yield
    finally:
        for module in training:
            module.training = True
