"""Dual encoders, run here: of transformers (CLIP, SigLIP, BLIP's retrieval models) as `hub:OWNER/NAME` or
`hub:FOLDER`, and those that looksay trained as `local:FOLDER` (`_local_encoder.py`).

Pictures are prepared by the checkpoint's own image processor on Pillow, whatever else is installed, and texts
are padded to the full length, so that no embedding depends on what shares its batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from looksay.backends import _device
from looksay.backends._batches import DEFAULT, Batches
from looksay.backends._hub_source import cached_names, fingerprint, locate, read_json
from looksay.backends.base import Encoder, LoadOptions, parse_name
from looksay.errors import BackendError, InputError, LooksayError, MissingDependency
from looksay.images import load_rgb
from looksay.types import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PUBLISHED = "hub:openai/clip-vit-base-patch32"
"""The smallest of OpenAI's: what to name where one is wanted."""
ARCHITECTURES = frozenset(
    {
        "AlignModel", "AltCLIPModel", "BlipForImageTextRetrieval", "ChineseCLIPModel", "CLIPModel", "MetaClip2Model",
        "Siglip2Model", "SiglipModel",
    }
)  # fmt: skip
"""What config.json calls the models of transformers that embed both pictures and texts."""
BLIP_TOKENS = 35
"""Of a text, as BLIP's evaluation cuts and pads them (train_retrieval.py)."""
_MATCHING = "BlipForImageTextRetrieval"


def load(name: str, options: LoadOptions | None = None) -> Encoder:
    """The dual encoder `name`. Raises BackendError (not there, no dual encoder, damaged), MissingDependency,
    InputError.

    Computed in float32 unless another precision is asked for: half precision moves similarities by about as
    much as neighbours in a ranking differ.
    """
    options = options or LoadOptions()
    provider, model = parse_name(name)
    if provider == "local":
        from looksay.backends import _local_encoder

        return _local_encoder.load(model, options)
    if provider != "hub" or not model:
        raise InputError(
            f"{name!r} is no dual encoder: expected hub:OWNER/NAME or hub:/path/to/folder, for example "
            f"{PUBLISHED}, or local:FOLDER of one that looksay trained"
        )
    _device.check(options.device, options.dtype)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingDependency(name, "local", error.name or "transformers") from error
    folder = locate(model)
    device = _device.device_for(options.device)
    precision = "float32" if options.dtype == "auto" else options.dtype
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    matching = _MATCHING in (read_json(folder / "config.json").get("architectures") or ())
    try:
        loaded = _load_model(folder, name, matching, getattr(torch, precision), device)
        images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except LooksayError:
        raise
    except Exception as error:  # transformers raises anything on what it cannot load
        raise BackendError(f"{name} could not be loaded: {_device.reason(error)}") from error
    kind = BlipEncoder if matching else DualEncoder
    return kind(
        name,
        f"{fingerprint(folder)}-{precision}",
        loaded,
        images,
        tokenizer,
        options.batch_size or DEFAULT[device],
    )


def on_disk() -> list[str]:
    """Names ("hub:OWNER/NAME") of the dual encoders in the hub's cache, in order."""
    return [
        f"hub:{name}"
        for name, config in cached_names()
        if ARCHITECTURES.intersection(config.get("architectures") or ())
    ]


def _load_model(folder: Path, name: str, matching: bool, dtype: Any, device: str) -> Any:
    import transformers

    auto = transformers.BlipForImageTextRetrieval if matching else transformers.AutoModel
    model, report = auto.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    if not matching and not all(
        hasattr(model, one) for one in ("get_image_features", "get_text_features")
    ):
        raise BackendError(
            f"{name} is of the type {model.config.model_type!r}, which does not embed both pictures and texts. "
            f"Expected a dual encoder such as clip or siglip, or {_MATCHING}."
        )
    if lacking := sorted(report["missing_keys"]):
        # transformers would fill them with random numbers, and the ranking would be chance.
        raise BackendError(
            f"The weights in {folder} do not fit its config.json: {len(lacking)} tensors are missing, "
            f"{lacking[0]} among them."
        )
    return model.to(device).eval()


