"""Scenes: drawn pictures of which everything is known, so that every figure is exact.

Each scene is described in detail and in short, and one question of every type is asked that it has an answer
for. `blind` asks the questions of the same scenes about a grey picture: what a model scores there it guesses.
The text prior beside the answers is what somebody scores who never looks and gives, for each question, the
answer most frequent in training for that wording. `found` and its relatives ask about the pictures of `test` with what
vision experts would find in them (`types.Image.findings`): models that read no findings answer as to `test`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import count, islice
from pathlib import Path

from PIL import Image as Pillow

from looksay.data.dataset import pictured
from looksay.data.scenes import TYPES, Scene, Scenes, captions, description, questions
from looksay.data.scenes.atlas import NOUNS
from looksay.data.scenes.finding import EXPERTS, findings, spoiled, without
from looksay.data.sources import crayon
from looksay.data.sources.scenes import CAPTION, DESCRIBE
from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.measures import Measure, by_kind, of_samples
from looksay.evaluation.metrics import scenes as texts
from looksay.evaluation.metrics import vqa
from looksay.evaluation.metrics.cider import cider
from looksay.evaluation.metrics.minigpt4 import RULES as FAILURES
from looksay.experts.base import Findings
from looksay.texts import ptb
from looksay.types import Conversation, Image

FOUND: Mapping[str, tuple[float, str]] = {
    "found": (0.0, ""),
    "found10": (0.1, ""),
    "found30": (0.3, ""),
    **{f"no-{expert}": (0.0, expert) for expert in EXPERTS},
}
"""Variants whose pictures come with findings: which share of these is wrong, and which expert did not look."""
CARD = Card(
    title="Scenes",
    measures="Descriptions and answers about drawn pictures of which everything is known.",
    needs={},
    where="drawn here, by looksay.data.scenes",
    licence="Apache 2.0 (emoji: Noto, OFL 1.1; names: CLDR, Unicode licence)",
    loader="looksay.data.scenes itself",
    paper="none; docs/scenes.md says what each figure divides by what",
    variants=("test", "several", "pairs", "words", "train", "blind", *FOUND, "crayon"),
)
"""test: new scenes; several: those with two groups of objects or more; pairs and words: with a pair of nouns,
or a word on the sign, that training never shows (pairs have two groups: compare them with `several`); found: as test,
with the truth as findings, found10 and found30 with so many percent of them wrong, no-… without one expert; crayon:
described, and CoLLaVO's instruction to name what is there."""

SCENES = 1000
SEED = 1000
"""Of the scenes asked about; the split keeps them apart from training whatever the seed."""
PRIOR_SCENES = 10_000
_LEAST = 20
"""A wording seen more rarely in training gives way to its template in the text prior."""
_GREY = (127, 127, 127)
_LESS = frozenset({"CHAIRi", "CHAIRs"})


def read(folder: Path | None = None, variant: str = "test", number: int = SCENES) -> list[Item]:
    """What is asked about `number` scenes: descriptions, captions, then questions. `truth`: scene, split,
    and of a question its type, text and answer."""
    if variant in FOUND:
        return informed(read(folder, "test", number), *FOUND[variant])
    split = {"several": "test", "blind": "test", "crayon": "test"}.get(variant, variant)
    world = Scenes(SEED, split)
    numbered = ((n, world.scene(n)) for n in count())
    least = 2 if variant == "several" else 1
    drawn = list(islice((pair for pair in numbered if len(pair[1].groups) >= least), number))
    asked: list[Item] = []
    if variant != "blind":
        # One kind after the other: a backend that batches gets answers of like length together.
        asked += [_item(n, scene, split, DESCRIBE, "description") for n, scene in drawn]
        if variant == "crayon":
            lists = [_item(n, scene, split, crayon.BOXES, "crayon") for n, scene in drawn]
            return informed([*asked, *map(_as_taught, lists)])
        asked += [_item(n, scene, split, CAPTION, "caption") for n, scene in drawn]
    for n, scene in drawn:
        for question in questions(scene):
            kind = _kind(question.type, question.answer)
            truth = {"type": question.type, "question": question.text, "answer": question.answer}
            asked.append(_item(n, scene, split, question.text, kind, truth, variant == "blind"))
    return asked


