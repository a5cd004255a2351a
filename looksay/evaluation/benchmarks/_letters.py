"""What questions with lettered options share: how they are asked, and whether an answer is right."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Compat, Item
from looksay.evaluation.benchmarks._asking import LETTER
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.metrics import choices
from looksay.evaluation.metrics.verdicts import Verdict


def lettered(texts: Sequence[str]) -> dict[str, str]:
    """Letter → text, from A on."""
    return dict(zip(string.ascii_uppercase, texts, strict=False))


def asked(question: str, options: Mapping[str, str], ending: str = LETTER) -> str:
    """The question, its options line by line as "A. …", and what is wanted (LLaVA, docs/Evaluation.md)."""
    return "\n".join([question, *(f"{name}. {text}" for name, text in options.items()), ending])


def ranked(item: Item) -> bool:
    """Whether its choices are the options' texts, not their letters: such a question can only be ranked."""
    options: Mapping[str, str] = item.truth["options"]
    return item.choices not in ((), tuple(options)) and item.choices == tuple(options.values())


def verdict(answer: Answer, compat: Compat) -> Verdict:
    """Whether an answer chooses the right option; the item's truth has `options` and `answer` (a letter).

    strict and vlmevalkit as in `looksay.evaluation.metrics.choices`. VLMEvalKit without a judge counts what
    it cannot read, and refusals, as wrong: no credit either way, so they are failed parses here. A ranked
    text holds no letter to read: it is compared with the right option's text, by all rules.
    """
    truth: Mapping[str, Any] = answer.item.truth
    if ranked(answer.item):
        if answer.text not in answer.item.choices:
            raise InputError(
                f"Item {answer.item.id!r} asks without its options, to rank them by likelihood; found the "
                f"answer {answer.text[:60]!r}, which is none of them. Ask with --mode likelihood."
            )
        return bool(answer.text == truth["options"][truth["answer"]])
    how: choices.Compat = "vlmevalkit" if compat == "vlmevalkit" else "strict"
    said = choices.letter(answer.text, truth["options"], how)
    return None if said not in truth["options"] else said == truth["answer"]


def accuracy(answers: Sequence[Answer], compat: Compat) -> list[Measure]:
    """The share of right answers, and of those that could not be read."""
    return of_verdicts({a.item.id: verdict(a, compat) for a in answers})
