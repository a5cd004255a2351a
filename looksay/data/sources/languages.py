"""Conversations about scenes in several languages: captions, descriptions, questions, and translations of captions.

Every query says in which language it wants its answer, and is itself in any of them (PaLI, section 3.3).
One example: id "1-train-0-7-translation", user ("Translate to Korean: A picture of a dog."), assistant
("개 한 마리를 그린 그림."), truth {"scene": Scene, "kind": "translation", "asked_in": "en", "language": "ko",
"answers": ("개 한 마리를 그린 그림.",)}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar, Unpack, get_args

from looksay.data.scenes import Scene, Scenes, korean, telling
from looksay.data.scenes.asking import Question, questions
from looksay.data.scenes.atlas import Noun
from looksay.data.scenes.world import Group
from looksay.data.sources.drawing import Curriculum, Drawn, draw
from looksay.errors import InputError, UnknownName
from looksay.types import Conversation, Example, Image, Message

T = TypeVar("T")
Kind = Literal["caption", "description", "question", "translation"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""caption: one of five; description: everything, in detail; question: one, with its short answer;
translation: a caption in another language, from its words alone: beside its picture it could be written anew."""
MIX: Mapping[Kind, float] = {
    "caption": 0.2,
    "description": 0.3,
    "question": 0.3,
    "translation": 0.2,
}
TRANSLATE: Mapping[Kind, float] = {"translation": 1.0}


@dataclass(frozen=True, slots=True)
class Tongue:
    """A language that scenes are told in, and asked about in."""

    captions: Callable[[Scene], list[str]]
    """Five, the n-th of each language meaning the same."""
    description: Callable[[Scene], str]
    question: Callable[[Question], Question]
    """From the English question."""
    names: Mapping[str, str]
    """What the languages are called in this one."""
    queries: Mapping[Kind, str]
    """How an answer is asked for: "{language}" is its name, "{text}" the question or what is translated."""
    counted: Callable[[Noun, str, int], str]
    """A pattern for a noun after (before) its count, with any size between: what a telling must hold."""


def _english(noun: Noun, name: str, count: int) -> str:
    number = (
        f"(?:{telling.article(noun.name).split()[0]}|one)" if count == 1 else telling.NUMBERS[count]
    )
    return rf"\b{number} (?:small |large )?{re.escape(name)}\b"


def _korean(noun: Noun, name: str, count: int) -> str:
    words = f"{korean.name(noun)} {korean.COUNTS[count]} {korean.counter(noun)}"
    return rf"(?<!\S){re.escape(words)}"


TONGUES: Mapping[str, Tongue] = {
    "en": Tongue(
        captions=telling.captions,
        description=telling.description,
        question=lambda question: question,
        names={"en": "English", "ko": "Korean"},
        queries={
            "caption": "Write a short caption in {language}.",
            "description": "Describe the picture in detail in {language}.",
            "question": "Answer in {language}: {text}",
            "translation": "Translate to {language}: {text}",
        },
        counted=_english,
    ),
    "ko": Tongue(
        captions=korean.captions,
        description=korean.description,
        question=korean.question,
        names={"en": "영어", "ko": "한국어"},
        queries={
            "caption": "{language}로 짧은 설명을 쓰세요.",
            "description": "그림을 {language}로 자세히 설명하세요.",
            "question": "{language}로 답하세요: {text}",
            "translation": "{language}로 번역하세요: {text}",
        },
        counted=_korean,
    ),
}
"""By code; 영어 and 한국어 both end in a vowel, so 로 follows either."""


