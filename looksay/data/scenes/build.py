"""Builds the atlas (atlas.png, nouns.json) from an emoji font and the names of Unicode's CLDR.

Only needed to make the atlas anew:
python -m looksay.data.scenes.build EMOJI.ttf LETTERS.ttf CLDR/common/annotations
On Debian the three come from fonts-noto-color-emoji, fonts-noto-core and unicode-cldr-core.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image, ImageDraw, ImageFont

STRIKE = 109
"""The one bitmap size of Noto Color Emoji."""
CELL_PX = 64
COLUMNS = 16
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LANGUAGES = ("en", "ko", "de", "fr", "es", "ja")

EMOJI = {
    "animal": "🐕🐈🐎🐄🐖🐐🐘🦏🦛🐁🐇🐿🦔🦇🦥🦘🐓🦃🐧🦅🦆🦢🦉🦩🦜🐸🐊🐢🦎🐍🐋🐬🐟🦈🐙🐌🦋🐜🕷🦂🦀🦞🦒🦓🐅🐆🦌🐪",
    "food": "🍈🍉🍊🍋🍌🍍🥭🍐🍑🍓🍅🥥🥑🍆🥔🥕🥒🍄🥐🥨🧀🍔🍕🌭🥪🌮🍩🍪🎂🧁🥧🍫🍭",
    "vehicle": "🚂🚌🚑🚒🚓🚕🚗🚚🚜🛵🏍🚲🛴🛹⛵🛶🚤🚢✈🚁🚀🛸",
    "thing": "⌚📱💻📷📺📻🔑🔨🪓🔧🎈🎁🏆🏀🎸🎺🎻🥁🔔🕯💡🔦📕☂🎩👑🥾🪑🛏🚪🧸☎⏰🧲🔬🔭⚓🌵🌻🌹🌷🌴🏠⛺🧹🧺🪁🛒",
}
PLURALS = {
    "mouse": "mice",
    "fish": "fish",
    "deer": "deer",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "mango": "mangoes",
}


def plural(noun: str) -> str:
    """English plural of a noun, or of the last word of a name."""
    *head, last = noun.split(" ")
    if last in PLURALS:
        last = PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*head, last])


def names(annotations: Path, language: str) -> dict[str, str]:
    """Short names by character, without the mark for colour presentation."""
    found = {}
    for node in ElementTree.parse(annotations / f"{language}.xml").iter("annotation"):
        if node.get("type") == "tts" and node.text:
            found[node.attrib["cp"].replace("\ufe0f", "")] = node.text
    return found


def sprite(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    """The glyph, cut to what is drawn, its longer side CELL_PX."""
    canvas = Image.new("RGBA", (STRIKE * 2, STRIKE * 2))
    ImageDraw.Draw(canvas).text((20, 20), character, font=font, embedded_color=True)
    box = canvas.getchannel("A").point(lambda a: 255 if a > 40 else 0).getbbox()
    if box is None:
        raise SystemExit(f"The font draws nothing for {character!r}; take another emoji font.")
    cut = canvas.crop(box)
    scale = CELL_PX / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    return cut.resize(size, Image.Resampling.LANCZOS)


def main(emoji_font: Path, letter_font: Path, annotations: Path) -> None:
    here = Path(__file__).parent
    font = ImageFont.truetype(str(emoji_font), STRIKE)
    by_language = {language: names(annotations, language) for language in LANGUAGES}
    nouns = []
    characters = [(kind, c) for kind, row in EMOJI.items() for c in row]
    rows = -(-len(characters) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * CELL_PX, (rows + 2) * CELL_PX))
    for number, (kind, character) in enumerate(characters):
        picture = sprite(font, character)
        atlas.paste(picture, (number % COLUMNS * CELL_PX, number // COLUMNS * CELL_PX))
        words = {language: by_language[language][character] for language in LANGUAGES}
        nouns.append(
            {
                "emoji": character,
                "kind": kind,
                "size": picture.size,
                "plural": plural(words["en"]),
                **words,
            }
        )
    letters = ImageFont.truetype(str(letter_font), 56)
    pen = ImageDraw.Draw(atlas)
    for number, letter in enumerate(LETTERS):
        x, y = number % COLUMNS * CELL_PX, (rows + number // COLUMNS) * CELL_PX
        pen.text((x + CELL_PX // 2, y + 52), letter, font=letters, fill="white", anchor="ms")
    atlas.save(here / "atlas.png", optimize=True)
    lines = ",\n".join(json.dumps(noun, ensure_ascii=False) for noun in nouns)
    (here / "nouns.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    print(f"{len(nouns)} nouns, {(here / 'atlas.png').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*(Path(argument) for argument in sys.argv[1:]))
