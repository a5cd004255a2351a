"""Draw the pictures of the example site. Pillow only; the same pictures every time.

    python examples/make_pictures.py [FOLDER]

All of them are drawn by this file, the harbour town of Port Ellery included: no photograph of anyone,
no licence to mind. The Korean sign is drawn stroke by stroke, so that no font file is needed.
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
SITE = Path(__file__).resolve().parent / "site"


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def gradient(width: int, height: int, *stops: tuple[float, Colour]) -> Image.Image:
    """A vertical gradient through `stops`: (height 0..1, colour)."""
    column = Image.new("RGB", (1, height))
    for y in range(height):
        at = y / max(1, height - 1)
        low = max((s for s in stops if s[0] <= at), key=lambda s: s[0])
        high = min((s for s in stops if s[0] >= at), key=lambda s: s[0])
        share = 0.0 if high[0] == low[0] else (at - low[0]) / (high[0] - low[0])
        mixed = [round(a + (b - a) * share) for a, b in zip(low[1], high[1], strict=True)]
        column.putpixel((0, y), (mixed[0], mixed[1], mixed[2]))
    return column.resize((width, height))


def grain(image: Image.Image, seed: int, strength: float = 0.10) -> Image.Image:
    """Noise of two sizes, as of a sensor and of uneven surfaces."""
    width, height = image.size
    for size, share in ((1, strength), (24, strength * 1.2)):
        small = (math.ceil(width / size), math.ceil(height / size))
        noise = Image.frombytes(
            "L", small, random.Random(seed + size).randbytes(small[0] * small[1])
        )
        noise = noise.resize(image.size, Image.Resampling.BICUBIC)
        image = Image.blend(image, Image.merge("RGB", (noise, noise, noise)), share / 2)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def ridge(width: int, level: float, swing: float, seed: int) -> list[tuple[float, float]]:
    """The outline of a range of hills, as points from left to right."""
    rng = random.Random(seed)
    waves = [(rng.uniform(0.5, 5), rng.uniform(0, 6.28), rng.uniform(0.2, 1)) for _ in range(6)]
    return [
        (x, level + swing * sum(a / f * math.sin(f * 6.28 * x / width + p) for f, p, a in waves))
        for x in range(0, width + 8, 8)
    ]


def bay(path: Path) -> None:
    """An evening over the bay: sky, sun, hills, water with its glitter."""
    width, height = 960, 640
    sky = gradient(
        width,
        height,
        (0, (52, 84, 148)),
        (0.35, (226, 142, 104)),
        (0.5, (250, 204, 140)),
        (1, (250, 204, 140)),
    )
    draw = ImageDraw.Draw(sky)
    draw.ellipse((610, 232, 690, 312), fill=(255, 240, 205))
    for level, swing, colour, seed in ((300, 26, (112, 92, 128), 3), (326, 16, (74, 62, 96), 8)):
        points = ridge(width, level, swing, seed)
        draw.polygon([*points, (width, height), (0, height)], fill=colour)
    sea = gradient(
        width, height - 345, (0, (214, 138, 104)), (0.3, (96, 92, 140)), (1, (28, 44, 88))
    )
    sky.paste(sea, (0, 345))
    rng = random.Random(5)
    for _ in range(900):
        depth = rng.random() ** 1.6
        y = 348 + depth * 285
        x = 650 + rng.gauss(0, 30 + 190 * depth)
        length = 4 + 26 * depth
        shade = rng.randint(150, 250)
        draw.line(
            (x - length, y, x + length, y),
            fill=(shade, round(shade * 0.74), round(shade * 0.55)),
            width=1 + round(depth),
        )
    grain(sky, 11).save(path, "JPEG", quality=80)


def lighthouse(path: Path) -> None:
    """A lighthouse, stored lying on its side as cameras do, with orientation, date and camera in EXIF."""
    width, height = 600, 900
    scene = gradient(
        width, height, (0, (84, 140, 208)), (0.62, (190, 220, 240)), (1, (190, 220, 240))
    )
    draw = ImageDraw.Draw(scene)
    for x, y, size in (
        (120, 150, 60),
        (180, 170, 46),
        (430, 90, 50),
        (480, 110, 70),
        (60, 300, 40),
    ):
        draw.ellipse((x - 2 * size, y - size / 2, x + 2 * size, y + size / 2), fill=(236, 242, 248))
    scene = scene.filter(ImageFilter.GaussianBlur(9))
    draw = ImageDraw.Draw(scene)
    draw.rectangle((0, 600, width, height), fill=(38, 92, 140))
    for y in range(606, 760, 7):
        draw.line((0, y, width, y + 3), fill=(58, 114, 162), width=2)
    draw.polygon([*ridge(width, 700, 34, 21), (width, height), (0, height)], fill=(86, 92, 72))
    for i in range(5):
        top, bottom = 250 + 86 * i, 250 + 86 * (i + 1)
        left = (248 - 9 * i, 248 - 9 * (i + 1))
        colour = (196, 44, 40) if i % 2 == 0 else (240, 238, 232)
        draw.polygon(
            [(left[0], top), (600 - left[0], top), (600 - left[1], bottom), (left[1], bottom)],
            fill=colour,
        )
    draw.rectangle((262, 190, 338, 250), fill=(250, 226, 140))
    draw.polygon([(250, 190), (350, 190), (300, 140)], fill=(60, 62, 70))
    draw.rectangle((240, 246, 360, 256), fill=(60, 62, 70))
    shade = Image.new("L", scene.size, 0)
    ImageDraw.Draw(shade).polygon([(305, 250), (352, 250), (398, 680), (312, 680)], fill=90)
    scene = Image.composite(
        Image.new("RGB", scene.size, (30, 30, 50)),
        scene,
        shade.filter(ImageFilter.GaussianBlur(14)),
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn right to see it upright
    exif[0x010E] = "Drawn by examples/make_pictures.py"
    exif[0x010F], exif[0x0110] = "Ellery", "Harbour One"
    exif.get_ifd(0x8769).update({0x9003: "2019:05:12 16:20:00", 0x829A: (1, 250), 0x829D: (8, 1)})
    grain(scene, 4).transpose(Image.Transpose.ROTATE_90).save(path, "JPEG", quality=80, exif=exif)


def board(
    width: int, height: int, seed: int, paint: Colour
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A painted board on two posts before a wall or the sea; returns it and the board's inside."""
    scene = gradient(
        width,
        height,
        (0, (150, 190, 214)),
        (0.55, (206, 222, 226)),
        (0.56, (92, 128, 140)),
        (1, (60, 96, 112)),
    )
    draw = ImageDraw.Draw(scene)
    left, top, right, bottom = width // 8, height // 5, width * 7 // 8, height * 3 // 5
    for x in (left + 50, right - 74):
        draw.rectangle((x, top, x + 24, height), fill=(96, 74, 54))
    draw.rectangle((left + 8, top + 10, right + 8, bottom + 10), fill=(70, 84, 92))
    draw.rectangle((left, top, right, bottom), fill=paint)
    rng = random.Random(seed)
    for _ in range(60):
        y = rng.randint(top, bottom)
        x = rng.randint(left, right - 60)
        tint = rng.randint(-10, 10)
        draw.line(
            (x, y, min(right, x + rng.randint(20, 160)), y),
            fill=(paint[0] + tint, paint[1] + tint, paint[2] + tint),
        )
    draw.rectangle((left + 12, top + 12, right - 12, bottom - 12), outline=(244, 240, 226), width=5)
    return scene, (left, top, right, bottom)


