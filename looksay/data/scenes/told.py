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


Span = tuple[int, int]
"""Characters of a text, the end excluded."""
NOWHERE: Span = (0, 0)


@dataclass(frozen=True, slots=True)
class Mention:
    """Objects of one kind where a text names them."""

    start: int
    """Token at which the phrase begins: its count, article or first adjective."""
    end: int
    noun: str
    count: int | None
    size: str | None
    introduced: bool
    noun_at: Span
    count_at: Span
    """NOWHERE where it is not told."""
    size_at: Span


@dataclass(frozen=True, slots=True)
class Placed:
    """What a text says, and where."""

    mentions: tuple[Mention, ...]
    relations: tuple[tuple[Mention, str, Mention], ...]
    sign: ToldSign | None
    sign_at: tuple[Span, ...]
    pattern: str
    colour: str
    background_at: Span


def read(text: str) -> Told:
    """What `text` says of groups, relations, sign and background.

    >>> read("There are two small dogs on a plain red background.").groups
    (ToldGroup(noun='dog', count=2, size='small'),)
    """
    said = placed(text)
    return Told(
        tuple(ToldGroup(m.noun, m.count, m.size) for m in said.mentions if m.introduced),
        tuple(m.noun for m in said.mentions),
        tuple(ToldRelation(a.noun, side, b.noun) for a, side, b in said.relations),
        said.sign,
        said.pattern,
        said.colour,
    )


def placed(text: str) -> Placed:
    """The same with where it says so.

    >>> placed("Two dogs.").mentions[0].noun_at
    (4, 8)
    """
    sign, sign_at, rest = _read_sign(_Written.of(text))
    pattern, colour, background_at = _read_background(rest)
    found = list(_TOKEN.finditer(rest.text))
    tokens = ["." if t[0] in "!?;:" else t[0].lower() for t in found]
    mentions = _mentions(tokens, [rest.span(*t.span()) for t in found])
    relations = []
    for first, second in pairwise(mentions):
        between = " ".join(tokens[first.end : second.start])
        side = next((s for s, words in _SIDE.items() if words.fullmatch(between)), None)
        if side:
            relations.append((first, side, second))
    return Placed(tuple(mentions), tuple(relations), sign, sign_at, pattern, colour, background_at)


class _Written(NamedTuple):
    """A text whose every character knows the place from which it came."""

    text: str
    places: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> _Written:
        """With single spaces between its words."""
        words = [(word.start(), word[0]) for word in re.finditer(r"\S+", text)]
        places = [at for start, word in words for at in range(start - 1, start + len(word))]
        return cls(" ".join(word for _, word in words), tuple(places[1:]))

    def span(self, start: int, end: int) -> Span:
        """Where characters `start` to `end` stood at first."""
        return self.places[start], self.places[end - 1] + 1


def _read_sign(written: _Written) -> tuple[ToldSign | None, tuple[Span, ...], _Written]:
    """The sign, where it is told, and the text without it (its letters are no nouns)."""
    found, places = None, []
    text, kept, at = "", list[int](), 0
    for match in _SIGN.finditer(written.text):
        start, end = match.span()
        text += written.text[at:start] + "sign"
        kept += [*written.places[at:start], *[written.places[start]] * len("sign")]
        at = end
        colour, word = (match[1] or "").lower(), (match[2] or "").replace(" ", "").upper()
        if colour == "no":
            continue
        places.append(written.span(start, end))
        if found is None or (word and not found.word):
            found = ToldSign(colour if colour in BOARDS else found.colour if found else "", word)
    rest = _Written(text + written.text[at:], (*kept, *written.places[at:]))
    return found, tuple(places), rest


def _read_background(written: _Written) -> tuple[str, str, Span]:
    match = _BACKGROUND.search(written.text)
    words = match[1].lower().split() if match else []
    return (
        next((w for w in words if w in PATTERNS), ""),
        next((w for w in words if w in COLOURS), ""),
        written.span(*match.span()) if match else NOWHERE,
    )


@cache
def _names() -> dict[tuple[str, ...], str]:
    return {
        tuple(words.lower().split()): noun.name
        for noun in NOUNS
        for words in (noun.plural, noun.name)
    }


def _mentions(tokens: list[str], places: list[Span]) -> list[Mention]:
    names, found, at = _names(), list[Mention](), 0
    longest = max(map(len, names))
    while at < len(tokens):
        for length in range(min(longest, len(tokens) - at), 0, -1):
            noun = names.get(tuple(tokens[at : at + length]))
            if noun:
                floor = found[-1].end if found else 0
                mention = _phrase(tokens, places, floor, at, at + length, noun)
                if mention:
                    found.append(mention)
                at += length
                break
        else:
            at += 1
    return found


def _phrase(
    tokens: list[str], places: list[Span], floor: int, at: int, end: int, noun: str
) -> Mention | None:
    """The noun at `at` with what stands before it, not before `floor`. None for "no dogs"."""
    size, others, start = None, 0, at
    size_at, noun_at = NOWHERE, (places[at][0], places[end - 1][1])
    while start > floor:
        word = tokens[start - 1]
        if word in ("no", "zero"):
            return None
        if word in _COUNTS:
            known = start - 1 > floor and tokens[start - 2] in _DEFINITE  # "the two dogs"
            count, count_at = _COUNTS[word], places[start - 1]
            first = start - 1 - known
            return Mention(first, end, noun, count, size, not known, noun_at, count_at, size_at)
        if word in _VAGUE or word in _DEFINITE:
            new = word in _VAGUE
            return Mention(start - 1, end, noun, None, size, new, noun_at, NOWHERE, size_at)
        if word in _SIZES:
            size, size_at = _SIZES[word], places[start - 1]
        elif word in _STOPS or others == _ADJECTIVES:
            break
        else:
            others += 1
        start -= 1
    return Mention(start, end, noun, None, size, True, noun_at, NOWHERE, size_at)
