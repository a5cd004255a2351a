"""How likely a chat checkpoint finds given answers: `generate` is made to write each of them, and what it gave
to their ids is added up.

So an answer is weighed on the very path on which the checkpoint answers: the same prompt, positions and
attention, whatever its type. What is weighed is that it says this and then stops.

Shapes: B rows of a batch, T ids so far, V vocabulary.
"""

# ruff: noqa: N803, N806 (shape suffixes are capitals)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from looksay.backends._hub_asking import Asking
from looksay.backends._hub_writing import ends_of, greedy
from looksay.errors import BackendError, InputError


class Answers:
    """Turns answers into the ids that a checkpoint writes after its prompt. `ends` are those that end one."""

    def __init__(self, asking: Asking, settings: Any) -> None:
        self._asking, self._tokenizer = asking, asking.tokenizer
        own = self._tokenizer.eos_token_id
        self.ends = sorted(ends_of(settings)) or ([] if own is None else [own])
        if not self.ends:
            raise BackendError(
                "neither generation_config.json nor the tokenizer names a token that ends an answer "
                "(eos_token_id), so there is no telling how likely one is"
            )
        self._prompt, self._before, after = asking.frame()
        rest = after.lstrip()
        # Space that stands before the end token is written too; space before another turn is not.
        ended = rest.startswith(tuple(self._tokenizer.convert_ids_to_tokens(self.ends)))
        self._after = after[: len(after) - len(rest)] if ended else ""

    def ids(self, answer: str) -> list[int]:
        """The ids of an answer without its end. Raises InputError where it is empty.

        Prompt and answer are tokenised in one piece, as a model learns them: the space before a word
        belongs to that word's id. Where the tokenizer joins the last letter of the prompt and the first of
        the answer in one id, which no model can write after its prompt, the answer is tokenised alone.
        """
        if not answer.strip():
            raise InputError("an answer to be weighed is empty; expected words")
        text = f"{self._before}{self._asking.plain(answer.strip())}{self._after}"
        prompt, whole = self._tokens(self._prompt), self._tokens(self._prompt + text)
        said = whole[len(prompt) :]
        return said if whole[: len(prompt)] == prompt else self._tokens(text)

    def _tokens(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


class Forced(LogitsProcessor):  # type: ignore[misc]
    """Lets each row write its own answer and then the end, and nothing else."""

    def __init__(self, answers: Sequence[Sequence[int]], end: int) -> None:
        self.answers, self.end, self.step = answers, end, 0

    def __call__(self, ids_BT: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        only_BV = torch.full_like(scores_BV, -torch.inf)
        for row, ids in enumerate(self.answers):
            only_BV[row, ids[self.step] if self.step < len(ids) else self.end] = 0.0
        self.step += 1
        return only_BV


class Weighing:
    """One call of `generate` for a row per answer: what to pass, and how to read what comes back."""

    def __init__(self, base: Any, answers: Sequence[Sequence[int]], ends: Sequence[int]) -> None:
        self.answers, self.ends = answers, list(ends)
        settings = greedy(base, max(map(len, answers)) + 1, beams=False)
        settings.min_length = settings.min_new_tokens = 0  # whatever a release asks for
        settings.return_dict_in_generate = settings.output_logits = True
        self.arguments = {
            "generation_config": settings,
            # After those of the checkpoint, such as a penalty for repeating: nothing of them is left.
            "logits_processor": LogitsProcessorList([Forced(answers, self.ends[0])]),
        }

    def read(self, output: Any) -> list[float]:
        """Log-probability of each answer and any of the ends after it (nats), from the scores as the model
        gave them: no temperature, no penalty."""
        total = [0.0] * len(self.answers)
        for step, scores_BV in enumerate(output.logits):
            chances_BV = scores_BV.float().log_softmax(-1)
            for row, ids in enumerate(self.answers):
                if step < len(ids):
                    total[row] += float(chances_BV[row, ids[step]])
                elif step == len(ids):
                    total[row] += float(chances_BV[row, self.ends].logsumexp(-1))
        return total
