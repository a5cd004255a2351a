"""Which photos a scan takes for the same picture, and which it must not."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from pictures import encoded, jpeg, picture, put
from PIL import Image as Pillow
from PIL import ImageDraw, ImageEnhance

import looksay


def groups(folder: Path) -> list[set[str]]:
    """Near-duplicate groups of two and more files with different bytes, as a scan finds them."""
    with looksay.Library(folder) as library:
        library.scan()
        found: dict[int, set[str]] = {}
        for row in library.catalog.rows(
            "SELECT l.path, p.lead_id FROM place l JOIN photo p ON p.id = l.photo_id WHERE lead_id IS NOT NULL"
        ):
            found.setdefault(row["lead_id"], set()).add(row["path"])
    return sorted(found.values(), key=sorted)


CHANGES = {
    "half the size": lambda i: i.resize((i.width // 2, i.height // 2), Pillow.Resampling.LANCZOS),
    "a third": lambda i: i.resize((i.width // 3, i.height // 3), Pillow.Resampling.BILINEAR),
    "quality 40": lambda i: Pillow.open(io.BytesIO(encoded(i, "JPEG", quality=40))),
    "webp": lambda i: Pillow.open(io.BytesIO(encoded(i, "WEBP", quality=60))),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.03),
}


@pytest.mark.parametrize("how", CHANGES)
def test_resized_and_recompressed_pictures_are_grouped_and_others_are_not(
    how: str, tmp_path: Path
) -> None:
    for seed in range(12):
        original = picture(seed, (600, 450))
        put(tmp_path / f"{seed}.jpg", encoded(original, "JPEG", quality=92))
        put(tmp_path / f"{seed}-b.png", encoded(CHANGES[how](original).convert("RGB"), "PNG"))
    wanted = [{f"{n}.jpg", f"{n}-b.png"} for n in range(12)]
    found = groups(tmp_path)
    assert all(group in wanted for group in found)  # never a wrong one
    assert len(found) >= 11  # soft blobs sit at the limit of 3 bits now and then


def test_flat_and_plain_pictures_are_never_grouped(tmp_path: Path) -> None:
    for n, colour in enumerate(("white", "black", "red", "#fefefe", "#808080")):
        put(tmp_path / f"flat{n}.png", encoded(Pillow.new("RGB", (300 + n, 225), colour), "PNG"))
    for n in range(4):
        across = Pillow.linear_gradient("L").rotate(90 * n).resize((320, 240 + n))
        put(tmp_path / f"gradient{n}.png", encoded(across, "PNG"))
        line = Pillow.new("RGB", (320, 240), "white")
        ImageDraw.Draw(line).line((0, 10 * n, 320, 200 - 20 * n), fill="black", width=3)
        put(tmp_path / f"line{n}.png", encoded(line, "PNG"))
    assert groups(tmp_path) == []


def test_pages_of_text_and_charts_of_one_template_are_not_grouped(tmp_path: Path) -> None:
    generator = random.Random(3)
    for n in range(12):
        page = Pillow.new("RGB", (600, 800), "white")
        draw = ImageDraw.Draw(page)
        for line in range(40):  # the same layout, other words
            width = generator.randrange(350, 550)
            draw.rectangle((40, 20 + line * 19, 40 + width, 28 + line * 19), fill="black")
        put(tmp_path / f"page{n}.png", encoded(page, "PNG"))
        chart = Pillow.new("RGB", (600, 400), "white")
        draw = ImageDraw.Draw(chart)
        for bar in range(10):
            height = generator.randrange(60, 340)
            draw.rectangle((30 + bar * 56, 380 - height, 70 + bar * 56, 380), fill="steelblue")
        put(tmp_path / f"chart{n}.png", encoded(chart, "PNG"))
    assert groups(tmp_path) == []


def test_the_same_bytes_are_one_photo_and_no_near_duplicate(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "deep/c.jpg"):
        put(tmp_path / name, jpeg(1, (600, 450)))
    with looksay.Library(tmp_path) as library:
        report = library.scan()
    assert (report.files, report.photos, report.duplicates, report.near_duplicates) == (3, 1, 2, 0)


def test_other_shapes_of_the_same_picture_are_not_grouped(tmp_path: Path) -> None:
    """A crop shows less; what is in the words of one need not be in the other."""
    whole = picture(5, (800, 600))
    put(tmp_path / "whole.jpg", encoded(whole, "JPEG", quality=92))
    put(tmp_path / "crop.jpg", encoded(whole.crop((200, 0, 600, 600)), "JPEG", quality=92))
    put(tmp_path / "squeezed.jpg", encoded(whole.resize((600, 600)), "JPEG", quality=92))
    assert groups(tmp_path) == []


@pytest.mark.slow
def test_no_real_photos_are_wrongly_grouped(shared_data: Path, tmp_path: Path) -> None:
    """656 photographs, paintings, maps and charts: the one group is the same portrait, saved twice."""
    for source in ("coco", "textbook"):
        for path in (shared_data / source).rglob("*.jpg"):
            put(tmp_path / source / path.name, path.read_bytes())
    (portrait,) = groups(tmp_path)
    assert {name[-9:-4] for name in portrait} == {"8cc05", "4971c"}
