"""Features of a frozen tower by image, so that data which repeat pass through it once."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.training.feed import Fed


class Features:
    """Keeps up to `limit_bytes` in memory (the least recently used go first), and with `folder` every
    image's features on disk: one safetensors file by content key, in a folder for this very tower."""

    def __init__(
        self,
        tower: nn.Module,
        *,
        limit_bytes: int = 2**31,
        folder: Path | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self._tower, self._limit = tower, limit_bytes
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0
        self.fingerprint = str(tower.fingerprint)
        self._folder = folder / _name(tower, precision) if folder else None
        self.computed = 0
        """Images that went through the tower."""

    def to(self, device: torch.device) -> None:
        """Move the tower."""
        self._tower.to(device)

    @torch.no_grad()
    def of(self, fed: Fed, device: torch.device) -> Tensor:
        """The features of a batch's images (I, N, D) on `device`; what is not known is computed."""
        pixels_ICHW = fed.batch.pixels_ICHW
        assert pixels_ICHW is not None
        if len(fed.keys) != len(pixels_ICHW):
            raise InputError(
                f"{len(pixels_ICHW)} images, but {len(fed.keys)} keys: features are kept by the images' "
                "content keys. Turn cache_features off for this data."
            )
        found = {key: self._get(key) for key in dict.fromkeys(fed.keys)}
        missing = [key for key, value in found.items() if value is None]
        if missing:
            places = [fed.keys.index(key) for key in missing]
            fresh_IND = self._tower(pixels_ICHW[places].to(device))
            self.computed += len(missing)
            for key, features_ND in zip(missing, fresh_IND, strict=True):
                found[key] = features_ND
                self._keep(key, features_ND.cpu().clone(), new=True)
        return torch.stack([found[key].to(device) for key in fed.keys])  # type: ignore[union-attr]

    def _get(self, key: str) -> Tensor | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if self._folder is None or not self._file(key).is_file():
            return None
        from safetensors.torch import load_file

        features_ND: Tensor = load_file(self._file(key))["features"]
        self._keep(key, features_ND, new=False)
        return features_ND

    def _keep(self, key: str, features_ND: Tensor, *, new: bool) -> None:
        if new and self._folder is not None:
            from safetensors.torch import save_file

            file = self._file(key)
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(f".{os.getpid()}")
            save_file({"features": features_ND}, unfinished)
            unfinished.replace(file)
        self._kept[key] = features_ND
        self._bytes += features_ND.nbytes
        while self._bytes > self._limit and self._kept:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.nbytes

    def _file(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}.safetensors"


def _name(tower: Any, precision: torch.dtype) -> str:
    """What features depend on: weights, how pictures are prepared, which layer is read, in which precision."""
    described = checkpoint.describe(tower)
    told = json.dumps([described["fingerprint"], described["arguments"], str(precision)])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def fresh(
    tower: Any,
    kept: Features | None,
    folder: Path | None,
    limit_bytes: int,
    precision: torch.dtype,
) -> Features:
    """The cache of the tower as it is now: an earlier stage may have trained it."""
    if kept is not None and kept.fingerprint == str(tower.fingerprint):
        return kept
    return Features(tower, limit_bytes=limit_bytes, folder=folder, precision=precision)
