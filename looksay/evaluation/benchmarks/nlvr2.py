"""NLVR2: sentences that people wrote about pairs of photographs; is one true of a pair?

One line of test1.json (JSON Lines in spite of its name): {"sentence": "There is an empty glass.", "label": "False",
"identifier": "test1-0-1-0", "left_url": "https://…", "right_url": "https://…", …}; its pictures are
test1-0-1-img0.png (left) and test1-0-1-img1.png (right).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, entries, load_json
from looksay.data.sources import nlvr as official
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _nlvr
from looksay.evaluation.measures import Measure

CARD = Card(
    title="NLVR2",
    measures="Counting, comparing and relating, in sentences about two photographs.",
    needs={
        "test1.json": "6,967 sentences of the public test",
        "test1/": "their photographs (of the authors, for research)",
        "dev.json": "for the variant dev",
        "dev/": "for the variant dev",
    },
    where="https://github.com/lil-lab/nlvr/tree/master/nlvr2",
    licence="CC BY 4.0 (sentences); photographs: their owners' terms",
    loader="lil-lab/nlvr: nlvr2/eval/metrics.py",
    paper="Suhr et al., A Corpus for Reasoning about Natural Language Grounded in Photographs, ACL 2019",
    variants=("test1", "dev"),
    compat=("strict", "official"),
    likelihood=True,
)


def read(folder: Path, variant: str = "test1") -> list[Item]:
    """The sentences of a split, two photographs each. `truth`: answer, sentence."""
    path = folder / f"{variant}.json"
    rows = entries(path, load_json(path, lines=True))
    items = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "identifier")
        name = place.words(row, "identifier")
        parts = name.split("-")
        if len(parts) != 4:
            place.fail("'identifier' should be split-set-pair-sentence, as in 'test1-0-1-0'.")
        place.once(name, seen, "identifier")
        split, group, pair, sentence = parts
        label = place.one_of(row, "label", ("True", "False"))
        pictures = [
            place.image(folder / variant, f"{split}-{group}-{pair}-img{side}.png")
            for side in (0, 1)
        ]
        words = place.words(row, "sentence")
        # The tool leaves the pair out of the identifier: a sentence stands under several pairs of its set.
        asked, right = official.asked(pictures, words), label == "True"
        sentence_id, drawn = f"{split}-{group}-{sentence}", f"{split}-{group}"
        items.append(_nlvr.item(name, asked, right, sentence_id, drawn))
    return items


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy (the tool calls it precision), and consistency: sentences judged rightly of all their pairs."""
    return _nlvr.score(answers, compat)
