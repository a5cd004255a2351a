"""A gallery in one HTML file: every photo with its words, to look at and to listen to."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, select_autoescape

from looksay import images
from looksay.errors import UnreadablePhoto
from looksay.library import files
from looksay.library.export import Row

THUMBNAIL_PX = 320
_STATES = {
    "human": "written by a person", "reviewed": "reviewed", "decorative": "decoration", "cleared": "deleted by a person",
    "ai": "by a model, not reviewed", "draft": "draft, not reviewed", "rejected": "rejected", "none": "no words yet",
}  # fmt: skip


def write(rows: Iterable[Row], out: Path, root: Path) -> int:
    """Write the gallery, thumbnails inside; returns the number of entries."""
    entries = [_entry(row, out, root) for row in rows]
    environment = Environment(
        loader=PackageLoader("looksay.library.export", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
    )
    counts = Counter(_STATES.get(e["row"].state, e["row"].state) for e in entries)
    page = environment.get_template("gallery.html").render(
        entries=entries, counts=counts.most_common(), states=_STATES
    )
    files.write(out, page.encode())
    return len(entries)


def _entry(row: Row, out: Path, root: Path) -> dict[str, Any]:
    photo = root / row.photo
    try:
        link = quote(Path(os.path.relpath(photo, out.resolve().parent)).as_posix())
    except ValueError:  # another drive
        link = photo.as_uri()
    return {"row": row, "link": link, "thumbnail": _thumbnail(photo)}


def _thumbnail(photo: Path) -> str:
    try:
        rgb = images.load_rgb(photo, max_side_px=THUMBNAIL_PX)
    except UnreadablePhoto:
        return ""
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=78)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
