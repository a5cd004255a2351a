"""What a text says of a scene: groups, relations, sign, background.

The reader understands the sentences that `looksay.data.scenes` writes and their near relatives; objects
count only under the names that scenes use (a "puppy" is not read as a dog), so figures of models that
were not trained on scenes are lower bounds of what they see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from looksay.data.scenes.atlas import BOARDS, COLOURS, NOUNS, PATTERNS
from looksay.data.scenes.telling import NUMBERS

_COUNTS = {"a": 1, "an": 1, "single": 1, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_COUNTS |= {word: number for number, word in enumerate(NUMBERS)}
_COUNTS |= {str(number): number for number in range(11)}
_VAGUE = frozenset({"some", "several", "many", "few", "multiple", "various"})
_DEFINITE = frozenset({"the", "this", "these", "that", "those", "its", "their"})
_SIZES = {"small": "small", "tiny": "small", "little": "small"}
_SIZES |= {"large": "large", "big": "large", "huge": "large"}
_ADJECTIVES = 2
"""Words that may stand between a count and its noun besides the size."""
_STOPS = frozenset(
    {
        ".",
        ",",
        "and",
        "or",
        "with",
        "of",
        "is",
        "are",
        "on",
        "in",
        "left",
        "right",
        "above",
        "below",
    }
    | {"under", "over", "there", "picture", "says", "sign"}
)

_VERB = r"(?:(?:is|are|sits?|sitting|stands?|standing|lies?|lying|placed|located|positioned) )*"
_SIDES = {
    "left of": r"(?:(?:to|on) )?(?:the )?left (?:side )?of",
    "right of": r"(?:(?:to|on) )?(?:the )?right (?:side )?of",
    "above": "above|over",
    "below": "below|under|underneath|beneath",
    "on": "on|upon|on top of",
}
_SIDE = {side: re.compile(f"{_VERB}(?:{words})") for side, words in _SIDES.items()}
_SIGN = re.compile(
    r"(?:\b(\w+) )?\bsign\b"
    r"(?:,? (?:(?:that|which) )?(?:says|reads|saying|reading|with the words?):? ?[\"'“‘]?"
    r"([A-Za-z](?: [A-Za-z])+\b|[A-Za-z]*))?",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(r"((?:\w+ ){1,3})background", re.IGNORECASE)
_TOKEN = re.compile(r"\w+|[.!?;:]|,")


@dataclass(frozen=True, slots=True)
class ToldGroup:
    """Objects that a text introduces: "three small dogs". None where it does not say."""

    noun: str
    count: int | None
    size: str | None


class ToldRelation(NamedTuple):
    """Noun `a` is `side` noun `b`, by the text."""

    a: str
    side: str
    b: str


class ToldSign(NamedTuple):
    """A sign, by the text; "" where colour or word is not told."""

    colour: str
    word: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a text says."""

    groups: tuple[ToldGroup, ...]
    """As introduced, in order; a noun introduced twice stands here twice."""
    nouns: tuple[str, ...]
    """Every object named, each time that it is named."""
    relations: tuple[ToldRelation, ...]
    sign: ToldSign | None
    pattern: str
    colour: str
    """Of the background; "" where it is not told."""


@dataclass(frozen=True, slots=True)
class _Mention:
    start: int
    """Token at which the phrase begins: its count, article or first adjective."""
    end: int
    noun: str
    count: int | None
    size: str | None
    introduced: bool


def read(text: str) -> Told:
    """What `text` says of groups, relations, sign and background.

    >>> read("There are two small dogs on a plain red background.").groups
    (ToldGroup(noun='dog', count=2, size='small'),)
    """
    sign, rest = _read_sign(" ".join(text.split()))
    pattern, colour = _read_background(rest)
    tokens = ["." if t in ("!", "?", ";", ":") else t for t in _TOKEN.findall(rest.lower())]
    mentions = _mentions(tokens)
    relations = []
    for first, second in pairwise(mentions):
        between = " ".join(tokens[first.end : second.start])
        side = next((s for s, words in _SIDE.items() if words.fullmatch(between)), None)
        if side:
            relations.append(ToldRelation(first.noun, side, second.noun))
    return Told(
        tuple(ToldGroup(m.noun, m.count, m.size) for m in mentions if m.introduced),
        tuple(m.noun for m in mentions),
        tuple(relations),
        sign,
        pattern,
        colour,
    )


def _read_sign(text: str) -> tuple[ToldSign | None, str]:
    """The sign, and the text without it (its letters are no nouns)."""
    found = None
    for match in _SIGN.finditer(text):
        colour, word = (match[1] or "").lower(), (match[2] or "").replace(" ", "").upper()
        if colour != "no" and (found is None or (word and not found.word)):
            found = ToldSign(colour if colour in BOARDS else found.colour if found else "", word)
    return found, _SIGN.sub("sign", text)


def _read_background(text: str) -> tuple[str, str]:
    match = _BACKGROUND.search(text)
    words = match[1].lower().split() if match else []
    return (
        next((w for w in words if w in PATTERNS), ""),
        next((w for w in words if w in COLOURS), ""),
    )


@cache
def _names() -> dict[tuple[str, ...], str]:
    return {
        tuple(words.lower().split()): noun.name
        for noun in NOUNS
        for words in (noun.plural, noun.name)
    }


def _mentions(tokens: list[str]) -> list[_Mention]:
    names, found, at = _names(), list[_Mention](), 0
    longest = max(map(len, names))
    while at < len(tokens):
        for length in range(longest, 0, -1):
            noun = names.get(tuple(tokens[at : at + length]))
            if noun:
                mention = _phrase(tokens, found[-1].end if found else 0, at, at + length, noun)
                if mention:
                    found.append(mention)
                at += length
                break
        else:
            at += 1
    return found


def _phrase(tokens: list[str], floor: int, at: int, end: int, noun: str) -> _Mention | None:
    """The noun at `at` with what stands before it, not before `floor`. None for "no dogs"."""
    size, others, start = None, 0, at
    while start > floor:
        word = tokens[start - 1]
        if word in ("no", "zero"):
            return None
        if word in _COUNTS:
            known = start - 1 > floor and tokens[start - 2] in _DEFINITE  # "the two dogs"
            return _Mention(start - 1 - known, end, noun, _COUNTS[word], size, not known)
        if word in _VAGUE:
            return _Mention(start - 1, end, noun, None, size, True)
        if word in _DEFINITE:
            return _Mention(start - 1, end, noun, None, size, False)
        if word in _SIZES:
            size = _SIZES[word]
        elif word in _STOPS or others == _ADJECTIVES:
            break
        else:
            others += 1
        start -= 1
    return _Mention(start, end, noun, None, size, True)
