"""What the camera wrote into the file: when the photo was taken, and with what. Never where."""

from __future__ import annotations

import datetime as dt
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from looksay.images import open_image

_EXIF_IFD = 0x8769
_MAKE, _MODEL, _DATE_TAKEN, _EXPOSURE, _APERTURE = 0x010F, 0x0110, 0x9003, 0x829A, 0x829D
FIRST_DIGITAL_YEAR = 1995


@dataclass(frozen=True, slots=True)
class Exif:
    """Example: Exif(taken=datetime.date(2019, 5, 12), camera="Canon EOS 80D", from_camera=True)."""

    taken: dt.date | None = None
    camera: str = ""
    from_camera: bool = False
    """An exposure and a camera are recorded: this is a photograph, whatever it shows."""


def read(source: Path | bytes | Pillow.Image) -> Exif:
    """Read date and camera; what is missing, damaged or implausible is left empty.

    Raises UnreadablePhoto where the picture itself cannot be opened.
    """
    # A picture that came in decoded is the caller's to close.
    opened = nullcontext(source) if isinstance(source, Pillow.Image) else open_image(source)
    with opened as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF
        try:
            tags = image.getexif()
            more = tags.get_ifd(_EXIF_IFD)
        except (
            Exception
        ):  # a damaged block raises anything: SyntaxError, struct.error, ValueError …
            return Exif()
    make, model = _words(tags.get(_MAKE)), _words(tags.get(_MODEL))
    camera = (
        model
        if not make or model.lower().startswith(make.lower().split()[0])
        else f"{make} {model}"
    )
    return Exif(
        taken=plausible_date(_words(more.get(_DATE_TAKEN))),
        camera=camera.strip(),
        from_camera=bool(camera.strip()) and (_EXPOSURE in more or _APERTURE in more),
    )


def plausible_date(text: str, today: dt.date | None = None) -> dt.date | None:
    """The date of "2019:05:12 16:20:00", unless it is one that an unset camera clock writes."""
    try:
        date = dt.datetime.strptime(text[:10], "%Y:%m:%d").date()
    except ValueError:
        return None
    today = today or dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    unset = date.month == 1 and date.day == 1  # clocks start at 1 January of their model's year
    return None if unset or date.year < FIRST_DIGITAL_YEAR or date > today else date


def _words(value: object) -> str:
    return " ".join(str(value or "").replace("\x00", " ").split())
