"""Counting: how many are there? A benchmark of our own form, for pictures that you have counted yourself.

counts.json is a list; one entry: {"image": "dice-07.jpg", "question": "How many dice are there?", "count": 3,
"kind": "dice"}. `id` (else the entry's number from 1) and `kind` may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, entries, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks._asking import SHORT
from looksay.evaluation.measures import Measure, of_samples, of_verdicts
from looksay.evaluation.metrics.counting import count
from looksay.types import Conversation

NUMBER = "Answer with a number only."

CARD = Card(
    title="Counting",
    measures="How many of something are in a picture, and how far off an answer is.",
    needs={
        "counts.json": "a list of {image, question, count, kind}",
        "images/": "the pictures",
    },
    where="your own pictures: write counts.json beside them",
    licence="that of your pictures",
    loader="looksay.evaluation.benchmarks.counting itself",
    paper="none",
)


def read(folder: Path, variant: str = "") -> list[Item]:
    """The questions. `truth`: count."""
    path = folder / "counts.json"
    rows = entries(path, load_json(path))
    found = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row)
        file = place.words(row, "image")
        name = str(place.get(row, "id", (str, int), "text or a number")) if "id" in row else ""
        name = name or str(number + 1)
        if name in seen:
            place.fail("another entry has the same id.")
        seen.add(name)
        right = place.get(row, "count", int, "a whole number")
        if right < 0:
            place.fail(f"'count' is {right}; expected 0 or more.")
        asked = f"{place.words(row, 'question')}\n{NUMBER}"
        found.append(
            Item(
                name,
                Conversation.ask(place.image(folder / "images", file), asked),
                {"count": right},
                image=file,
                kind=place.words(row, "kind") if "kind" in row else "",
                max_tokens=SHORT,
            )
        )
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Exact matches; the mean distance of the answers that could be read; the share that could not."""
    said = {a.item.id: count(a.text) for a in answers}
    right = {a.item.id: int(a.item.truth["count"]) for a in answers}
    verdict = {one: None if n is None else n == right[one] for one, n in said.items()}
    exact, unreadable = of_verdicts(verdict, "exact match")
    off = {one: float(abs(n - right[one])) for one, n in said.items() if n is not None}
    error = of_samples("mean absolute error of those read", dict(off), scale=1.0, better=-1)
    return [exact, error, unreadable]
