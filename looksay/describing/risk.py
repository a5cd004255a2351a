"""What speaks against a text: the features of its risk, from its claims' evidence and from rules alone.

Risk is how likely a text says something that a reviewer would have to change. It is not the model's own certainty, which
tells little (CapMAS, arXiv 2412.15484: AUROC 57.5 by token confidence, 81.4 by asking about each claim alone), though
that is one of the features. `looksay.describing.calibration` makes a number of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from looksay.describing.claims import Checked
from looksay.library.pages import Context
from looksay.texts.language import COMMON, sentences

Level = Literal["high", "medium", "low"]
HIGH, MEDIUM = 0.5, 0.2
"""Risk from which a text is shown as high, and as medium."""
MANY = 5
"""A count from which models guess."""
USUAL_CONFIDENCE = -0.2
"""Mean log-probability (nats) of a token where the backend tells none: as if it were neither sure nor unsure."""
MENTIONED = 3
"""Things that one reason names at most."""

REASONS: Mapping[str, str] = {
    "rejected": "the evidence is against {}",
    "contested": "the sources do not agree on {}",
    "near_miss": "the page says it otherwise: {}",
    "named": "it gives a name: {}",
    "read": "it reads text in the picture: {}",
    "counted": "it counts many: {}",
    "hedges": "it is not sure itself: {}",
    "unsure": "the model was unsure of its words",
    "unchecked": "nothing speaks for or against {} of its claims",
    "claims": "it says many things ({})",
    "doubt": "little speaks for {}",
    "least": "little speaks for {}",
}
"""A reason in plain words, by what brings it about; `Risk.why` has both, so that it can be said in another language."""


@dataclass(frozen=True, slots=True)
class Features:
    """What can be held against one text.

    Example: Features(claims=3, checked=3, rejected=("three dogs",), doubt=1.1, least=0.1, weakest="three dogs").
    """

    claims: int = 0
    """How many things it says."""
    checked: int = 0
    """Of how many of them there is any evidence."""
    rejected: tuple[str, ...] = ()
    """Claims that the evidence is against, in words, the weakest first."""
    contested: tuple[str, ...] = ()
    doubt: float = 0.0
    """Claims expected to be false: the sum of 1 - support over those checked."""
    least: float | None = None
    """The support of the weakest claim."""
    weakest: str = ""
    """That claim in words."""
    confidence: float | None = None
    """Mean log-probability of its tokens (nats) as the backend tells it."""
    named: tuple[str, ...] = ()
    """Names that no page gives."""
    read: tuple[str, ...] = ()
    """What it says to stand in the picture."""
    counted: tuple[str, ...] = ()
    """Counts above four, as it puts them."""
    hedges: tuple[str, ...] = ()
    """Its own doubts: "probably", "seems"."""
    near_miss: tuple[str, ...] = ()
    """Where it says nearly what the page says: "two where the page has three"."""

    def numbers(self) -> dict[str, float]:
        """Every feature as a number, 0 where nothing speaks against the text; all of the order of 1."""
        share = 1 / max(1, self.checked)
        sure = USUAL_CONFIDENCE if self.confidence is None else self.confidence
        return {
            "rejected": len(self.rejected) * share,
            "contested": len(self.contested) * share,
            "doubt": min(self.doubt, 5.0),
            "least": 0.0 if self.least is None else 1 - self.least,
            "unsure": min(max(USUAL_CONFIDENCE - sure, -1.0), 3.0),
            "unchecked": (self.claims - self.checked) / self.claims if self.claims else 0.0,
            "claims": self.claims / 10,
            "named": float(bool(self.named)),
            "read": float(bool(self.read)),
            "counted": float(bool(self.counted)),
            "hedges": float(bool(self.hedges)),
            "near_miss": float(bool(self.near_miss)),
        }

    def mentioned(self, name: str) -> str:
        """What a reason of that name speaks of, in words; "" where it needs none."""
        if name == "claims":
            return str(self.claims)
        if name == "unchecked":
            return f"{self.claims - self.checked} of {self.claims}"
        if name in ("doubt", "least"):
            return f"“{self.weakest}”"
        found = getattr(self, name, None)
        if not isinstance(found, tuple):
            return ""
        shown = found if name == "near_miss" else [f"“{one}”" for one in found]
        more = f" and {len(found) - MENTIONED} more" if len(found) > MENTIONED else ""
        return ", ".join(shown[:MENTIONED]) + more

    def as_record(self) -> dict[str, Any]:
        """JSON in the end, as the catalogue has it; `from_record` reads it back."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Features:
        """What `as_record` wrote, also before there were features that are new."""
        known = {field.name for field in fields(cls)}
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in record.items()
            if key in known
        }
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Risk:
    """How likely a text is wrong somewhere, as far as is known, and why."""

    value: float
    """0 to 1; a probability only where `calibrated`."""
    level: Level
    why: tuple[tuple[str, str], ...] = ()
    """(name in REASONS, what it speaks of), what weighs most first."""
    calibrated: bool = False
    """Fitted to enough of the user's own reviews."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in plain English words."""
        return tuple(REASONS[name].format(what) for name, what in self.why)


def level(value: float) -> Level:
    """What a risk is shown as."""
    return "high" if value >= HIGH else "medium" if value >= MEDIUM else "low"


