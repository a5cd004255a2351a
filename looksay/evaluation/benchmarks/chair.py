"""CHAIR: objects that a model's captions name and that are not in the photograph.

Karpathy's test split (one entry: `coco_captions`) and COCO's instances: one annotation {"id": 156, "image_id":
391895, "category_id": 4, …} and one category {"id": 4, "name": "motorcycle", "supercategory": "vehicle"}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from looksay.data.reading import Place, entries, load_json
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _karpathy
from looksay.evaluation.benchmarks._asking import CAPTION, DETAIL, LONG, SHORT
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics.chair import Hallucination, of_coco
from looksay.texts.coco_objects import COCO, Mode
from looksay.types import Conversation

CARD = Card(
    title="CHAIR",
    measures="How much of what captions name is not in the picture.",
    needs={
        "dataset_coco.json": "Karpathy's split (or coco_karpathy_test.json of BLIP and LAVIS)",
        "instances_val2014.json": "objects in the images (annotations_trainval2014.zip)",
        "val2014/": "images of COCO 2014",
    },
    where="https://cocodataset.org/#download",
    licence="CC BY 4.0 (annotations, captions); images: Flickr's terms",
    loader="LisaAnne/Hallucination: utils/chair.py",
    paper="Rohrbach et al., Object Hallucination in Image Captioning, EMNLP 2018",
    variants=("long", "short"),
    compat=("strict", "official"),
)


def read(folder: Path, variant: str = "long") -> list[Item]:
    """The paper's 5,000 photographs, described at length or in a sentence: longer texts name more.

    `truth`: instances (classes of COCO), captions.
    """
    photos = _karpathy.photos(folder, "test")
    there = _instances(folder / "instances_val2014.json", {photo.number for photo in photos})
    asked, tokens = (DETAIL, LONG) if variant == "long" else (CAPTION, SHORT)
    return [
        Item(
            str(photo.number),
            Conversation.ask(photo.image, asked),
            {"instances": sorted(there[photo.number]), "captions": list(photo.captions)},
            photo.name,
            max_tokens=tokens,
        )
        for photo in photos
    ]


def _instances(path: Path, wanted: set[int]) -> dict[int, set[str]]:
    """Image's id → classes of its instances; none where it has none."""
    content = load_json(path)
    names: dict[int, str] = {}
    known = sorted(set(COCO.classes.values()))
    categories = entries(path, content, "categories")
    for index, entry in enumerate(categories):
        place = Place(path, index, len(categories), entry)
        names[place.get(entry, "id", int, "a number")] = place.one_of(entry, "name", known)
    found: dict[int, set[str]] = {number: set() for number in wanted}
    annotations = entries(path, content, "annotations")
    for index, entry in enumerate(annotations):
        place = Place(path, index, len(annotations), entry)
        image = place.get(entry, "image_id", int, "a number")
        category = place.get(entry, "category_id", int, "a number")
        if category not in names:
            place.fail(f"category_id {category} is not among the {len(names)} 'categories'.")
        if image in found:
            found[image].add(names[category])
    return found


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """CHAIRi, CHAIRs, recall of the objects there, words per caption, and captions that name no object.

    strict: objects found without the faults of the paper's code; official: with them. The synonyms are ours in
    both, since the paper's list has no licence: figures near the paper's, not equal to them.
    """
    mode: Mode = "reference" if compat == "official" else "fixed"
    found = {
        a.item.id: of_coco(a.text, a.item.truth["instances"], a.item.truth["captions"], mode=mode)
        for a in answers
    }
    return figures(found, {a.item.id: len(a.text.split()) for a in answers})


def figures(found: Mapping[str, Hallucination], words: Mapping[str, int]) -> list[Measure]:
    """The figures of captions already held to their pictures, and of their lengths in words."""
    return [
        Measure(
            "CHAIRi",
            {one: (len(h.hallucinated), h.mentions) for one, h in found.items()},
            better=-1,
        ),
        of_samples(
            "CHAIRs", {one: float(bool(h.hallucinated)) for one, h in found.items()}, better=-1
        ),
        Measure("recall", {one: (h.found, h.present) for one, h in found.items()}),
        of_samples(
            "length", {one: float(count) for one, count in words.items()}, scale=1.0, better=0
        ),
        of_samples(
            "no object named", {one: float(not h.mentions) for one, h in found.items()}, better=0
        ),
    ]
