"""What makes an answer alt text: clean, in the right language, of the right length."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from looksay.describing.prompts import DECORATIVE

_LABEL = re.compile(
    r"^\s*(?:\*\*|#+\s*)?(?:alt(?:ernative)?[ -]?text|alt|caption|description|대체 텍스트)(?:\*\*)?\s*[::]\s*(?:\*\*)?\s*",
    re.I,
)
_LEAD_IN = re.compile(
    r"^\s*(?:(?:sure|certainly|of course)\b[^\n:]{0,80}:\s+|here(?:'s|’s| is| are)\b[^\n:]{0,60}"
    r"\b(?:text|description|caption|alternative|sentence|version)\b[^\n:]{0,30}:\s+)",
    re.I,
)
_PREAMBLE = re.compile(
    r"^(?:(?:the|this) )?(?:image|photo|photograph|picture) (?:shows|depicts|features|displays|is of|of) ",
    re.I,
)
_SENTENCE_END = re.compile(r"[.!?。!?…][\"'”’)]*+(?:\s+|(?=[^\s\x00-\x7f]))")
_ABBREVIATIONS = frozenset(
    ["mr", "mrs", "ms", "dr", "st", "prof", "no", "vs", "etc", "e.g", "i.e", "u.s", "approx", "fig"]
)

_SCRIPTS = {
    "ko": ("HANGUL",), "ja": ("HIRAGANA", "KATAKANA", "CJK"), "zh": ("CJK",), "ru": ("CYRILLIC",),
    "uk": ("CYRILLIC",), "sr": ("CYRILLIC", "LATIN"), "el": ("GREEK",), "ar": ("ARABIC",), "fa": ("ARABIC",),
    "ur": ("ARABIC",), "he": ("HEBREW",), "hi": ("DEVANAGARI",), "bn": ("BENGALI",), "ta": ("TAMIL",), "th": ("THAI",),
}  # fmt: skip
_COMMON = {
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


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer made into alt text.

    `problem` is "" or what is wrong with it: "empty", "language", "long" (the alt text is kept whole,
    never cut inside a sentence).
    """

    alt: str
    extended: str = ""
    decorative: bool = False
    notes: tuple[str, ...] = ()
    problem: str = ""


def read_answer(raw: str, *, language: str, target: int = 125, limit: int = 250) -> Answer:
    """Clean a model's answer and split it: whole sentences up to `target` characters are the alt text,
    and when there is more, the whole is the extended description."""
    text = clean(raw, language)
    if not any(character.isalnum() for character in text):
        return Answer("", problem="empty")
    if text.strip(" .!*\"'").upper() == DECORATIVE:
        return Answer("", decorative=True, notes=("proposed as decoration",))
    notes = []
    if is_repetitive(text):
        notes.append("repeats itself")
    if not in_language(text, language):
        return Answer(text, problem="language", notes=(*notes, f"not in {language}"))
    alt, whole = split(text, target)
    if len(alt) > limit:
        return Answer(alt, whole, notes=(*notes, f"{len(alt)} characters"), problem="long")
    return Answer(alt, whole, notes=tuple(notes))


def clean(raw: str, language: str = "en") -> str:
    """Labels, quotes, code fences, Markdown and lead-ins gone; one line."""
    text = re.sub(r"<think>.*?</think>", "", raw, flags=re.S).strip()
    text = re.sub(r"^```\w*\s*|\s*```$", "", text)
    text = _LABEL.sub("", _LEAD_IN.sub("", text))
    text = re.sub(r"\*\*(.+?)\*\*", r"\1", text)
    text = " ".join(re.sub(r"^\s*[-*•]\s+", "", text, flags=re.M).split())
    for opening, closing in ('""', "''", "“”", "‘’", "„“", "«»", "「」"):
        inner = text[1:-1]
        if (
            len(text) > 1
            and text[0] == opening
            and text[-1] == closing
            and opening not in inner
            and closing not in inner
        ):
            text = inner.strip()
    if language.startswith("en"):
        shorter = _PREAMBLE.sub("", text)
        if shorter != text and shorter:
            text = shorter[0].upper() + shorter[1:]
    return text


def split(text: str, target: int) -> tuple[str, str]:
    """(alt text, extended description): as many whole sentences as fit in `target` characters, at least
    one; the extended description is the whole text where the alt text is not, else ""."""
    parts = sentences(text)
    alt = parts[0]
    for part in parts[1:]:
        if len(alt) + 1 + len(part) > target:
            return alt, text
        alt += " " + part
    return alt, ""


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
    if base not in _COMMON or total < 25:
        return True
    words = Counter(re.findall(r"[^\W\d_]+", outside.lower()))
    hits = {code: sum(words[w] for w in set(common.split())) for code, common in _COMMON.items()}
    best = max(hits.values())
    return best < 3 or hits[base] * 2 > best


def is_repetitive(text: str) -> bool:
    """Whether a text runs in a loop: half of its four-word runs, or more, stand there already."""
    words = text.lower().split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(runs) >= 8 and len(set(runs)) <= len(runs) / 2


def differs_in_substance(old: str, new: str) -> bool:
    """Whether two texts say different things: other numbers, or fewer than half of the content words shared."""

    def content(text: str) -> set[str]:
        common = set(" ".join(_COMMON.values()).split())
        return {w for w in re.findall(r"[^\W_]+", text.lower()) if w not in common}

    def numbers(text: str) -> set[str]:
        return set(re.findall(r"\d+", text))

    before, after = content(old), content(new)
    if numbers(old) != numbers(new):
        return True
    return len(before & after) < 0.5 * max(1, min(len(before), len(after)))
