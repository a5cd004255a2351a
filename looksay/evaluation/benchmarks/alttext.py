"""Alt texts held to those that people wrote, in a folder of one's own.

One line of pairs.jsonl: {"image": "images/harbour.jpg", "alt": "A lighthouse on a rock in the evening.", "section":
"The harbour", "kind": "photo_or_art", "lang": "en", …}. Only `image` and `alt` must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.backends.base import Profile
from looksay.data.reading import Place, entries, load_json
from looksay.describing import prompts, rules
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _captions
from looksay.evaluation.measures import Measure, of_samples
from looksay.library.pages import Context

CARD = Card(
    title="Alt texts of a folder",
    measures="How near a model's alt texts are to those that people wrote for the same pages.",
    needs={
        "pairs.jsonl": "a line for each picture: its file, its alt text, its page's section",
        "images/": "the pictures, named by the lines from the folder on",
    },
    where="your own pages",
    licence="your own",
    loader="none: the format is this program's",
    paper="none; for the scores see coco_captions",
    variants=("plain", "section"),
)
TARGET = 125
"""Characters asked for, as `looksay describe` does unless told otherwise."""


def read(folder: Path, variant: str = "plain") -> list[Item]:
    """A request for each picture, as `looksay describe` words it; section: with the page's section as heading.

    `truth`: captions (the one alt text), language. kind: the line's, where it has one.
    """
    path = folder / "pairs.jsonl"
    rows = entries(path, load_json(path, lines=True))
    items = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row, "image")
        file = place.words(row, "image")
        place.once(file, seen, "image")
        alt = place.words(row, "alt")
        heading = place.words(row, "section") if variant == "section" else ""
        language = place.words(row, "lang") if "lang" in row else "en"
        image = place.image(folder, file)
        assert isinstance(image.source, Path)
        asked = prompts.conversation(
            image.source,
            Context(heading=heading),
            language=language,
            target=TARGET,
            profile=Profile(),
        )
        kind = place.words(row, "kind") if "kind" in row else ""
        truth = {"captions": [alt], "language": language}
        items.append(Item(file, asked, truth, image=file, kind=kind))
    return items


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """CIDEr-D, BLEU-4, ROUGE-L and length, against one text each, and pictures called decoration.

    Labels, quotation marks and "The image shows" go first from both, as `looksay describe` takes them away. An
    answer that calls the picture decoration is an empty text. With one reference, and texts of many lengths,
    CIDEr-D is near 0 and says little; ROUGE-L is the steadier of the two.
    """
    texts = {}
    decorative = {}
    for a in answers:
        language = a.item.truth["language"]
        read = rules.read_answer(a.text, language=language)
        decorative[a.item.id] = float(read.decorative)
        said = "" if read.decorative else rules.clean(a.text, language)
        texts[a.item.id] = said, [rules.clean(t, language) or t for t in a.item.truth["captions"]]
    return [
        *_captions.figures(texts),
        of_samples("called decoration", decorative, better=-1),
    ]
