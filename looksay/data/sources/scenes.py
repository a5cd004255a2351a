"""Conversations about scenes: captions, descriptions, questions, and lists for a language model alone.

One example: id "1-train-0-7-description", user (image, "Describe the picture in detail."), assistant
("There are two small dogs on a plain blue background."), truth {"scene": Scene, "kind": "description"}.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Literal, Unpack, get_args

from looksay.data.scenes import (
    Scene,
    captions,
    choices,
    description,
    listing,
    questions,
)
from looksay.data.scenes.asking import PLACES
from looksay.data.scenes.atlas import NOUNS
from looksay.data.scenes.finding import findings, spoiled
from looksay.data.scenes.grids import CELL_PX, grids
from looksay.data.scenes.telling import counted
from looksay.data.sources.drawing import Curriculum, Drawn, draw
from looksay.errors import InputError, UnknownName
from looksay.types import Conversation, Example, Image, Message

Kind = Literal[
    "description",
    "caption",
    "mention",
    "questions",
    "question",
    "choice",
    "everything",
    "listing",
    "reading",
    "picture",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""description: everything, in detail; caption: one of five; mention: one group of several, as texts of the web name
part of what is there; questions: 2 to 5 turns of one picture;
question: one of them; choice: one with lettered options; everything: description, caption and all
questions in random order, then the list; listing: the description from a list of the scene, without picture (the
text-only oracle); reading: everything from that list; picture: no words (what a tower learns from
alone; its truth has the grids and `named`: what lies where)."""
MIX: Mapping[Kind, float] = {"description": 0.5, "caption": 0.1, "questions": 0.4}

DESCRIBE = "Describe the picture in detail."
CAPTION = "Write a short caption."
DESCRIBE_TOO = (
    "Describe the picture.",
    "Describe the image.",
    "Describe this image in detail.",
    "What is in the picture?",
    "What do you see?",
)
CAPTION_TOO = ("Caption this.", "Describe the image briefly.", "Say it in one line.")
"""Other words for the same, in half of the conversations: people do not ask in fixed words."""
FROM_LIST = "Describe the scene in detail."
CHOOSE = "Answer with the letter."
LIST = "List what is where."
"""Answered with the list that a language model without eyes gets: each object with its column and row. A yes or
no says little of where things are; two numbers for each of them say it all."""


class SceneTalks:
    """Scene number `index`, talked about in a way drawn from the mix."""

    def __init__(
        self,
        drawn: Drawn,
        mix: Mapping[Kind, float],
        types: frozenset[str] | None,
        experts: float | None = None,
    ) -> None:
        for kind in mix:
            if kind not in KINDS:
                raise UnknownName("kind of scene conversation", kind, KINDS)
        if not mix or min(mix.values()) < 0 or not sum(mix.values()) > 0:
            raise InputError(f"A mix of conversations takes weights above 0; found {dict(mix)}.")
        self._drawn, self._types, self._experts = drawn, types, experts
        self._kinds = tuple(mix)
        total = sum(mix.values())
        self._shares = tuple(weight / total for weight in mix.values())
        self.size: int | None = None
        asked = "" if types is None else sorted(types)
        told = "" if experts is None else f" experts {experts}"
        self.fingerprint = f"{drawn.settings} {dict(mix)} {asked}{told}"

    def example(self, index: int) -> Example:
        """The conversation about scene number `index`. `truth`: scene, kind, and (of questions) types."""
        scene, words = self._drawn.at(index)
        return talk(scene, self._kind(scene, words), self._types, words, self._experts)

    def mixed(self, mix: Mapping[Kind, float]) -> SceneTalks:
        """The same scenes, talked about in another mix."""
        return SceneTalks(self._drawn, mix, self._types, self._experts)

    def _kind(self, scene: Scene, words: str) -> Kind:
        drawn = Random(f"{scene.id}-kind{words}").random()
        for kind, share in zip(self._kinds, self._shares, strict=True):
            drawn -= share
            if drawn < 0:
                return kind
        return self._kinds[-1]


def read(
    seed: int = 0,
    split: str = "train",
    size_px: int = 128,
    mix: Mapping[Kind, float] = MIX,
    types: frozenset[str] | None = None,
    experts: float | None = None,
    **curriculum: Unpack[Curriculum],
) -> SceneTalks:
    """Endless conversations about scenes, drawn as they are asked for.

    `mix` weighs the kinds of conversation; `types` keeps to these types of questions. With `experts` pictures come
    with what vision experts would find in them, this share of it wrong (0.0: the truth). Raises InputError as `draw`.
    """
    if experts is not None and not 0 <= experts <= 1:
        raise InputError(
            f"experts is the share of findings that are wrong, from 0 to 1; found {experts:g}. For the truth "
            "type 0.0, for pictures without findings None."
        )
    return SceneTalks(draw(seed, split, size_px, **curriculum), mix, types, experts)


