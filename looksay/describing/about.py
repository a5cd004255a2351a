"""What a request tells of a photo besides its pixels: which kinds of it may be told to whom, and what they are.

The page's words belong to a place and come with it (`library.pages.Context`). The album, the day and the place where the
photo was taken belong to the photo; they are read when it is asked about and are no part of a resume key, so that a
photo that is moved to another folder is not asked about again. Which *kinds* a request tells is part of its prompt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from looksay.describing import places
from looksay.errors import UnknownName, UnreadablePhoto
from looksay.experts import exif
from looksay.settings import CONTEXTS

_GENERIC = {
    "album", "albums", "archive", "article", "articles", "asset", "assets", "blog", "camera", "content", "dcim",
    "dist", "docs", "download", "downloads", "export", "files", "full", "gallery", "image", "images", "img", "imgs",
    "jpeg", "jpg", "large", "library", "media", "medium", "original", "originals", "page", "pages", "photo",
    "photos", "pic", "pics", "picture", "pictures", "post", "posts", "public", "raw", "resources", "site", "small",
    "source", "src", "static", "thumb", "thumbnails", "thumbs", "tmp", "upload", "uploads", "web", "webp", "www",
}  # fmt: skip
"""Names of folders that tell nothing of what lies in them."""
_CAMERA = re.compile(r"\d{3}(?:[A-Z]{5}|_\w{4})")
"""Folders that cameras make ("100CANON"): Design rule for Camera File system, JEITA CP-3461."""


@dataclass(frozen=True, slots=True)
class About:
    """Example: About(album="2019 Lisbon", date="2019-05-12", place="Lisbon, Portugal"); "" is not known, or not told."""

    album: str = ""
    date: str = ""
    """The day on which it was taken, ISO 8601."""
    place: str = ""
    """Where it was taken, in words. Never coordinates."""


def told_to(remote: bool, wanted: Collection[str], remotely: Iterable[str]) -> tuple[str, ...]:
    """The kinds that a model is told, in the order of CONTEXTS: those wanted, and where the model is not on this machine
    only those of them that the user lets it have, whoever wants more. Raises UnknownName."""
    if unknown := set(wanted) - set(CONTEXTS):
        raise UnknownName("context", min(unknown), CONTEXTS)
    kinds = set(wanted) & set(remotely) if remote else set(wanted)
    return tuple(kind for kind in CONTEXTS if kind in kinds)


def read(root: Path, path: str, kinds: Iterable[str]) -> About:
    """What is known of the photo at `path` (relative to the library's `root`), of these kinds; the rest is left empty,
    and so is what a damaged file does not tell. Raises MissingDependency where places cannot be named."""
    kinds = set(kinds)
    taken, where = None, None
    # A drawing has no camera, and would be painted to be looked at.
    if kinds & {"date", "place"} and not path.lower().endswith(".svg"):
        try:
            taken = exif.read(root / path).taken if "date" in kinds else None
            where = exif.position(root / path) if "place" in kinds else None
        except UnreadablePhoto:
            pass
    return About(
        album(path) if "album" in kinds else "",
        taken.isoformat() if taken else "",
        places.named(*where) if where else "",
    )


def album(path: str) -> str:
    """The folder that a photo lies in, if its name tells something: the nearest that is neither generic ("images"), nor
    a number, nor a camera's.

    >>> album("albums/2019 Lisbon/raw/IMG_1.jpg"), album("static/images/2019/05/a.jpg")
    ('2019 Lisbon', '')
    """
    for folder in PurePosixPath(path).parents:
        name = " ".join(re.sub(r"[_\s]+|(?<=[^\W\d])-(?=[^\W\d])", " ", folder.name).split())
        telling = re.search(r"[^\W\d]{2}", name) and not _CAMERA.fullmatch(folder.name)
        if telling and name.lower() not in _GENERIC:
            return name
    return ""
