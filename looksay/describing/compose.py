"""Texts that say what survived: a caption that says nothing else where there is one, sentences by rules, or a model's."""

from __future__ import annotations

from collections.abc import Sequence

from looksay.backends.base import Backend
from looksay.backends.dialogue import Aside, Request, Unfit, alone, insist
from looksay.describing import evidence, prompts
from looksay.describing.claims import Claim, Reader
from looksay.errors import BackendError
from looksay.types import Completion, Conversation, Options

_ORDER = """Write the alternative text of a picture that you do not see, in {language}, as one or two plain sentences of \
at most {target} characters in all. Say all of these facts, as far as they fit, the first ones first, and nothing else: \
no other thing, no other number, no other quality, no place, no mood. Answer with the text alone.
{facts}"""
_AGAIN = "That cannot be used: {reason}. Write it once more, from the facts alone."
_LOOSE = frozenset(["with", "in", "at", "by", "next to"])
"""Relations that a sentence may put between things because they stand in it together."""


def by_rules(claims: Sequence[Claim], captions: Sequence[str], reader: Reader) -> str:
    """The first of the captions that say nothing but what the claims say, and most of it; what it leaves out follows
    in sentences by rules. Where no caption will do, all of it by rules. "" where there are no claims.

    What a caption says that is no claim ("runs happily") comes along unchecked.
    """
    if not claims:
        return ""
    wanted = set(claims)
    said = {text: {one.claim for one in reader.read(text)} for text in captions}
    fit = [text for text in captions if said[text] and said[text] <= wanted]
    if not fit:
        return reader.compose(claims)
    base = max(fit, key=lambda text: len(said[text]))  # the first of several
    left = [claim for claim in claims if claim not in said[base]]
    there = {claim.subject for claim in said[base]}
    things = {claim.subject for claim in left if claim.kind == "object"}
    if any(claim.kind in ("count", "attribute") and claim.subject in there for claim in left):
        return reader.compose(claims)  # "There are three of them" is no sentence to add
    more = [c for c in left if c.subject in things or c.kind != "object"]
    return " ".join(filter(None, [_ended(base), reader.compose(more)]))


def by_model(
    claims: Sequence[Claim],
    reader: Reader,
    writer: Backend,
    *,
    language: str = "en",
    target: int = 125,
    timeout_s: float = 120.0,
) -> str:
    """The claims in a model's words. Its text is read back, and one that says what was not given is refused and asked
    for again, three times in all. Raises BackendError where it gives none that can be used."""
    facts = "\n".join(f"- {reader.words(claim)}" for claim in claims)
    order = _ORDER.format(language=prompts.language_name(language), target=target, facts=facts)
    asked = Conversation.ask(order)
    request = Request("compose", writer, asked, Options(timeout_s=timeout_s))

    def read(said: Completion) -> str:
        text = " ".join(said.text.split()).strip("\"'“”")
        if not any(c.isalnum() for c in text):
            raise Unfit("the answer is empty")
        new = invented(text, claims, reader)
        if new:
            raise Unfit(f"it says what is no fact: {', '.join(map(reader.words, new))}")
        return text

    found = alone(insist(request, read, _AGAIN))
    if isinstance(found, Aside):
        raise BackendError(f"{writer.name} did not keep to the facts: {found.reason}")
    return found


def invented(text: str, claims: Sequence[Claim], reader: Reader) -> list[Claim]:
    """What a text says that the claims do not."""
    given = set(claims) | {evidence.turned(claim) for claim in claims}
    nouns = {noun for claim in claims for noun in (claim.subject, claim.other) if noun}
    counts = {claim.subject for claim in claims if claim.kind == "count"}
    found = []
    for claim in (one.claim for one in reader.read(text)):
        if claim.kind == "object":
            known = any(evidence.kin(claim.subject, noun, reader) for noun in nouns)
        elif claim.kind == "count" and claim.value == "1":  # "a dog", of dogs that nobody counted
            known = claim in given or claim.subject not in counts
        elif claim.kind == "relation" and claim.value in _LOOSE:
            known = True
        else:
            known = claim in given
        if not known:
            found.append(claim)
    return found


def _ended(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