def talk(
    scene: Scene,
    kind: Kind,
    types: frozenset[str] | None = None,
    words: str = "",
    experts: float | None = None,
) -> Example:
    """One conversation of that kind about a scene, other `words` in other words; a pure function of its arguments."""
    random = Random(f"{scene.id}-{kind}{words}")
    truth: dict[str, object] = {"scene": scene, "kind": kind}
    image = _shown(scene, experts) if kind not in ("listing", "reading") else None
    pairs: list[tuple[str, str]] = []
    if kind == "description":
        pairs = [(_worded(DESCRIBE, DESCRIBE_TOO, random), description(scene))]
    elif kind == "caption":
        found = captions(scene)
        truth["captions"] = found
        asked_for = _worded(CAPTION, CAPTION_TOO, random)
        pairs = [(asked_for, found[int(random.random() * len(found))])]
    elif kind == "mention":
        group = scene.groups[int(random.random() * len(scene.groups))]
        said = counted(group, size=random.random() < 0.5)
        pairs = [(_worded(CAPTION, CAPTION_TOO, random), f"{said[0].upper()}{said[1:]}.")]
    elif kind == "listing":
        pairs = [(f"{listing(scene)}\n{FROM_LIST}", description(scene))]
    elif kind in ("everything", "reading"):
        found = captions(scene)
        pairs = [(q.text, q.answer) for q in questions(scene)]
        asked_for = _worded(CAPTION, CAPTION_TOO, random)
        pairs.append((asked_for, found[int(random.random() * len(found))]))
        detail = _worded(DESCRIBE, DESCRIBE_TOO, random) if image else FROM_LIST
        pairs.append((detail, description(scene)))
        pairs.sort(key=lambda _: random.random())
        if image is None:
            pairs[0] = (f"{listing(scene)}\n{pairs[0][0]}", pairs[0][1])
        else:  # last, or what comes after it would be read from it
            pairs.append((LIST, listing(scene)))
    elif kind == "picture":
        truth["grids"] = grids(scene, scene.size_px // CELL_PX)
        truth["named"] = _named(scene)
    else:
        asked = [q for q in questions(scene) if types is None or q.type in types]
        if not asked:  # every scene has a background and objects to count
            asked = [q for q in questions(scene) if q.type in ("how many", "colour")]
        asked.sort(key=lambda _: random.random())
        count = 2 + int(random.random() * 4) if kind == "questions" else 1
        for question in asked[:count]:
            text, answer = question.text, question.answer
            if kind == "choice":
                text, answer = choices(scene, question)
                text = f"{text}\n{CHOOSE}"
            pairs.append((text, answer))
        truth["types"] = [q.type for q in asked[:count]]
    messages: list[Message] = []
    for question_text, answer in pairs:
        first = image is not None and not messages
        parts = (image, question_text) if first and image else (question_text,)
        messages += [Message("user", parts), Message("assistant", (answer,))]
    if kind == "picture" and image:
        messages = [Message("user", (image,))]
    return Example(f"{scene.id}-{kind}{words}", Conversation(tuple(messages)), truth)


def _shown(scene: Scene, experts: float | None) -> Image:
    """The picture of a scene; see `read` for `experts`."""
    if experts is None:
        return Image(scene.image())
    found = findings(scene)
    return Image(scene.image(), spoiled(found, experts, scene.id) if experts else found)


def _named(scene: Scene) -> list[tuple[float, float, tuple[str, ...]]]:
    """Where the middle of each thing and of each letter lies, from 0 to 1, and the words for it: what it is
    called, its size, in which of nine parts it lies."""
    found: list[tuple[float, float, tuple[str, ...]]] = []
    for thing in scene.things:
        x, y = (value / scene.size_px for value in thing.box.centre)
        size = scene.groups[thing.group].size
        found.append((x, y, (NOUNS[thing.noun].name, size, PLACES[int(y * 3)][int(x * 3)])))
    if scene.sign:
        for box, letter in zip(scene.sign.letter_boxes(), scene.sign.word, strict=True):
            x, y = (value / scene.size_px for value in box.centre)
            found.append((x, y, (letter,)))
    return found


def _worded(usual: str, others: tuple[str, ...], random: Random) -> str:
    return usual if random.random() < 0.5 else others[int(random.random() * len(others))]
