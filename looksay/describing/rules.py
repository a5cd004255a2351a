"""What makes an answer alt text: clean, in the right language, of the right length."""

from __future__ import annotations

import re
from dataclasses import dataclass

from looksay.describing.prompts import DECORATIVE
from looksay.texts.faults import is_repetitive
from looksay.texts.language import COMMON, in_language, sentences

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


def differs_in_substance(old: str, new: str) -> bool:
    """Whether two texts say different things: other numbers, or fewer than half of the content words shared."""

    def content(text: str) -> set[str]:
        common = set(" ".join(COMMON.values()).split())
        return {w for w in re.findall(r"[^\W_]+", text.lower()) if w not in common}

    def numbers(text: str) -> set[str]:
        return set(re.findall(r"\d+", text))

    before, after = content(old), content(new)
    if numbers(old) != numbers(new):
        return True
    return len(before & after) < 0.5 * max(1, min(len(before), len(after)))
