"""Panoptic segmentation by Mask2Former, OneFormer, or another of transformers' universal segmenters.

A query's mask belongs to the picture where no other query, weighed by its score, says more; it counts where it
keeps most of itself. Source: Mask2Former (arXiv 2112.01527), and the panoptic inference of its released code.
Where transformers' own post-processing differs we follow that code: a pixel below the mask's threshold belongs
to nothing, scores do not count when a mask is compared with the threshold, and what was padding is cut off before
masks are stretched to the picture.

Dimensions: Q queries, C classes, H and W of the picture in px.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from looksay.errors import InputError
from looksay.experts import _transformers
from looksay.experts.base import Findings, Options, segmented
from looksay.images import load_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

ABOUT = "Segments of a picture, things and background alike, by Mask2Former or OneFormer."
EXAMPLE = "facebook/mask2former-swin-base-coco-panoptic"
MIN_SCORE = 0.5
MASK_THRESHOLD = 0.5
MIN_KEPT = 0.8
"""Share of a mask that must be left where masks overlap."""
COCO = (133, range(80, 133))
"""How many classes COCO panoptic has, and which of them are "stuff": of these a picture has one segment each."""
TASKS = frozenset({"oneformer"})
"""Types of models (`model_type` in config.json) that are told their task in words."""


class Panoptic:
    """Cuts pictures into segments with a model of transformers; see `load`."""

    def __init__(
        self, model: Any, processor: Any, name: str, fingerprint: str, min_score: float = MIN_SCORE
    ) -> None:
        self._model, self._processor = model, processor
        self.name, self._min_score = name, min_score
        self._told = {"task_inputs": ["panoptic"]} if model.config.model_type in TASKS else {}
        self._fingerprint = f"panoptic-1 {fingerprint} {min_score:g}"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._model.config.id2label.values())

    def find(self, source: Path | bytes | Pillow) -> Findings:
        import torch
        from torch.nn.functional import interpolate

        picture = load_rgb(source)
        fed = self._processor(images=picture, return_tensors="pt", **self._told)
        with torch.inference_mode():
            seen = self._model(**fed.to(self._model.device))
            masks_QHW = seen.masks_queries_logits.float()
            masks_QHW = interpolate(masks_QHW, fed["pixel_values"].shape[-2:], mode="bilinear")
            if "pixel_mask" in fed:
                inside = fed["pixel_mask"][0].bool()
                rows, columns = int(inside[:, 0].sum()), int(inside[0].sum())
                masks_QHW = masks_QHW[..., :rows, :columns]
            size = (picture.height, picture.width)
            masks_QHW = interpolate(masks_QHW, size, mode="bilinear")[0].sigmoid()
            classes_QC = seen.class_queries_logits[0].float().softmax(-1)
        labels: dict[int, str] = self._model.config.id2label
        stuff = COCO[1] if len(labels) == COCO[0] else ()
        ids, kinds = cut(classes_QC.cpu().numpy(), masks_QHW.cpu().numpy(), self._min_score, stuff)
        return segmented(ids, {one: (labels[c], c, score) for one, (c, score) in kinds.items()})


def cut(
    classes_QC: NDArray[np.float32],
    masks_QHW: NDArray[np.float32],
    min_score: float = MIN_SCORE,
    stuff: Container[int] = (),
) -> tuple[NDArray[np.int32], dict[int, tuple[int, float]]]:
    """(ids of shape (H, W), {id: (class index, score)}) of queries.

    `classes_QC` are probabilities whose last column is "no object", `masks_QHW` each pixel's probability to be
    the query's. Queries of one class of `stuff` make one segment.
    """
    labels_Q, scores_Q = classes_QC.argmax(1), classes_QC.max(1)
    kept = np.flatnonzero((labels_Q < classes_QC.shape[1] - 1) & (scores_Q > min_score))
    ids = np.zeros(masks_QHW.shape[1:], np.int32)
    kinds: dict[int, tuple[int, float]] = {}
    if not len(kept):
        return ids, kinds
    owner = (scores_Q[kept, None, None] * masks_QHW[kept]).argmax(0)
    one_of: dict[int, int] = {}
    for place, query in enumerate(kept):
        whole = masks_QHW[query] >= MASK_THRESHOLD
        won = owner == place
        mine = whole & won
        if not mine.any() or won.sum() < MIN_KEPT * whole.sum():
            continue
        label, score = int(labels_Q[query]), float(scores_Q[query])
        new = len(kinds) + 1
        one = one_of.setdefault(label, new) if label in stuff else new
        kinds[one] = (label, max(score, kinds.get(one, (0, 0.0))[1]))
        ids[mine] = one
    return ids, kinds


def lacking() -> str:
    missing = [
        one for one in ("torch", "transformers", "scipy") if not importlib.util.find_spec(one)
    ]
    if missing:
        return f'the package {missing[0]}: pip install ".[experts]" in the folder of looksay'
    return f"a model: --expert panoptic:{EXAMPLE}"


def load(model: str, options: Options) -> Panoptic:
    """`model` is a folder of transformers, or a name on the hub. Raises InputError, ImportError."""
    from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation, AutoProcessor

    if (
        importlib.util.find_spec("scipy") is None
    ):  # transformers wants it for training, and asks always
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")
    loaded, fingerprint = _transformers.load(
        AutoModelForUniversalSegmentation, model, options.device, EXAMPLE
    )
    auto = AutoProcessor if loaded.config.model_type in TASKS else AutoImageProcessor
    try:
        processor = auto.from_pretrained(model, backend="pil")
    except (OSError, ValueError) as error:
        raise InputError(_transformers.refusal(model, error, EXAMPLE)) from error
    score = MIN_SCORE if options.min_score is None else options.min_score
    return Panoptic(loaded, processor, f"panoptic:{model}", fingerprint, score)
