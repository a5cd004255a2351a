"""Ask a backend about scenes that it has not seen, and report how much of what it says is true."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from looksay.backends.base import Backend
from looksay.data.scenes import (
    SCENES_VERSION,
    TYPES,
    Scene,
    Scenes,
    captions,
    description,
    questions,
)
from looksay.data.scenes.atlas import NOUNS
from looksay.data.scenes.world import MAX_GROUPS
from looksay.data.sources.scenes import CAPTION, DESCRIBE
from looksay.errors import BackendError, InputError
from looksay.evaluation.metrics import bootstrap, ptb, vqa
from looksay.evaluation.metrics import scenes as texts
from looksay.evaluation.metrics.cider import cider
from looksay.types import Conversation, Image, Options

SEED = 1000
"""Of the scenes asked about; the split keeps them apart from training whatever the seed."""
_LEAST = 20
"""A wording seen more rarely in training gives way to its template in the text prior."""
_KINDS = (*TYPES[:-1], "relation: yes or no", "relation: which", TYPES[-1])
_BLANK = (127, 127, 127)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. Example: Figure("descriptions", "counts", 0.91, 0.90, 0.92, 2034)."""

    group: str
    name: str
    value: float
    low: float
    high: float
    n: float
    """How many cases stand behind the value."""
    prior: float | None = None
    """What the answer most frequent in training for that wording scores on the same questions."""
    blank: float | None = None
    """What the same backend scores on the same questions about a grey picture."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked, and every figure with its 95% bootstrap interval over scenes."""

    model: str
    fingerprint: str
    split: str
    scenes: int
    seed: int
    size_px: int
    groups: int
    """The fewest groups of objects that a scene had."""
    scenes_version: int
    prompts: dict[str, str]
    figures: tuple[Figure, ...]
    asked: int
    failed: int
    """Answers that never came; they are left out of every figure."""
    cut: int
    """Answers cut off at the limit of tokens."""
    said_yes: float
    """Share of `is there` questions answered yes (half of them should be)."""
    seconds: float

    def figure(self, group: str, name: str) -> Figure:
        """Raises InputError, naming the figures that there are."""
        for figure in self.figures:
            if (figure.group, figure.name) == (group, name):
                return figure
        known = ", ".join(f"{f.group}: {f.name}" for f in self.figures)
        raise InputError(f"There is no figure {group}: {name}. Known: {known}.")

    def record(self) -> dict[str, Any]:
        """For JSON: figures that could not be measured are null."""
        plain = asdict(self)
        plain["figures"] = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
            for row in plain["figures"]
        ]
        plain["said_yes"] = None if math.isnan(self.said_yes) else self.said_yes
        return plain

    def table(self) -> str:
        """As text, one line per figure."""
        lines = [
            f"{self.model} on {self.scenes} scenes of {self.split}"
            f" (seed {self.seed}, {self.size_px} px, version {self.scenes_version})"
            + (f" of at least {self.groups} groups" if self.groups > 1 else "")
        ]
        group = ""
        for figure in self.figures:
            if figure.group != group:
                group = figure.group
                priors = f"{'text prior':>12}{'blank':>8}" if group == "questions" else ""
                lines.append(f"\n{group:<24}{'value':>7}   {'95% interval':<16}{'of':>7}{priors}")
            beside = f"{_number(figure.prior):>12}{_number(figure.blank):>8}"
            interval = f"{_number(figure.low)} to {_number(figure.high)}"
            line = f"  {figure.name:<22}{_number(figure.value):>7}   {interval:<16}{figure.n:>7.0f}"
            lines.append((line + beside).rstrip())
        lines.append(f"\nIs there: {_number(self.said_yes)} were answered yes, 0.500 should be.")
        if self.cut:
            lines.append(f"{self.cut} of {self.asked} answers were cut off at the limit of tokens.")
        if self.failed:
            lines.append(f"{self.failed} of {self.asked} answers failed and are left out.")
        return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else "-" if math.isnan(value) else f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request. `type` is a type of question, "description" or "caption"."""

    scene: int
    type: str
    text: str
    answer: str = ""
    blank: bool = False


@dataclass(frozen=True, slots=True)
class _Said:
    ask: _Ask
    text: str


def evaluate(
    backend: Backend,
    split: str = "test",
    scenes: int = 1000,
    seed: int = SEED,
    *,
    size_px: int = 128,
    groups: int = 1,
    brief: bool = True,
    blank: bool = False,
    hint: str = "",
    prior_scenes: int = 10_000,
    options: Options | None = None,
    answers: Path | None = None,
    on_answer: Callable[[], None] | None = None,
) -> Report:
    """Ask for a detailed description of each scene, with `brief` for a short one too, and one question of
    every type that the scene has an answer for; with `blank` each question also about a grey picture.

    Scenes have at least `groups` groups: those of the split pairs have two, and more is harder. `hint` is
    put after each question ("Answer with one word."). `prior_scenes` training scenes give the
    text prior. `answers` takes every answer as a line of JSON, for example {"scene": 3, "type": "what",
    "question": "What food is in the picture?", "answer": "taco", "said": "pizza", "blank": false}.
    Raises BackendError where the backend cannot be used or no answer came at all, InputError where
    there is nothing to ask.
    """
    if scenes < 1:
        raise InputError(f"{scenes} scenes were asked for. Expected at least 1.")
    if not 1 <= groups <= MAX_GROUPS:
        raise InputError(f"Scenes have 1 to {MAX_GROUPS} groups; at least {groups} were asked for.")
    world = Scenes(seed, split, size_px)
    every = map(world.scene, count())
    drawn = list(islice((scene for scene in every if len(scene.groups) >= groups), scenes))
    asks = list(_asks(drawn, brief, blank))
    started = time.perf_counter()
    said, failed, cut, fault = [], 0, 0, ""
    conversations = (_conversation(ask, drawn[ask.scene], hint) for ask in asks)
    for completion in backend.complete(conversations, options or Options()):
        if completion.error:
            failed, fault = failed + 1, completion.error
        else:
            said.append(_Said(asks[completion.index], completion.text))
            cut += completion.finish_reason == "length"
        if on_answer:
            on_answer()
    if not said:
        raise BackendError(f"{backend.name} answered none of {len(asks)} requests: {fault}")
    said.sort(key=lambda one: (one.ask.blank, one.ask.type, one.ask.scene))
    if answers:
        _write(answers, said)
    existence = [_yes(s.text) for s in said if s.ask.type == "is there" and not s.ask.blank]
    return Report(
        model=backend.name,
        fingerprint=backend.fingerprint,
        split=split,
        scenes=scenes,
        seed=seed,
        size_px=size_px,
        groups=groups,
        scenes_version=SCENES_VERSION,
        prompts={"description": DESCRIBE, "caption": CAPTION, "hint": hint},
        figures=(
            *_described("descriptions", [s for s in said if s.ask.type == "description"], drawn),
            *_described("short captions", [s for s in said if s.ask.type == "caption"], drawn),
            *_answered([s for s in said if s.ask.type in TYPES], prior_scenes, size_px),
        ),
        asked=len(asks),
        failed=failed,
        cut=cut,
        said_yes=sum(existence) / len(existence) if existence else math.nan,
        seconds=time.perf_counter() - started,
    )


def _asks(drawn: Sequence[Scene], brief: bool, blank: bool) -> Iterator[_Ask]:
    """One kind after the other, so that a backend that batches gets answers of like length together."""
    yield from (_Ask(index, "description", DESCRIBE) for index in range(len(drawn)))
    if brief:
        yield from (_Ask(index, "caption", CAPTION) for index in range(len(drawn)))
    for grey in (False, True) if blank else (False,):
        for index, scene in enumerate(drawn):
            for question in questions(scene):
                yield _Ask(index, question.type, question.text, question.answer, grey)


def _conversation(ask: _Ask, scene: Scene, hint: str) -> Conversation:
    size = (scene.size_px, scene.size_px)
    picture = Pillow.new("RGB", size, _BLANK) if ask.blank else scene.image()
    text = f"{ask.text} {hint}".strip() if ask.type in TYPES else ask.text
    return Conversation.ask(Image(picture), text)


def _described(group: str, said: Sequence[_Said], drawn: Sequence[Scene]) -> Iterator[Figure]:
    """Figures of texts: all measures, and CIDEr-D against the full description or the five captions."""
    if not said:
        return
    scored = [(s.ask.scene, texts.score(s.text, drawn[s.ask.scene])) for s in said]
    for name in texts.MEASURES:
        yield _figure(group, name, [(number, *row[name]) for number, row in scored])
    detailed = said[0].ask.type == "description"
    references = [
        [description(drawn[s.ask.scene])] if detailed else captions(drawn[s.ask.scene])
        for s in said
    ]
    scores = cider(
        [ptb.tokenize(s.text) for s in said],
        [[ptb.tokenize(one) for one in several] for several in references],
    )
    rows = [(s.ask.scene, score, 1.0) for s, score in zip(said, scores, strict=True)]
    yield _figure(group, "CIDEr-D", rows)


def _answered(said: Sequence[_Said], prior_scenes: int, size_px: int) -> Iterator[Figure]:
    """Figures of answers, by type and together, beside the text prior and the grey picture."""
    seen = [s for s in said if not s.ask.blank]
    grey = [s for s in said if s.ask.blank]
    guessed = _guess([s.ask for s in seen], prior_scenes, size_px)
    for name in ("all questions", *_KINDS):
        rows = [_rows(part, name) for part in (seen, guessed, grey)]
        if not rows[0]:
            continue
        figure = _figure("questions", name, rows[0])
        prior, blank = (_figure("", name, row).value if row else None for row in rows[1:])
        yield replace(figure, prior=prior, blank=blank)
    read = [s for s in seen if s.ask.type == "which word"]
    if read:
        shares = [texts.characters(s.text, texts.letters(s.ask.answer)) for s in read]
        scored = [(s.ask.scene, share, 1.0) for s, share in zip(read, shares, strict=True)]
        yield _figure("questions", "sign characters", scored)


def _rows(said: Sequence[_Said], name: str) -> list[tuple[int, float, float]]:
    """(scene, right, weight) of a type's answers. Existence is balanced: yes and no weigh the same."""
    chosen = [s for s in said if name in ("all questions", s.ask.type, _kind(s.ask))]
    weights = {"yes": 1.0, "no": 1.0}
    if name == "is there":
        for answer in weights:
            of_it = sum(s.ask.answer == answer for s in chosen)
            weights[answer] = len(chosen) / 2 / of_it if of_it else 1.0
    return [
        (s.ask.scene, right(s.ask.type, s.text, s.ask.answer) * weight, weight)
        for s in chosen
        for weight in [weights[s.ask.answer] if name == "is there" else 1.0]
    ]


