"""Questions about a scene with their answers, by type, and the same as multiple choice."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple, TypeVar

from looksay.data.scenes.atlas import BOARDS, COLOURS, NOUNS
from looksay.data.scenes.telling import NUMBERS, article, spelled
from looksay.data.scenes.world import Group, Relation, Scene, sign_words

T = TypeVar("T")
KINDS = {"animal": "animals", "food": "food", "vehicle": "vehicles", "thing": "things"}
PLACES = (
    ("top left", "top", "top right"),
    ("left", "centre", "right"),
    ("bottom left", "bottom", "bottom right"),
)


class Question(NamedTuple):
    """A question, its type and its short answer."""

    type: str
    text: str
    answer: str


def questions(scene: Scene) -> list[Question]:
    """Up to one question of each type, in a fixed order of types; a type that the scene gives nothing
    for is left out. Yes and no are equally frequent in `is there` and `relation`."""
    random = Random(f"{scene.id}-questions")
    return [found for ask in ASKERS for found in [ask(scene, random)] if found]


def choices(scene: Scene, question: Question, options: int = 4) -> tuple[str, str]:
    """The question with lettered options, and the letter of the right one."""
    random = Random(f"{scene.id}-{question.text}-choices")
    wrong = [w for w in _alternatives(question) if w != question.answer]
    picked = [question.answer]
    while len(picked) < options and wrong:
        picked.append(wrong.pop(int(random.random() * len(wrong))))
    picked.sort(key=lambda _: random.random())
    lettered = "\n".join(f"{'ABCDEFGH'[i]}. {text}" for i, text in enumerate(picked))
    return f"{question.text}\n{lettered}", "ABCDEFGH"[picked.index(question.answer)]


def place(scene: Scene, group: int) -> str | None:
    """In which of nine parts a single object lies; None where it is within 1/32 of a border of two."""
    x, y = (value / scene.size_px * 3 for value in scene.boxes(group)[0].centre)
    if any(abs(value - border) < 3 / 32 for value in (x, y) for border in (1, 2)):
        return None
    return PLACES[int(y)][int(x)]


def _of(random: Random, options: list[T] | tuple[T, ...]) -> T:
    return options[int(random.random() * len(options))]


def _the(group: Group) -> str:
    return f"the {group.name}"


def _is(group: Group) -> str:
    return "is" if group.count == 1 else "are"


def _what(scene: Scene, random: Random) -> Question | None:
    kinds = [g.noun.kind for g in scene.groups]
    single = [g for g in scene.groups if kinds.count(g.noun.kind) == 1]
    if not single:
        return None
    group = _of(random, single)
    return Question("what", f"What {group.noun.kind} is in the picture?", group.noun.name)


def _how_many(scene: Scene, random: Random) -> Question:
    # Rarer counts first, so that "one" is not the answer to most questions.
    most = max(g.count for g in scene.groups)
    group = _of(random, [g for g in scene.groups if g.count == most or random.random() < 0.3])
    return Question("how many", f"How many {group.noun.plural} are there?", NUMBERS[group.count])


def _where(scene: Scene, random: Random) -> Question | None:
    places = {g: place(scene, g) for g, group in enumerate(scene.groups) if group.count == 1}
    clear = [g for g, found in places.items() if found]
    if not clear:
        return None
    group = _of(random, clear)
    return Question("where", f"Where is the {scene.groups[group].noun.name}?", str(places[group]))


def _is_there(scene: Scene, random: Random) -> Question:
    if random.random() < 0.5:
        noun, answer = _of(random, scene.groups).noun, "yes"
    else:
        shown = {g.noun.number for g in scene.groups}
        noun, answer = _of(random, [n for n in NOUNS if n.number not in shown]), "no"
    return Question("is there", f"Is there {article(noun.name)} in the picture?", answer)


def _which_word(scene: Scene, random: Random) -> Question | None:
    if not scene.sign:
        return None
    return Question("which word", "Which word is on the sign?", spelled(scene.sign.word))


def _colour(scene: Scene, random: Random) -> Question:
    if scene.sign and random.random() < 0.5:
        return Question("colour", "What colour is the sign?", scene.sign.colour)
    return Question("colour", "What colour is the background?", scene.colour)


def _size(scene: Scene, random: Random) -> Question:
    group = _of(random, scene.groups)
    return Question("size", f"What size {_is(group)} {_the(group)}?", group.size)


def _relation(scene: Scene, random: Random) -> Question | None:
    if not scene.relations:
        return None
    sole = [
        r
        for r in scene.relations
        if sum(o.b == r.b and o.side == r.side for o in scene.relations) == 1
    ]
    if sole and random.random() < 0.5:
        relation = _of(random, sole)
        text = f"What is {relation.side} {_the(scene.groups[relation.b])}?"
        return Question("relation", text, scene.groups[relation.a].noun.name)
    # What does not hold is a true relation turned round: each wording is as often true as false.
    relation, answer = _of(random, scene.relations), "yes"
    if random.random() < 0.5:
        relation, answer = Relation(relation.b, relation.side, relation.a), "no"
    a, b = scene.groups[relation.a], scene.groups[relation.b]
    text = f"{_is(a).capitalize()} {_the(a)} {relation.side} {_the(b)}?"
    return Question("relation", text, answer)


def _reasoning(scene: Scene, random: Random) -> Question:
    groups = scene.groups
    unlike = [(a, b) for a in groups for b in groups if a.count != b.count]
    sizes = [(a, b) for a in groups for b in groups if a.size != b.size]
    which = random.random()
    if which < 0.25 and unlike:
        a, b = _of(random, unlike)
        text = f"Are there more {a.noun.plural} than {b.noun.plural}?"
        return Question("reasoning", text, "yes" if a.count > b.count else "no")
    if which < 0.5 and sizes:
        a, b = _of(random, sizes)
        larger = a if a.size == "large" else b
        text = f"Which is larger, the {a.noun.name} or the {b.noun.name}?"
        return Question("reasoning", text, larger.noun.name)
    if which < 0.75:
        kind = _of(random, groups).noun.kind
        total = sum(g.count for g in groups if g.noun.kind == kind)
        if kind == "food":
            return Question("reasoning", "How many pieces of food are there?", NUMBERS[total])
        return Question("reasoning", f"How many {KINDS[kind]} are there?", NUMBERS[total])
    total = sum(g.count for g in groups)
    return Question("reasoning", "How many objects are there in all?", NUMBERS[total])


ASKERS: tuple[Callable[[Scene, Random], Question | None], ...] = (
    _what,
    _how_many,
    _where,
    _is_there,
    _which_word,
    _colour,
    _size,
    _relation,
    _reasoning,
)
TYPES = (
    "what",
    "how many",
    "where",
    "is there",
    "which word",
    "colour",
    "size",
    "relation",
    "reasoning",
)


def _alternatives(question: Question) -> list[str]:
    """Answers of the same sort as the right one."""
    answer = question.answer
    families: tuple[tuple[str, ...], ...] = (
        ("yes", "no"),
        NUMBERS[1:],
        ("small", "large"),
        tuple(p for row in PLACES for p in row),
        tuple({**COLOURS, **BOARDS}),
        tuple(spelled(word) for word in sign_words()[0][:200]),
        tuple(noun.name for noun in NOUNS),
    )
    if question.type == "which word":
        return list(families[5])
    return list(next(family for family in families if answer in family))
