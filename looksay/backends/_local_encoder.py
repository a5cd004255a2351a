"""Dual encoders that looksay trained: `local:FOLDER`, a checkpoint whose family embeds pictures and texts.

Such a family has `embed_images(images)` and `embed_texts(texts)`, which give a tensor with one row each, and
perhaps `match(images, texts)`, the log-odds that the pairs belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from looksay.backends import local
from looksay.backends._batches import DEFAULT, Batches
from looksay.backends.base import LoadOptions
from looksay.errors import InputError
from looksay.types import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LocalEncoder:
    """A checkpoint of looksay.models.checkpoint that embeds."""

    def __init__(self, name: str, fingerprint: str, model: Any, batch_size: int) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._model = model
        self._batches = Batches(name, model.device, batch_size)

    def embed_images(self, images: Iterable[Image]) -> NDArray[np.float32]:
        """Rows (n, d) of length 1, in the order of the images, which are drawn a batch at a time."""
        return self._batches.unit_rows(images, lambda some: self._model.embed_images(some).float())

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Rows (n, d) of length 1."""
        return self._batches.unit_rows(texts, lambda some: self._model.embed_texts(some).float())


class LocalMatcher(LocalEncoder):
    """One whose family also looks at a picture and a text together."""

    @property
    def temperature(self) -> float:
        """Of the contrast that it learned: cosines over it are log-odds, as those of `match` are."""
        parts = self._model.parts.values()
        return float(
            next(part.temperature.detach() for part in parts if hasattr(part, "temperature"))
        )

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-odds that each text fits; of a video (several images), the mean over its frames, since these
        families are trained on single pictures."""
        import numpy as np

        def fits(image: Image) -> list[NDArray[np.float32]]:
            one = [image]
            return list(
                self._batches.each(
                    texts, lambda some: self._model.match(one * len(some), list(some))
                )
            )

        found: NDArray[np.float32] = np.mean(
            [fits(image) for image in images], axis=0, dtype=np.float32
        )
        return found


def load(model: str, options: LoadOptions) -> LocalEncoder:
    """The dual encoder of a folder, in float32 unless another precision is asked for. Raises InputError (no
    such folder, no checkpoint, a family that does not embed), BackendError, MissingDependency."""
    name = f"local:{model}"
    if options.quantize:
        raise InputError(
            "quantize is for models that write. An encoder runs as it was saved; choose --dtype bfloat16 to halve its "
            "memory."
        )
    if options.dtype == "auto":
        options = replace(options, dtype="float32")
    found, content, fingerprint = local.opened(name, local.folder_of(model), options)
    if not (hasattr(found, "embed_images") and hasattr(found, "embed_texts")):
        raise InputError(
            f"{name} is a {content['family']}, which does not embed both pictures and texts. Expected a dual "
            "encoder, such as clip: looksay train clip --help"
        )
    kind = LocalMatcher if hasattr(found, "match") else LocalEncoder
    return kind(name, fingerprint, found, options.batch_size or DEFAULT[found.device.type])
