"""The records of the catalogue: what a scan saw, what needs words, and the words themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from looksay.library.pages import Context

State = Literal["human", "reviewed", "decorative", "cleared", "rejected", "ai", "draft", "none"]
"""Whose words a target has. human: written by a person, here or already on the page; reviewed: a model's
words that a person accepted; cleared: deleted by a person; draft: a describer without understanding."""

TRIAL = "trial:"
"""Begins the context hash of what a comparison asked for: it may be graded, and is no words of any target."""

FINAL: frozenset[str] = frozenset({"human", "reviewed", "decorative", "cleared"})
"""States that a person brought about; nothing but an explicit command goes below them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A photo's file, as the last scan saw it. `fault` says why it cannot be used."""

    path: str
    photo_id: int | None
    sha256: bytes | None
    size_bytes: int
    mtime_ns: int
    fault: str | None = None
    alt: str | None = None
    extended: str | None = None
    alt_from: str | None = None
    sidecar: str | None = None
    sidecar_mtime_ns: int | None = None
    sidecar_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """What a decoded photo is, files aside."""

    format: str
    width_px: int
    height_px: int
    dhash: int | None


@dataclass(frozen=True, slots=True)
class Placement:
    """One image on one page; `occurrence` counts from 0 how often the page shows that file."""

    page: str
    number: int
    src: str
    path: str | None
    occurrence: int
    alt: str | None
    state: str
    context: Context
    note: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A place that needs words: an image on a page, or (page "") a photo that no page shows."""

    photo_id: int
    """0: the page shows a file that is not there, or cannot be read; only a person can describe it."""
    path: str
    page: str = ""
    occurrence: int = 0
    number: int = -1
    alt: str | None = None
    """The text that stands there now."""
    source: str = "missing"
    """missing, empty, decorative, text or variable: what stands there now."""
    context: Context = field(default_factory=Context)
    lead_id: int | None = None

    @property
    def name(self) -> str:
        return f"{self.path} on {self.page}" if self.page else self.path

    @property
    def context_hash(self) -> str:
        return self.context.digest if self.page else ""

    def language(self, wanted: str | None, default: str) -> str:
        """The language for its words: the one asked for, else the page's own, else the default."""
        return wanted or self.context.language.split("-")[0].split("_")[0].lower() or default


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a target, and where they come from."""

    state: State
    text: str = ""
    extended: str = ""
    language: str = ""
    generation_id: int | None = None
    model: str = ""
    notes: tuple[str, ...] = ()
    decorative_proposed: bool = False
    own: bool = False
    """Decided for exactly this target, so it may replace other words that stand there."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said of a target. `state`: human, reviewed, decorative, cleared, rejected or withdrawn (as if nobody
    had decided)."""

    id: int
    photo_id: int
    page: str
    path: str
    """"" where it is about the photo itself."""
    occurrence: int
    language: str
    state: str
    text: str
    extended: str
    generation_id: int | None
    who: str
    at: str
    token: str | None = None
    """The client's own, so that a decision that is sent twice is one."""
    seconds: float | None = None
    """How long the person looked."""


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a generation: the same key is never asked twice."""

    photo_id: int
    model_id: int
    prompt_hash: str
    settings_hash: str
    language: str
    context_hash: str
    attempt: int = 0

    @property
    def asked(self) -> tuple[int | str, ...]:
        """What is asked, whichever attempt it is; `ledger.ASKED` is the condition for it."""
        return (
            self.photo_id,
            self.model_id,
            self.prompt_hash,
            self.settings_hash,
            self.language,
            self.context_hash,
        )


def folded(text: str | None) -> str:
    """A text with its white space evened out, to compare words rather than line breaks."""
    return " ".join((text or "").split())
