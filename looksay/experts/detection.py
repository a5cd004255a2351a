"""Objects and their boxes: any detector in an ONNX file, or one of transformers' (OWLv2, Grounding DINO, DETR).

Detectors with an open vocabulary find what they are asked for (`Options.names`); the others what they were
trained on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from looksay.errors import InputError
from looksay.experts import _transformers
from looksay.experts.base import Detection, Expert, Findings, Options
from looksay.experts.boxes import clipped
from looksay.images import load_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

ABOUT = "Objects with their boxes, by a detector in an ONNX file, or OWLv2, Grounding DINO or DETR."
EXAMPLE = "google/owlv2-base-patch16-ensemble"
MIN_SCORE = 0.5
"""MoAI's, for OWLv2."""
ASKED_AS = {"owlvit": "a photo of a {}", "owlv2": "a photo of a {}"}
"""How names are put, by type of model (`model_type`): OWL was trained on captions."""
READ_AS_ONE_TEXT = frozenset({"grounding-dino", "mm-grounding-dino"})
"""Types of models that read all names in one text."""


class TransformersDetector:
    """A detector of transformers; see `load`."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        name: str,
        fingerprint: str,
        names: Sequence[str] = (),
        min_score: float = MIN_SCORE,
    ) -> None:
        self._model, self._processor, self._names = model, processor, list(names)
        self.name, self._min_score = name, min_score
        self._fingerprint = f"detection-1 {fingerprint} {self._names} {min_score:g}"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names or self._model.config.id2label.values())

    def find(self, source: Path | bytes | Pillow) -> Findings:
        import torch

        picture = load_rgb(source)
        asked = ASKED_AS.get(self._model.config.model_type, "{}")
        text = {"text": [[asked.format(name) for name in self._names]]} if self._names else {}
        fed = self._processor(images=picture, return_tensors="pt", **text).to(self._model.device)
        with torch.inference_mode():
            seen = self._model(**fed)
        settings = {"threshold": self._min_score, "target_sizes": [(picture.height, picture.width)]}
        if self._names and self._model.config.model_type in READ_AS_ONE_TEXT:
            return Findings(picture.size, detections=self._named_by_tokens(fed["input_ids"], seen))
        if self._names:
            (found,) = self._processor.post_process_grounded_object_detection(
                seen, text_labels=[self._names], **settings
            )
            names = found["text_labels"]
        else:
            (found,) = self._processor.post_process_object_detection(seen, **settings)
            names = [self._model.config.id2label[int(label)] for label in found["labels"]]
        shares = found["boxes"].cpu().double() / torch.tensor([*picture.size, *picture.size])
        kept = []
        for name, box, score in zip(names, shares.tolist(), found["scores"].tolist(), strict=True):
            inside = clipped(box)
            if name and inside:
                kept.append(Detection(name, inside, round(score, 4)))
        return Findings(picture.size, detections=tuple(sorted(kept, key=lambda one: -one.score)))

    def _named_by_tokens(self, ids: Any, seen: Any) -> tuple[Detection, ...]:
        """Detections of a model that scores every token of all names, put together as "dog. cat.".

        Each query gets the name with the best token. (transformers joins all tokens above a threshold instead,
        which gives names that nobody asked for: "dog cat".)
        """
        dot = self._processor.tokenizer.convert_tokens_to_ids(".")
        special = set(self._processor.tokenizer.all_special_ids)
        place = 0
        of_name: dict[int, list[int]] = {}
        for at, one in enumerate(ids[0].tolist()):
            if one == dot:
                place += 1
            elif one not in special:
                of_name.setdefault(place, []).append(at)
        scores = seen.logits[0].sigmoid().cpu()
        kept = []
        for query, (x, y, wide, high) in enumerate(seen.pred_boxes[0].tolist()):
            best = {one: float(scores[query, at].max()) for one, at in of_name.items()}
            name = max(best, key=best.__getitem__)
            box = clipped((x - wide / 2, y - high / 2, x + wide / 2, y + high / 2))
            if box and best[name] >= self._min_score:
                kept.append(Detection(self._names[name], box, round(best[name], 4)))
        return tuple(sorted(kept, key=lambda one: -one.score))


def lacking() -> str:
    if (
        importlib.util.find_spec("onnxruntime") is None
        and importlib.util.find_spec("torch") is None
    ):
        return 'the package onnxruntime: pip install ".[facts]" in the folder of looksay'
    return "a model: --expert detection:MODEL.onnx"


def load(model: str, options: Options) -> Expert:
    """`model` is an ONNX file, or a folder of transformers or a name on the hub. Raises InputError, ImportError."""
    score = MIN_SCORE if options.min_score is None else options.min_score
    if not model:
        raise InputError(
            "detection needs a detector, and none is named. Type a file, --expert detection:MODEL.onnx, or a "
            f'model of transformers: --expert detection:{EXAMPLE} --names "dog, cat"'
        )
    if model.lower().endswith(".onnx"):
        from looksay.experts._onnx import OnnxDetector

        return OnnxDetector(Path(model).expanduser(), options.names, score, options.threads)
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModelForObjectDetection,
        AutoModelForZeroShotObjectDetection,
        AutoProcessor,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES as OPEN,
    )

    try:
        kind = AutoConfig.from_pretrained(model).model_type
        is_open = kind in OPEN
        processor = (AutoProcessor if is_open else AutoImageProcessor).from_pretrained(
            model, backend="pil"
        )
    except (OSError, ValueError) as error:
        raise InputError(_transformers.refusal(model, error, EXAMPLE)) from error
    if kind in READ_AS_ONE_TEXT and any("." in name for name in options.names):
        raise InputError(
            f"{model} reads names up to a full stop, so names have none. Leave them out."
        )
    if is_open and not options.names:
        raise InputError(
            f'{model} finds what it is asked for, and was asked for nothing. Type --names "dog, cat", or --names '
            "FILE with one name per line."
        )
    auto = AutoModelForZeroShotObjectDetection if is_open else AutoModelForObjectDetection
    loaded, fingerprint = _transformers.load(auto, model, options.device, EXAMPLE)
    return TransformersDetector(
        loaded,
        processor,
        f"detection:{model}",
        fingerprint,
        options.names if is_open else (),
        score,
    )
