"""Image embeddings into the placeholder runs of a text.

Shapes: B rows, T ids in a row, I images, M embeddings per image, D width.
"""

from __future__ import annotations

from torch import Tensor

from looksay.errors import InputError


class SpliceError(InputError):
    """Placeholders and image embeddings do not match in number."""


def splice(embeds_BTD: Tensor, ids_BT: Tensor, images_IMD: Tensor, image_id: int) -> Tensor:
    """Put the embeddings of all images, in order, where `ids_BT` holds `image_id`; returns a new tensor.

    Raises SpliceError, with both counts, where they do not fit exactly: a shifted image would train or
    answer without a word of complaint.
    """
    places_BT = ids_BT == image_id
    found, given = int(places_BT.sum()), images_IMD.shape[0] * images_IMD.shape[1]
    if found != given:
        raise SpliceError(
            f"The text holds {found} image placeholders, but there are {given} image embeddings "
            f"({images_IMD.shape[0]} images of {images_IMD.shape[1]}). Each image needs exactly "
            f"{images_IMD.shape[1]} placeholders: encode the conversation with the model's own prompter."
        )
    return embeds_BTD.masked_scatter(places_BT[..., None], images_IMD.to(embeds_BTD.dtype))
