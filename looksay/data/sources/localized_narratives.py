"""Localized Narratives: what people said aloud while they moved a pointer over a picture, one narrative per line.

One line: {"dataset_id": "mscoco_val2017", "image_id": "137576", "annotator_id": 93, "caption": "In this image there are
group of cows standing and eating the grass. …", "timed_caption": [{"utterance": "In this", "start_time": 0.0,
"end_time": 0.4}, …], "traces": [[{"x": 0.2086, "y": -0.0533, "t": 0.022}, …], …], "voice_recording":
"coco_val/coco_val_137576_93.ogg"}. The caption is learned; where the pointer was is not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from looksay.data.reading import Place, fingerprint, json_lines
from looksay.errors import InputError
from looksay.types import Conversation, Example, Message

QUESTION = "Describe the image in detail."
KEYS = ("dataset_id", "image_id", "annotator_id", "caption")
"""What is kept of a line: with its traces a file has gigabytes, without them megabytes."""


class LocalizedNarratives:
    """One example per narrative; several people may have told of one picture."""

    def __init__(self, path: Path, images: Path | None, question: str) -> None:
        self._path, self._images = path, path.parent if images is None else images
        self._question = question
        self._rows = [_kept(row) for row in json_lines(path)]
        if not self._rows:
            raise InputError(f"{path} is empty; expected one narrative per line.")
        self.size: int | None = len(self._rows)
        self.fingerprint = fingerprint(path, also=(str(self._images), question))

    def example(self, index: int) -> Example:
        """Narrative number `index`. `truth`: dataset_id, image_id, annotator_id."""
        row = self._rows[index]
        place = Place(self._path, index, len(self._rows), row, "image_id")
        dataset, caption = place.words(row, "dataset_id"), place.words(row, "caption")
        annotator = place.get(row, "annotator_id", int, "a number")
        name = str(place.get(row, "image_id", (str, int), "the picture's name in its data set"))
        image = place.image(self._images, *_file_names(dataset, name))
        turns = (Message("user", (image, self._question)), Message("assistant", (caption,)))
        truth = {"dataset_id": dataset, "image_id": name, "annotator_id": annotator}
        return Example(f"{dataset}-{name}-{annotator}", Conversation(turns), truth)


def read(path: Path, images: Path | None = None, question: str = QUESTION) -> LocalizedNarratives:
    """The narratives of a file; `images` is the folder of the pictures that they are about: COCO's, Flickr30k's,
    ADE20K's or Open Images' (the file's own, where none is given). Raises InputError, that names file and entry."""
    return LocalizedNarratives(path, images, question)


def _kept(row: Any) -> Any:
    return {key: row[key] for key in KEYS if key in row} if isinstance(row, dict) else row


def _file_names(dataset: str, name: str) -> tuple[str, ...]:
    """COCO's pictures have the number in twelve digits, before 2017 with the split; others have their name."""
    if not (dataset.startswith("mscoco") and name.isdecimal()):
        return (f"{name}.jpg",)
    number = f"{int(name):012d}"
    return f"{number}.jpg", f"COCO_train2014_{number}.jpg", f"COCO_val2014_{number}.jpg"