class DualEncoder:
    """A checkpoint whose model has `get_image_features` and `get_text_features`."""

    def __init__(
        self,
        name: str,
        fingerprint: str,
        model: Any,
        image_processor: Any,
        tokenizer: Any,
        batch_size: int,
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._model, self._images, self._tokenizer = model, image_processor, tokenizer
        self._batches = Batches(name, model.device, batch_size)
        self._tokens = min(
            tokenizer.model_max_length, model.config.text_config.max_position_embeddings
        )

    def embed_images(self, images: Iterable[Image]) -> NDArray[np.float32]:
        """Rows (n, d) of length 1, in the order of the images, which are drawn a batch at a time."""
        return self._batches.unit_rows(
            images, lambda some: self._image_features(self._pixels(some)).float()
        )

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Rows (n, d) of length 1. A text longer than the model reads is cut at its end."""
        return self._batches.unit_rows(
            texts, lambda some: self._text_features(**self._words(some)).float()
        )

    def _image_features(self, pixels: Any) -> Any:
        return _pooled(self._model.get_image_features(pixel_values=pixels))

    def _text_features(self, **words: Any) -> Any:
        return _pooled(self._model.get_text_features(**words))

    def _pixels(self, images: Sequence[Image]) -> Any:
        pictures = [load_rgb(image.source) for image in images]
        pixels = self._images(pictures, return_tensors="pt")["pixel_values"]
        return pixels.to(self._model.device, self._model.dtype)

    def _words(self, texts: Sequence[str]) -> Any:
        words = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self._tokens,
            return_tensors="pt",
        )
        words.pop("token_type_ids", None)  # BERT's tokenizer makes them; no text tower takes them
        return words.to(self._model.device)


class BlipEncoder(DualEncoder):
    """BLIP's retrieval model: projections of both first tokens, and a head that sees picture and text."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        text = self._model.config.text_config
        self._tokens = min(BLIP_TOKENS, self._tokens)
        # BLIP adds [DEC] and then [ENC] to BERT's vocabulary (init_tokenizer) and puts [ENC] first when it
        # looks at both. The config names [DEC]; transformers' own forward leaves [CLS] where it is.
        self._both: int | None = text.bos_token_id + 1
        if self._both >= text.vocab_size:
            self._both = None

    def _image_features(self, pixels: Any) -> Any:
        seen = self._model.vision_model(pixel_values=pixels).last_hidden_state
        return self._model.vision_proj(seen[:, 0])

    def _text_features(self, **words: Any) -> Any:
        read = self._model.text_encoder(**words).last_hidden_state
        return self._model.text_proj(read[:, 0])

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits that each text fits. Frames of a video stand one after the other, as BLIP has them
        (eval_retrieval_video.py)."""
        import numpy as np
        import torch

        with torch.inference_mode():
            seen = [
                self._model.vision_model(pixel_values=self._pixels(some)).last_hidden_state
                for some in self._batches.of(images)
            ]
            tokens_1ND = torch.cat(seen).flatten(0, 1)[None]  # noqa: N806

        def fits(some: Sequence[str]) -> Any:
            words = self._words(some)
            if self._both is not None:
                words["input_ids"][:, 0] = self._both
            read = self._model.text_encoder(
                **words, encoder_hidden_states=tokens_1ND.expand(len(some), -1, -1)
            ).last_hidden_state
            return self._model.itm_head(read[:, 0])[:, 1]

        return np.array(list(self._batches.each(texts, fits)), np.float32)


def _pooled(found: Any) -> Any:
    """The features; transformers 5 wraps them in what the tower put out."""
    return found if hasattr(found, "shape") else found.pooler_output
