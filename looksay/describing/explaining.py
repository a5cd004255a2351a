"""Why a photo has the words that it has: what counts where, what speaks for and against it, who said and decided what.

Nothing is asked and nothing computed but the risk: it is all in the catalogue. What is not there is told as well, with
what to type to have it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from looksay.describing import about, risk
from looksay.describing.about import About
from looksay.describing.calibration import ENOUGH, Scale
from looksay.describing.claims import (
    REJECTED,
    SUPPORTED,
    Checked,
    Evidence,
    as_records,
)
from looksay.describing.evidence import UNNAMED
from looksay.describing.judging import Judge
from looksay.library.catalog import Catalog
from looksay.library.records import TRIAL, Target, Words
from looksay.settings import Settings

STATES = {
    "human": "written by a person", "reviewed": "a model's words, accepted by a person",
    "decorative": "decoration: no words wanted", "cleared": "deleted by a person", "rejected": "rejected by a person",
    "ai": "a model's words that nobody has reviewed", "draft": "a draft that nobody has reviewed", "none": "no words yet",
}  # fmt: skip

_PAGE = {
    "title": "title", "heading": "heading", "caption": "caption", "before": "text before", "after": "text after",
    "link": "link target",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Saying:
    """What a model said about the photo once."""

    id: int
    """Of the generation."""
    model: str
    fingerprint: str
    language: str
    text: str
    extended: str
    decorative: bool
    notes: tuple[str, ...]
    at: str
    seconds: float
    cost_usd: float
    request: str
    """What it was asked, apart from the photo and what was told of it; "" where the photo alone was shown."""
    told: str
    """"page": also the words of a page; "trial": in a comparison; "": neither."""
    checked: tuple[Checked, ...] | None
    """What the text claims, with evidence; None: nobody has looked."""
    risk: risk.Risk
    counts_for: tuple[str, ...] = ()
    """The places whose words these are."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One place that the photo's words are for: on a page, or (page "") the photo itself."""

    page: str
    occurrence: int
    standing: str | None
    """The alt text that stands there now; None: there is none."""
    words: Words
    saying: Saying | None
    """Whose words they are, unchanged."""
    decided: Mapping[str, Any] | None
    """The decision that made them count, as the history has it."""
    context: Mapping[str, str]
    """What the page says, by name; what is empty is left out."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known about one photo and its words. `as_record` makes JSON of it."""

    photo: str
    spots: tuple[Spot, ...]
    sayings: tuple[Saying, ...]
    """Of each model the newest for each request, the newest first."""
    earlier: int
    """How many older ones of the same kind the history has."""
    failed: tuple[tuple[str, str], ...]
    """(model, reason) of those that failed last."""
    about: About
    told: tuple[str, ...]
    """What models on this machine are told besides the photo, by the settings."""
    told_remote: tuple[str, ...]
    calibrated_on: int
    """The reviews that the risk knows."""
    history: tuple[Mapping[str, Any], ...]
    lacking: tuple[str, ...]
    """What is not known, in sentences, with what to type."""


def explain(
    catalog: Catalog,
    settings: Settings,
    targets: Sequence[Target],
    *,
    language: str | None = None,
) -> Explanation:
    """Explain the words of one photo; `targets` are its places. `language`: of the words, None for each place's own."""
    judge = Judge(catalog)
    judge.learn()
    ledger, photo = catalog.ledger, targets[0]
    history = ledger.history(photo.photo_id)
    found = [(t, ledger.words(t, language, settings.language)) for t in targets]
    said = [event for event in history if event["event"] == "generation"]
    counting = {words.generation_id for _, words in found}
    newest = {_kind(event): event["id"] for event in said}.values()
    shown = [event for event in said if event["id"] in {*newest, *counting}]
    sayings = {
        event["id"]: _saying(judge, event, [t for t, w in found if _are_of(w, event)])
        for event in reversed(shown)
    }
    told, told_remote = (
        about.told_to(remote, settings.context, settings.remote_context) for remote in (False, True)
    )
    there = catalog.has_place(photo.path)
    made = Explanation(
        photo.path,
        tuple(_spot(t, w, sayings, history) for t, w in found),
        tuple(sayings.values()),
        len(said) - len(shown),
        tuple(_failed(history)),
        about.read(catalog.root, photo.path, told) if there else About(),
        told,
        told_remote,
        judge.scale.reviews,
        tuple(history),
        (),
    )
    return replace(made, lacking=tuple(_lacking(made, there, judge.scale)))


