"""What can be truly said of a scene, in Korean: the same facts in the same order as `telling` and `asking`.

Particles follow the sound before them (개는, 뱀은), counters the thing that is counted (개 두 마리, 자동차 두
대), and plurals go unmarked, as is usual where a number stands beside the noun.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from looksay.data.scenes.asking import KINDS, PLACES, Question
from looksay.data.scenes.atlas import NOUNS, Noun
from looksay.data.scenes.telling import NUMBERS, captioned_relation, spelled, told_relations
from looksay.data.scenes.world import Group, Relation, Scene

BETTER = {
    "frog": "개구리",
    "basketball": "농구공",
    "chocolate bar": "초콜릿",
    "closed book": "책",
}
"""Where Unicode's Korean name is not what one calls the thing: 개구리 얼굴 is a frog's face, 농구 the game,
초콜렛 a misspelling, and 펼치지 않은 책 tells one emoji from another."""
COUNTERS: Mapping[str, str] = {"animal": "마리", "food": "개", "vehicle": "대", "thing": "개"}
COUNTED_AS: Mapping[str, str] = {
    **dict.fromkeys(("sailboat", "canoe", "speedboat", "ship"), "척"),
    **dict.fromkeys(("sunflower", "rose", "tulip"), "송이"),
    **dict.fromkeys(("cactus", "palm tree"), "그루"),
    **dict.fromkeys(("mobile phone", "laptop", "telephone", "camera", "television", "radio"), "대"),
    **dict.fromkeys(("guitar", "microscope", "shopping cart"), "대"),
    "skateboard": "개",
    "pizza": "판",
    "watermelon": "통",
    "melon": "통",
    "house": "채",
    "closed book": "권",
}
COUNTS = ("영", "한", "두", "세", "네", "다섯")
"""Before a counter."""
SIZES = {"small": "작은", "large": "큰"}
SIZE_ANSWERS = {"small": "작습니다", "large": "큽니다"}
COLOURS = {
    "white": "흰색",
    "grey": "회색",
    "red": "빨간색",
    "yellow": "노란색",
    "green": "초록색",
    "blue": "파란색",
    "purple": "보라색",
    "brown": "갈색",
    "black": "검은색",
}
PATTERNS = {"striped": "줄무늬", "dotted": "물방울무늬", "checked": "체크무늬"}
SIDES = {
    "left of": "왼쪽",
    "right of": "오른쪽",
    "above": "위쪽",
    "below": "아래쪽",
    "on": "위",
}
"""위쪽 is the direction, 위 the place on top."""
NINE = dict(
    zip(
        [name for row in PLACES for name in row],
        (
            "왼쪽 위",
            "위쪽",
            "오른쪽 위",
            "왼쪽",
            "가운데",
            "오른쪽",
            "왼쪽 아래",
            "아래쪽",
            "오른쪽 아래",
        ),
        strict=True,
    )
)
KINDS_KO = {"animal": "동물", "food": "음식", "vehicle": "탈것", "thing": "물건"}
YES_NO = {"yes": "예", "no": "아니요"}
LETTERS_WITH_FINAL = "LMNR"
"""Capitals whose Korean names (엘, 엠, 엔, 알) end in a consonant."""

_BY_WORD = {word: noun for noun in NOUNS for word in (noun.name, noun.plural)}


def name(noun: Noun) -> str:
    return BETTER.get(noun.name, noun.names["ko"])


def counter(noun: Noun) -> str:
    return COUNTED_AS.get(noun.name, COUNTERS[noun.kind])


def has_final(word: str) -> bool:
    """Whether the last sound of a word is a consonant (받침): of a syllable or of a capital's name."""
    last = word[-1]
    if "가" <= last <= "힣":
        return (ord(last) - ord("가")) % 28 != 0
    return last in LETTERS_WITH_FINAL


def with_particle(word: str, pair: str) -> str:
    """The word with its particle, of a pair as dictionaries give it, the form after a consonant first:
    이/가, 은/는, 을/를, 과/와, 이라고/라고."""
    after_consonant, after_vowel = pair.split("/")
    return word + (after_consonant if has_final(word) else after_vowel)


def counted(group: Group, *, size: bool = True) -> str:
    """ "작은 개 세 마리" """
    start = f"{SIZES[group.size]} " if size else ""
    return f"{start}{name(group.noun)} {COUNTS[group.count]} {counter(group.noun)}"


def joined(parts: Sequence[str]) -> str:
    """ "가, 나와 다" """
    if len(parts) == 1:
        return parts[0]
    return f"{with_particle(', '.join(parts[:-1]), '과/와')} {parts[-1]}"


def background(scene: Scene) -> str:
    if scene.pattern == "plain":
        return f"무늬 없는 {COLOURS[scene.colour]} 배경"
    return f"{COLOURS[scene.colour]} {PATTERNS[scene.pattern]} 배경"


def related(scene: Scene, relation: Relation) -> str:
    """ "개는 피자 왼쪽에 있습니다." """
    a, b = (name(scene.groups[g].noun) for g in (relation.a, relation.b))
    return f"{with_particle(a, '은/는')} {b} {SIDES[relation.side]}에 있습니다."


def description(scene: Scene) -> str:
    """The same as `telling.description`, in Korean."""
    things = joined([counted(g) for g in scene.groups])
    sentences = [f"{background(scene)}에 {with_particle(things, '이/가')} 있습니다."]
    sentences += [related(scene, relation) for relation in told_relations(scene)]
    if scene.sign:
        said = with_particle(spelled(scene.sign.word), "이라고/라고")
        sentences.append(f"{COLOURS[scene.sign.colour]} 표지판에 {said} 쓰여 있습니다.")
    return " ".join(sentences)