def sign(path: Path) -> None:
    scene, (left, top, right, bottom) = board(900, 600, 2, (34, 78, 112))
    draw = ImageDraw.Draw(scene)
    draw.text(
        ((left + right) / 2, (top + bottom) / 2),
        "FRESH FISH",
        fill=(248, 244, 230),
        font=font(100),
        anchor="mm",
    )
    grain(scene, 6).save(path, "JPEG", quality=80)


# Strokes of the Korean letters in a unit square: lines as points, circles as (x, y, radius).
Stroke = list[tuple[float, float]] | tuple[float, float, float]
G: list[Stroke] = [[(0.1, 0.15), (0.9, 0.15), (0.9, 0.95)]]
S: list[Stroke] = [[(0.5, 0.05), (0.5, 0.3), (0.05, 0.95)], [(0.5, 0.35), (0.95, 0.95)]]
J: list[Stroke] = [
    [(0.05, 0.12), (0.95, 0.12)],
    [(0.5, 0.12), (0.5, 0.35), (0.05, 0.95)],
    [(0.5, 0.4), (0.95, 0.95)],
]
H: list[Stroke] = [[(0.3, 0.06), (0.7, 0.06)], [(0.05, 0.3), (0.95, 0.3)], (0.5, 0.68, 0.26)]
NG: list[Stroke] = [(0.5, 0.5, 0.42)]
A: list[Stroke] = [[(0.3, 0.0), (0.3, 1.0)], [(0.3, 0.48), (0.95, 0.48)]]
I_: list[Stroke] = [[(0.5, 0.0), (0.5, 1.0)]]
U: list[Stroke] = [[(0.0, 0.2), (1.0, 0.2)], [(0.5, 0.2), (0.5, 1.0)]]
Placed = tuple[list[Stroke], float, float, float, float]
SYLLABLES: dict[str, list[Placed]] = {
    "항": [(H, 0.05, 0.02, 0.6, 0.56), (A, 0.68, 0.0, 0.97, 0.6), (NG, 0.3, 0.62, 0.76, 1.0)],
    "구": [(G, 0.12, 0.0, 0.88, 0.46), (U, 0.0, 0.52, 1.0, 1.0)],
    "시": [(S, 0.02, 0.1, 0.6, 0.9), (I_, 0.66, 0.0, 1.0, 1.0)],
    "장": [(J, 0.05, 0.04, 0.6, 0.56), (A, 0.68, 0.0, 0.97, 0.6), (NG, 0.3, 0.62, 0.76, 1.0)],
}


