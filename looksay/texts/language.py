"""Sentences of a text, and whether it is in a language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_SENTENCE_END = re.compile(r"[.!?。!?…][\"'”’)]*+(?:\s+|(?=[^\s\x00-\x7f]))")
_ABBREVIATIONS = frozenset(
    ["mr", "mrs", "ms", "dr", "st", "prof", "no", "vs", "etc", "e.g", "i.e", "u.s", "approx", "fig"]
)


_SCRIPTS = {
    "ko": ("HANGUL",), "ja": ("HIRAGANA", "KATAKANA", "CJK"), "zh": ("CJK",), "ru": ("CYRILLIC",),
    "uk": ("CYRILLIC",), "sr": ("CYRILLIC", "LATIN"), "el": ("GREEK",), "ar": ("ARABIC",), "fa": ("ARABIC",),
    "ur": ("ARABIC",), "he": ("HEBREW",), "hi": ("DEVANAGARI",), "bn": ("BENGALI",), "ta": ("TAMIL",), "th": ("THAI",),
}  # fmt: skip
COMMON = {
    "en": "the a an of and with in on is are at by for from its his her",
    "de": "der die das ein eine einem einer und mit auf im ist sind von vor dem den",
    "fr": "le la les un une des et avec sur dans est sont du au aux sa son",
    "es": "el la los las un una unos y con en es son del al por su sobre",
    "it": "il lo la gli un una e con su nel nella è sono di del della che",
    "pt": "o a os as um uma e com em no na é são do da ao por seu",
    "nl": "de het een en met op in is zijn van voor aan bij zijn haar",
    "sv": "en ett och med på i är av som den det till vid",
    "pl": "i z na w jest są nad pod przy oraz się do po jego",
}
"""Short words by language; enough to tell apart languages that share a script in a sentence or two."""


def sentences(text: str) -> list[str]:
    """Sentences of a text; "Dr. Kim" and "3.5" are no ends."""
    found: list[str] = []
    text = text.strip()
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        part = text[start:end].strip()
        if not part:
            continue
        last = (
            found[-1].rstrip(".").split()[-1].lower()
            if found and found[-1].rstrip(".").split()
            else ""
        )
        if found and found[-1].endswith(".") and (last in _ABBREVIATIONS or len(last) == 1):
            found[-1] += " " + part
        else:
            found.append(part)
    return found or [text]


def in_language(text: str, language: str) -> bool:
    """Whether a text is plausibly in a language: by script where that tells, else by short common words.
    Quoted text is left out (a sign may be in any language). True when there is too little to tell."""
    base = language.split("-")[0].lower()
    outside = re.sub(r"[\"“”„«»「」『』].*?[\"“”„«»「」『』]", " ", text)
    letters = Counter(
        unicodedata.name(c, "?").split()[0].split("-")[0] for c in outside if c.isalpha()
    )
    total = sum(letters.values())
    if total < 6:
        return True
    scripts = _SCRIPTS.get(base, ("LATIN",))
    share = sum(letters[s] for s in scripts) / total
    if base == "zh" and letters["HIRAGANA"] + letters["KATAKANA"] > 0.1 * total:
        return False
    if base == "ja" and total > 10 and not letters["HIRAGANA"] + letters["KATAKANA"]:
        return False
    if share < 0.5:
        return False
    if base not in COMMON or total < 25:
        return True
    words = Counter(re.findall(r"[^\W\d_]+", outside.lower()))
    hits = {code: sum(words[w] for w in set(common.split())) for code, common in COMMON.items()}
    best = max(hits.values())
    return best < 3 or hits[base] * 2 > best
