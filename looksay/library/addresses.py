"""Which file of the library a page means by an image's address."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from looksay.library.catalog import Catalog, relative

_STATIC_FOLDERS = ("", "static", "public", "src", "source", "assets", "content")


def resolve(catalog: Catalog, root: Path, src: str, page: str) -> tuple[str | None, str]:
    """The photo file that `src` on `page` means: relative to the page, to the folders above it, or
    to a folder that site generators publish as their root. A local file that is not there keeps the
    path that it would most likely have; nothing is looked for outside the library."""
    try:
        parts = urlsplit(src)
    except ValueError:  # "//[", say
        return None, "no address of an image"
    if parts.scheme or parts.netloc or not parts.path:
        return None, "inside the page" if parts.scheme == "data" else "on the network"
    # As a browser reads it; and as people write it, with bare percent and hash signs in file names.
    names = [n.replace("\\", "/") for n in (unquote(parts.path), parts.path, unquote(src), src)]
    folder = posixpath.dirname(page)
    above, bases = folder, list[str]()
    while True:
        bases += [posixpath.join(above, static) for static in _STATIC_FOLDERS]
        if above in ("", ".."):
            break
        above = posixpath.dirname(above)
    candidates = [
        posixpath.normpath(posixpath.join(base, name.lstrip("/")))
        for name in dict.fromkeys(names)
        for base in dict.fromkeys(bases if name.startswith("/") else [folder, *bases])
    ]
    for candidate in candidates:
        # macOS writes names decomposed, people type them composed.
        for form in {candidate, normalize("NFC", candidate), normalize("NFD", candidate)}:
            if catalog.has_place(form):
                return form, ""
    for candidate in candidates:
        with suppress(OSError, RuntimeError, ValueError):
            linked = relative(root, (root / candidate).resolve(strict=True))
            if catalog.has_place(linked):
                return linked, ""
    wanted = names[0]
    beside = wanted.startswith(("./", "../")) or "/" not in wanted
    return candidates[0] if beside else posixpath.normpath(
        wanted.lstrip("/")
    ), "no such file in the library"
