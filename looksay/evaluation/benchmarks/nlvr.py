"""NLVR: sentences that people wrote about drawn pictures of three boxes; is one true of a picture?

The files, and what is asked, are those of looksay.data.sources.nlvr, so that a model can be trained on the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.sources import nlvr as official
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _nlvr
from looksay.evaluation.measures import Measure
from looksay.types import Conversation

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


def read(folder: Path, variant: str = "dev") -> list[Item]:
    """Every picture of the split with its sentence, six items to an example. `truth`: answer, sentence.

    The folder may also hold the repository's folder nlvr/, which then holds the pictures.
    """
    places = [folder / variant / "images", folder / "nlvr" / variant / "images"]
    images = next((place for place in places if place.is_dir()), places[0])
    source = official.read(_path(folder, variant), images, variant)
    items = []
    for index in range(source.size or 0):
        example = source.example(index)
        asked = Conversation(example.conversation.messages[:1])
        about = example.truth["about"]
        items.append(_nlvr.item(example.id, asked, example.truth["answer"], about, about))
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
