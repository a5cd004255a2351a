"""Measured facts as one short sentence, in English and Korean. What was not measured is not said."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from looksay.texts.quoting import enclosed

MAX_LENGTH = 125
"""The usual advice for alt text. Less important facts are left out until the sentence fits."""

MAX_QUOTES, MAX_QUOTED = 3, 70
"""At most so many lines are quoted, with so many characters altogether."""

MIN_LINE_SHARE = 0.025
"""Of the shorter side: smaller print is not what a picture is about."""

NOUNS = {
    "photo": ("photo", "사진"),
    "screenshot": ("screenshot", "화면 캡처"),
    "chart": ("chart", "차트"),
    "logo": ("logo", "로고"),
    "text page": ("image of text", "글이 적힌 이미지"),
    "graphic": ("graphic", "그래픽"),
    "": ("picture", "이미지"),
}
SHAPES = {
    "landscape": ("landscape-format", "가로"),
    "portrait": ("portrait-format", "세로"),
    "square": ("square", "정사각형"),
    "panorama": ("very wide", "아주 넓은"),
}
LIGHTS = {"dark": ("dark", "어두운"), "bright": ("bright", "밝은")}
COLOURS = {
    "red": "빨간색", "orange": "주황색", "brown": "갈색", "yellow": "노란색", "green": "초록색",
    "turquoise": "청록색", "blue": "파란색", "purple": "보라색", "pink": "분홍색", "beige": "베이지색",
    "black": "검은색", "grey": "회색", "white": "흰색",
}  # fmt: skip
NUMBERS = ("", "one", "two", "three", "four", "five")
KOREAN_NUMBERS = ("", "하나", "둘", "셋", "넷", "다섯")


def sentence(facts: Mapping[str, Any], language: str = "en") -> str:
    """The sentence for what `looksay.backends.facts.Facts.measure` found; language "en" or "ko"."""
    build = _korean if language == "ko" else _english
    at_most = MAX_QUOTES if facts["kind"]["natural"] or facts["kind"]["name"] == "text page" else 2
    quotes = quotable(facts["text"], facts["size_px"], at_most)
    extras = ["faces", "light", "date", "colours"]
    while len(text := build(facts, quotes, extras)) > MAX_LENGTH:
        if len(extras) > 2:
            extras.pop()
        elif len(quotes) > 1:
            quotes.pop()
        elif extras:
            extras.pop()
        else:
            break
    return text


def quotable(
    lines: Sequence[Mapping[str, Any]], size_px: Sequence[int], at_most: int = MAX_QUOTES
) -> list[str]:
    """The largest lines that were surely read, in reading order, as far as they fit a sentence."""
    sure = [
        line
        for line in lines
        if not line["doubt"]
        and len(line["text"]) <= MAX_QUOTED
        and sum(c.isalpha() for c in line["text"]) >= 2
        and _height(line) >= MIN_LINE_SHARE * min(size_px)
    ]
    # The box of a short word depends on its letters; a long line of the same size matters more.
    sure.sort(key=lambda line: -_height(line) * min(len(line["text"]), 6))
    chosen: list[Mapping[str, Any]] = []
    for line in sure:
        long_enough = len(line["text"]) >= 4 and _height(line) >= 0.7 * _height(sure[0])
        fits = sum(len(other["text"]) for other in chosen) + len(line["text"]) <= MAX_QUOTED
        if len(chosen) < at_most and fits and (line is sure[0] or long_enough):
            chosen.append(line)
    return [line["text"].lstrip("•·>› ") for line in lines if any(line is c for c in chosen)]


def _height(line: Mapping[str, Any]) -> float:
    return float(min(line["box"][2:]))


def _english(facts: Mapping[str, Any], quotes: Sequence[str], extras: Sequence[str]) -> str:
    kind, looks = facts["kind"], facts["appearance"]
    noun = NOUNS[kind["name"]][0]
    words = []
    if kind["natural"]:
        if "light" in extras and looks["light"] in LIGHTS:
            words.append(LIGHTS[looks["light"]][0])
        if looks["tone"] == "black-and-white":
            words.append("black-and-white")
    if kind["natural"] or looks["shape"] == "panorama":
        words.append(SHAPES[looks["shape"]][0])
    text = " ".join([*words, noun])
    colours = looks["main_colours"]
    if "colours" in extras and colours:
        joined = " and ".join(colours)
        text += f", mostly {joined}" if kind["natural"] else f" in {joined}"
    parts = []
    if "faces" in extras and facts["faces"]:
        count = len(facts["faces"])
        many = NUMBERS[count] if count < len(NUMBERS) else str(count)
        parts.append(f"at least {many} face{'s' if count > 1 else ''}")
    if quotes:
        parts.append("the text " + ", ".join(map(enclosed, quotes)))
    if parts:
        text += (", with " if "mostly" in text else " with ") + " and ".join(parts)
    if "date" in extras and facts["taken"]:
        taken = dt.date.fromisoformat(facts["taken"])
        text += f", taken in {MONTHS[taken.month - 1]} {taken.year}"
    return text[0].upper() + text[1:] + "."


MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def _korean(facts: Mapping[str, Any], quotes: Sequence[str], extras: Sequence[str]) -> str:
    kind, looks = facts["kind"], facts["appearance"]
    words = []
    if "date" in extras and facts["taken"]:
        taken = dt.date.fromisoformat(facts["taken"])
        words.append(f"{taken.year}년 {taken.month}월에 찍은")
    if quotes:
        words.append(", ".join(map(enclosed, quotes)) + " 글자가 있는")
    if "faces" in extras and facts["faces"]:
        count = len(facts["faces"])
        many = KOREAN_NUMBERS[count] if count < len(KOREAN_NUMBERS) else f"{count}개"
        words.append(f"얼굴이 적어도 {many} 보이는")
    colours = [COLOURS[colour] for colour in looks["main_colours"]]
    if "colours" in extras and colours:
        words.append("과 ".join(colours) + ("이 많은" if kind["natural"] else ""))
    if kind["natural"]:
        if "light" in extras and looks["light"] in LIGHTS:
            words.append(LIGHTS[looks["light"]][1])
        if looks["tone"] == "black-and-white":
            words.append("흑백")
    if kind["natural"] or looks["shape"] == "panorama":
        words.append(SHAPES[looks["shape"]][1])
    return " ".join([*words, NOUNS[kind["name"]][1]]) + "."
