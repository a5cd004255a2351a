"""Where a model looked when it said an answer: what changes when a place of the picture is covered.

Each place in turn is blurred beyond recognition, and the model is asked how likely it now finds its answer (occlusion:
Zeiler & Fergus, arXiv 1311.2901, section 4.2; they paint it grey, which models take for a thing). That takes nothing
but `rank`, so it works for any family, kernel and precision, and cropping and tiles are as the model has them.
Gradients are cheaper and were tried first: on scenes they lie on whatever there is, asked about or not (docs/chat.md
has the figures).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from looksay.errors import InputError
from looksay.experts.overlay import outlined
from looksay.images import load_rgb
from looksay.types import Conversation, Image

SIDES = (8, 6, 4)
"""Places along a side of a square picture, from fine to coarse."""
WITHIN_S = 60.0
"""The finest of them is taken that does not take longer, by the time of the first look."""
MAX_SIDE_PX = 1536
BLUR = 1 / 8
"""Of the longer side: the deviation of the blur, as wide as a place."""
NOTHING_NATS = 0.01
"""Changes below that are no change: the answer is as likely as before, within a hundredth."""
HALF = 0.5
"""Places are outlined, and parts told, until they hold so much of all changes."""
MOST_PARTS, ALIKE = 4, 0.9
"""Of nine: where half takes more of them, it lies on no part in particular. With the least that counts those count
that hold so much of what it holds."""
PARTS = (
    *("the upper left", "the top", "the upper right"),
    *("the left", "the middle", "the right"),
    *("the lower left", "the bottom", "the lower right"),
)
SHOWN_PX = (512, 1024)
"""The longer side of an overlay: smaller pictures are enlarged, larger ones shrunk."""
COLD, HOT = np.array([0, 50, 140], np.float32), np.array([255, 225, 40], np.float32)
"""Dark blue to light yellow: told apart by brightness alone, and with any kind of colour blindness."""
COVER = 0.75
"""How much of the grey photo the hottest place hides."""

Rank = Callable[[Conversation, Sequence[str]], list[float]]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Heat:
    """How much of an answer rests on each place of a picture.

    Example: Heat(np.array([[0.1, 0.7], [0.1, 0.1]], np.float32), strongest_nats=1.3).
    """

    values: Map
    """(rows, columns), at least 0, with the sum 1: the share of each place in all changes of the log-likelihood."""
    strongest_nats: float
    """The largest change."""

    def over(self, width_px: int, height_px: int, *, smooth: bool = False) -> Map:
        """The same for each pixel, (height, width), with the sum 1."""
        how = Pillow.Resampling.BICUBIC if smooth else Pillow.Resampling.NEAREST
        resized = Pillow.fromarray(self.values).resize((width_px, height_px), how)
        values: Map = np.asarray(resized, np.float32).clip(0)
        values /= values.sum()
        return values


class Looked(NamedTuple):
    """Where a model looked in one picture: an overlay (PNG), and words for who does not see it."""

    png: bytes
    words: str


def looked(rank: Rank, conversation: Conversation, answer: str) -> list[Looked]:
    """For each picture of the conversation, in order. Raises as `heats`."""
    pictures = [_shown(image) for image in conversation.images]
    found = heats(rank, conversation, answer)
    return [
        Looked(_png(drawn(p, heat)), words(heat)) for p, heat in zip(pictures, found, strict=True)
    ]


def heats(
    rank: Rank, conversation: Conversation, answer: str, side: int | None = None
) -> list[Heat]:
    """How much `answer` rests on each place of each picture, in order.

    `side` is how many places a square picture has in a row (None: as many as time allows); others have about as many
    in all. Raises InputError where there is no picture or no answer, UnreadablePhoto, and as `rank`.
    """
    if not conversation.images:
        raise InputError("There is no picture in this conversation, so the model looked nowhere.")
    if not answer.strip():
        raise InputError("There is no answer whose grounds could be looked for: it is empty.")
    pictures = [_shown(image) for image in conversation.images]

    def likelihood(shown: Sequence[Pillow.Image]) -> float:
        return rank(_showing(conversation, shown), [answer])[0]

    started = time.monotonic()
    whole = likelihood(pictures)
    side = side or finest(time.monotonic() - started, len(pictures))
    found = []
    for place, picture in enumerate(pictures):
        boxes, blurred = _places(picture.size, side), _blurred(picture)
        changes = [
            abs(whole - likelihood([*pictures[:place], covered, *pictures[place + 1 :]]))
            for covered in (_covered(picture, box, blurred) for row in boxes for box in row)
        ]
        values = np.array(changes, np.float32).reshape(len(boxes), -1)
        strongest = float(values.max())
        if strongest <= 0:
            values = np.ones_like(values)
        found.append(Heat(values / values.sum(), strongest))
    return found


def finest(seconds: float, pictures: int) -> int:
    """How many places along a side can be looked at in time, where a look takes so long.

    >>> finest(0.1, 1), finest(0.5, 2), finest(30.0, 1)
    (8, 6, 4)
    """
    within = (side for side in SIDES if side * side * seconds * pictures <= WITHIN_S)
    return next(within, SIDES[-1])


def drawn(picture: Pillow.Image, heat: Heat) -> Pillow.Image:
    """The upright picture in grey, of its own shape, with the heat from blue to yellow. Places that together hold half
    of it are outlined, so that none is told by colour alone. Plain grey where nothing mattered."""
    longer_px = max(picture.size)
    scale = min(max(longer_px, SHOWN_PX[0]), SHOWN_PX[1]) / longer_px
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    grey = picture.convert("L").resize(size, Pillow.Resampling.LANCZOS)
    if heat.strongest_nats < NOTHING_NATS:
        return grey.convert("RGB")
    level = heat.over(*size, smooth=True)[..., None]
    level = level / level.max()
    cover = COVER * level
    colour = COLD + (HOT - COLD) * level
    values = np.asarray(grey, np.float32)[..., None] * (1 - cover) + colour * cover
    most = heat.values >= _most(heat.values.ravel())[-1]
    held = Pillow.fromarray(most.astype(np.uint8)).resize(size, Pillow.Resampling.NEAREST)
    return outlined(values, np.asarray(held))


def words(heat: Heat) -> str:
    """One sentence: which of nine parts of the picture hold half of the changes."""
    if heat.strongest_nats < NOTHING_NATS:
        return "The answer rests on no place of the picture: with any one of them covered it is as likely as before."
    found = heat.over(90, 90)
    parts = found.reshape(3, 30, 3, 30).sum((1, 3)).ravel()
    counting = np.flatnonzero(parts >= ALIKE * _most(parts)[-1])
    if len(counting) > MOST_PARTS:
        return "The answer rests on the whole picture rather than on one part of it."
    *before, last = [PARTS[part] for part in counting]
    named = f"{', '.join(before)} and {last}" if before else last
    return f"The answer rests mostly on {named} of the picture."


def _most(shares: Map) -> Map:
    """The largest shares that together hold half of all, the largest first."""
    falling = np.sort(shares)[::-1]
    count = np.searchsorted(np.cumsum(falling, dtype=np.float64), HALF * shares.sum() * 0.999) + 1
    return falling[:count]


def _shown(image: Image) -> Pillow.Image:
    return load_rgb(image.source, max_side_px=MAX_SIDE_PX)


def _showing(conversation: Conversation, pictures: Sequence[Pillow.Image]) -> Conversation:
    """The conversation with these pictures in the place of its own."""
    coming = iter(pictures)
    messages = []
    for message in conversation.messages:
        parts = tuple(
            part if isinstance(part, str) else replace(part, source=next(coming))
            for part in message.parts
        )
        messages.append(replace(message, parts=parts))
    return replace(conversation, messages=tuple(messages))


def _places(size_px: tuple[int, int], side: int) -> list[list[tuple[int, int, int, int]]]:
    """Boxes in px, row by row: about side² places, as square as the picture allows."""
    width_px, height_px = size_px
    shape = (width_px / height_px) ** 0.5
    columns = min(max(1, round(side * shape)), width_px)
    rows = min(max(1, round(side / shape)), height_px)
    xs = [width_px * n // columns for n in range(columns + 1)]
    ys = [height_px * n // rows for n in range(rows + 1)]
    return [[(xs[c], ys[r], xs[c + 1], ys[r + 1]) for c in range(columns)] for r in range(rows)]


def _blurred(picture: Pillow.Image) -> Pillow.Image:
    return picture.filter(ImageFilter.GaussianBlur(BLUR * max(picture.size)))


def _covered(
    picture: Pillow.Image, box: tuple[int, int, int, int], by: Pillow.Image
) -> Pillow.Image:
    covered = picture.copy()
    covered.paste(by.crop(box), box)
    return covered


def _png(picture: Pillow.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
