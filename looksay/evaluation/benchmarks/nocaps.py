"""nocaps: captions of photographs with objects that COCO's captions never name.

One image of nocaps_val_4500_captions.json: {"id": 0, "open_images_id": "0013ea2087020901", "file_name":
"0013ea2087020901.jpg", "domain": "in-domain", …}; one annotation: {"image_id": 0, "id": 0, "caption": "A baby
is standing in front of a house."}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _captions
from looksay.evaluation.measures import Measure
from looksay.texts import ptb

CARD = Card(
    title="nocaps",
    measures="Captions of photographs whose objects are more and more unlike those of COCO.",
    needs={
        "nocaps_val_4500_captions.json": "4,500 images of validation, ten captions each",
        "val/": "their images, of Open Images",
    },
    where="https://nocaps.org/download",
    licence="CC BY 2.0 (captions, from memory); images: CC BY 2.0 as Open Images lists them",
    loader="nocaps.org's description of the format; scorer: tylin/coco-caption",
    paper="Agrawal et al., nocaps: novel object captioning at scale, ICCV 2019",
)
DOMAINS = ("in-domain", "near-domain", "out-domain")


def read(folder: Path, variant: str = "") -> list[Item]:
    """The images of validation (test's captions are not public). `truth`: captions. kind: the domain."""
    path = folder / "nocaps_val_4500_captions.json"
    content = load_json(path)
    rows, annotations = entries(path, content, "images"), entries(path, content, "annotations")
    captions = _captions_by_image(path, annotations)
    items = []
    seen: set[int] = set()
    for index, row in enumerate(rows):
        place = Place(path, index, len(rows), row)
        number = place.get(row, "id", int, "a number")
        place.once(number, seen, "image")
        if number not in captions:
            place.fail("there is no caption of it among the 'annotations'.")
        file = place.words(row, "file_name")
        domain = place.one_of(row, "domain", DOMAINS)
        image = place.image(folder / "val", file)
        items.append(_captions.item(str(number), image, file, captions.pop(number), domain))
    for number, entry in enumerate(annotations):
        if entry["image_id"] in captions:
            place = Place(path, number, len(annotations), entry)
            place.fail(f"image_id {entry['image_id']} is not among the {len(rows)} 'images'.")
    return items


def _captions_by_image(path: Path, annotations: list[Any]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for index, entry in enumerate(annotations):
        place = Place(path, index, len(annotations), entry)
        number = place.get(entry, "image_id", int, "a number")
        found.setdefault(number, []).append(place.words(entry, "caption"))
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """CIDEr-D over all and COCO's other figures, then CIDEr-D of each domain by itself.

    The parts of the first figure by domain weigh n-grams by all images; "of in-domain alone" weighs them by
    the domain's own, as scripts do that score three files. The server's way is not documented.
    """
    texts = _captions.texts(answers)
    found = _captions.figures(texts)
    for domain in DOMAINS:
        alone = {
            a.item.id: (ptb.tokenize(a.text), [ptb.tokenize(c) for c in a.item.truth["captions"]])
            for a in answers
            if a.item.kind == domain
        }
        if alone:
            found.append(_captions.cider_d(alone, f"CIDEr-D of {domain} alone"))
    return found