def features(
    text: str,
    checked: Sequence[Checked] = (),
    *,
    confidence: float | None = None,
    context: Context | None = None,
) -> Features:
    """The features of a text. `checked`: its claims with their evidence, () where it was not looked at; `confidence`:
    mean log-probability of its tokens (nats); `context`: what the page says."""
    told = sorted((one for one in checked if one.support is not None), key=_support)
    page = (context.title, context.heading, context.caption) if context else ()
    around = (context.before, context.after) if context else ()
    return Features(
        claims=len(checked),
        checked=len(told),
        rejected=tuple(one.words for one in told if one.verdict == "rejected"),
        contested=tuple(one.words for one in told if one.verdict == "contested"),
        doubt=sum(1 - _support(one) for one in told),
        least=_support(told[0]) if told else None,
        weakest=told[0].words if told else "",
        confidence=confidence,
        named=tuple(_names(text, " ".join((*page, *around)))),
        read=tuple(_read(text)),
        counted=tuple(m[0] for m in _NUMBER.finditer(text) if _value(m[0]) >= MANY),
        hedges=tuple(dict.fromkeys(m[0].lower() for m in _HEDGE.finditer(text))),
        near_miss=tuple(
            dict.fromkeys(miss for said in page if said for miss in _near_miss(text, said))
        ),
    )


def _support(one: Checked) -> float:
    return 0.0 if one.support is None else one.support


# --- rules ----------------------------------------------------------------------------------------

_VALUES = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "dozen": 12, "dozens": 24,
    "hundred": 100, "hundreds": 200, "thousand": 1000, "thousands": 2000,
}  # fmt: skip
_KOREAN = {"다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10, "스무": 20}
"""Numbers that stand before a counter ("여섯 마리"); elsewhere most of them are parts of other words."""
_NUMBER = re.compile(
    r"(?<![\w:.,/-])(?:\d{1,4}|" + "|".join(_VALUES) + r")(?![\w:/]|[.,-]\d)"
    r"|(?<!\w)(?:" + "|".join(_KOREAN) + r")(?= ?(?:마리|명|사람|개|대|송이|그루|권|장))",
    re.I,
)
_HEDGE = re.compile(
    r"\b(?:probably|perhaps|maybe|possibly|apparently|presumably|likely|seems?|seemingly|appears? to|might|may be|"
    r"could be|what looks like|some (?:kind|sort) of)\b|아마|듯(?:하|합|한|이)|처럼 보|것 같",
    re.I,
)
_QUOTED = re.compile(r"[\"“„«「『]([^\"“”„«»「」『』]+)[\"”“»」』]")
_READS = re.compile(
    r"\b(?:reads?|reading|says?|saying|spells?|labell?ed|titled)\b[ :,]+(?:the words? )?([A-Z](?: [A-Z])+\b|[A-Z0-9][\w'-]*)"
)
_NAME = re.compile(r"[A-Z][a-z'’À-ɏ-]*[a-zÀ-ɏ](?:\s+(?:(?:of|the|de|van|von)\s+)?[A-Z][\w'’-]*)*")
_NO_NAME = {
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "january", "february", "march",
    "april", "may", "june", "july", "august", "september", "october", "november", "december", "christmas", "easter",
    "halloween", "english", "korean", "american", "european", "asian", "african", "chinese", "japanese", "french",
    "german", "italian", "spanish", "british", "indian", "gothic", "victorian", "roman", "greek", "i",
}  # fmt: skip
"""Words with a capital that name nobody and no place."""
_SMALL = frozenset(" ".join(COMMON.values()).split())


def _value(number: str) -> int:
    """What a number is worth. A year is no count."""
    word = number.strip().lower()
    value = int(word) if word.isdecimal() else {**_VALUES, **_KOREAN}[word]
    return 0 if word.isdecimal() and 1500 <= value <= 2100 else value


def _read(text: str) -> Iterator[str]:
    yield from (m[1].strip() for m in _QUOTED.finditer(text) if m[1].strip())
    yield from (m[1] for m in _READS.finditer(_QUOTED.sub(" ", text)))


def _names(text: str, page: str) -> Iterator[str]:
    """Proper names that the page does not have: capitals inside a sentence, or after a title ("Mr")."""
    known = set(re.findall(r"\w+", page.lower()))
    for sentence in sentences(_READS.sub(" ", _QUOTED.sub(" ", text))):
        for match in _NAME.finditer(sentence):
            words = [w for w in match[0].split() if w[0].isupper()]
            if not sentence[: match.start()].strip(" ('‘–—-"):
                words = words[1:]  # every sentence begins with a capital
            telling = [w.lower().removesuffix("'s").removesuffix("’s") for w in words]
            if any(w not in _NO_NAME | known | _SMALL for w in telling):
                yield match[0].removesuffix("'s").removesuffix("’s")


def _near_miss(text: str, said: str) -> Iterator[str]:
    """Where a text says nearly what the page says: at least half of the telling words are the same, and one or two on
    each side are others. Only numbers and words are compared; another order is no difference."""
    ours, theirs = _telling(text), _telling(said)
    both = ours.keys() & theirs.keys()
    if len(both) < 2 or 2 * len(both) < len(theirs):
        return
    own, other = (
        [ours[w] for w in ours if w not in both],
        [theirs[w] for w in theirs if w not in both],
    )
    figures = [[w for w in some if w.lower() in _VALUES or w.isdecimal()] for some in (own, other)]
    if all(figures):
        yield f"“{figures[0][0]}” here, “{figures[1][0]}” there"
    elif 0 < len(own) <= 2 and 0 < len(other) <= 2:
        yield f"“{' '.join(own)}” here, “{' '.join(other)}” there"


def _telling(text: str) -> dict[str, str]:
    """The telling words of a text as they are compared → as they stand there: numbers by value, plurals as one."""
    found: dict[str, str] = {}
    for word in re.findall(r"[^\W_]+", text):
        low = word.lower()
        if low in _VALUES:
            found[str(_VALUES[low])] = word
        elif low not in _SMALL:
            found[low.removesuffix("s") if len(low) > 3 else low] = word
    return found
