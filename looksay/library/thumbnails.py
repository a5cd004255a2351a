"""Small pictures to look at, made once and kept on disk: a folder that may be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from looksay import images
from looksay.errors import InputError, UnreadablePhoto, plainly
from looksay.keeping import caches, keep

SIZES = {"small": 320, "large": 1280}
"""The longest side in px."""


def folder() -> Path:
    """Where this system keeps them."""
    return caches() / "thumbnails"


class Thumbnails:
    """Thumbnails by the SHA-256 of a photo's file. Any number of processes and threads may use one folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.made = 0
        """Pictures that were not there yet."""

    def kept(self, sha256: str, size: str) -> bytes | None:
        """The JPEG of a photo, if it is there."""
        with contextlib.suppress(OSError):
            return self._path(sha256, size).read_bytes() or None
        return None

    def get(self, photo: Path, sha256: str, size: str) -> bytes:
        """The JPEG of a photo, made where it is not there. Raises UnreadablePhoto where it cannot be made: the file is
        gone, damaged or no longer that photo; and InputError where the folder cannot be written."""
        found = self.kept(sha256, size)
        if found is not None:
            return found
        try:
            data = photo.read_bytes()
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            raise UnreadablePhoto("the file is gone" if gone else plainly(error)) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UnreadablePhoto("the file has changed since the last scan")
        made = images.encode_jpeg(data, max_side_px=SIZES[size], quality=82)
        self.made += 1
        self._keep(self._path(sha256, size), made)
        return made

    def _path(self, sha256: str, size: str) -> Path:
        return self.cache / sha256[:2] / f"{sha256}-{size}.jpg"

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            keep(path, data)
        except OSError as error:
            raise InputError(
                f"Thumbnails cannot be kept in {self.cache}: {plainly(error)}. Choose a folder that can be "
                "written: looksay review --cache DIR"
            ) from error
