"""What OCR quotes of text in scripts that it can and cannot read.

    pip install babel
    python benchmarks/scripts.py [NAMES]

Renders NAMES (30) country names per language from CLDR, in two sizes and colourings and, where the
script has them, in capitals, and counts how many are quoted right, quoted wrong, or left unquoted.
Needs Noto fonts (fonts-noto-core, fonts-noto-cjk) and DejaVu; Korean needs tesseract with `kor`.
"""

from __future__ import annotations

import random
import sys
import unicodedata
from pathlib import Path

import rates
from babel import Locale
from PIL import Image, ImageDraw, ImageFont

from looksay.experts.ocr import Reader

FONTS = Path("/usr/share/fonts")
NOTO, DEJAVU = FONTS / "truetype/noto", FONTS / "truetype/dejavu/DejaVuSans.ttf"
CJK = FONTS / "opentype/noto/NotoSansCJK-Regular.ttc"
LANGUAGES = {
    "en": DEJAVU, "de": DEJAVU, "fr": DEJAVU, "es": DEJAVU, "pl": DEJAVU, "cs": DEJAVU, "tr": DEJAVU,
    "vi": DEJAVU, "zh": CJK, "ja": CJK, "ko": CJK, "ru": DEJAVU, "uk": DEJAVU, "sr": DEJAVU, "el": DEJAVU,
    "ar": NOTO / "NotoSansArabic-Regular.ttf", "he": NOTO / "NotoSansHebrew-Regular.ttf",
    "th": NOTO / "NotoSansThai-Regular.ttf", "hi": NOTO / "NotoSansDevanagari-Regular.ttf",
    "ta": NOTO / "NotoSansTamil-Regular.ttf", "ka": NOTO / "NotoSansGeorgian-Regular.ttf",
    "hy": NOTO / "NotoSansArmenian-Regular.ttf",
}  # fmt: skip
CAPITALS = {"en", "de", "fr", "es", "pl", "cs", "tr", "vi", "ru", "uk", "sr", "el", "hy"}


def render(text: str, font: Path, size: int, ink: str, ground: str) -> Image.Image:
    face = ImageFont.truetype(str(font), size)
    left, top, right, bottom = face.getbbox(text)
    image = Image.new("RGB", (int(right - left) + 60, int(bottom - top) + 60), ground)
    ImageDraw.Draw(image).text((30 - left, 30 - top), text, font=face, fill=ink)
    return image


def main(names: int) -> None:
    reader = Reader()
    total_wrong = total = 0
    for language, font in LANGUAGES.items():
        if not font.is_file():
            print(f"{language}: no font at {font}")
            continue
        territories = Locale(language).territories
        known = sorted(code for code in territories if len(code) == 2)
        chosen = [territories[code] for code in random.Random(1).sample(known, names)]
        right = wrong = 0
        examples = []
        for i, name in enumerate(chosen):
            text = name.upper() if language in CAPITALS and i % 2 else name
            look = (40, "black", "white") if i % 4 < 2 else (24, "white", "#203040")
            lines = reader.read(render(text, font, *look))
            quoted = " ".join(line.text for line in lines if line.certain)
            if squash(quoted) == squash(text):
                right += 1
            elif quoted:
                wrong += 1
                examples.append(f"{text!r} as {quoted!r}")
        total_wrong, total = total_wrong + wrong, total + names
        print(
            f"{language}  right {right:>3}  wrong {wrong:>3}  unquoted {names - right - wrong:>3}  ",
            *examples[:4],
        )
    print(f"quoted wrong: {rates.words(total_wrong, total)}")


def squash(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace(" ", "")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
