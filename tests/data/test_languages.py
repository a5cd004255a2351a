"""Scenes in English and Korean: particles and counters, the same facts in both, and queries that say which."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from looksay.data.scenes import TYPES, Scene, Scenes, captions, description, korean, questions
from looksay.data.scenes.asking import PLACES, Question
from looksay.data.scenes.atlas import BOARDS, COLOURS, NOUNS, PATTERNS
from looksay.data.sources import languages
from looksay.errors import LooksayError

SCENES = [Scenes(0, "train").scene(index) for index in range(250)]


def nouns(scene: Scene) -> set[int]:
    return {group.noun.number for group in scene.groups}


@pytest.mark.parametrize(
    ("word", "pair", "expected"),
    [
        ("개", "이/가", "개가"),
        ("뱀", "이/가", "뱀이"),
        ("고양이", "은/는", "고양이는"),
        ("말", "은/는", "말은"),  # ㄹ is a consonant like any other for these
        ("피자 한 판", "을/를", "피자 한 판을"),
        ("개 두 마리", "을/를", "개 두 마리를"),
        ("수박", "과/와", "수박과"),
        ("배", "과/와", "배와"),
        ("H E L L O", "이라고/라고", "H E L L O라고"),
        ("B A L L", "이라고/라고", "B A L L이라고"),  # 엘이라고
        ("C A R", "이라고/라고", "C A R이라고"),  # 알이라고
        ("S U N", "이라고/라고", "S U N이라고"),
        ("B U S", "이라고/라고", "B U S라고"),  # 에스라고
    ],
)
def test_particles_follow_the_sound_before_them(word: str, pair: str, expected: str) -> None:
    assert korean.with_particle(word, pair) == expected


def test_every_particle_of_every_telling_fits_its_word() -> None:
    """Found by decomposing the syllables (NFD), not by the arithmetic that wrote them."""
    import unicodedata

    names = {korean.name(noun) for noun in NOUNS}
    counters = {korean.counter(noun) for noun in NOUNS} | {"표지판", "동물", "음식", "물건", "탈것"}
    after = {"이": True, "가": False, "은": True, "는": False, "을": True, "를": False}
    after |= {"과": True, "와": False}
    stems = {name.split()[-1] for name in names} | counters
    checked: Counter[str] = Counter()
    for scene in SCENES:
        texts = [korean.description(scene), *korean.captions(scene)]
        texts += [korean.question(q).text for q in questions(scene)]
        for word in re.findall(r"[가-힣]+", " ".join(texts)):
            stem, particle = word[:-1], word[-1]
            if particle in after and stem in stems and word not in stems:
                final = len(unicodedata.normalize("NFD", stem[-1])) == 3
                assert final == after[particle], word
                checked[particle] += 1
    assert set(checked) == set(after)
    assert min(checked.values()) > 5


def test_nouns_have_names_of_their_own_and_counters_that_fit() -> None:
    names = [korean.name(noun) for noun in NOUNS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[가-힣 ]+", name) for name in names)
    found = {noun.name: korean.counter(noun) for noun in NOUNS}
    expected = {
        "dog": "마리",
        "butterfly": "마리",
        "automobile": "대",
        "ship": "척",
        "rose": "송이",
        "palm tree": "그루",
        "closed book": "권",
        "house": "채",
        "banana": "개",
        "key": "개",
        "pizza": "판",
    }
    assert {name: found[name] for name in expected} == expected
    assert set(korean.COUNTED_AS) | set(korean.BETTER) <= set(found)
    assert set(korean.COLOURS) == {*COLOURS, *BOARDS}
    assert {*korean.PATTERNS, "plain"} == set(PATTERNS)
    assert set(korean.NINE) == {place for row in PLACES for place in row}


def test_a_scene_is_told_as_a_korean_would() -> None:
    scene = next(
        s
        for s in (Scenes(0, "train").scene(n) for n in range(5000))
        if s.sign and len(s.groups) == 2 and s.relations and s.groups[0].count == 2
    )
    a, b = scene.groups
    assert description(scene).startswith(f"There are two {a.size}")
    told = korean.description(scene)
    assert told.startswith(korean.background(scene) + "에 ")
    assert f"{korean.SIZES[a.size]} {korean.name(a.noun)} 두 {korean.counter(a.noun)}" in told
    assert korean.name(b.noun) in told
    assert f"{' '.join(scene.sign.word)}" in told
    assert told.endswith("고 쓰여 있습니다.")


def test_both_languages_say_the_same() -> None:
    """What a Korean telling names, with its count, is what the scene shows and the English one names."""
    for scene in SCENES:
        for code, tongue in languages.TONGUES.items():
            every = tongue.captions(scene)
            assert len(set(every)) == 5
            for place in (0, 1, 2, 4):  # the fourth is about one relation
                assert all(languages.told(scene, every[place], code)), every[place]
            assert all(languages.told(scene, tongue.description(scene), code))
        other = next(s for s in SCENES if not nouns(s) & nouns(scene))
        for code, tongue in languages.TONGUES.items():
            assert not any(languages.told(other, tongue.description(scene), code))
        english, hangul = captions(scene)[3], korean.captions(scene)[3]
        for g, group in enumerate(scene.groups):
            assert (
                languages.told(scene, english, "en")[g] == languages.told(scene, hangul, "ko")[g]
            ), (
                group,
                english,
                hangul,
            )


def test_every_question_has_a_korean_form_with_the_same_answer() -> None:
    back = {korean.name(noun): noun.name for noun in NOUNS}
    back |= {hangul: english for english, hangul in korean.NINE.items()}
    back |= {hangul: english for english, hangul in korean.COLOURS.items()}
    back |= {"예": "yes", "아니요": "no", "큽니다": "large", "작습니다": "small"}
    numbers = dict(zip(korean.COUNTS, ("zero", "one", "two", "three", "four", "five"), strict=True))
    seen: Counter[str] = Counter()
    for scene in SCENES:
        asked = questions(scene)
        forms = [korean.question(q) for q in asked]
        for english, hangul in zip(asked, forms, strict=True):
            assert english.type == hangul.type
            assert hangul.text.endswith("까?")
            assert not re.search("[A-Za-z]", hangul.text)
            first, *unit = hangul.answer.split()
            if unit and first in numbers and english.type != "which word":
                assert numbers[first] == english.answer
            elif english.type != "which word":
                assert back[hangul.answer] == english.answer
            else:
                assert hangul.answer == english.answer
            seen[english.type] += 1
        assert len({form.text for form in forms}) == len({q.text for q in asked})
    assert set(seen) == set(TYPES)
    with pytest.raises(ValueError, match="no Korean form"):
        korean.question(Question("what", "Why?", "because"))


def test_the_same_index_gives_the_same_conversation_and_all_come() -> None:
    one, other = languages.read(seed=3), languages.read(seed=3)
    met: Counter[tuple[object, ...]] = Counter()
    for index in (5, 2, *range(200)):
        first, second = one.example(index), other.example(index)
        assert first.id == second.id
        assert [m.text for m in first.conversation.messages] == [
            m.text for m in second.conversation.messages
        ]
        met[first.truth["kind"], first.truth["asked_in"], first.truth["language"]] += 1
    assert len(met) == 4 * 2 * 2
    assert one.size is None
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != languages.read(seed=3, languages=("ko", "en")).fingerprint


def test_an_answer_is_in_the_language_that_the_query_asks_for() -> None:
    source = languages.read(seed=1)
    for index in range(150):
        example = source.example(index)
        query, answer = (m.text for m in example.conversation.messages)
        truth = example.truth
        name = languages.TONGUES[truth["asked_in"]].names[truth["language"]]
        assert name in query
        assert answer in truth["answers"]
        hangul = bool(re.search("[가-힣]", answer))
        if re.fullmatch("[A-Z ]+", answer):
            assert truth["type"] == "which word"
        else:
            assert hangul == (truth["language"] == "ko"), (query, answer)


def test_translations_are_of_captions_with_the_same_meaning() -> None:
    source = languages.read(seed=2, mix=languages.TRANSLATE)
    for index in range(100):
        example = source.example(index)
        scene: Scene = example.truth["scene"]
        query, answer = (m.text for m in example.conversation.messages)
        into, of = example.truth["language"], example.truth["source"]
        assert {into, of} == {"en", "ko"}
        place = languages.TONGUES[into].captions(scene).index(answer)
        assert query.endswith(": " + languages.TONGUES[of].captions(scene)[place])
        assert not example.conversation.images


def test_unknown_names_and_one_language_alone_are_told() -> None:
    with pytest.raises(LooksayError, match=r"'haiku'.*Known: caption"):
        languages.read(mix={"haiku": 1.0})  # type: ignore[dict-item]
    with pytest.raises(LooksayError, match=r"'kr'.*Known: en, ko"):
        languages.read(languages=("kr",))
    with pytest.raises(LooksayError, match="two languages; found ko"):
        languages.read(languages=("ko",))
    assert (
        languages.read(mix={"caption": 1.0}, languages=("ko",)).example(0).truth["language"] == "ko"
    )