def captions(scene: Scene) -> list[str]:
    """Five captions, each a translation of the one at its place in `telling.captions`."""
    groups = scene.groups
    plain = [counted(g, size=False) for g in groups]
    sized = joined([counted(g) for g in groups])
    found = [
        f"{background(scene)}에 있는 {sized}.",
        f"{with_particle(joined(plain), '을/를')} 그린 그림.",
        f"{with_particle(sized, '이/가')} 있는 {COLOURS[scene.colour]} 배경.",
    ]
    relation = captioned_relation(scene)
    if relation:
        found.append(f"{plain[relation.b]} {SIDES[relation.side]}에 있는 {plain[relation.a]}.")
    else:
        total = sum(g.count for g in groups)
        found.append(f"물체 {COUNTS[total]} 개: {joined(plain)}.")
    if scene.sign:
        said = with_particle(spelled(scene.sign.word), "이라고/라고")
        found.append(f"{joined([*plain, f'{said} 쓰인 {COLOURS[scene.sign.colour]} 표지판'])}.")
    else:
        found.append(f"{joined(plain[::-1])}, 표지판 없음.")
    return found


def question(asked: Question) -> Question:
    """A question of `asking`, with its answer, in Korean. It is one of few forms, which are read back."""
    for form, write in _FORMS:
        found = re.fullmatch(form, asked.text)
        if found:
            text, answer = write(asked.answer, *found.groups())
            return Question(asked.type, text, answer)
    raise ValueError(f"the question {asked.text!r} has no Korean form")


def _noun(word: str) -> str:
    return name(_BY_WORD[word])


def _topic(word: str) -> str:
    return with_particle(word, "은/는")


def _count(answer: str, unit: str) -> str:
    return f"{COUNTS[NUMBERS.index(answer)]} {unit}"


def _how_many(answer: str, plural: str) -> tuple[str, str]:
    unit = counter(_BY_WORD[plural])
    return f"{_topic(_noun(plural))} 몇 {unit} 있습니까?", _count(answer, unit)


def _how_many_of_kind(answer: str, kinds: str) -> tuple[str, str]:
    kind = next(kind for kind, plural in KINDS.items() if plural == kinds)
    unit = COUNTERS[kind]
    return f"{_topic(KINDS_KO[kind])} 모두 몇 {unit} 있습니까?", _count(answer, unit)


def _compared(answer: str, a: str, b: str) -> tuple[str, str]:
    text = f"{with_particle(_noun(a), '과/와')} {_noun(b)} 중 어느 것이 더 큽니까?"
    return text, _noun(answer)


_SIDE = "(left of|right of|above|below|on)"
_FORMS: tuple[tuple[str, Callable[..., tuple[str, str]]], ...] = (
    (
        r"What (animal|food|vehicle|thing) is in the picture\?",
        lambda answer, kind: (
            f"그림에 있는 {_topic(KINDS_KO[kind])} 무엇입니까?",
            _noun(answer),
        ),
    ),
    (
        r"How many objects are there in all\?",
        lambda answer: ("물체는 모두 몇 개 있습니까?", _count(answer, "개")),
    ),
    (
        r"How many pieces of (food) are there\?",
        _how_many_of_kind,
    ),
    (r"How many (animals|vehicles|things) are there\?", _how_many_of_kind),
    (r"How many (.+) are there\?", _how_many),
    (
        r"Where is the (.+)\?",
        lambda answer, noun: (f"{_topic(_noun(noun))} 어디에 있습니까?", NINE[answer]),
    ),
    (
        r"Is there an? (.+) in the picture\?",
        lambda answer, noun: (
            f"그림에 {with_particle(_noun(noun), '이/가')} 있습니까?",
            YES_NO[answer],
        ),
    ),
    (
        r"Which word is on the sign\?",
        lambda answer: ("표지판에 무엇이라고 쓰여 있습니까?", answer),
    ),
    (
        r"What colour is the sign\?",
        lambda answer: ("표지판은 무슨 색입니까?", COLOURS[answer]),
    ),
    (
        r"What colour is the background\?",
        lambda answer: ("배경은 무슨 색입니까?", COLOURS[answer]),
    ),
    (
        r"What size (?:is|are) the (.+)\?",
        lambda answer, noun: (
            f"{_topic(_noun(noun))} 큽니까, 작습니까?",
            SIZE_ANSWERS[answer],
        ),
    ),
    (
        rf"What is {_SIDE} the (.+)\?",
        lambda answer, side, noun: (
            f"{_noun(noun)} {SIDES[side]}에 무엇이 있습니까?",
            _noun(answer),
        ),
    ),
    (
        r"Are there more (.+) than (.+)\?",
        lambda answer, a, b: (
            f"{with_particle(_noun(a), '이/가')} {_noun(b)}보다 많습니까?",
            YES_NO[answer],
        ),
    ),
    (r"Which is larger, the (.+) or the (.+)\?", _compared),
    (
        rf"(?:Is|Are) the (.+) {_SIDE} the (.+)\?",
        lambda answer, a, side, b: (
            f"{_topic(_noun(a))} {_noun(b)} {SIDES[side]}에 있습니까?",
            YES_NO[answer],
        ),
    ),
)
"""English forms (those that a later one would match too stand first), and the Korean question and answer."""