def _kind(ask: _Ask) -> str:
    """Relations come as yes or no, and as the noun that lies there: two kinds of difficulty."""
    if ask.type == "relation":
        return "relation: yes or no" if ask.answer in ("yes", "no") else "relation: which"
    return ask.type


def right(kind: str, said: str, answer: str) -> float:
    """1 where an answer is the right one: equal once both are normalised; the letters of a sign's word
    may stand together or apart."""
    if kind == "which word":
        return float(texts.letters(said) == texts.letters(answer))
    return vqa.exact(said, answer)


def _yes(said: str) -> bool:
    return vqa.normalize(said) == "yes"


def _figure(group: str, name: str, rows: Sequence[tuple[int, float, float]]) -> Figure:
    interval = bootstrap.ratio(rows)
    return Figure(group, name, interval.value, interval.low, interval.high, interval.n)


def _guess(asks: Sequence[_Ask], prior_scenes: int, size_px: int) -> list[_Said]:
    """Each question answered without a look: most frequent answer of the wording, else of its template."""
    exact, template = _priors(prior_scenes, size_px)
    return [
        _Said(ask, exact.get(ask.text) or template.get(_template(ask.text), "")) for ask in asks
    ]


@cache
def _priors(prior_scenes: int, size_px: int) -> tuple[dict[str, str], dict[str, str]]:
    train = Scenes(0, "train", size_px)
    pairs = [
        (question.text, question.answer)
        for index in range(prior_scenes)
        for question in questions(train.scene(index))
    ]
    return (
        vqa.text_prior(pairs, least=_LEAST),
        vqa.text_prior((_template(question), answer) for question, answer in pairs),
    )


def _template(question: str) -> str:
    """The question with its nouns masked: "How many # are there?"."""
    return _nouns().sub("#", question)


@cache
def _nouns() -> re.Pattern[str]:
    names = sorted({n for noun in NOUNS for n in (noun.name, noun.plural)}, key=len, reverse=True)
    return re.compile(rf"\b(?:an? )?(?:{'|'.join(map(re.escape, names))})\b")


def _write(path: Path, said: Sequence[_Said]) -> None:
    rows = [
        {
            "scene": s.ask.scene,
            "type": s.ask.type,
            "question": s.ask.text,
            "answer": s.ask.answer,
            "said": s.text,
            "blank": s.ask.blank,
        }
        for s in said
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
