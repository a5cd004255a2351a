"""Crayon instructions (CoLLaVO, arXiv 2402.11248, section 3.2): say what a panoptic expert sees in a picture, from
the picture alone.

One example: id "1-train-0-7-caption crayon", user (image, "Name the objects of this image, each with its number
and its box."), assistant ("Sure, it is (#1 dog) [0.12, 0.40, 0.37, 0.71], (#2 dog) [0.55, 0.42, 0.80, 0.70]."),
truth {"skill": "image", "segments": (Segment, …)}.
"""

from __future__ import annotations

from random import Random

from looksay.data.dataset import Source, named
from looksay.errors import InputError
from looksay.experts.verbalise import crayon, crayon_list, plain
from looksay.types import Conversation, Example, Message

NAMES = "Name the objects of this image, each with its number."
BOXES = "Name the objects of this image, each with its number and its box."
OF_CLASS = "Name each {name} of this image with its number and its box."
ANSWER = "Sure, it is {listed}."
NOTHING = "There is no object in this image that I know."


class Crayon:
    """Of each example of `source` the first picture, with one of the three instructions of the paper, drawn by
    `seed` and the example's id: names with numbers, names with numbers and boxes, boxes of one class. What is asked
    is worded by us; the answer's form is the paper's. A picture without segments is answered so. With `told` the
    sentence of what was found stands in the place of the picture: what a language model alone learns the form from.

    Raises InputError for an example without a picture, or whose picture no expert has looked at.
    """

    def __init__(self, source: Source, seed: int = 0, told: bool = False) -> None:
        self._source, self._seed, self._told = source, seed, told
        self.size = source.size
        self.fingerprint = named("Crayon", seed, told, source.fingerprint)

    def example(self, index: int) -> Example:
        """The instruction about the picture of example number `index`; `truth`: skill ("image", "talk" where the
        findings are told), and the segments of the answer."""
        shown = self._source.example(index)
        image = next(iter(shown.conversation.images), None)
        if image is None or image.findings is None:
            found = "shows no picture" if image is None else "shows a picture without findings"
            raise InputError(
                f"Example {shown.id!r} {found}; crayon instructions tell what a panoptic expert found. Give its "
                "Image the findings (Image(path, findings)), or draw scenes with experts=0.0."
            )
        draws = Random(f"crayon {self._seed} {index} {shown.id}")
        segments, kind = image.findings.segments, int(draws.random() * 3)
        asked = (NAMES, BOXES, OF_CLASS)[kind]
        if kind == 2 and segments:
            chosen = segments[int(draws.random() * len(segments))]
            segments = tuple(one for one in segments if one.class_index == chosen.class_index)
            asked = OF_CLASS.format(name=plain(chosen.name))
        elif kind == 2:
            asked = BOXES
        listed = crayon_list(segments, boxes=kind > 0)
        answer = ANSWER.format(listed=listed) if listed else NOTHING
        parts = (f"{crayon(image.findings)} {asked}",) if self._told else (image, asked)
        talk = Conversation((Message("user", parts), Message("assistant", (answer,))))
        skill = "talk" if self._told else "image"
        return Example(f"{shown.id} crayon", talk, {"skill": skill, "segments": segments})
