"""Claims of English captions of photographs: things with counts and attributes, relations, and text in quotes.

By rules: a noun phrase is what stands between function words; its last noun is what it is about. A word that is on no
list is taken for a noun, so names of things need none. What a thing does ("a dog runs") is claimed only where it does it
to another ("a dog catches a ball").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from looksay.backends.base import LoadOptions
from looksay.data.readers import _english_words as words_of
from looksay.data.readers._english_words import SIDES, doing
from looksay.data.scenes.telling import joined
from looksay.errors import InputError
from looksay.texts.claims import Claim, Reader, Said
from looksay.texts.coco_objects import COCO
from looksay.texts.english import FAMILIES, SYNONYMS, article, number, plural, singular, spelled
from looksay.texts.language import in_language

ABOUT = "English captions of photographs: things, counts, attributes, relations, quoted text."
PICTURE = "picture"
VALUES = {value: name for name, values in FAMILIES.items() for value in values}
_TOKEN = re.compile(r"\"[^\"]+\"|“[^”]+”|[^\W_]+(?:['’-][^\W_]+)*|[.,;:!?()]")
_SAYS = frozenset(["says", "reads", "saying", "reading", "words", "word", "text"])
_YEAR = re.compile(r"(?:19|20)\d\d$")
_LATIN = "\u024f"
"""The last letter of the alphabets that write English and the names in it."""
Span = tuple[int, int]


@dataclass(slots=True)
class Phrase:
    """A noun phrase. Example: of "two small dogs": Phrase("dog", 0, 3, count=2, attributes={"small": …})."""

    noun: str
    start: int
    """Its first token."""
    end: int
    noun_at: Span
    count: int | None = None
    count_at: Span = (0, 0)
    attributes: dict[str, Span] = field(default_factory=dict)


class English:
    """`known`: only things of COCO's classes, each by the name of its class."""

    def __init__(self, known: bool = False) -> None:
        self._known = known
        self.name = f"{'coco' if known else 'english'}-1"

    def read(self, text: str) -> list[Said]:
        """
        >>> said = English().read("Two small dogs on a wooden bench.")
        >>> [English().words(one.claim) for one in said]
        ['a dog', 'two dogs', 'a small dog', 'a bench', 'one bench', 'a wooden bench', 'a dog on a bench']
        """
        if not in_language(text, "en"):
            return []
        tokens = _tokens(text)
        found = dict[Claim, list[Span]]()

        def tell(claim: Claim, place: Span) -> None:
            found.setdefault(claim, []).append(place)

        phrases = list(_phrases(tokens))
        for one in phrases:
            if one.noun in words_of.MEDIA:
                medium = words_of.MEDIA[one.noun]
                if medium:
                    tell(Claim("attribute", PICTURE, medium), one.noun_at)
                continue
            noun = self._called(one.noun)
            if not noun:
                continue
            tell(Claim("object", noun), one.noun_at)
            if one.count is not None and (one.count > 1 or noun in COCO.classes):
                tell(Claim("count", noun, str(one.count)), one.count_at)
            for value, place in one.attributes.items():
                tell(Claim("attribute", noun, value), place)
        for a, relation, b in _relations(tokens, phrases):
            first, second = self._called(a.noun), self._called(b.noun)
            if first and second and not {a.noun, b.noun} & set(words_of.MEDIA):
                tell(Claim("relation", first, relation, second), (a.noun_at[0], b.noun_at[1]))
        for claim, place in _whole(tokens):
            tell(claim, place)
        for subject, words, place in _quoted(tokens, phrases):
            tell(Claim("text", self._called(subject) or "text", words), place)
        return [Said(claim, tuple(dict.fromkeys(places))) for claim, places in found.items()]

    def _called(self, noun: str) -> str:
        return COCO.classes.get(noun, "") if self._known else noun

    def kind(self, noun: str) -> str:
        return COCO.classes.get(noun, noun)

    def words(self, claim: Claim) -> str:
        subject, value = claim.subject, claim.value
        if claim.kind == "object":
            return _an(subject)
        if claim.kind == "count":
            return f"one {subject}" if value == "1" else _counted(subject, int(value))
        if claim.kind == "attribute":
            if subject == PICTURE:
                return f"taken in {value.title()}" if _is_time(value) else article(value)
            return _an(subject, value)
        if claim.kind == "text":
            return f'{article(subject) if subject != "text" else "text"} that says "{value}"'
        return f"{_an(subject)} {value} {_an(claim.other)}"

    def question(self, claim: Claim) -> str:
        subject, value = claim.subject, claim.value
        if claim.kind == "count":
            several = int(value) != 1
            noun = plural(subject) if several else subject
            return f"{'Are' if several else 'Is'} there exactly {spelled(int(value))} {noun} in the picture?"
        if claim.kind == "text":
            return f'Does the picture show the text "{value}"?'
        if claim.kind == "attribute" and subject == PICTURE:
            if _is_time(value):
                return f"Was this picture taken in {value.title()}?"
            return f"Is this picture {article(value)}?"
        return f"Is there {self.words(claim)} in the picture?"

    def answers(self, claim: Claim) -> tuple[str, ...]:
        return ("yes", "no")

    def compose(self, claims: Sequence[Claim]) -> str:
        told = list(dict.fromkeys(claims))
        objects = [c.subject for c in told if c.kind == "object"]
        counts = {c.subject: int(c.value) for c in reversed(told) if c.kind == "count"}
        written: dict[str, list[str]] = {}
        for c in told:
            if c.kind == "text":
                written.setdefault(c.subject, []).append(f'"{c.value}"')
        attributes: dict[str, list[str]] = {}
        for c in told:
            if c.kind == "attribute" and c.subject != PICTURE:
                attributes.setdefault(c.subject, []).append(c.value)

        def phrase(noun: str) -> str:
            return _counted(noun, counts.get(noun), attributes.get(noun, []))

        placed, parts = set[str](), list[str]()
        relations = [c for c in told if c.kind == "relation"]
        left = list(relations)
        others = {c.other for c in relations}
        for noun in sorted(objects, key=lambda noun: noun in others):
            if noun in placed:
                continue
            placed.add(noun)
            part = phrase(noun)
            at = noun
            while joint := next(
                (c for c in left if c.subject == at and c.other not in placed), None
            ):
                left.remove(joint)
                placed.add(joint.other)
                part += f" {joint.value} {phrase(joint.other)}"
                at = joint.other
            parts.append(part)
        sentences = [joined(parts)] if parts else []
        for c in left:
            several = [n in COCO.classes and counts.get(n) != 1 for n in (c.subject, c.other)]
            a, b = (
                plural(n) if s else n for n, s in zip((c.subject, c.other), several, strict=True)
            )
            sentences.append(f"The {a} {'are' if several[0] else 'is'} {c.value} the {b}")
        for noun, texts in written.items():
            subject = f"the {noun}" if noun in objects else "text"
            sentences.append(f"{subject} reads {' and '.join(texts)}")
        media = [c.value for c in told if c.kind == "attribute" and c.subject == PICTURE]
        sentences += [f"taken in {v.title()}" if _is_time(v) else article(v) for v in media]
        return " ".join(f"{one[0].upper()}{one[1:]}." for one in sentences)


