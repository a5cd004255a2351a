"""What the camera wrote into the file: when the photo was taken, and with what; and, only for who asks for it by
itself, where."""

from __future__ import annotations

import datetime as dt
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from looksay.images import open_image

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _DATE_TAKEN, _EXPOSURE, _APERTURE = 0x010F, 0x0110, 0x9003, 0x829A, 0x829D
_NORTH, _LATITUDE, _EAST, _LONGITUDE = 1, 2, 3, 4
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
    try:
        tags, more = _blocks(source, _EXIF_IFD)
    except _Damaged:
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


def position(source: Path | bytes | Pillow.Image) -> tuple[float, float] | None:
    """Where the photo was taken: latitude and longitude in degrees, north and east positive. None where the file does
    not say, is damaged, or has the 0, 0 of a receiver that had found nothing yet.

    Raises UnreadablePhoto where the picture itself cannot be opened.
    """
    try:
        _, tags = _blocks(source, _GPS_IFD)
        latitude = _degrees(tags[_LATITUDE], _words(tags[_NORTH]), "S")
        longitude = _degrees(tags[_LONGITUDE], _words(tags[_EAST]), "W")
    except (_Damaged, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    within = abs(latitude) <= 90 and abs(longitude) <= 180  # false for nan
    return (latitude, longitude) if within and (latitude or longitude) else None


def plausible_date(text: str, today: dt.date | None = None) -> dt.date | None:
    """The date of "2019:05:12 16:20:00", unless it is one that an unset camera clock writes."""
    try:
        date = dt.datetime.strptime(text[:10], "%Y:%m:%d").date()
    except ValueError:
        return None
    today = today or dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    unset = date.month == 1 and date.day == 1  # clocks start at 1 January of their model's year
    return None if unset or date.year < FIRST_DIGITAL_YEAR or date > today else date


class _Damaged(Exception):
    """The block cannot be read."""


def _blocks(
    source: Path | bytes | Pillow.Image, number: int
) -> tuple[Mapping[int, Any], Mapping[int, Any]]:
    """The tags of the picture, and those of one of its further blocks."""
    # A picture that came in decoded is the caller's to close.
    opened = nullcontext(source) if isinstance(source, Pillow.Image) else open_image(source)
    with opened as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF
        try:
            tags = image.getexif()
            return dict(tags), dict(tags.get_ifd(number))  # read before the file is closed
        except Exception as error:  # anything: SyntaxError, struct.error, ValueError …
            raise _Damaged from error


def _degrees(parts: Sequence[Any], side: str, negative: str) -> float:
    """Degrees, minutes and seconds as one number."""
    degrees, minutes, seconds = map(float, parts)
    found = math.fsum((degrees, minutes / 60, seconds / 3600))
    return -found if side.upper() == negative else found


def _words(value: object) -> str:
    return " ".join(str(value or "").replace("\x00", " ").split())
