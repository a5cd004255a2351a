"""A picture and its caption as one sequence: what contrast, matching and captioning learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from looksay.errors import InputError
from looksay.models.batching import IGNORE, Batch, Sequence
from looksay.models.prompting import image_key
from looksay.types import Example, Image


def encode_pair(
    example: Example,
    tokenizer: Any,
    pixels: Callable[[Image], Tensor],
    start_id: int | None,
    end_id: int | None,
    max_length: int,
) -> Sequence:
    """The caption between `start_id` and `end_id`, the pixels of its picture, and "picture" in the targets, int64
    of shape (1,): which picture it is, so that one with two captions is never its own negative.

    Labels are the ids, save the first (a decoder is given it). `pixels` makes CHW float32 of an image. Raises
    InputError where the example is not one picture with an answer.
    """
    ids = framed(caption(example), tokenizer, start_id, end_id, max_length)
    (image,) = example.conversation.images
    which = torch.tensor([picture_id(example)])
    return Sequence(
        ids, [IGNORE, *ids[1:]], (pixels(image),), (image_key(image),), {"picture": which}
    )


def pictures_alone(example: Example, pixels: Callable[[Image], Tensor]) -> Sequence:
    """The pictures of an example without its words: what a tower, or what stands behind it, learns from alone."""
    images = example.conversation.images
    keys = tuple(image_key(image) for image in images)
    return Sequence([], [], tuple(pixels(image) for image in images), keys)


def framed(
    text: str, tokenizer: Any, start_id: int | None, end_id: int | None, max_length: int
) -> list[int]:
    """Ids of a text with what stands before and after it (None: nothing), `max_length` at most: the text is cut,
    never the frame."""
    head = [] if start_id is None else [start_id]
    tail = [] if end_id is None else [end_id]
    room = max_length - len(head) - len(tail)
    ids = tokenizer(text, add_special_tokens=False, truncation=True, max_length=room)["input_ids"]
    return [*head, *ids, *tail]


def caption(example: Example) -> str:
    """What the assistant says last. Raises InputError where the example is not one picture with an answer."""
    images = example.conversation.images
    said = [m.text for m in example.conversation.messages if m.role == "assistant"]
    if len(images) != 1 or not said or not said[-1].strip():
        raise InputError(
            f"Found {len(images)} images and {len(said)} answers; a pair is one image and a caption that the "
            "assistant gives. Leave the example out, or train a family that reads conversations (llava)."
        )
    return said[-1]


def picture_id(example: Example) -> int:
    """A number from 0 to 2⁶³ − 1 that depends on the picture's content alone."""
    return int(image_key(example.conversation.images[0])[:16], 16) >> 1


def one_per_row(batch: Batch) -> Batch:
    """The batch with each example in a row of its own, right-padded: encoders of whole texts know no packing."""
    segments_BT = batch.segments_BT
    if bool((segments_BT[:, 1:] <= segments_BT[:, :-1]).all() and (segments_BT <= 1).all()):
        return batch
    places = [
        (row, segments_BT[row] == segment)
        for row in range(len(segments_BT))
        for segment in range(1, int(segments_BT[row].max()) + 1)
    ]

    def rows(table_BT: Tensor, filler: int) -> Tensor:
        found = [table_BT[row][chosen_T] for row, chosen_T in places]
        return pad_sequence(found, batch_first=True, padding_value=filler)

    return replace(
        batch,
        ids_BT=rows(batch.ids_BT, 0),
        labels_BT=rows(batch.labels_BT, IGNORE),
        positions_BT=rows(batch.positions_BT, 0),
        segments_BT=rows(segments_BT.clamp(max=1), 0),
    )
