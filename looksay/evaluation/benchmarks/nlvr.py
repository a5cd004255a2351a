"""NLVR: sentences that people wrote about drawn pictures of three boxes; is one true of a picture?

One line of dev.json (JSON Lines in spite of its name): {"sentence": "There is a tower with four blocks.",
"label": "true", "identifier": "3125-1", "directory": "2", "evals": {…}, "structured_rep": [[…], […], […]]};
its six pictures, the boxes in every order, are dev/images/2/dev-3125-1-0.png to dev-3125-1-5.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, entries, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _nlvr
from looksay.evaluation.measures import Measure

CARD = Card(
    title="NLVR",
    measures="Counting, comparing and placing, in sentences that people wrote about drawn shapes.",
    needs={
        "dev/dev.json": "sentences of dev (or dev.json, dev.jsonl beside the folder)",
        "dev/images/": "six pictures for each",
        "test/test.json": "for the variant test (also test.jsonl)",
        "test/images/": "for the variant test",
    },
    where="https://github.com/lil-lab/nlvr/tree/master/nlvr",
    licence="CC BY 4.0",
    loader="lil-lab/nlvr: nlvr/metrics_images.py",
    paper="Suhr et al., A Corpus of Natural Language for Visual Reasoning, ACL 2017",
    variants=("dev", "test"),
    compat=("strict", "official"),
    likelihood=True,
)
ORDERS = 6
"""Pictures of one example: the three boxes in every order."""


def read(folder: Path, variant: str = "dev") -> list[Item]:
    """Every picture of the split with its sentence, six items to an example. `truth`: answer, sentence.

    The folder may also hold the repository's folder nlvr/, which then holds the pictures.
    """
    path = _path(folder, variant)
    rows = entries(path, load_json(path, lines=True))
    items = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "identifier")
        name = place.words(row, "identifier")
        number, dash, position = name.partition("-")
        if not dash or not position:
            place.fail("'identifier' should be two numbers, as in '3125-1'.")
        place.once(name, seen, "identifier")
        label = place.one_of(row, "label", _nlvr.WORDS)
        sentence = place.words(row, "sentence")
        where = f"{variant}/images/{place.words(row, 'directory')}"
        for order in range(ORDERS):
            picture = f"{variant}-{name}-{order}"
            file = f"{where}/{picture}.png"
            image = place.image(folder, file, f"nlvr/{file}")
            group = f"{variant}-{number}"
            items.append(_nlvr.item(picture, [image], sentence, label, group, group))
    return items


def _path(folder: Path, split: str) -> Path:
    names = (
        f"{split}/{split}.json",
        f"{split}.json",
        f"{split}.jsonl",
        f"nlvr/{split}/{split}.json",
    )
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"There is none of {', '.join(names)} in {folder}.")
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy over pictures (the tool calls it precision), and consistency over sentences.

    A sentence stands under up to four examples of six pictures; it is consistent where all are right.
    """
    return _nlvr.score(answers, compat)
