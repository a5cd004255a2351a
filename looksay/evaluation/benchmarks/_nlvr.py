"""What NLVR and NLVR2 share: true or false, right on every picture of a sentence or not."""

from __future__ import annotations

from collections.abc import Sequence

from looksay.data.sources.nlvr import WORDS
from looksay.evaluation.benchmark import Answer, Compat, Item
from looksay.evaluation.benchmarks._asking import SHORT
from looksay.evaluation.measures import Measure, of_samples, of_verdicts
from looksay.evaluation.metrics.yes_no import true_false
from looksay.types import Conversation


def item(name: str, asked: Conversation, right: bool, sentence: str, group: str) -> Item:
    """A sentence to be judged. `truth`: answer (whether it is true), sentence (whose every judgement must be
    right). `group`: what was written about together."""
    return Item(
        name,
        asked,
        {"answer": right, "sentence": sentence},
        image=group,
        kind=WORDS[0] if right else WORDS[1],
        choices=WORDS,
        max_tokens=SHORT,
    )


def score(answers: Sequence[Answer], compat: Compat) -> list[Measure]:
    """Accuracy, consistency (sentences that are judged rightly throughout), and how much is called true.

    official: the answer is the label and nothing else, in any case; all others are wrong.
    """
    said = {a.item.id: read(a.text, compat) for a in answers}
    right: dict[str, bool | None] = {}
    whole: dict[str, list[tuple[str, bool]]] = {}
    for a in answers:
        one = said[a.item.id]
        right[a.item.id] = (
            (False if compat == "official" else None)
            if one is None
            else one == a.item.truth["answer"]
        )
        verdicts = whole.setdefault(a.item.truth["sentence"], [])
        verdicts.append((a.item.id, bool(right[a.item.id])))
    accuracy, unreadable = of_verdicts(right)
    # A sentence goes by the first of its items, so that it falls into their cluster.
    consistent = {min(v)[0]: float(all(good for _, good in v)) for v in whole.values()}
    readable = {one: float(value) for one, value in said.items() if value is not None}
    return [
        accuracy,
        of_samples("consistency", consistent),
        of_samples("said true", readable, better=0),
        unreadable,
    ]


def read(answer: str, compat: Compat) -> bool | None:
    """What an answer says of the sentence; None where it says neither."""
    if compat == "official":
        return {"true": True, "false": False}.get(answer.strip().lower())
    return true_false(answer)
