"""What MMBench's languages share: items, one for every rotation of a question, and circular accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Compat, Item
from looksay.evaluation.benchmarks import _letters, _tsv
from looksay.evaluation.benchmarks._asking import SHORT
from looksay.evaluation.measures import Measure, by_kind, of_verdicts
from looksay.evaluation.metrics import choices
from looksay.types import Conversation

_ROUND = 10**6
"""A row's index is its question's plus so many for every shift of the options."""


def items(path: Path, ending: str) -> list[Item]:
    """Every rotation of every question, a question's together; `ending` says what answer is wanted.

    The published files have a row for each rotation, and those are asked as they are; a file of unrotated
    rows alone is rotated here. `truth`: question, shift, size (number of shifts), options, answer, ability
    (the second level; empty where the file has none). kind: the finest level.
    """
    rows = _tsv.read(path, ("question", "answer", "category", "A", "B"))
    groups: dict[int, dict[int, _tsv.Row]] = {}
    for row in rows:
        index = row.number("index")
        groups.setdefault(index % _ROUND, {})[index // _ROUND] = row
    given = any(len(shifts) > 1 for shifts in groups.values())
    found: list[Item] = []
    for question, shifts in groups.items():
        first = shifts.get(0)
        size = len(next(iter(shifts.values())).options())
        if first is None or (given and sorted(shifts) != list(range(size))):
            raise InputError(
                f"{path}: question {question} with {size} options has the shifts {sorted(shifts)}; "
                f"expected 0 to {size - 1}: is the file cut short?"
            )
        found += _rotations(question, [shifts[n] for n in sorted(shifts)], size, ending)
    return found


def _rotations(question: int, rows: Sequence[_tsv.Row], size: int, ending: str) -> Iterator[Item]:
    for shift in range(size):
        row = rows[shift] if len(rows) == size else rows[0]
        options = row.options()
        if len(options) != size:
            row.place.fail(f"the question has {size} options in one shift and {len(options)} here.")
        answer = row.place.one_of(row.cells, "answer", tuple(options))
        if len(rows) != size:
            place = list(options).index(answer)
            texts, place = choices.rotated(tuple(options.values()), place, shift)
            names = list(options)
            options, answer = dict(zip(names, texts, strict=True)), names[place]
        hint = row.cells.get("hint", "")
        words = row.place.words(row.cells, "question")
        if hint not in ("", "nan"):
            words = f"{hint}\n{words}"
        yield Item(
            f"{question} r{shift}",
            Conversation.ask(row.image, _letters.asked(words, options, ending)),
            {
                "question": question,
                "shift": shift,
                "size": size,
                "options": options,
                "answer": answer,
                "ability": row.cells.get("l2-category", row.cells.get("L2-category", "")),
            },
            image=rows[0].shown,
            kind=row.place.words(row.cells, "category"),
            choices=tuple(options),
            max_tokens=SHORT,
        )


def score(answers: Sequence[Answer], compat: Compat) -> list[Measure]:
    """Circular accuracy, in all and by the six abilities of the second level; accuracy on the options as
    given (what is often compared with it by mistake); the share of answers that cannot be read.

    A question's figures stand under the id of its first rotation. Raises InputError where a rotation of a
    question is missing: credit asks for all.
    """
    verdicts = {a.item.id: _letters.verdict(a, compat) for a in answers}
    truths = [a.item.truth for a in answers]
    circles = choices.circles(
        (truth["question"], truth["shift"], truth["size"], verdicts[a.item.id])
        for a, truth in zip(answers, truths, strict=True)
    )
    whole = {f"{question} r0": circle.verdict for question, circle in circles.items()}
    first = {f"{question} r0": circle.first for question, circle in circles.items()}
    wrong = {
        f"{question} r0": tuple(
            f"{question} r{shift}" for shift, said in enumerate(circle.verdicts) if not said
        )
        for question, circle in circles.items()
        if not circle.verdict
    }
    circular = replace(of_verdicts(whole, "circular accuracy")[0], decided_by=wrong)
    abilities = {f"{truth['question']} r0": str(truth["ability"]) for truth in truths}
    parts = by_kind(circular, abilities) if any(abilities.values()) else []
    return [
        circular,
        *parts,
        of_verdicts(first, "accuracy, options as given")[0],
        of_verdicts(verdicts)[1],
    ]
