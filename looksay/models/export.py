"""A checkpoint in the official layout of transformers, so that vLLM, llama.cpp and Ollama can serve it."""

from __future__ import annotations

import shutil
from pathlib import Path

from looksay import plugins
from looksay.errors import InputError, plainly
from looksay.models import checkpoint
from looksay.models.adapters import merge


def export(folder: Path | str, out: Path | str) -> Path:
    """Write the checkpoint in `folder` to `out` as transformers would; adapters are folded in.

    Raises InputError where `out` is not empty, or where no official layout exists for the model.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already and not empty. Name a new folder.")
    family = checkpoint.read(folder)["family"]
    module = plugins.load(checkpoint.FAMILIES, family, "model family")
    if not hasattr(module, "export"):
        raise InputError(f"The family {family} has no official layout in transformers.")
    model = checkpoint.load(folder)
    merge(model)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        module.export(model, partial)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {plainly(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out
