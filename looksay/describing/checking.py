"""A text held to everything that is known of its picture: captions and findings in, checked claims out.

>>> from looksay.data import readers
>>> reader = readers.load("scenes")
>>> said = check("Two dogs.", reader, texts={"a": "Two dogs.", "b": "Three dogs."})
>>> [(one.words, one.verdict) for one in said]
[('a dog', 'supported'), ('two dogs', 'contested')]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from looksay.backends.base import Backend
from looksay.describing import evidence, verify
from looksay.describing.claims import SUPPORTED, Checked, Claim, Evidence, Reader, Said
from looksay.errors import BackendError
from looksay.types import Image

if TYPE_CHECKING:
    from looksay.describing.evidence import Look
    from looksay.experts.exif import Exif


def check(
    text: str,
    reader: Reader,
    *,
    texts: Mapping[str, str] | None = None,
    looks: Sequence[Look] = (),
    exif: Exif | None = None,
) -> list[Checked]:
    """The claims of a text, each with what other models' texts (by who said them), experts and the file say of it.
    What a verifier says comes in with `asked` and `added`."""
    read = {who: reader.read(other) for who, other in (texts or {}).items()}
    return gathered(reader.read(text), reader, read, looks, exif)


def gathered(
    said: Iterable[Said],
    reader: Reader,
    texts: Mapping[str, Sequence[Said]],
    looks: Sequence[Look] = (),
    exif: Exif | None = None,
) -> list[Checked]:
    """The same of claims and texts that are read already."""
    found = []
    for one in said:
        told = evidence.agreement(one.claim, texts, reader)
        told += [seen for look in looks if (seen := evidence.found(one.claim, look, reader))]
        if exif and (recorded := evidence.recorded(one.claim, exif)):
            told.append(recorded)
        found.append(Checked(one, reader.words(one.claim), tuple(told)))
    return settled(found)


def asked(
    checked: Sequence[Checked],
    image: Image,
    reader: Reader,
    verifier: Backend,
    timeout_s: float = 120.0,
) -> list[Checked]:
    """The same claims with what a verifier says of each, asked alone; an answer that cannot be read is no evidence.
    Raises BackendError where a question is not answered at all, so that it can be asked again."""
    questions = [verify.Question.of(one.claim, image, reader) for one in checked]
    answers = dict(verify.ask(verifier, questions, timeout_s))
    failed = next((one.error for one in answers.values() if one.error), "")
    if failed or len(answers) < len(questions):
        raise BackendError(f"{verifier.name} was asked about a claim: {failed or 'no answer came'}")
    return added(checked, [answers[n].evidence for n in range(len(checked))])


def added(checked: Sequence[Checked], more: Sequence[Evidence | None]) -> list[Checked]:
    """Each with one piece of evidence more, or none, and all weighed anew."""
    return settled(
        [
            replace(one, evidence=(*one.evidence, new)) if new else one
            for one, new in zip(checked, more, strict=True)
        ]
    )


def settled(checked: Sequence[Checked]) -> list[Checked]:
    """Each with what its evidence comes to. What is said of a thing is supported no better than that the thing is
    there; where nothing else is known of it, and that is doubtful, it is as doubtful."""
    own = {one.claim: evidence.weighed(one.evidence) for one in checked}
    things = {claim.subject: p for claim, p in own.items() if claim.kind == "object"}
    found = []
    for one in checked:
        support = own[one.claim]
        about = [things.get(noun) for noun in (one.claim.subject, one.claim.other)]
        least = min((p for p in about if p is not None), default=1.0)
        if support is not None or least < SUPPORTED:
            support = min(least, 1.0 if support is None else support)
        found.append(replace(one, support=support))
    return found


def surviving(checked: Sequence[Checked], reader: Reader, least: float = 0.5) -> list[Claim]:
    """The claims that may be said, in their order: the evidence is not against them (`least` support, or none at
    all), they contradict none that has more, and what they speak of survives as well."""
    ranked = sorted(checked, key=lambda one: -_support(one))  # stable: who spoke first goes first
    kept = set(consistent([one.said for one in ranked if _support(one) >= least], reader))
    return _standing([one.claim for one in checked], kept)


def consistent(said: Sequence[Said], reader: Reader) -> list[Claim]:
    """The claims that contradict none before them, and that speak of things that are named."""
    kept = list[Claim]()
    for claim in (one.claim for one in said):
        if not any(evidence.conflicts(claim, other, reader) for other in kept):
            kept.append(claim)
    return _standing([one.claim for one in said], set(kept))


def _standing(claims: Sequence[Claim], kept: set[Claim]) -> list[Claim]:
    """Those kept, without what is said of things that are gone."""
    named = {claim.subject for claim in claims if claim.kind == "object"}
    gone = named - {claim.subject for claim in kept if claim.kind == "object"}
    return [c for c in claims if c in kept and c.subject not in gone and c.other not in gone]


def _support(checked: Checked) -> float:
    return 1.0 if checked.support is None else checked.support


def placed_in(text: str, checked: Sequence[Checked], reader: Reader) -> list[Checked]:
    """The claims with the places at which `text` says them; those that it does not say have none."""
    spans = {one.claim: one.spans for one in reader.read(text)}
    return [replace(one, said=Said(one.claim, spans.get(one.claim, ()))) for one in checked]
