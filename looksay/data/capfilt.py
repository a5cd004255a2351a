"""CapFilt (BLIP, arXiv 2201.12086, section 3.3): write a caption for each web picture, then drop what does not fit.

A captioner (any backend) writes one text for each picture, drawn from a nucleus; a filter judges it and the text
that came with the picture, and drops what it rejects. Both are written down the moment they are known, in
`verdicts.jsonl`, so that a run that was killed goes on where it was:
{"key": "9f2c…", "id": "17", "what": "caption", "error": null, "text": "a dog on a beach", …}
{"key": "03ab…", "id": "17", "what": "verdict", "index": 17, "origin": "synthetic", "text": "a dog on a beach",
"log_odds": 2.3, "kept": true}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from looksay.backends.base import Backend, LoadOptions, check_describes, parse_name, spelled
from looksay.data.answers import Answers
from looksay.data.dataset import Source, named
from looksay.data.dialogues import Dialogue, Request, Unanswered, hold
from looksay.data.opening import open_source
from looksay.data.sources import coco_captions, webdataset
from looksay.errors import InputError
from looksay.library.lines import Lines
from looksay.types import Conversation, Example, Image, Message, Options

Origin = Literal["web", "synthetic"]
QUESTION = webdataset.QUESTION
NUCLEUS = Options(max_tokens=30, temperature=1.0, top_p=0.9, seed=0)
"""One draw for each picture, as in the paper; beams say the same of many pictures, and their texts teach less."""
VERDICTS = "verdicts.jsonl"
FORMATS = ("webdataset", "coco_captions")
_SHARD = 1000
_WINDOW = 64
"""Pictures that are read at a time."""


class Judge(Protocol):
    """A model that tells pairs which belong together (`looksay.models.families`: albef, blip, blip2)."""

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> Any:
        """Log-odds that each picture and text belong together, as a tensor."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A judge, its digest (part of every verdict's key), and the log-odds from which a text is kept."""

    judge: Judge
    fingerprint: str
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A text of the picture of example number `index`; `log_odds` None: nobody judged."""

    id: str
    index: int
    origin: Origin
    text: str
    log_odds: float | None
    kept: bool


@dataclass(slots=True)
class Round:
    """What came of one round: every text with its verdict, and the pictures that got no text, with the reason."""

    verdicts: list[Verdict] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kept(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.kept]

    def counts(self) -> dict[Origin, tuple[int, int]]:
        """Kept texts and all texts, by where they come from."""
        origins: tuple[Origin, ...] = ("web", "synthetic")
        return {
            o: (
                sum(v.kept for v in self.verdicts if v.origin == o),
                sum(v.origin == o for v in self.verdicts),
            )
            for o in origins
        }


def open_pairs(data: str, images: Path | None = None, seed: int = 0) -> Source:
    """What `open_source` opens; of scenes captions alone, because an answer to a question is no text of a picture."""
    if data == "scenes":
        from looksay.data.sources import scenes

        return scenes.read(seed, mix={"caption": 1.0})
    return open_source(data, images, seed)


def bootstrap(
    source: Source,
    out: Path,
    *,
    captioner: Backend | None = None,
    filter: Filter | None = None,
    limit: int | None = None,
    options: Options = NUCLEUS,
    question: str = QUESTION,
    seen: Callable[[], None] = lambda: None,
) -> Round:
    """One round over an image–text set (`limit`: its first examples; an endless one needs it).

    Without `captioner` only the texts that are there are judged, without `filter` all are kept: the paper's
    ablations. Texts and verdicts in `out` are not made again. `seen` is called after each picture. Raises InputError
    where every text was rejected: a model trained on nothing would be no error; and for a captioner that does not
    describe.
    """
    if captioner is not None:
        check_describes(captioner)
    size = min(s for s in (source.size, limit) if s is not None) if source.size or limit else None
    if size is None:
        raise InputError(
            "The data have no end. Say how many pictures to take: limit=N (--limit N)."
        )
    found = Round()
    with Lines(out / VERDICTS, "a text or a verdict") as lines:
        for start in range(0, size, _WINDOW):
            window = [(i, source.example(i)) for i in range(start, min(size, start + _WINDOW))]
            texts = _captions(window, lines, captioner, options, question, found)
            found.verdicts += _judged(window, texts, lines, filter)
            for _ in window:
                seen()
    if not found.kept:
        best = max((v.log_odds for v in found.verdicts if v.log_odds is not None), default=None)
        told = "" if best is None else f" (the best has log-odds of {best:.2f})"
        raise InputError(
            f"The filter rejected all {len(found.verdicts)} texts of {size} pictures{told}, so there is nothing to "
            f"train on. A filter that rejects everything has not learned to match (its loss stays at 0.637): look "
            f"at {out / VERDICTS}, and train it for longer or with larger batches."
        )
    return found


def _captions(
    window: Sequence[tuple[int, Example]],
    lines: Lines,
    captioner: Backend | None,
    options: Options,
    question: str,
    found: Round,
) -> dict[int, str]:
    """The captioner's text for each example; what is not in the file yet is asked for, and written down."""
    if captioner is None:
        return {}
    texts: dict[int, str] = {}
    asked = [(e.id, _caption(i, _image(e), captioner, options, question)) for i, e in window]
    for name, said in hold(asked, Answers(lines)):
        if isinstance(said, Unanswered):
            found.failures.append((name, said.reason))
            continue
        index, text = said
        if text:
            texts[index] = text
        else:
            found.failures.append((name, "the captioner said nothing, or refused"))
    return texts


