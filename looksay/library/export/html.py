"""A gallery in one HTML file: every photo with its words, to look at and to listen to."""

from __future__ import annotations

import base64
import io
import os
import pickle
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
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
    counts = Counter[str]()
    # The summary stands before the photos, so the rows wait in a file until all are counted.
    with tempfile.TemporaryFile() as kept:
        for row in rows:
            counts[_STATES.get(row.state, row.state)] += 1
            pickle.dump(row, kept)
        kept.seek(0)
        saved: Iterator[Row] = (pickle.load(kept) for _ in range(counts.total()))
        entries = ({"row": row, **shown(row.photo, out, root)} for row in saved)
        render("gallery.html", out, entries=entries, counts=counts.most_common(), states=_STATES)
    return counts.total()


def render(template: str, out: Path, **values: Any) -> None:
    """Write a page from one of the templates beside this file; what stands in `values` cannot become markup."""
    environment = Environment(
        loader=PackageLoader("looksay.library.export", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
    )
    with files.writing(out) as stream:
        for piece in environment.get_template(template).generate(**values):
            stream.write(piece.encode())


def shown(photo: str, out: Path, root: Path) -> dict[str, str]:
    """`link` and `thumbnail` of a photo of the library at `root`, for a page at `out`."""
    path = root / photo
    try:
        link = quote(Path(os.path.relpath(path, out.resolve().parent)).as_posix())
    except ValueError:  # another drive
        link = path.as_uri()
    return {"link": link, "thumbnail": _thumbnail(path)}


def _thumbnail(photo: Path) -> str:
    try:
        rgb = images.load_rgb(photo, max_side_px=THUMBNAIL_PX)
    except UnreadablePhoto:
        return ""
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=78)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
