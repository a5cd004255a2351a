"""CLIPScore and RefCLIPScore: how near a caption lies to its picture, and to the references.

Source: Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", EMNLP 2021,
and the authors' code. Any dual encoder's embeddings will do, but the published figures are those of CLIP
ViT-B/32 on pictures cropped to 224 pixels, with `PROMPT` before captions and references alike; figures of
other encoders are a scale of their own. (torchmetrics' CLIPScore is 100 times the cosine, without prompt.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from looksay.errors import InputError

PROMPT = "A photo depicts "
WEIGHT = 2.5

Array = NDArray[np.floating]


def clipscore(images: Array, captions: Array) -> NDArray[np.float64]:
    """2.5 times the cosine of each image with its caption, negative ones as 0: 0 to 2.5.

    Rows are embeddings, of any length; a corpus figure is the mean. Raises InputError where shapes
    differ or an embedding has no direction (all 0, or not numbers).
    """
    if images.shape != captions.shape:
        raise InputError(
            f"Embeddings of images are {images.shape}, of captions {captions.shape}: "
            "expected the same shape, one row each."
        )
    cosine = (_directions(images, "images") * _directions(captions, "captions")).sum(axis=1)
    found: NDArray[np.float64] = WEIGHT * np.maximum(cosine, 0.0)
    return found


def ref_clipscore(
    images: Array, captions: Array, references: Sequence[Array]
) -> NDArray[np.float64]:
    """Harmonic mean of CLIPScore and the best cosine with a reference, 0 to about 1.4; 0 if either is 0.

    `references[i]` holds the embeddings of image i's references, one row each. A negative best cosine
    counts as 0, as in the paper; the authors' code leaves it negative. Raises InputError as `clipscore`
    does, and where an image has no reference.
    """
    if len(references) != len(captions):
        raise InputError(
            f"{len(captions)} captions, but references of {len(references)} images. "
            "Expected one array of references per caption."
        )
    seen = clipscore(images, captions)
    told = np.zeros(len(captions))
    for number, (caption, several) in enumerate(
        zip(_directions(captions, "captions"), references, strict=True)
    ):
        if several.ndim != 2 or not len(several) or several.shape[1] != len(caption):
            raise InputError(
                f"References of image number {number} are {several.shape}: "
                f"expected at least one row of {len(caption)} numbers."
            )
        told[number] = max(0.0, float((_directions(several, "references") @ caption).max()))
    both = seen + told
    return np.divide(2 * seen * told, both, out=np.zeros_like(both), where=both > 0)


def _directions(rows: Array, what: str) -> NDArray[np.float64]:
    exact = rows.astype(np.float64)
    if exact.ndim != 2:
        raise InputError(f"Embeddings of {what} are {rows.shape}: expected one row each.")
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    wrong = ~(np.isfinite(lengths) & (lengths > 0))
    if wrong.any():
        raise InputError(
            f"Row {int(wrong.argmax())} of the embeddings of {what} has no direction "
            "(all 0, or not numbers)."
        )
    directions: NDArray[np.float64] = exact / lengths
    return directions