def write_korean(
    draw: ImageDraw.ImageDraw, text: str, x: float, y: float, size: float, fill: Colour
) -> None:
    thick = round(size * 0.095)
    for letter in text:
        for strokes, left, top, right, bottom in SYLLABLES.get(letter, []):
            at_x, at_y = x + left * size, y + top * size
            wide, high = (right - left) * size, (bottom - top) * size
            for stroke in strokes:
                if isinstance(stroke, tuple):
                    cx, cy, r = (
                        at_x + stroke[0] * wide,
                        at_y + stroke[1] * high,
                        stroke[2] * min(wide, high),
                    )
                    draw.ellipse((cx - r, cy - r, cx + r, cy + r), outline=fill, width=thick)
                else:
                    points = [(at_x + px * wide, at_y + py * high) for px, py in stroke]
                    draw.line(points, fill=fill, width=thick, joint="curve")
        x += size * (1.16 if letter in SYLLABLES else 0.5)


def korean_sign(path: Path) -> None:
    scene, (left, top, _, _) = board(900, 560, 7, (150, 52, 40))
    write_korean(ImageDraw.Draw(scene), "항구 시장", left + 66, top + 54, 104, (250, 246, 234))
    grain(scene, 9).save(path, "JPEG", quality=82)


def chart(path: Path) -> None:
    image = Image.new("RGB", (900, 560), "white")
    draw = ImageDraw.Draw(image)
    draw.text(
        (450, 44), "Ferry passengers per month, 2019", fill=(30, 30, 30), font=font(34), anchor="mm"
    )
    left, top, right, bottom = 110, 90, 860, 480
    for value in range(0, 5001, 1000):
        y = bottom - (bottom - top) * value / 5000
        draw.line((left, y, right, y), fill=(220, 220, 220), width=1)
        draw.text((left - 14, y), f"{value}", fill=(70, 70, 70), font=font(24), anchor="rm")
    months = {"Apr": 1400, "May": 2600, "Jun": 3400, "Jul": 4700, "Aug": 4500, "Sep": 2900}
    step = (right - left) / len(months)
    for i, (month, value) in enumerate(months.items()):
        x = left + step * (i + 0.5)
        draw.rectangle(
            (x - 38, bottom - (bottom - top) * value / 5000, x + 38, bottom), fill=(38, 110, 168)
        )
        draw.text((x, bottom + 30), month, fill=(70, 70, 70), font=font(26), anchor="mm")
    draw.line((left, top, left, bottom, right, bottom), fill=(60, 60, 60), width=2)
    image.save(path, optimize=True)