def _caption(
    index: int, image: Image, captioner: Backend, options: Options, question: str
) -> Dialogue[tuple[int, str]]:
    said = yield Request("caption", captioner, Conversation.ask(image, question), options)
    return index, "" if said.finish_reason == "refusal" else said.text.strip()


def _judged(
    window: Sequence[tuple[int, Example]],
    texts: dict[int, str],
    lines: Lines,
    filter: Filter | None,
) -> list[Verdict]:
    """A verdict on each text that came with a picture, and on that of the captioner."""
    candidates: list[tuple[str, Verdict, Image]] = []
    for index, example in window:
        image, own = _image(example), _text(example)
        pairs: list[tuple[Origin, str]] = [("web", own)] if own else []
        if index in texts and texts[index] != own:
            pairs.append(("synthetic", texts[index]))
        for origin, text in pairs:
            told = [spelled(Conversation.ask(image, text)), origin, example.id]
            key = _digest("verdict", filter and [filter.fingerprint, filter.least], told)
            candidates.append((key, Verdict(example.id, index, origin, text, None, True), image))
    fresh = [(v, image) for key, v, image in candidates if lines.get(key) is None]
    scores: list[float | None] = [None] * len(fresh)
    if filter is not None and fresh:
        pictures, words = [image for _, image in fresh], [v.text for v, _ in fresh]
        scores = filter.judge.match(pictures, words).tolist()
    least = 0.0 if filter is None else filter.least
    made = iter(scores)
    verdicts = []
    for key, verdict, _ in candidates:
        row = lines.get(key)
        if row is None:
            score = next(made)
            verdict = replace(verdict, log_odds=score, kept=score is None or score >= least)
            lines.add({"key": key, "what": "verdict", **asdict(verdict)})
        else:
            verdict = replace(verdict, log_odds=row["log_odds"], kept=row["kept"])
        verdicts.append(verdict)
    return verdicts


class Bootstrapped:
    """The texts that were kept, each with its picture: what a new model trains on. `truth`: origin, log_odds."""

    def __init__(
        self, source: Source, verdicts: Sequence[Verdict], question: str = QUESTION
    ) -> None:
        self._source, self._question = source, question
        self._kept = [v for v in verdicts if v.kept]
        self.size: int | None = len(self._kept)
        self.fingerprint = named(
            "Bootstrapped", source.fingerprint, [(v.index, v.text) for v in self._kept], question
        )

    def example(self, index: int) -> Example:
        verdict = self._kept[index]
        image = _image(self._source.example(verdict.index))
        turns = (Message("user", (image, self._question)), Message("assistant", (verdict.text,)))
        truth = {"origin": verdict.origin, "log_odds": verdict.log_odds}
        return Example(f"{verdict.id}-{verdict.origin}", Conversation(turns), truth)


def write(source: Source, found: Round, out: Path, form: str = "webdataset") -> int:
    """Write what was kept into `out`: shards of WebDataset, or captions.json in COCO's layout with its pictures.
    Returns how many texts."""
    data = Bootstrapped(source, found.verdicts)
    count = data.size or 0

    def part(start: int, stop: int) -> Iterator[Example]:
        return (data.example(i) for i in range(start, min(count, stop)))

    if form == "coco_captions":
        return coco_captions.write(part(0, count), out / "captions.json")
    for number, start in enumerate(range(0, count, _SHARD)):
        webdataset.write(part(start, start + _SHARD), out / f"{number:05d}.tar")
    return count


def load_filter(name: str, options: LoadOptions, least: float = 0.0) -> Filter:
    """`local:FOLDER` (a model of ours that matches) or `hub:NAME` (BlipForImageTextRetrieval). Raises InputError
    where it cannot match, BackendError where it cannot be loaded."""
    provider, model = parse_name(name)
    if provider == "local":
        from looksay.backends import local

        judge, content, digest = local.opened(name, local.folder_of(model), options)
        if not hasattr(judge, "match"):
            raise InputError(
                f"{name} is a {content['family']}, which does not judge pairs. Expected albef or blip after its "
                "stage pretrain, or blip2 after its stage represent: looksay train blip --help"
            )
        return Filter(judge, digest, least)
    if provider == "hub":
        from looksay.backends._hub_source import fingerprint, locate
        from looksay.models.families._blip_layouts import from_transformers

        folder = locate(model)
        return Filter(from_transformers(folder), fingerprint(folder), least)
    raise InputError(
        f"{name!r} is no filter: expected local:FOLDER, or hub:NAME such as hub:Salesforce/blip-itm-base-coco."
    )


def _image(example: Example) -> Image:
    images = example.conversation.images
    if len(images) != 1:
        raise InputError(f"Example {example.id} has {len(images)} images; CapFilt takes one.")
    return images[0]


def _text(example: Example) -> str:
    """What came with the picture; nothing where it came alone."""
    said = [m.text for m in example.conversation.messages if m.role == "assistant"]
    return said[-1].strip() if said else ""


def _digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
