"""POST /v1/embeddings: vectors of texts and pictures, comparable with each other."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from looksay.errors import InputError, UnknownName
from looksay.serve import wire
from looksay.serve.shelf import Shelf

MAX_INPUTS = 2048


class Request(BaseModel):
    """OpenAI's, with pictures besides texts: an input may be {"type": "image_url", "image_url": {"url": "data:…"}}."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: (
        Annotated[str, Field(min_length=1, max_length=wire.MAX_TEXT)]
        | Annotated[
            list[Annotated[str, Field(min_length=1, max_length=wire.MAX_TEXT)] | wire.Part],
            Field(min_length=1, max_length=MAX_INPUTS),
        ]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


def answer(shelf: Shelf, asked: Request, fetch: wire.Fetch | None) -> dict[str, Any]:
    """The vectors in order, float32 of length 1. Raises InputError, UnreadablePhoto, UnknownName, BackendError."""
    import numpy as np

    if asked.dimensions is not None:
        raise InputError(
            "dimensions: the vectors are as long as the model makes them. Leave it out."
        )
    if asked.model not in shelf.encoders:
        raise UnknownName("dual encoder", asked.model, shelf.encoders)
    inputs = [asked.input] if isinstance(asked.input, str) else asked.input
    texts: list[tuple[int, str]] = []
    pictures = []
    for at, one in enumerate(inputs):
        if isinstance(one, wire.ImagePart):
            pictures.append((at, wire.image_of(one.image_url.url, fetch, at + 1)))
        else:
            texts.append((at, one if isinstance(one, str) else one.text))
    if len(pictures) > wire.MAX_IMAGES:
        raise InputError(
            f"There are {len(pictures)} images in this request, and {wire.MAX_IMAGES} is the most. Ask for fewer."
        )
    with shelf.encoder(asked.model) as encoder:
        found: dict[int, Any] = {}
        if texts:
            found |= zip(
                (at for at, _ in texts), encoder.embed_texts([t for _, t in texts]), strict=True
            )
        if pictures:
            rows = encoder.embed_images([image for _, image in pictures])
            found |= zip((at for at, _ in pictures), rows, strict=True)

    def told(row: Any) -> list[float] | str:
        if asked.encoding_format == "float":
            return [float(value) for value in row]
        return base64.b64encode(np.asarray(row, "<f4").tobytes()).decode()

    return {
        "object": "list",
        "model": asked.model,
        "data": [
            {"object": "embedding", "index": at, "embedding": told(found[at])}
            for at in range(len(inputs))
        ],
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }
