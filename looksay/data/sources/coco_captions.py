"""COCO's caption JSON (captions_train2017.json and its kin): several captions per image.

One image {"id": 9, "file_name": "000000000009.jpg", "width": 640, "height": 480} and one annotation
{"id": 661611, "image_id": 9, "caption": "Closeup of bins of food."}; the file is {"info": {...},
"licenses": [...], "images": [...], "annotations": [...]}.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from looksay import images as pictures
from looksay.data.reading import (
    Place,
    bytes_of,
    entries,
    fingerprint,
    load_json,
    numbers,
    save_json,
)
from looksay.data.reading import write as write_file
from looksay.errors import InputError
from looksay.types import Conversation, Example, Message

QUESTION = "Describe the image concisely."


class CocoCaptions:
    """One example per caption, or one per image (its first caption as the answer, all in `truth`)."""

    def __init__(
        self, path: Path, images: Path | None, per: Literal["caption", "image"], question: str
    ) -> None:
        self._path, self._images = path, path.parent if images is None else images
        self._question = question
        content = load_json(path)
        self._annotations = entries(path, content, "annotations")
        self._files = self._by_id(entries(path, content, "images"))
        self._of_image: dict[Any, list[int]] = {}
        for number, entry in enumerate(self._annotations):
            place = self._place(number)
            image_id = place.get(entry, "image_id", int, "a number")
            if image_id not in self._files:
                place.fail(f"image_id {image_id} is not among the {len(self._files)} 'images'.")
            self._of_image.setdefault(image_id, []).append(number)
        self._index = (
            list(range(len(self._annotations)))
            if per == "caption"
            else [found[0] for found in self._of_image.values()]
        )
        self.size: int | None = len(self._index)
        self.fingerprint = fingerprint(path, also=(str(self._images), per, question))

    def example(self, index: int) -> Example:
        """Example number `index`. `truth`: captions (all of the image), image_id."""
        number = self._index[index]
        entry, place = self._annotations[number], self._place(number)
        image_id = entry["image_id"]
        caption = place.words(entry, "caption")
        image = place.image(self._images, self._files[image_id])
        every = [
            self._place(n).words(self._annotations[n], "caption") for n in self._of_image[image_id]
        ]
        return Example(
            str(entry.get("id", f"{image_id}-{number}")),
            Conversation(
                (Message("user", (image, self._question)), Message("assistant", (caption,)))
            ),
            {"captions": every, "image_id": image_id},
        )

    def _place(self, number: int) -> Place:
        return Place(self._path, number, len(self._annotations), self._annotations[number])

    def _by_id(self, found: list[Any]) -> dict[Any, str]:
        names: dict[Any, str] = {}
        for number, entry in enumerate(found):
            place = Place(self._path, number, len(found), entry)
            names[place.get(entry, "id", int, "a number")] = place.words(entry, "file_name")
        return names


def read(
    path: Path,
    images: Path | None = None,
    per: Literal["caption", "image"] = "caption",
    question: str = QUESTION,
) -> CocoCaptions:
    """The captions of a file; `images` is the folder of the images (the file's own, where none is given)."""
    return CocoCaptions(path, images, per, question)


def write(examples: Iterable[Example], path: Path, images: Path | None = None) -> int:
    """Write examples with `captions` in their truth (or their answers as captions) in this format.

    Images become JPEG files in `images` (the file's own folder, where none is given). Returns the
    number of captions. The JSON comes last, in one step.
    """
    folder = path.parent if images is None else images
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, example in numbers(examples):
        found = example.conversation.images
        if len(found) != 1:
            raise InputError(
                f"Example {example.id} has {len(found)} images; COCO captions take one."
            )
        name = f"{image_id:012d}.jpg"
        data = bytes_of(found[0], "JPEG")
        with pictures.open_image(data) as opened:
            width_px, height_px = opened.size
        write_file(folder / name, data)
        listed.append(
            {
                "license": 0,
                "file_name": name,
                "coco_url": "",
                "height": height_px,
                "width": width_px,
                "date_captured": "",
                "flickr_url": "",
                "id": image_id,
            }
        )
        answers = [m.text for m in example.conversation.messages if m.role == "assistant"]
        for caption in example.truth.get("captions", answers):
            annotations.append(
                {"image_id": image_id, "id": len(annotations) + 1, "caption": caption}
            )
    if not annotations:
        raise InputError(f"There is nothing to write to {path}: no captions.")
    info = {"description": "looksay", "url": "", "version": "1.0", "year": 2025, "contributor": ""}
    licences = [{"id": 0, "name": "", "url": ""}]
    content = {"info": info, "licenses": licences, "images": listed, "annotations": annotations}
    save_json(path, content)
    return len(annotations)