def _kind(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """What generations share of which only the newest is shown."""
    keys = ("model", "fingerprint", "language", "prompt_hash", "context_hash")
    return tuple(event[key] for key in keys)


def _are_of(words: Words, event: Mapping[str, Any]) -> bool:
    """Whether words are those of a generation, as the model said them."""
    as_said = words.text == event["alt"] or words.state == "decorative"
    return words.generation_id == event["id"] and as_said


def _saying(judge: Judge, event: Mapping[str, Any], targets: Sequence[Target]) -> Saying:
    words = judge.catalog.ledger.said(event["id"])
    assert words is not None, "the history has it"
    features = judge.features(words, targets[0].context if targets else None)
    claims = judge.claims(event["id"])
    hashed = event["context_hash"]
    return Saying(
        event["id"],
        event["model"],
        event["fingerprint"],
        event["language"],
        event["alt"],
        event["extended"],
        bool(event["decorative"]),
        tuple(json.loads(event["notes"])),
        event["at"],
        event["milliseconds"] / 1000,
        event["cost_usd"],
        judge.catalog.ledger.prompt(event["prompt_hash"]),
        "trial" if hashed.startswith(TRIAL) else "page" if hashed else "",
        None if claims is None else tuple(claims),
        judge.scale.risk(features),
        tuple(where(target.page, target.occurrence) for target in targets),
    )


def _spot(
    target: Target, words: Words, sayings: Mapping[int, Saying], history: Sequence[dict[str, Any]]
) -> Spot:
    said = sayings.get(words.generation_id or 0)
    decisions = [
        event
        for event in history
        if event["event"] == "decision"
        and event["state"] == words.state
        and event["text"] == words.text
        and event["page"] in ("", target.page)
    ]
    own = where(target.page, target.occurrence)
    says = asdict(target.context)
    context = {name: says[key] for key, name in _PAGE.items() if says[key]}
    return Spot(
        target.page,
        target.occurrence,
        target.alt,
        words,
        said if said and own in said.counts_for else None,
        decisions[-1] if decisions else None,
        context,
    )


def _failed(history: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Models that have said nothing since they failed."""
    said = {e["model"]: e["at"] for e in history if e["event"] == "generation"}
    failures = {e["model"]: e for e in history if e["event"] == "failure"}
    for model, event in failures.items():
        if event["at"] > said.get(model, ""):
            yield model, event["error"]


def _lacking(made: Explanation, there: bool, scale: Scale) -> Iterator[str]:
    if not there:
        yield "The last scan did not find the file, or could not read it."
    if not made.sayings:
        yield "No model has said anything about it. Type: looksay describe PHOTO"
    elif len({one.model for one in made.sayings}) == 1:
        yield "Only one model has described it, so no two can be compared. Type: looksay describe PHOTO --model ANOTHER"
    if any(spot.saying and spot.saying.checked is None for spot in made.spots):
        yield "Nobody has checked what its words claim, so their risk is told by rules alone. Type: looksay check PHOTO"
    if made.sayings and not scale.calibrated:
        yield (
            f"The risk ranks texts and is no probability: it knows {scale.reviews} reviews of yours, and "
            f"{ENOUGH} make it one."
        )
    if not any(spot.decided or spot.words.state == "human" for spot in made.spots):
        yield "No person has decided on it. Type: looksay decide PHOTO --accept"


# --- words ----------------------------------------------------------------------------------------


def where(page: str, occurrence: int = 0) -> str:
    """A place in words; the photo itself where there is no page."""
    again = f" ({occurrence + 1})" if occurrence else ""
    return f"on {page}{again}" if page else "the photo itself"


def told(evidence: Evidence) -> str:
    """One piece of evidence as a sentence.

    >>> told(Evidence("mini", "said", 0.0, "two dogs on a sofa"))
    'mini says otherwise: two dogs on a sofa'
    """
    if evidence.detail == UNNAMED:
        return f"{evidence.source} {UNNAMED}, which is weakly against it"
    for_it, against = evidence.support >= SUPPORTED, evidence.support <= REJECTED
    verdicts = {
        "said": ("says so too", "says otherwise", "leaves it open"),
        "found": ("found it", "did not find it", "is not sure"),
        "recorded": ("has it so", "has it otherwise", "leaves it open"),
        "asked": ("says yes", "says no", "is not sure"),
    }[evidence.how]
    verdict = verdicts[0 if for_it else 1 if against else 2]
    share = "" if evidence.support in (0.0, 1.0) else f" ({evidence.support:.0%})"
    return f"{evidence.source} {verdict}{share}{': ' if evidence.detail else ''}{evidence.detail}"


def origin(saying: Saying) -> str:
    """How it came about: what it was told besides the photo."""
    return {"page": "told of a page", "trial": "in a comparison"}.get(
        saying.told, "told of no page"
    )


def risk_in_words(saying: Saying) -> str:
    """The level, what it is told by, and why."""
    by = "" if saying.checked is not None else " by rules alone"
    share = f" ({saying.risk.value:.0%} by your reviews)" if saying.risk.calibrated else ""
    why = "; ".join(saying.risk.reasons) or "nothing was found against it"
    return f"{saying.risk.level}{by}{share}: {why}"


def known(found: About) -> list[tuple[str, str]]:
    """What is known of a photo, by kind; what is not known, or not told to models, is left out."""
    return [(kind, value) for kind, value in asdict(found).items() if value]


def marked(saying: Saying) -> list[tuple[str, str, tuple[int, ...]]]:
    """The text in pieces: (piece, verdict, numbers of the claims that it makes, from 1). Of several verdicts the worst."""
    numbered = [
        (number, one.verdict, span)
        for number, one in enumerate(saying.checked or (), 1)
        for span in one.said.spans
        if 0 <= span[0] < span[1] <= len(saying.text)
    ]
    cuts = sorted({0, len(saying.text), *(edge for _, _, span in numbered for edge in span)})
    order = ("rejected", "contested", "unchecked", "supported")
    pieces = []
    for start, end in pairwise(cuts):
        here = [(n, v) for n, v, span in numbered if span[0] <= start and end <= span[1]]
        verdict = min((v for _, v in here), key=order.index, default="")
        pieces.append((saying.text[start:end], verdict, tuple(n for n, _ in here)))
    return pieces


def as_record(made: Explanation) -> dict[str, Any]:
    """The explanation as JSON has it, claims as everywhere (`claims.as_records`)."""
    record = asdict(made)
    for saying, own in zip(record["sayings"], made.sayings, strict=True):
        checked = saying.pop("checked")
        saying["claims"] = None if checked is None else as_records(own.checked or ())
        saying["risk"] |= {"reasons": own.risk.reasons}
    for spot, given in zip(record["spots"], made.spots, strict=True):
        spot["saying"] = given.saying.id if given.saying else None
    return record
