"""One text of what several models say of a picture. Pure functions: captions in, a text with checked claims out.

Four ways: `medoid` takes the most central caption as it is; `claims` keeps what the models, experts, the file and a
verifier support; `union` takes everything that anybody said and lets the verifier and experts alone decide (as IC3,
arXiv 2302.01328, unions captions, which can union what they made up); `fuse` takes what the two captions say that fit
the picture best by an image-text score (arXiv 2306.11593).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from looksay.backends.base import Backend, Encoder
from looksay.describing import checking, compose, evidence
from looksay.describing.claims import Checked, Claim, Reader, Said
from looksay.errors import BackendError, InputError, UnknownName
from looksay.types import Image

if TYPE_CHECKING:
    from looksay.describing.evidence import Look
    from looksay.experts.exif import Exif

By = Literal["claims", "medoid", "union", "fuse"]
WAYS: tuple[By, ...] = get_args(By)
NOTHING_SURVIVED = "no claim survived: the most central caption, unconfirmed"
NOTHING_READ = "no claim could be read: the most central caption"
NOT_READ_BACK = "nobody read back what the writer made of the claims"
T = TypeVar("T")
COMBINE_VERSION = 1
"""Changes whenever the same captions and evidence would give another text."""


@dataclass(frozen=True, slots=True)
class Combined:
    """A text and what is known of it."""

    text: str
    checked: tuple[Checked, ...]
    """Everything that any caption says, with its evidence; what the text says has the places where it says it."""
    notes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> bool:
        """It says what survived, and is no caption that stands in."""
        return not {NOTHING_READ, NOTHING_SURVIVED} & set(self.notes)


def combine(
    captions: Mapping[str, str],
    reader: Reader,
    *,
    by: By = "claims",
    image: Image | None = None,
    looks: Sequence[Look] = (),
    exif: Exif | None = None,
    verifier: Backend | None = None,
    encoder: Encoder | None = None,
    writer: Backend | None = None,
    language: str = "en",
    target: int = 125,
    timeout_s: float = 120.0,
) -> Combined:
    """What the captions (by the name of who said them) say of one picture, as one text.

    Where nothing survives, the text is the most central caption, with a note that says so; it is never empty. Raises
    InputError where a way lacks what it needs, and BackendError where the verifier or the encoder does not answer.
    """
    check_way(by, verifier, looks, encoder)
    reader = alike(captions, reader)
    read = {who: reader.read(text) for who, text in captions.items()}
    order = central(captions, read)
    if by == "fuse" and encoder is not None and image is not None and len(captions) > 1:
        order = _ranked(captions, encoder, image)[:2]
    said = _union([read[who] for who in (order if by == "fuse" else captions)])
    # Who is alone agrees with itself, which says nothing; a union asks nobody whether others say so too.
    others = {} if by == "union" or len(captions) < 2 else read
    checked = checking.gathered(said, reader, others, looks, exif)
    if verifier is not None and image is not None and by in ("claims", "union"):
        checked = checking.asked(checked, image, reader, verifier, timeout_s)
    text, notes = captions[order[0]], tuple[str, ...]()
    if by != "medoid":
        kept = (
            checking.consistent(said, reader)
            if by == "fuse"
            else checking.surviving(checked, reader)
        )
        texts = [captions[who] for who in order]
        text, notes = _worded(kept, checked, texts, reader, writer, language, target)
    return Combined(text, tuple(checking.placed_in(text, checked, reader)), notes)


def check_way(
    by: str, verifier: object = None, looks: Sequence[object] = (), encoder: object = None
) -> None:
    """Raise InputError where a way lacks what it needs; `looks` may be experts that have not looked yet."""
    if by not in WAYS:
        raise UnknownName("way to combine", by, WAYS)
    if by == "union" and verifier is None and not looks:
        raise InputError(
            "A union of all that the models say needs somebody who checks it. Add --verifier MODEL or --expert NAME, "
            "or type --by claims."
        )
    if by == "fuse" and encoder is None:
        raise InputError(
            "fuse ranks captions by how well they fit the picture, and no encoder is named. Type: --encoder "
            "hub:openai/clip-vit-base-patch32"
        )


def central(captions: Mapping[str, str], read: Mapping[str, Sequence[Said]]) -> list[str]:
    """Who said the captions, the most central first: that which agrees best with the others, in claims and, where these
    are even, in words."""
    claims = {who: {one.claim for one in said} for who, said in read.items()}
    words = {who: set(re.findall(r"\w+", text.lower())) for who, text in captions.items()}

    def agreement(who: str) -> tuple[float, float]:
        others = [other for other in captions if other != who]
        return (
            sum(_f1(claims[who], claims[other]) for other in others),
            sum(_f1(words[who], words[other]) for other in others),
        )

    return sorted(captions, key=agreement, reverse=True)


def alike(captions: Mapping[str, str], reader: Reader) -> Reader:
    """The reader, which calls one thing by one name: where captions differ only in what they call a thing of one kind
    (a puppy, a dog), that which most of them say, of equals the first. Not where one caption names both."""
    nouns: dict[str, Counter[str]] = {}
    apart = set[str]()
    for text in captions.values():
        named = {one.claim.subject for one in reader.read(text) if one.claim.kind == "object"}
        kinds = Counter(map(reader.kind, named))
        apart |= {kind for kind, many in kinds.items() if many > 1}
        for noun in sorted(named):
            nouns.setdefault(reader.kind(noun), Counter())[noun] += 1
    names = {
        noun: several.most_common(1)[0][0]
        for kind, several in nouns.items()
        if len(several) > 1 and kind not in apart
        for noun in several
    }
    return _Alike(reader, names) if names else reader


class _Alike:
    """A reader with other names for some things."""

    def __init__(self, reader: Reader, names: Mapping[str, str]) -> None:
        self._reader, self._names = reader, names
        self.name = reader.name
        self.kind, self.words, self.question = reader.kind, reader.words, reader.question
        self.answers, self.compose = reader.answers, reader.compose

    def read(self, text: str) -> list[Said]:
        found: dict[Claim, tuple[tuple[int, int], ...]] = {}
        for one in self._reader.read(text):
            c = one.claim
            subject, other = (self._names.get(noun, noun) for noun in (c.subject, c.other))
            claim = replace(c, subject=subject, other=other)
            found[claim] = (*found.get(claim, ()), *one.spans)
        return [Said(claim, spans) for claim, spans in found.items()]


def _f1(a: set[T], b: set[T]) -> float:
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def _ranked(captions: Mapping[str, str], encoder: Encoder, image: Image) -> list[str]:
    """Who said the captions, the one first that fits the picture best."""
    (picture,) = encoder.embed_images([image])
    fits = (encoder.embed_texts(list(captions.values())) @ picture).tolist()
    return [who for _, who in sorted(zip(fits, captions, strict=True), key=lambda one: -one[0])]


def _union(texts: Sequence[Sequence[Said]]) -> list[Said]:
    """Everything that is said, each claim once; a relation told from the other side is the same."""
    found = dict[Claim, Said]()
    for one in (one for said in texts for one in said):
        if evidence.turned(one.claim) not in found:
            found.setdefault(one.claim, one)
    return list(found.values())


def _worded(
    kept: Sequence[Claim],
    checked: Sequence[Checked],
    texts: Sequence[str],
    reader: Reader,
    writer: Backend | None,
    language: str,
    target: int,
) -> tuple[str, tuple[str, ...]]:
    """(text, notes) for the claims that are kept; of `texts`, all captions, the first stands in where that cannot be."""
    if not checked:
        return texts[0], (NOTHING_READ,)
    if not kept:
        return texts[0], (NOTHING_SURVIVED,)
    notes = tuple[str, ...]()
    if writer is not None:
        try:
            text = compose.by_model(kept, reader, writer, language=language, target=target)
            return text, () if reader.read(text) else (NOT_READ_BACK,)
        except BackendError as error:
            notes = (f"written by rules: {error}",)
    text = compose.by_rules(kept, texts, reader)
    if not language.startswith("en") and text not in texts:
        return texts[0], (*notes, f"what survived cannot be said in {language} without --writer")
    return text, notes
