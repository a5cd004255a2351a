"""Experts that are models of transformers: found by name or folder, loaded, told apart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from looksay.errors import InputError


def load(auto: Any, model: str, device: str, example: str) -> tuple[Any, str]:
    """(the model, ready on its device; its fingerprint). `auto` is one of transformers' Auto classes, `example` a
    name that it would take. Raises InputError where there is no such model, or not of that kind."""
    if not model:
        raise InputError(f"No model is named. Type a folder or a name on the hub: {example}")
    try:
        loaded, report = auto.from_pretrained(model, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise InputError(refusal(model, error, example)) from error
    if lacking := sorted(report["missing_keys"]):
        # transformers would fill them with random numbers.
        raise InputError(
            f"The weights of {model} do not fit: {len(lacking)} tensors are missing, {lacking[0]} among them. "
            f"Expected a model such as {example}"
        )
    place = resolved(device)
    return loaded.eval().to(place), f"{_fingerprint(model)} on {place}"


def refusal(model: str, error: Exception, example: str) -> str:
    said = " ".join(str(error).split())
    return f"{model} cannot be loaded: {said[:300]} Expected a folder, or a name on the hub such as {example}"


def resolved(device: str) -> str:
    """The device itself; for "auto" an accelerator where there is one. Raises InputError where it is none."""
    import torch

    if device != "auto":
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise InputError(
                f"The device {device!r} cannot be used: {str(error).splitlines()[0]}. Type --device cpu, or auto."
            ) from error
        return device
    if torch.accelerator.is_available():
        return str(torch.accelerator.current_accelerator())
    return "cpu"


def _fingerprint(model: str) -> str:
    """The commit of a model of the hub; of a folder, a digest of all its files."""
    from transformers.utils import cached_file

    folder = Path(str(cached_file(model, "config.json"))).parent
    if folder.parent.name == "snapshots":
        return folder.name
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as stream:
                found.update(f"{path.name} ".encode())
                found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()[:16]
