"""Words and the boxes that they are about, as turns of a conversation: where is this, and what is here?

One form of a box, "[0.10, 0.20, 0.50, 0.90]": left, top, right, bottom in shares of the picture, to hundredths. What a
model learns in it, the benchmark `refcoco` asks in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from looksay.data.reading import Place
from looksay.errors import UnknownName
from looksay.experts.boxes import Box, clipped, readable
from looksay.experts.verbalise import coordinates
from looksay.types import Conversation, Image, Message

Way = Literal["find", "name"]
WAYS: tuple[Way, ...] = ("find", "name")
"""find: words are given and a box is the answer; name: a box is given and words are the answer."""

FORM = (
    "A box is written as [left, top, right, bottom], each a decimal number from 0 to 1: the share of the "
    "picture's width or height, from its upper left corner."
)
"""Our words for the convention of Shikra, LLaVA-1.5 and lmms-eval (tasks/refcoco/utils_rec.py)."""
FIND = "Give the box of what this describes, and nothing else: {words}"
NAME = "Say in a few words what is in this box: {box}"
TURNS = 10
"""At most so many questions about one picture in one conversation, as in LLaVA-1.5's mixture (appendix)."""


class Grounded(NamedTuple):
    """Words about a part of a picture, and where it is."""

    words: str
    box: Box


def told(box: Box) -> str:
    """ "[0.10, 0.20, 0.50, 0.90]"; no side is shorter than a hundredth, so that it is read again as a box."""
    return coordinates(readable(box))


def turn(one: Grounded, way: Way) -> tuple[str, str]:
    """A question about it, which leaves the form of boxes unexplained, and its answer."""
    if way == "find":
        return FIND.format(words=one.words), told(one.box)
    return NAME.format(box=told(one.box)), one.words


def talk(image: Image, pairs: Sequence[tuple[str, str]], form: bool = True) -> Conversation:
    """Questions and answers about a picture, one after the other; with `form` the first says what a box is."""
    messages: list[Message] = []
    for number, (question, answer) in enumerate(pairs):
        asked = f"{FORM} {question}" if form and not number else question
        messages.append(Message("user", (asked,) if number else (image, asked)))
        messages.append(Message("assistant", (answer,)))
    return Conversation(tuple(messages))


def ways(chosen: Sequence[Way]) -> tuple[Way, ...]:
    """The ways, once they are seen to be known. Raises UnknownName."""
    for way in chosen or ("",):
        if way not in WAYS:
            raise UnknownName("way of asking about boxes", way, WAYS)
    return tuple(dict.fromkeys(chosen))


def shares(place: Place, box: Sequence[object], size_px: tuple[int, int]) -> Box:
    """A box [x, y, width, height] in pixels, as COCO has it, in shares of its picture and cut at its edges. Fails at
    the place where it is none, or lies outside."""
    found = within(place, box, size_px)
    if found is None:
        place.fail(
            f"the box {list(box)} lies outside its picture of {size_px[0]} × {size_px[1]} px."
        )
    return found


def within(place: Place, box: Sequence[object], size_px: tuple[int, int]) -> Box | None:
    """As `shares`; None where no part of it lies in the picture."""
    numbers = [float(side) for side in box if type(side) in (int, float)]  # type: ignore[arg-type]
    if len(numbers) != 4 or len(box) != 4:
        place.fail(f"'bbox' should be [x, y, width, height] in pixels; found {list(box)}.")
    if min(size_px) < 1:
        place.fail(f"its picture is said to have {size_px[0]} × {size_px[1]} px.")
    x, y, width, height = numbers
    wide, high = size_px
    return clipped((x / wide, y / high, (x + width) / wide, (y + height) / high))
