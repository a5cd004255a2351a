"""Pictures on their way into a model of the hub: what it made of them is kept, and a CPU looks at few tiles at a time."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from looksay.backends._kept import Seen

SLICE = 2
"""Tiles that pass through a tower at once on a CPU: what is between two layers then stays in its caches."""
_LARGE = frozenset({"last_hidden_state", "hidden_states", "attentions"})
"""What a tower gives besides the features that the language model reads."""


class _Here(threading.local):
    """In this thread, the pictures that are read."""

    picture: Hashable = None


class Seeing:
    """Stands in front of a model's `get_image_features`, where it has one."""

    def __init__(self, model: Any, fingerprint: str) -> None:
        self._seen = Seen(fingerprint)
        self._here = _Here()
        inner = getattr(model, "model", model)
        features = getattr(inner, "get_image_features", None)
        if features is not None:
            inner.get_image_features = self._remembering(features)
        tower = model.get_encoder(modality="image")
        if model.device.type == "cpu" and tower not in (model, inner):
            in_slices(tower)

    @contextmanager
    def at(self, picture: Hashable) -> Iterator[None]:
        """While it reads a prompt that shows pictures of that name."""
        self._here.picture = picture
        try:
            yield
        finally:
            self._here.picture = None

    def _remembering(self, features: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(features)  # transformers asks what it takes
        def remembering(*args: Any, **kwargs: Any) -> Any:
            picture = self._here.picture
            if picture is None:
                return features(*args, **kwargs)
            found = self._seen.get(picture)
            if found is None:
                found = features(*args, **kwargs)
                if hasattr(found, "pooler_output"):
                    found = _light(found)
                    self._seen.put(picture, found)
            return found

        return remembering


def _light(output: Any) -> Any:
    """The same output without what is `_LARGE`."""
    light = type(output)(**{one: output[one] for one in output if one not in _LARGE})
    for name, what in vars(output).items():
        if name not in output and name not in _LARGE:
            setattr(light, name, what)  # some models hang more on it than its class names
    return light


def in_slices(tower: Any, at_once: int = SLICE) -> None:
    """Let a vision tower look at so many pictures at a time, if it takes them as ICHW."""
    embeddings = getattr(tower, "embeddings", None)
    if embeddings is not None:
        # As a convolution leaves them, turned about, every layer would put them in order again.
        embeddings.register_forward_hook(lambda module, given, found: _in_order(found))
    whole = tower.forward

    @functools.wraps(whole)
    def forward(pixel_values: Any = None, *args: Any, **kwargs: Any) -> Any:
        pictures = getattr(pixel_values, "ndim", 0) == 4 and len(pixel_values)
        if not pictures or pictures <= at_once or args:
            given = () if pixel_values is None else (pixel_values,)
            return whole(*given, *args, **kwargs)

        def part(value: Any, start: int) -> Any:
            alike = isinstance(value, Tensor) and value.ndim and len(value) == pictures
            return value[start : start + at_once] if alike else value

        found = [
            whole(
                part(pixel_values, start),
                **{name: part(value, start) for name, value in kwargs.items()},
            )
            for start in range(0, pictures, at_once)
        ]
        return _joined(found)

    tower.forward = forward


def _in_order(found: Any) -> Any:
    return found.contiguous() if isinstance(found, Tensor) else found


def _joined(parts: list[Any]) -> Any:
    """One output of several, each row of which is a picture's."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, tuple | list):
        return type(first)(_joined(list(some)) for some in zip(*parts, strict=True))
    if isinstance(first, Mapping):
        return type(first)(**{name: _joined([one[name] for one in parts]) for name in first})
    return first
