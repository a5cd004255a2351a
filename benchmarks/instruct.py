"""How much of what a lying teacher says slips through `looksay instruct`, on scenes, of which everything is known.

    python benchmarks/instruct.py [--conversations 1000] [--share 0.3] [--seed 0]

The teacher is a program. It says what is true of the captions and boxes that it is told, save in a known share of its
answers, in each of which one thing is wrong: an object is named that is nowhere, or a count, a size or a colour of the
background is another. A lie that is found is asked for again, and the new answer may lie as well.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from looksay.backends.base import Profile
from looksay.data import teaching
from looksay.data.contexts import Scenes
from looksay.data.instruct import Instructor
from looksay.data.scenes.atlas import COLOURS, NOUNS
from looksay.data.scenes.telling import NUMBERS, article
from looksay.types import Completion, Conversation, Options

LIES = ("object", "count", "size", "colour")
SHOWN = 2 * len(teaching.EXAMPLES)
"""Messages of examples between the task and what is told of the picture."""


class Liar:
    """Answers as it is told to, in the form that is asked for; `share` of its answers lie."""

    name, profile = "liar", Profile()

    def __init__(self, share: float, seed: int = 0) -> None:
        self.share, self.seed = share, seed
        self.fingerprint = f"liar-{share}-{seed}"
        self.said: dict[tuple[str, str, teaching.Turns], str] = {}
        """What was told, kind and turns of each answer → how it lied, or nothing."""
        self.answers: Counter[str] = Counter()
        """Answers by how they lied."""

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, conversation in enumerate(conversations):
            yield Completion(index, self.answer(conversation))

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield self.answer(conversation)

    def answer(self, conversation: Conversation) -> str:
        kind, told, attempt = asked(conversation)
        random = Random(f"{self.seed}-{kind}-{attempt}-{told}")
        lie = LIES[int(random.random() * len(LIES))] if random.random() < self.share else ""
        found = written(kind, told, lie, random)
        completion = Completion(0, json.dumps(found))
        question = teaching.DETAIL[0]
        turns = teaching.read(kind, completion, question)
        self.said[told, kind, tuple(answer for _, answer in turns)] = lie
        self.answers[lie] += 1
        return completion.text


def asked(conversation: Conversation) -> tuple[Any, str, int]:
    """Kind, what is told of the picture, and how often it was asked before."""
    head, *rest = conversation.messages
    kind = next(kind for kind, task in teaching.TASKS.items() if task == head.text)
    return kind, rest[SHOWN].text, (len(rest) - SHOWN) // 2


def written(kind: str, told: str, lie: str, random: Random) -> dict[str, Any]:
    """A true answer, or one with one lie in it, as the form wants it."""
    captions, _, boxes = told.partition("\n\n")
    sentence = captions.splitlines()[0]
    there = {line.partition(":")[0] for line in boxes.splitlines()}
    if lie == "object":
        absent = [noun.name for noun in NOUNS if noun.name not in there]
        sentence += f" There is also {article(absent[int(random.random() * len(absent))])}."
    elif lie:
        words = {"count": NUMBERS[1:], "size": ("small", "large"), "colour": tuple(COLOURS)}[lie]
        spoken = "|".join(words)
        (first, *_) = re.finditer(rf"\b({spoken})\b(?=.*background)", sentence, re.IGNORECASE)
        others = [word for word in words if word != first[0].lower()]
        other = others[int(random.random() * len(others))]
        sentence = sentence[: first.start()] + other + sentence[first.end() :]
        sentence = sentence[0].upper() + sentence[1:]
    if kind == "detail":
        more = "All of it is drawn in plain shapes, and nothing else is to be seen."
        return {"description": f"{sentence} {more}"}
    if kind == "reasoning":
        question = "Why can the picture be taken in at a glance?"
        return {"question": question, "answer": f"{sentence} So little is quickly seen."}
    turns = [
        {"question": "What does the picture show?", "answer": sentence},
        {"question": "Is it a photograph?", "answer": "No, it is drawn."},
    ]
    return {"turns": turns}


def measure(conversations: int, share: float, seed: int = 0) -> dict[str, Any]:
    """Lies told and lies written, by how they lie; what was written in all; and true answers that were not taken."""
    teacher, contexts = Liar(share, seed), Scenes(seed)
    with tempfile.TemporaryDirectory() as folder:
        taught = Instructor(Path(folder), teacher, contexts).run(conversations)
    slipped: Counter[str] = Counter()
    for sample in taught.samples:
        answers = tuple(answer for _, answer in sample.turns)
        slipped[teacher.said[contexts.at(sample.index).told, sample.kind, answers]] += 1
    return {
        "told": {lie: teacher.answers[lie] for lie in LIES},
        "slipped": {lie: slipped[lie] for lie in LIES},
        "written": len(taught.samples),
        "true answers": teacher.answers[""],
        "true answers not taken": teacher.answers[""] - slipped[""],
    }


def table(found: dict[str, Any]) -> str:
    """The measured shares with their intervals."""
    from rates import words

    told, slipped = found["told"], found["slipped"]
    rows = [f"{lie:<28}{words(slipped[lie], told[lie])}" for lie in LIES]
    wrong = sum(slipped.values())
    return "\n".join(
        [
            "lies that slip through, by what is wrong",
            *rows,
            f"{'of any kind':<28}{words(wrong, sum(told.values()))}",
            f"{'wrong of what is written':<28}{words(wrong, found['written'])}",
            f"{'true answers not taken':<28}{words(found['true answers not taken'], found['true answers'])}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(table(measure(chosen.conversations, chosen.share, chosen.seed)))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