def load(model: str, options: LoadOptions) -> Reader:
    if model:
        raise InputError(f"The reader of English has no model; {model!r} was given. Type: english")
    return English()


def _an(noun: str, *attributes: str) -> str:
    """ "a wooden bench", "wet grass"; what cannot be counted, or is always several, has no article."""
    words = " ".join([*attributes, noun])
    several = noun.endswith("s") and plural(noun) == noun
    return words if several or noun in words_of.UNCOUNTED else article(words)


def _counted(noun: str, count: int | None, attributes: Sequence[str] = ()) -> str:
    """ "three small dogs"; "dogs" where they are counted as a rule and were not."""
    if count is None and noun not in COCO.classes:
        return _an(noun, *attributes)
    if count == 1:
        words = _an(noun, *attributes)
        return words if words.startswith(("a ", "an ")) else f"one {words}"
    words = " ".join([*attributes, plural(noun)])
    return words if count is None else f"{spelled(count)} {words}"


def _is_time(value: str) -> bool:
    return bool(_YEAR.match(value)) or value in FAMILIES["month"]


def _tokens(text: str) -> list[tuple[str, Span]]:
    """Words and marks with their places; what is quoted is one, and so are capitals after "says"."""
    found: list[tuple[str, Span]] = []
    for match in _TOKEN.finditer(text):
        word, (start, end) = match[0], match.span()
        if found and word.isupper() and len(word) > 1:
            before, (at, _) = found[-1]
            if before[0] == '"' and text[at] not in '"“':
                found[-1] = (f'{before[:-1]} {word}"', (at, end))
                continue
            if before.lower() in _SAYS:
                word = f'"{word}"'
        found.append((word, (start, end)))
    return found


def _phrases(tokens: Sequence[tuple[str, Span]]) -> Iterator[Phrase]:
    at = 0
    while at < len(tokens):
        end = at
        while end < len(tokens) and not _ends(tokens, at, end):
            end += 1
        if end > at:
            negated = at > 0 and tokens[at - 1][0].lower() in words_of.NEGATIONS
            found = None if negated else _phrase(tokens, at, end)
            if found:
                yield found
        at = max(end, at + 1)


