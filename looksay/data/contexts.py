"""Pictures as a model without eyes is told of them: captions, and the boxes of what is in them.

Example: Context("9", Image(Path("000000000009.jpg")), ("Closeup of bins of food.",),
(Boxed("bowl", (0.0, 0.39, 0.96, 0.99)),), frozenset({"bowl"})).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from looksay.data.grounding import shares
from looksay.data.reading import Place, entries, load_json
from looksay.data.sources import coco_captions
from looksay.errors import InputError
from looksay.experts.boxes import Box
from looksay.texts.coco_objects import COCO, Vocabulary, find, present
from looksay.types import Image


class Boxed(NamedTuple):
    """An object's name, and its box in shares of the picture (`looksay.experts.boxes`)."""

    name: str
    box: Box

    @property
    def told(self) -> str:
        """ "dog: [0.10, 0.20, 0.50, 0.90]": left, top, right, bottom."""
        return f"{self.name}: [{', '.join(f'{side:.2f}' for side in self.box)}]"


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a picture. `there`: every object that is in it, by the names that `Contexts.named` gives."""

    id: str
    image: Image
    captions: tuple[str, ...]
    boxes: tuple[Boxed, ...]
    there: frozenset[str]

    @property
    def told(self) -> str:
        """As a teacher reads it: a line per caption, then a line per box."""
        return "\n".join([*self.captions, "", *(one.told for one in self.boxes)])


class Contexts(Protocol):
    """Contexts by number, and what a text names of what can be in them."""

    @property
    def size(self) -> int | None:
        """How many there are; None: endless."""

    @property
    def folder(self) -> Path | None:
        """The folder that the pictures lie in; None where they are no files."""

    def at(self, index: int) -> Context:
        """Context number `index`, from 0. Raises InputError where the data are at fault."""

    def named(self, text: str) -> list[str]:
        """The objects that a text names, in order."""


class Scenes:
    """Drawn scenes: everything is known, and objects count under the names that scenes use."""

    size: int | None = None
    folder: Path | None = None

    def __init__(self, seed: int = 0, split: str = "train") -> None:
        from looksay.data.scenes import world

        self._scenes = world.Scenes(seed, split)

    def at(self, index: int) -> Context:
        from looksay.data.scenes import captions
        from looksay.data.scenes.finding import findings

        scene = self._scenes.scene(index)
        names = frozenset(group.noun.name for group in scene.groups)
        boxes = tuple(Boxed(one.name, one.box) for one in findings(scene).detections)
        return Context(scene.id, Image(scene.image()), tuple(captions(scene)), boxes, names)

    def named(self, text: str) -> list[str]:
        from looksay.data.scenes.told import read

        return list(read(text).nouns)


class Coco:
    """COCO's captions, and the boxes of its instances; names of classes and their synonyms count, those of other
    classes as they stand. In a picture is what a box or a caption of it names."""

    def __init__(self, captions: Path, instances: Path, images: Path | None) -> None:
        self.folder: Path | None = captions.parent if images is None else images
        self._captions = coco_captions.read(captions, images, per="image")
        self.size: int | None = self._captions.size
        self._boxes, names = _instances(instances)
        own = {name: name for name in names if name not in COCO.classes}
        self._vocabulary = Vocabulary({**COCO.classes, **own})

    def at(self, index: int) -> Context:
        example = self._captions.example(index)
        number: int = example.truth["image_id"]
        captions = tuple(" ".join(text.split()) for text in example.truth["captions"])
        boxes = self._boxes.get(number, ())
        classes = {self._vocabulary.classes[box.name] for box in boxes}
        there = present(classes, captions, self._vocabulary)
        return Context(str(number), example.conversation.images[0], captions, boxes, there)

    def named(self, text: str) -> list[str]:
        return [mention.object for mention in find(text, self._vocabulary)]


def open_contexts(
    data: str, boxes: Path | None = None, images: Path | None = None, seed: int = 0
) -> Contexts:
    """ "scenes", or a file of COCO's captions with the instances in `boxes` (by default the file beside it with
    "instances" for "captions" in its name). `images` is the folder of the pictures. Raises InputError."""
    if data == "scenes":
        return Scenes(seed)
    captions = Path(data)
    instances = boxes or captions.with_name(captions.name.replace("captions", "instances"))
    if instances == captions or not instances.is_file():
        raise InputError(
            f"Boxes for {captions} were looked for in {instances}, which "
            f"{'is the same file' if instances == captions else 'is not there'}. Name COCO's instances: --boxes FILE"
        )
    return Coco(captions, instances, images)


def _instances(path: Path) -> tuple[dict[int, tuple[Boxed, ...]], set[str]]:
    """Image's number → its boxes, and the names of all classes. Raises InputError that names the entry at fault."""
    content = load_json(path)

    def each(key: str) -> list[tuple[Place, dict[str, Any]]]:
        rows = entries(path, content, key)
        return [(Place(path, number, len(rows), row), row) for number, row in enumerate(rows)]

    names = {
        place.get(row, "id", int, "a number"): place.words(row, "name").lower()
        for place, row in each("categories")
    }
    sizes = {
        place.get(row, "id", int, "a number"): (
            place.get(row, "width", int, "pixels"),
            place.get(row, "height", int, "pixels"),
        )
        for place, row in each("images")
    }
    found: dict[int, list[Boxed]] = {}
    for place, row in each("annotations"):
        image = place.get(row, "image_id", int, "a number")
        category = place.get(row, "category_id", int, "a number")
        if category not in names:
            place.fail(f"category_id {category} is not among the {len(names)} 'categories'.")
        if image not in sizes:
            place.fail(f"image_id {image} is not among the {len(sizes)} 'images'.")
        box = shares(place, place.get(row, "bbox", list, "[x, y, width, height]"), sizes[image])
        found.setdefault(image, []).append(Boxed(names[category], box))
    return {image: tuple(boxes) for image, boxes in found.items()}, set(names.values())
