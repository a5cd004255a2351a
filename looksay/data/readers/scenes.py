"""Claims about drawn scenes, in the words in which scenes are told and asked about (`looksay.data.scenes`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from looksay.backends.base import LoadOptions
from looksay.data.scenes.atlas import BOARDS, BY_NAME, COLOURS, PATTERNS
from looksay.data.scenes.telling import NUMBERS, article, joined, spelled
from looksay.data.scenes.told import NOWHERE, Span, placed
from looksay.errors import InputError
from looksay.texts.claims import Claim, Reader, Said

ABOUT = "Drawn scenes: their objects with counts and sizes, relations, background and sign."
_SIZES = ("small", "large")
_YES_NO = ("yes", "no")
_WORDS = ("STOP", "FISH", "OPEN", "HOTEL", "MUSIC")
"""What a sign might say instead, where it is asked what it says."""


class Scenes:
    """Reads what `looksay.data.scenes.told` understands."""

    name = "scenes-1"

    def read(self, text: str) -> list[Said]:
        """
        >>> [str(one.claim.value or one.claim.subject) for one in Scenes().read("Two small dogs.")]
        ['dog', '2', 'small']
        """
        said, found = placed(text), dict[Claim, list[Span]]()

        def tell(claim: Claim, *places: Span) -> None:
            found.setdefault(claim, []).extend(p for p in places if p != NOWHERE)

        for one in said.mentions:
            tell(Claim("object", one.noun), one.noun_at)
            if one.count is not None:
                tell(Claim("count", one.noun, str(one.count)), one.count_at)
            if one.size:
                tell(Claim("attribute", one.noun, one.size), one.size_at)
        for a, side, b in said.relations:
            tell(Claim("relation", a.noun, side, b.noun), (a.noun_at[0], b.noun_at[1]))
        for value in (said.pattern, said.colour):
            if value:
                tell(Claim("attribute", "background", value), said.background_at)
        if said.sign:
            tell(Claim("object", "sign"), *said.sign_at)
            if said.sign.colour:
                tell(Claim("attribute", "sign", said.sign.colour), *said.sign_at)
            if said.sign.word:
                tell(Claim("text", "sign", said.sign.word), *said.sign_at)
        return [Said(claim, tuple(dict.fromkeys(places))) for claim, places in found.items()]

    def kind(self, noun: str) -> str:
        return noun

    def words(self, claim: Claim) -> str:
        if claim.kind == "object":
            return article(claim.subject)
        if claim.kind == "count":
            one = claim.value == "1"
            return f"one {claim.subject}" if one else _counted(claim.subject, claim.value)
        if claim.kind == "attribute":
            return article(f"{claim.value} {claim.subject}")
        if claim.kind == "text":
            return f"a sign that says {claim.value}"
        return f"{article(claim.subject)} {claim.value} {article(claim.other)}"

    def question(self, claim: Claim) -> str:
        subject, value = claim.subject, claim.value
        if claim.kind == "object":
            return f"Is there {article(subject)} in the picture?"
        if claim.kind == "count":
            return f"How many {_plural(subject)} are there?"
        if claim.kind == "text":
            return "Which word is on the sign?"
        if claim.kind == "relation":
            return f"Is the {subject} {value} the {claim.other}?"
        if value in _SIZES:
            return f"What size is the {subject}?"
        if value in PATTERNS:
            return f"Is the {subject} {value}?"
        return f"What colour is the {subject}?"

    def answers(self, claim: Claim) -> tuple[str, ...]:
        value = claim.value
        if claim.kind == "count":
            return _first(_number(int(value)), NUMBERS[1:])
        if claim.kind == "text":
            return _first(spelled(value), map(spelled, _WORDS))
        if claim.kind == "attribute":
            board = claim.subject == "sign"
            for family in (_SIZES, tuple(BOARDS) if board else tuple(COLOURS)):
                if value in family:
                    return _first(value, family)
        return _YES_NO

    def compose(self, claims: Sequence[Claim]) -> str:
        told = dict.fromkeys(claims)
        values = {(c.kind, c.subject): c.value for c in reversed(told)}
        objects = [c.subject for c in told if c.kind == "object" and c.subject != "sign"]
        single = {noun for noun in objects if values.get(("count", noun)) == "1"}
        phrases = [
            _counted(noun, values.get(("count", noun), ""), values.get(("attribute", noun), ""))
            for noun in objects
        ]
        ground = [c.value for c in told if c.kind == "attribute" and c.subject == "background"]
        ground.sort(key=lambda value: value in COLOURS)
        where = article(" ".join([*ground, "background"])) if ground else ""
        sentences = []
        if phrases:
            verb = "is" if len(objects) == len(single) == 1 else "are"
            on = f" on {where}" if where else ""
            sentences.append(f"There {verb} {joined(phrases)}{on}")
        elif where:
            sentences.append(f"The picture shows {where}")
        for c in told:
            if c.kind == "relation":
                a, b = (n if n in single else _plural(n) for n in (c.subject, c.other))
                verb = "is" if c.subject in single else "are"
                sentences.append(f"The {a} {verb} {c.value} the {b}")
        if any(c.subject == "sign" for c in told):
            board = article(f"{values.get(('attribute', 'sign'), '')} sign".strip())
            word = values.get(("text", "sign"))
            sentences.append(f"{board} says {spelled(word)}" if word else f"There is {board}")
        return " ".join(f"{one[0].upper()}{one[1:]}." for one in sentences)


def load(model: str, options: LoadOptions) -> Reader:
    if model:
        raise InputError(f"The reader of scenes has no model; {model!r} was given. Type: scenes")
    return Scenes()


def _counted(noun: str, count: str, size: str = "") -> str:
    """ "three small dogs", "a dog"; where the count is not told, "some dogs"."""
    words = " ".join(filter(None, [size, noun if count == "1" else _plural(noun)]))
    if count == "1":
        return article(words)
    return f"{_number(int(count)) if count else 'some'} {words}"


def _plural(noun: str) -> str:
    return BY_NAME[noun].plural if noun in BY_NAME else f"{noun}s"


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _first(right: str, others: Iterable[str]) -> tuple[str, ...]:
    return (right, *(one for one in others if one != right))
