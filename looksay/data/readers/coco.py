"""Claims of English captions about things of COCO's eighty classes alone, each by the name of its class."""

from __future__ import annotations

from looksay.backends.base import LoadOptions
from looksay.data.readers.english import English
from looksay.errors import InputError
from looksay.texts.claims import Reader

ABOUT = "As english, of COCO's eighty classes alone: what detectors know."


def load(model: str, options: LoadOptions) -> Reader:
    if model:
        raise InputError(
            f"The reader of COCO's classes has no model; {model!r} was given. Type: coco"
        )
    return English(known=True)