class Talks:
    """Scene number `index`, talked about in a language and a way drawn from the mix."""

    size: int | None = None

    def __init__(self, drawn: Drawn, mix: Mapping[Kind, float], languages: tuple[str, ...]) -> None:
        for kind in mix:
            if kind not in KINDS:
                raise UnknownName("kind of conversation", kind, KINDS)
        for code in languages:
            if code not in TONGUES:
                raise UnknownName("language of scenes", code, TONGUES)
        if not mix or min(mix.values()) < 0 or not sum(mix.values()) > 0:
            raise InputError(f"A mix of conversations takes weights above 0; found {dict(mix)}.")
        if not languages or (mix.get("translation") and len(set(languages)) < 2):
            raise InputError(
                f"Translations take two languages; found {', '.join(languages) or 'none'}. Name more of "
                f"{', '.join(TONGUES)}, or leave translations out of the mix."
            )
        self._drawn, self._mix, self._languages = drawn, dict(mix), languages
        self.fingerprint = f"{drawn.settings} {self._mix} {languages}"

    def example(self, index: int) -> Example:
        """The conversation about scene number `index`."""
        scene, words = self._drawn.at(index)
        random = Random(f"{scene.id}-language{words}")
        drawn = random.random() * sum(self._mix.values())
        kinds = [kind for kind, weight in self._mix.items() if weight > 0]
        kind = kinds[-1]
        for kind in kinds:
            drawn -= self._mix[kind]
            if drawn < 0:
                break
        asked_in, language = (_of(random, self._languages) for _ in range(2))
        source = _other(random, self._languages, language)
        return talk(scene, kind, asked_in, language, source, words)


def read(
    seed: int = 0,
    split: str = "train",
    size_px: int = 128,
    mix: Mapping[Kind, float] = MIX,
    languages: tuple[str, ...] = ("en", "ko"),
    **curriculum: Unpack[Curriculum],
) -> Talks:
    """Endless conversations about scenes, drawn as they are asked for. `languages` are those asked in and
    answered in. Raises InputError as `draw`."""
    return Talks(draw(seed, split, size_px, **curriculum), mix, languages)


def talk(
    scene: Scene,
    kind: Kind,
    asked_in: str,
    language: str,
    source: str = "en",
    words: str = "",
) -> Example:
    """One query in the language `asked_in`, answered in `language`, other `words` in other words; a pure function of
    its arguments.

    `source` is the language that a translation is from. `truth`: scene, kind, asked_in, language, the right
    `answers` (of a caption five), and of a question its type.
    """
    random = Random(f"{scene.id}-{kind}-{asked_in}-{language}{words}")
    asking, answering = TONGUES[asked_in], TONGUES[language]
    truth: dict[str, object] = {}
    text = ""
    if kind == "caption":
        answers = answering.captions(scene)
    elif kind == "description":
        answers = [answering.description(scene)]
    elif kind == "question":
        question = _of(random, tuple(questions(scene)))
        text, answers = asking.question(question).text, [answering.question(question).answer]
        truth["type"] = question.type
    else:
        pairs = zip(TONGUES[source].captions(scene), answering.captions(scene), strict=True)
        text, answer = _of(random, tuple(pairs))
        answers = [answer]
        truth["source"] = source
    query = asking.queries[kind].format(language=asking.names[language], text=text)
    parts = (query,) if kind == "translation" else (Image(scene.image()), query)
    turns = (Message("user", parts), Message("assistant", (_of(random, tuple(answers)),)))
    truth |= {
        "scene": scene,
        "kind": kind,
        "asked_in": asked_in,
        "language": language,
        "answers": tuple(answers),
    }
    return Example(f"{scene.id}-{kind}{words}", Conversation(turns), truth)


def texts(count: int, seed: int = 0) -> Iterator[str]:
    """What is said about `count` training scenes, queries and answers, in all languages: what a tokenizer
    learns from."""
    scenes = Scenes(seed, "train")
    for index in range(count):
        scene = scenes.scene(index)
        yield telling.listing(scene)
        for tongue in TONGUES.values():
            yield from tongue.captions(scene)
            yield tongue.description(scene)
            for question in questions(scene):
                said = tongue.question(question)
                yield from (said.text, said.answer)
            for query in tongue.queries.values():
                yield from (
                    query.format(language=name, text="").strip() for name in tongue.names.values()
                )


def told(scene: Scene, text: str, language: str) -> list[bool]:
    """For each group of a scene, whether a text in that language names it with its count."""

    def says(group: Group) -> bool:
        pattern = TONGUES[language].counted(group.noun, group.name, group.count)
        return re.search(pattern, text, re.IGNORECASE) is not None

    return [says(group) for group in scene.groups]


def _of(random: Random, options: tuple[T, ...]) -> T:
    return options[int(random.random() * len(options))]


def _other(random: Random, languages: tuple[str, ...], language: str) -> str:
    return _of(random, tuple(code for code in languages if code != language) or languages)
