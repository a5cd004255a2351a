"""POPE: is an object in the picture? Half of the questions name one that is not.

One line: {"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a snowboard in the
image?", "label": "yes"}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks._asking import SHORT, SHORTLY
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.metrics import pope
from looksay.types import Conversation

CARD = Card(
    title="POPE",
    measures="Whether a model says that objects are there which are not.",
    needs={
        "coco_pope_random.json": "questions about objects drawn at random, one JSON object per line",
        "coco_pope_popular.json": "about frequent objects",
        "coco_pope_adversarial.json": "about objects that often stand together",
        "val2014/": "images of COCO 2014",
    },
    where="https://github.com/RUCAIBox/POPE/tree/main/output/coco",
    licence="MIT (questions); images: Flickr's terms",
    loader="RUCAIBox/POPE: evaluate.py",
    paper="Li et al., Evaluating Object Hallucination in Large Vision-Language Models, EMNLP 2023",
    variants=("random", "popular", "adversarial"),
    compat=("strict", "official", "lmms-eval", "vlmevalkit"),
)


def read(folder: Path, variant: str = "random") -> list[Item]:
    """The questions of one of the three files. `truth`: answer (yes or no). No kinds: F1 of the questions whose
    answer is no would be 0 whatever is said."""
    path = folder / f"coco_pope_{variant}.json"
    rows = load_json(path, lines=True)
    items = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row, "question_id")
        name = str(place.get(row, "question_id", (int, str), "a number"))
        place.once(name, seen, "question_id")
        file = place.words(row, "image")
        image = place.image(folder / "val2014", file)
        answer = place.one_of(row, "label", ("yes", "no"))
        asked = Conversation.ask(image, f"{place.words(row, 'text')}\n{SHORTLY}")
        items.append(Item(name, asked, {"answer": answer}, image=file, max_tokens=SHORT))
    return items


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """F1 of yes, as LLaVA-1.5 reports it (the mean of the three files), accuracy and the others."""
    said = {a.item.id: (pope.parse(a.text, compat), a.item.truth["answer"]) for a in answers}
    rows = {one: tuple(map(float, pope.row(*pair))) for one, pair in said.items()}

    def figure(name: str, shown: str = "", better: int = 1) -> Measure:
        def value(*sums: float) -> float:
            found: float = getattr(pope.Pope(*map(round, sums), compat=compat), name)
            return found

        return Measure(shown or name, rows, value, better=better)

    right, unreadable = of_verdicts({one: pope.verdict(*pair) for one, pair in said.items()})
    return [
        figure("f1", "F1"),
        right,
        figure("precision"),
        figure("recall"),
        figure("yes_ratio", "yes ratio", better=0),
        unreadable,
    ]
