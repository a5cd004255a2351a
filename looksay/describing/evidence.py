"""What other texts, vision experts and the file itself say of a claim, and what all of it comes to. Pure functions.

A source says something of a claim where it speaks of the same thing; else it is silent and gives no evidence. Only of
objects is silence weak evidence against: who describes a picture names what is in it, if not everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from looksay.describing.claims import Claim, Evidence, How, Reader, Said
from looksay.texts.english import FAMILIES, OPPOSITES

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image as Pillow

    from looksay.experts.base import Detection, Expert, Findings, Segment
    from looksay.experts.exif import Exif

UNNAMED = "does not mention it"
SILENT = 0.15
"""What silence says of an object that others name."""
KIN = 0.5
"""What a text says of a man that sees a boy in his place: it may be he."""
VAIN = 0.2
"""What an expert says of an object that it knows and did not find."""
ALIKE = 0.75
"""Texts whose characters agree by this share are one, read differently."""
WEIGHTS: Mapping[How, float] = {"said": 0.5, "found": 1.0, "recorded": 1.0, "asked": 1.0}
"""Models that learned from the same pictures err together, so what each says counts half."""
_SURE = 0.95
"""No source is surer than this, or one would outweigh all the others."""
PICTURE = "picture"
"""The subject of claims about the picture as a whole: that it is a painting, when it was taken."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an expert found in the picture, and what it looked for.

    Example: Look("detection:FastestDet.onnx", findings, frozenset({"person", "dog"})).
    """

    source: str
    findings: Findings
    names: frozenset[str] = frozenset()
    """Objects that it would have found."""
    reads: bool = False
    """It reads the text in the picture."""

    @classmethod
    def of(cls, expert: Expert, source: Path | bytes | Pillow) -> Look:
        """Have an expert look. Raises what it raises."""
        from looksay.experts.base import Namer
        from looksay.experts.verbalise import plain

        names = map(plain, expert.names) if isinstance(expert, Namer) else ()
        reads = expert.name.partition(":")[0] == "ocr"
        return cls(expert.name, expert.find(source), frozenset(names), reads)


def agreement(claim: Claim, texts: Mapping[str, Sequence[Said]], reader: Reader) -> list[Evidence]:
    """What each text (by the name of who said it) says of the claim: 1 the same, 0 otherwise (another count or
    colour, the other side), `SILENT` where it names no such object."""
    found = []
    for source, said in texts.items():
        claims = [one.claim for one in said]
        support, detail = _told(claim, claims, reader)
        if support is not None:
            found.append(Evidence(source, "said", support, detail))
    return found


def found(claim: Claim, look: Look, reader: Reader) -> Evidence | None:
    """What an expert says of the claim; None where it cannot tell."""
    support, detail = _seen(claim, look, reader)
    return None if support is None else Evidence(look.source, "found", support, detail)


def recorded(claim: Claim, exif: Exif) -> Evidence | None:
    """What the camera wrote into the file says of a claim about the picture as a whole."""
    if claim.kind != "attribute" or claim.subject != PICTURE:
        return None
    if claim.value in FAMILIES["medium"] and exif.from_camera:
        true = claim.value == "photograph"
        return Evidence("EXIF", "recorded", float(true), f"taken with a camera ({exif.camera})")
    if exif.taken is None:
        return None
    told = f"taken on {exif.taken.isoformat()}"
    if claim.value.isdigit():
        return Evidence("EXIF", "recorded", float(int(claim.value) == exif.taken.year), told)
    if claim.value in (months := FAMILIES["month"]):
        return Evidence(
            "EXIF", "recorded", float(months.index(claim.value) + 1 == exif.taken.month), told
        )
    return None


def weighed(evidence: Iterable[Evidence]) -> float | None:
    """What it comes to, 0 to 1: the log-odds of all of it, weighed and added; None where there is none.

    >>> weighed([Evidence("a", "said", 1.0), Evidence("b", "said", 0.0)])
    0.5
    """
    odds = [
        WEIGHTS[one.how] * math.log(p / (1 - p))
        for one in evidence
        for p in [min(max(one.support, 1 - _SURE), _SURE)]
    ]
    return 1 / (1 + math.exp(-math.fsum(odds))) if odds else None


def kin(a: str, b: str, reader: Reader) -> bool:
    """Whether two words can name one thing: equal, or the one a kind of the other (puppy, dog)."""
    return a == b or reader.kind(a) == b or reader.kind(b) == a


def family(value: str) -> str:
    """What a value is one of, where of one thing only one is true: "colour", "size" …; "" for others."""
    return next((name for name, values in FAMILIES.items() if value in values), "")


def conflicts(a: Claim, b: Claim, reader: Reader) -> bool:
    """Whether two claims cannot both be true of one thing: other counts, other sizes, opposite sides."""
    if a.kind != b.kind or a == b or not kin(a.subject, b.subject, reader):
        return False
    if a.kind == "count":
        return a.value != b.value
    if a.kind == "attribute":
        return a.value != b.value and family(a.value) == family(b.value) != ""
    if a.kind == "relation":
        return (
            kin(a.other, b.other, reader) and OPPOSITES.get(a.value, a.value) == b.value != a.value
        )
    return False


def turned(claim: Claim) -> Claim:
    """A relation told from the other side: a dog left of a cat is a cat right of a dog. Others stay as they are."""
    if claim.kind != "relation" or claim.value not in OPPOSITES:
        return claim
    return Claim("relation", claim.other, OPPOSITES[claim.value], claim.subject)


def _told(claim: Claim, said: Sequence[Claim], reader: Reader) -> tuple[float | None, str]:
    """(support, what it says instead) of a text that makes the claims `said`."""
    if claim.kind == "object":
        return _named(claim.subject, said, reader)
    if claim.kind == "text":
        read = [one.value for one in said if one.kind == "text"]
        return _read(claim.value, read) if read else (None, "")
    both = [one for one in said if one.kind == claim.kind]
    both += [turned(one) for one in both if turned(one) != one]
    same = [one for one in both if kin(one.subject, claim.subject, reader)]
    if any(one.value == claim.value and kin(one.other, claim.other, reader) for one in same):
        return 1.0, ""
    against = next((one for one in same if conflicts(claim, one, reader)), None)
    return (None, "") if against is None else (0.0, against.value)


def _named(subject: str, said: Sequence[Claim], reader: Reader) -> tuple[float | None, str]:
    if subject == PICTURE:
        return None, ""
    named = {one.subject for one in said} | {one.other for one in said}
    if any(kin(subject, one, reader) for one in named):
        return 1.0, ""
    kind = reader.kind(subject)
    like = next((one for one in sorted(named) if one and reader.kind(one) == kind), "")
    return (KIN, like) if like else (SILENT, UNNAMED)


def _read(text: str, lines: Sequence[str]) -> tuple[float | None, str]:
    """How well a text agrees with the best of the lines that somebody read; it may be a part of one, or several."""
    wanted, all_of_it = _letters(text), _letters("".join(lines))
    if wanted and wanted in all_of_it:
        return 1.0, ""
    best = max(lines, key=lambda line: _alike(wanted, _letters(line)), default="")
    share = _alike(wanted, _letters(best))
    return (share if share >= ALIKE else 0.0), best


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _alike(a: str, b: str) -> float:
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def _seen(claim: Claim, look: Look, reader: Reader) -> tuple[float | None, str]:
    findings = look.findings
    if claim.kind == "text":
        if not look.reads and not findings.lines:
            return None, ""
        lines = [line.text for line in findings.lines]
        return _read(claim.value, lines) if lines else (VAIN, "no text found")
    if claim.kind == "relation":
        return _related(claim, look, reader)
    things: list[Detection | Segment] = [*findings.detections, *findings.segments]
    seen = [one for one in things if kin(claim.subject, _plain(one.name), reader)]
    if claim.kind == "object":
        if seen:
            best = max(one.score for one in seen)
            return 0.5 + best / 2, f"found, {best:.2f}"
        looked = any(kin(claim.subject, name, reader) for name in look.names)
        return (VAIN, "looked for, not found") if looked else (None, "")
    counted = [one for one in findings.detections if kin(claim.subject, _plain(one.name), reader)]
    if claim.kind == "count" and counted and claim.value.isdigit():
        told = f"{len(counted)} found"
        if len(counted) == int(claim.value):
            return 0.85, told
        # Detectors miss what stands behind others more often than they see one thing twice.
        return (0.15 if len(counted) > int(claim.value) else 0.3), told
    return None, ""


def _related(claim: Claim, look: Look, reader: Reader) -> tuple[float | None, str]:
    told = [
        Claim("relation", _plain(one.subject), one.predicate, _plain(one.object))
        for one in look.findings.relations
    ]
    return _told(claim, told, reader)


def _plain(name: str) -> str:
    from looksay.experts.verbalise import plain  # numpy comes with it: not for texts alone

    return plain(name)