def _item(
    number: int,
    scene: Scene,
    split: str,
    text: str,
    kind: str,
    truth: Mapping[str, str] | None = None,
    grey: bool = False,
) -> Item:
    picture = Pillow.new("RGB", (scene.size_px,) * 2, _GREY) if grey else scene.image()
    return Item(
        f"{number} {kind}",
        Conversation.ask(Image(picture), text),
        {"scene": number, "split": split, **(truth or {})},
        image=f"{split} {number}",
        kind=kind,
    )


def _as_taught(item: Item) -> Item:
    """Without the sentence of what was found, which would hold the answer: as crayon instructions are learned."""
    return replace(item, conversation=replace(item.conversation, hints={"skill": "image"}))


def informed(items: Sequence[Item], wrong: float = 0.0, lacking: str = "") -> list[Item]:
    """The items with what vision experts would find in their pictures: a share `wrong` of it, the same for the same
    scene, and nothing of the expert `lacking`. Raises InputError as `spoiled` and `without`."""

    @cache
    def seen(split: str, number: int) -> Findings:
        scene = _world(split).scene(number)
        found = findings(scene)
        found = spoiled(found, wrong, scene.id) if wrong else found
        return without(found, lacking) if lacking else found

    def told(item: Item) -> Item:
        found = seen(str(item.truth["split"]), int(item.truth["scene"]))
        change = partial(replace, findings=found)
        return replace(item, conversation=pictured(item.conversation, change))

    return [told(item) for item in items]


def _kind(type: str, answer: str) -> str:
    """Relations come as yes or no, and as the noun that lies there: two kinds of difficulty."""
    if type != "relation":
        return type
    return "relation: yes or no" if answer in ("yes", "no") else "relation: which"


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Answers first, all and by type, with the text prior beside them; then descriptions and captions."""
    asked = [a for a in answers if "question" in a.item.truth]
    return [
        *_answered("questions", asked),
        *_read(asked),
        *_answered("text prior", [Answer(a.item, said) for a, said in _guessed(asked)], better=0),
        *_described("", [a for a in answers if a.item.kind == "description"]),
        *_described("in short: ", [a for a in answers if a.item.kind == "caption"]),
        *_named([a for a in answers if a.item.kind == "crayon"]),
    ]


def _answered(name: str, answers: Sequence[Answer], better: int = 1) -> list[Measure]:
    """Right answers, all and by kind, and how many say yes. Existence is balanced by kind: yes and no weigh
    the same."""
    if not answers:
        return []
    scores = {a.item.id: right(a.item.truth["type"], a.text, _truth(a)) for a in answers}
    kinds = {a.item.id: a.item.kind for a in answers}
    whole = of_samples(name, dict(scores), better=better)
    parts = [part for part in by_kind(whole, kinds) if part.kind != "is there"]
    existence = [a for a in answers if a.item.kind == "is there"]
    weights = {
        word: len(existence) / 2 / times if times else 1.0
        for word in ("yes", "no")
        for times in [sum(_truth(a) == word for a in existence)]
    }
    balanced = {
        a.item.id: (scores[a.item.id] * weights[_truth(a)], weights[_truth(a)]) for a in existence
    }
    said_yes = {a.item.id: float(vqa.normalize(a.text) == "yes") for a in existence}
    ordered = sorted(
        [*parts, Measure(name, balanced, better=better, kind="is there")],
        key=lambda part: _order(part.kind),
    )
    return [
        Measure(name, whole.rows, better=better, kind="all questions"),
        *(part for part in ordered if part.rows),
        of_samples(name, dict(said_yes), kind="is there: said yes", better=0),
    ]


def _order(kind: str) -> int:
    return TYPES.index(kind.split(":")[0])


def _truth(answer: Answer) -> str:
    return str(answer.item.truth["answer"])


def right(kind: str, said: str, answer: str) -> float:
    """1 where an answer is the right one: equal once both are normalised; the letters of a sign's word
    may stand together or apart. Of a "choice" the letter is the answer, and A no article."""
    if kind in ("which word", "choice"):
        return float(texts.letters(said) == texts.letters(answer))
    return vqa.exact(said, answer)


def _read(answers: Sequence[Answer]) -> Iterator[Measure]:
    """How much of a sign's word was read."""
    read = [a for a in answers if a.item.kind == "which word"]
    if read:
        shares = {a.item.id: texts.characters(a.text, texts.letters(_truth(a))) for a in read}
        yield of_samples("questions", dict(shares), kind="which word: characters")