def window(path: Path) -> None:
    """A browser window with the ferry's booking page."""
    image = Image.new("RGB", (1000, 640), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 1000, 56), fill=(222, 225, 230))
    for x, colour in ((28, (236, 96, 88)), (54, (244, 190, 78)), (80, (98, 198, 84))):
        draw.ellipse((x - 8, 20, x + 8, 36), fill=colour)
    draw.rounded_rectangle((120, 12, 960, 44), 14, fill="white")
    draw.text(
        (140, 28),
        "https://ferry.port-ellery.example/tickets",
        fill=(90, 90, 90),
        font=font(19),
        anchor="lm",
    )
    draw.rectangle((0, 56, 1000, 122), fill=(24, 66, 104))
    draw.text((40, 89), "Ellery Ferry", fill="white", font=font(30), anchor="lm")
    for x, word in ((620, "Timetable"), (770, "Tickets"), (890, "Help")):
        draw.text((x, 89), word, fill=(210, 226, 240), font=font(22), anchor="lm")
    draw.text((40, 172), "Book your crossing", fill=(24, 24, 24), font=font(42), anchor="lm")
    for x, label, value in (
        (40, "From", "Port Ellery"),
        (360, "To", "Gull Island"),
        (680, "Day", "Sunday 12 May"),
    ):
        draw.text((x, 240), label, fill=(80, 80, 80), font=font(20), anchor="lm")
        draw.rounded_rectangle((x, 258, x + 280, 306), 6, outline=(170, 176, 184), width=2)
        draw.text((x + 14, 282), value, fill=(30, 30, 30), font=font(22), anchor="lm")
    for i, (time, note) in enumerate(
        (("09:00", "14 seats left"), ("11:30", "32 seats left"), ("15:15", "Sold out"))
    ):
        y = 346 + 54 * i
        draw.line((40, y, 960, y), fill=(226, 228, 232), width=2)
        draw.text((56, y + 28), time, fill=(30, 30, 30), font=font(24), anchor="lm")
        draw.text((240, y + 28), note, fill=(90, 90, 90), font=font(22), anchor="lm")
    draw.rounded_rectangle((40, 540, 290, 596), 8, fill=(30, 122, 80))
    draw.text((165, 568), "Buy a ticket", fill="white", font=font(26), anchor="mm")
    image.save(path, optimize=True)


def logo(path: Path) -> None:
    """An anchor in a ring: the mark of the town."""
    big = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(big)
    navy = (20, 58, 96)
    draw.ellipse((40, 40, 984, 984), fill=navy)
    draw.ellipse((84, 84, 940, 940), outline="white", width=20)
    draw.ellipse((444, 190, 580, 326), outline="white", width=36)
    draw.line((512, 320, 512, 800), fill="white", width=52)
    draw.line((372, 410, 652, 410), fill="white", width=48)
    draw.arc((252, 380, 772, 826), 15, 165, fill="white", width=54)
    for x, side in ((262, 1), (762, -1)):
        draw.polygon([(x - 50, 660), (x + 66 * side, 590), (x + 62, 690)], fill="white")
    big.resize((256, 256), Image.Resampling.LANCZOS).save(path, optimize=True)


def divider(path: Path) -> None:
    """A wave between two sections: decoration and nothing else."""
    image = Image.new("RGBA", (1200, 40), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    for shift, colour in ((0, (120, 170, 200, 255)), (40, (176, 208, 226, 255))):
        draw.line(
            [(x, 20 + 9 * math.sin((x + shift) / 26)) for x in range(0, 1201, 2)],
            fill=colour,
            width=4,
        )
    image.save(path, optimize=True)


PICTURES = {
    "bay-evening.jpg": bay,
    "booking-page.png": window,
    "divider.png": divider,
    "ferry-chart.png": chart,
    "fish-sign.jpg": sign,
    "lighthouse.jpg": lighthouse,
    "logo.png": logo,
    "market-sign.jpg": korean_sign,
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SITE / "images")
