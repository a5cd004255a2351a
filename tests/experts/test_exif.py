"""Date and camera from EXIF: only what a camera plausibly wrote."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from PIL import Image

from looksay.errors import UnreadablePhoto
from looksay.experts import exif


def photo(
    *, date: object = "2019:05:12 16:20:00", make="Canon", model="Canon EOS 80D", exposure=True
) -> bytes:
    tags = Image.Exif()
    tags[0x010F], tags[0x0110] = make, model
    tags.get_ifd(0x8769).update({0x9003: date, **({0x829A: (1, 250)} if exposure else {})})
    tags.get_ifd(0x8825).update({1: "N", 2: (37.0, 33.0, 0.0)})
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", exif=tags)
    return out.getvalue()


def test_reads_date_and_camera_and_no_place():
    found = exif.read(photo())
    assert found == exif.Exif(dt.date(2019, 5, 12), "Canon EOS 80D", True)
    assert "37" not in repr(found)


def test_maker_and_model_are_joined_where_the_model_lacks_the_maker():
    assert (
        exif.read(photo(make="NIKON CORPORATION", model="D750")).camera == "NIKON CORPORATION D750"
    )


def test_an_editor_that_names_a_camera_without_exposure_proves_no_photo():
    assert not exif.read(photo(exposure=False)).from_camera


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0000:00:00 00:00:00",
        "2019:13:40",
        "2000:01:01 00:00:00",
        "1970:02:03 00:00:00",
        "2999:05:05",
        "yesterday",
    ],
)
def test_implausible_dates_are_not_told(text):
    assert exif.plausible_date(text) is None
    assert exif.read(photo(date=text)).taken is None


def test_damaged_exif_is_no_fault_of_the_photo():
    data = bytearray(photo())
    at = data.index(b"Exif\0\0") + 6
    for i in range(at + 8, at + 60):
        data[i] = 0xFF
    assert exif.read(bytes(data)) == exif.Exif()


def test_a_picture_without_exif_and_a_file_that_is_none():
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    assert exif.read(out.getvalue()) == exif.Exif()
    with pytest.raises(UnreadablePhoto):
        exif.read(b"not a picture")
