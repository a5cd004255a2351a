"""Where a transformers checkpoint lies on disk, and what tells it from every other one. No torch here.

A checkpoint is a folder with `config.json` and weights: one that the user names, or a snapshot in the
cache of huggingface_hub (`models--OWNER--NAME/snapshots/REVISION`, read here without importing it).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from looksay.errors import BackendError, MissingDependency

TRUE = frozenset({"1", "on", "true", "yes"})
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SPEAKS = (
    "ForConditionalGeneration",
    "ForCausalLM",
    "ForVisionText2Text",
    "VisionEncoderDecoderModel",
)
"""How the class names end of models that write text, as `architectures` in config.json has them."""

REACH_S = 5.0
"""How long the hub may take to say whether it has a model."""
SAMPLE_BYTES = 64
WHOLE_FILE_BYTES = 64 * 2**20
"""Files up to this size that are not weights are digested whole."""


def locate(name: str) -> Path:
    """The folder of checkpoint `name`: a folder, or OWNER/NAME[@REVISION], fetched if a hub is in reach.

    What is on disk is used without asking anyone. Raises BackendError that says what to type.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BackendError(
                f"{folder} has no config.json, so it is no transformers checkpoint. Expected a folder as "
                "save_pretrained writes it, or a name such as hub:Salesforce/blip-image-captioning-large"
            )
        if not weight_files(folder):
            raise BackendError(
                f"{folder} has a config.json, but its weights are missing or incomplete. Expected "
                f"{' or '.join(WEIGHTS)}, or all the parts that the index beside it lists."
            )
        return folder
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?", name):
        raise BackendError(
            f"There is no folder {name}. Expected a folder, or OWNER/NAME of a model on the hub."
        )
    repository, _, revision = name.partition("@")
    return cached(repository, revision or "main") or _download(repository, revision or "main")


def cache_root() -> Path:
    """The cache of huggingface_hub, found as it finds it (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME)."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{base}/huggingface").expanduser() / "hub"


def cached(repository: str, revision: str = "main") -> Path | None:
    """The snapshot of `repository` in the cache, if it is there with all its weights."""
    home = cache_root() / f"models--{repository.replace('/', '--')}"
    pointer = home / "refs" / revision
    commit = pointer.read_text().strip() if pointer.is_file() else revision
    folder = home / "snapshots" / commit
    return folder if (folder / "config.json").is_file() and weight_files(folder) else None


def cached_names() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names (OWNER/NAME) of all cached checkpoints, in order, and what each one's config.json says."""
    for home in sorted(cache_root().glob("models--*--*")):
        repository = home.name.removeprefix("models--").replace("--", "/", 1)
        if folder := cached(repository):
            yield repository, read_json(folder / "config.json")


def on_disk() -> Iterator[str]:
    """Names (OWNER/NAME) of the cached checkpoints that write text about images, in order."""
    return (name for name, config in cached_names() if sees_and_speaks(config))


def sees(config: dict[str, Any]) -> bool:
    """Whether a config.json has a part that looks at images."""
    return any("vision" in key for key in config) or "encoder" in config


def sees_and_speaks(config: dict[str, Any]) -> bool:
    """Whether a config.json is that of a model that takes images and writes text."""
    return sees(config) and any(str(a).endswith(SPEAKS) for a in config.get("architectures") or ())


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, in order; none where one of them is missing."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = [folder / part for part in sorted(set(read_json(index)["weight_map"].values()))]
            return parts if all(part.is_file() for part in parts) else []
    return []


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file; an empty dictionary where it is not there or not JSON."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def fingerprint(folder: Path) -> str:
    """The commit of a hub snapshot, or a digest of what a folder holds: 12 hexadecimal digits.

    The digest covers every configuration, tokenizer, template and code file whole. Of the weights it
    covers the names and sizes of the files, the header of each safetensors file (names, types and shapes
    of all tensors) and 64 bytes from the start, the middle and the end of every tensor (of a pickle:
    of 4,096 places), so that it takes milliseconds and still sees a change in any one tensor.
    """
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.name[:12]
    digest = hashlib.sha256()
    weights = set(weight_files(folder))
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        if path in weights:
            digest.update(f"{path.name} {path.stat().st_size}".encode())
            for piece in _samples(path):
                digest.update(piece)
        elif path.suffix in {".json", ".jinja", ".txt", ".model", ".tiktoken", ".py"}:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(file.read(WHOLE_FILE_BYTES))
    return digest.hexdigest()[:12]


def _samples(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        spans = [(size * i // 4096, size * (i + 1) // 4096) for i in range(4096)]
        if path.suffix == ".safetensors":
            # Format: 8 bytes with the length of a JSON header, the header, then the tensors' bytes.
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length)
            yield header
            tensors = (v for k, v in json.loads(header).items() if k != "__metadata__")
            spans = [tuple(8 + length + at for at in t["data_offsets"]) for t in tensors]
        for start, end in spans:
            for at in sorted({start, (start + end) // 2, max(start, end - SAMPLE_BYTES)}):
                file.seek(at)
                yield file.read(min(SAMPLE_BYTES, end - at))


def _download(repository: str, revision: str) -> Path:
    what = f"hub:{repository} is not on this machine"
    copy = "Or copy its folder here and type: hub:/path/to/folder"
    if any(
        os.environ.get(v, "").lower() in TRUE for v in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    ):
        raise BackendError(
            f"{what}, and HF_HUB_OFFLINE forbids to fetch it. Unset HF_HUB_OFFLINE and type: "
            f"hf download {repository}. {copy}"
        )
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise MissingDependency(
            f"hub:{repository}", "local", error.name or "huggingface_hub"
        ) from error
    try:
        info = HfApi().model_info(repository, revision=revision, timeout=REACH_S)
        files = [sibling.rfilename for sibling in info.siblings or ()]
        safe = any(file.endswith(".safetensors") and "/" not in file for file in files)
        keep = ["*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py"]
        snapshot_download(
            repository,
            revision=revision,  # not the commit: only by this name is it found again without asking
            allow_patterns=[*keep, "model*.safetensors" if safe else "pytorch_model*.bin"],
        )
    except GatedRepoError as error:
        raise BackendError(
            f"{what}, and the hub gives it only to those who accepted its licence: do so on its page, "
            f"then type: hf auth login, and: hf download {repository}"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise BackendError(
            f"{what}, and the hub has no public model {repository!r} with revision {revision!r}. Check "
            "the spelling; for a private one type: hf auth login"
        ) from error
    except Exception as error:  # httpx, OSError, urllib3: whatever the hub's client was built with
        raise BackendError(
            f"{what}, and no hub is in reach ({type(error).__name__}). With a network, type: "
            f"hf download {repository}. {copy}"
        ) from error
    folder = cached(repository, revision)
    if folder is None:
        raise BackendError(
            f"hub:{repository} holds no {' or '.join(WEIGHTS)}, which transformers needs."
        )
    return folder