def _ends(tokens: Sequence[tuple[str, Span]], start: int, at: int) -> bool:
    """Whether no noun phrase that begins at `start` goes on at `at`."""
    word = tokens[at][0]
    low = word.lower()
    led = at > start and _leads(tokens[at - 1][0])
    if not word[0].isalnum() or low in words_of.FUNCTION or _foreign(word):
        return True
    following = tokens[at + 1][0].lower() if at + 1 < len(tokens) else ""
    if following == "of" and low in ("left", "right"):
        return not led
    if _leads(word):
        return at > start and not led
    if _verbal(low) and singular(f"{low} {following}") not in COCO.classes:
        return not led  # "a parked car"
    return low.endswith("ly") and low not in words_of.LY_NOUNS


def _foreign(word: str) -> bool:
    return any(c.isalpha() and c > _LATIN for c in word)


def _leads(word: str) -> bool:
    low = word.lower()
    return low in words_of.DETERMINERS or number(low) is not None


def _verbal(low: str) -> bool:
    if low in words_of.VERBS:
        return True
    return (
        low.endswith(("ing", "ed")) and low not in words_of.NOUNS_LIKE_VERBS and low not in VALUES
    )


def _phrase(tokens: Sequence[tuple[str, Span]], start: int, end: int) -> Phrase | None:
    at, count, count_at = start, None, (0, 0)
    while at < end and _leads(low := tokens[at][0].lower()):
        if (told := words_of.COUNTING.get(low, number(low))) is not None:
            count, count_at = told, tokens[at][1]
        at += 1
    attributes, nouns = dict[str, Span](), list[int]()
    for place in range(at, end):
        low = tokens[place][0].lower()
        value = SYNONYMS.get(low, low)
        if value in VALUES and VALUES[value] not in ("medium", "month"):
            attributes[value] = tokens[place][1]
        elif not (low in words_of.ADJECTIVES or low.endswith(words_of.ADJECTIVAL) or _verbal(low)):
            nouns.append(place)
    if not nouns:
        return None
    last = nouns[-1]
    noun, first = _named(tokens, at, last)
    if noun in words_of.NO_THINGS or _YEAR.match(noun):
        return None
    low = tokens[last][0].lower()
    if singular(low) != low and count == 1:
        count = None  # "the dogs", "her scissors"
    place_of = (tokens[first][1][0], tokens[last][1][1])
    return Phrase(noun, start, end, place_of, count, count_at, attributes)


def _named(tokens: Sequence[tuple[str, Span]], first: int, last: int) -> tuple[str, int]:
    """The noun that ends at `last`, of as many words as a name of COCO's has, and where it begins."""
    for start in range(max(first, last - COCO.longest + 1), last):
        name = singular(" ".join(t.lower() for t, _ in tokens[start : last + 1]))
        if name in COCO.classes:
            return name, start
    return singular(tokens[last][0].lower()), last


def _relations(
    tokens: Sequence[tuple[str, Span]], phrases: Sequence[Phrase]
) -> Iterator[tuple[Phrase, str, Phrase]]:
    bearers: dict[int, Phrase] = {}
    for a, b in pairwise(phrases):
        relation = _relation([t.lower() for t, _ in tokens[a.end : b.start]])
        if not relation:
            continue
        if relation in SIDES.values():
            if relation in ("in", "with"):  # who does something is "a woman in a red dress"
                bearers[b.start] = bearers.get(a.start, a)
        else:
            a = bearers.get(a.start, a)
        yield a, relation, b


def _relation(between: Sequence[str]) -> str:
    """What words between two things say of how the one stands to the other; "" where they say nothing known."""
    words = [w for w in between if w not in words_of.COPULAS and not w.endswith("ly")]
    if not words or any(not w[0].isalnum() for w in words):
        return ""
    for length in range(len(words), 0, -1):
        tail = " ".join(words[-length:])
        side = SIDES.get(tail)
        if side is None:
            continue
        before = words[:-length]
        if not before or (len(before) == 1 and doing(before[0])):
            return side
        return ""
    return doing(words[0]) if len(words) == 1 else ""


def _whole(tokens: Sequence[tuple[str, Span]]) -> Iterator[tuple[Claim, Span]]:
    """When the picture was taken, by the text: "in 2019", "in May"."""
    for (before, _), (word, place) in pairwise(tokens):
        low = word.lower()
        if before.lower() in ("in", "of") and (
            _YEAR.match(word) or (low in FAMILIES["month"] and word[0].isupper())
        ):
            yield Claim("attribute", PICTURE, low), place


def _quoted(
    tokens: Sequence[tuple[str, Span]], phrases: Sequence[Phrase]
) -> Iterator[tuple[str, str, Span]]:
    """(what it stands on, the text, where) of text in quotes."""
    for at, (word, place) in enumerate(tokens):
        if word[0] in '"“':
            near = [p for p in phrases if p.end <= at and p.noun not in words_of.MEDIA]
            sentence = near and not any(t == "." for t, _ in tokens[near[-1].end : at])
            yield near[-1].noun if sentence else "text", word.strip('"“”').strip(), place