def _described(name: str, answers: Sequence[Answer]) -> Iterator[Measure]:
    """Figures of texts: all measures, and CIDEr-D against the full description or the five captions."""
    if not answers:
        return
    drawn = [_scene(a) for a in answers]
    rows = [texts.score(a.text, scene) for a, scene in zip(answers, drawn, strict=True)]
    ids = [a.item.id for a in answers]
    for figure in texts.MEASURES:
        found = {one: row[figure] for one, row in zip(ids, rows, strict=True)}
        yield Measure(name + figure, found, better=-1 if figure in _LESS else 1)
    words = {one: float(len(ptb.tokenize(a.text))) for one, a in zip(ids, answers, strict=True)}
    yield of_samples(f"{name}words", dict(words), scale=1.0, better=0)
    broken = [texts.failures(a.text, scene) for a, scene in zip(answers, drawn, strict=True)]
    failed = {one: float(bool(rules)) for one, rules in zip(ids, broken, strict=True)}
    yield of_samples(f"{name}failed", dict(failed), better=-1)
    for rule in FAILURES:
        fails = {one: float(rule in rules) for one, rules in zip(ids, broken, strict=True)}
        yield of_samples(f"{name}failed", dict(fails), rule, better=-1)
    references = [captions(scene) if name else [description(scene)] for scene in drawn]
    scores = cider(
        [ptb.tokenize(a.text) for a in answers],
        [[ptb.tokenize(one) for one in several] for several in references],
    )
    yield of_samples(name + "CIDEr-D", dict(zip(ids, scores, strict=True)))


def _named(answers: Sequence[Answer]) -> Iterator[Measure]:
    """Of the things that a crayon instruction asks for, those that are named with their number, and those of them whose
    box overlaps theirs by half."""
    if not answers:
        return
    scores = {a.item.id: texts.listed(a.text, findings(_scene(a)).segments) for a in answers}
    for figure in ("named", "placed"):
        yield Measure("crayon", {one: row[figure] for one, row in scores.items()}, kind=figure)


def _scene(answer: Answer) -> Scene:
    return _world(str(answer.item.truth["split"])).scene(int(answer.item.truth["scene"]))


@cache
def _world(split: str) -> Scenes:
    return Scenes(SEED, split)


def _guessed(answers: Sequence[Answer]) -> list[tuple[Answer, str]]:
    """Each question answered without a look: most frequent answer of the wording, else of its template."""
    if not answers:
        return []
    exact, template = priors()
    return [
        (a, exact.get(text) or template.get(_template(text), ""))
        for a in answers
        for text in [str(a.item.truth["question"])]
    ]


@cache
def priors(number: int = PRIOR_SCENES) -> tuple[dict[str, str], dict[str, str]]:
    """The most frequent answer in `number` scenes of training by wording, and by wording without nouns."""
    train = Scenes(0, "train")
    pairs = [
        (question.text, question.answer)
        for index in range(number)
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
