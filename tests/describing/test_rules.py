"""What makes a model's answer alt text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.describing import rules

CLEAN = [
    ("A dog.", "A dog."),
    ("  A\n dog.  ", "A dog."),
    ('"A dog."', "A dog."),
    ("“A dog.”", "A dog."),
    ("「개 한 마리」", "개 한 마리"),
    ('A sign says "Open".', 'A sign says "Open".'),
    ('"Open" and "closed"', '"Open" and "closed"'),
    ("Alt text: A dog.", "A dog."),
    ("**Alt text:** A dog.", "A dog."),
    ("Alternative text: A dog.", "A dog."),
    ("대체 텍스트: 개 한 마리", "개 한 마리"),
    ("Caption: a dog", "a dog"),
    ("Sure! Here is the alt text: A dog.", "A dog."),
    ("Here's a description: A dog.", "A dog."),
    ("```\nA dog.\n```", "A dog."),
    ("```text\nA dog.\n```", "A dog."),
    ("A **red** dog.", "A red dog."),
    ("- A dog.", "A dog."),
    ("<think>A cat? No.</think>A dog.", "A dog."),
    ("The image shows a dog.", "A dog."),
    ("Photo of a dog.", "A dog."),
    ("This picture depicts 3 dogs.", "3 dogs."),
    ("Caption-less walls of a house.", "Caption-less walls of a house."),
    ("Here are two dogs at 10:30 in a park.", "Here are two dogs at 10:30 in a park."),
    ("Certainly not a dog.", "Certainly not a dog."),
    ("", ""),
    ("   \n ", ""),
    ("<think>no end", "<think>no end"),
]


@pytest.mark.parametrize(("raw", "expected"), CLEAN)
def test_clean(raw: str, expected: str) -> None:
    assert rules.clean(raw) == expected


SENTENCES = [
    ("One. Two! Three?", ["One.", "Two!", "Three?"]),
    ("Dr. Kim walks. He waves.", ["Dr. Kim walks.", "He waves."]),
    ("It costs 3.5 euros. Cheap.", ["It costs 3.5 euros.", "Cheap."]),
    ("J. S. Bach plays.", ["J. S. Bach plays."]),
    ('He says "stop." Then goes.', ['He says "stop."', "Then goes."]),
    ("Boats, nets etc.", ["Boats, nets etc."]),
    ("No end", ["No end"]),
    ("개가 뛴다. 고양이는 잔다.", ["개가 뛴다.", "고양이는 잔다."]),
    ("犬が走る。猫は眠る。", ["犬が走る。", "猫は眠る。"]),
    ("", [""]),
]


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_sentences(text: str, expected: list[str]) -> None:
    assert rules.sentences(text) == expected


@given(st.text(max_size=400))
@settings(max_examples=400, deadline=None)
def test_splitting_never_cuts_inside_a_sentence_and_loses_no_word(text: str) -> None:
    alt, extended = rules.split(text, 125)
    whole = rules.sentences(text)
    assert any(alt == " ".join(whole[:n]) for n in range(1, len(whole) + 1))
    assert extended in ("", text)
    assert (extended == "") == (alt == " ".join(whole))
    assert len(alt) <= 125 or alt == whole[0]
    assert "".join("".join(whole).split()) == "".join(text.split())


def test_length() -> None:
    short, long = "A dog runs on a beach.", "A dog " + "runs and " * 40 + "rests."
    assert rules.read_answer(short, language="en") == rules.Answer(short)
    both = f"{short} {'The sea is calm. ' * 8}".strip()
    answer = rules.read_answer(both, language="en")
    assert answer.alt.startswith(short)
    assert len(answer.alt) <= 125
    assert (answer.extended, answer.problem) == (both, "")
    answer = rules.read_answer(long, language="en")
    assert (answer.problem, answer.alt) == ("long", long)


LANGUAGES = [
    ("A small brown dog runs along the beach with a stick in its mouth.", "en"),
    (
        "Ein kleiner brauner Hund rennt mit einem Stock im Maul am Strand entlang und ist nass.",
        "de",
    ),
    (
        "Un petit chien brun court sur la plage avec un bâton dans la gueule, et les vagues sont hautes.",
        "fr",
    ),
    (
        "Un pequeño perro marrón corre por la playa con un palo en la boca y las olas son altas.",
        "es",
    ),
    (
        "Mały brązowy pies biegnie po plaży i trzyma patyk w pysku, a fale są wysokie na morzu.",
        "pl",
    ),
    ("작은 갈색 개가 막대기를 물고 해변을 달린다.", "ko"),
    ("小さな茶色の犬が棒をくわえて浜辺を走っている。", "ja"),
    ("一只棕色的小狗叼着棍子在海滩上奔跑。", "zh"),
    ("Маленькая коричневая собака бежит по пляжу с палкой в зубах.", "ru"),
]


@pytest.mark.parametrize(("text", "language"), LANGUAGES)
def test_a_text_is_in_its_own_language_and_no_other(text: str, language: str) -> None:
    assert rules.in_language(text, language)
    assert rules.in_language(text, f"{language}-XX")
    for _, other in LANGUAGES:
        if other != language:
            assert not rules.in_language(text, other), other
    assert not rules.in_language(text, "el")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Dog.", "ko"),
        ("KAIST", "ko"),
        ('서울역 앞의 간판, "Welcome to the city of Seoul and to the station"', "ko"),
        ("A sign that reads “어서 오세요, 서울역입니다” above a door.", "en"),
        ("Samsung Galaxy S24 Ultra", "en"),
        ("2024", "ja"),
        ("", "en"),
    ],
)
def test_too_little_and_quotes_tell_nothing(text: str, language: str) -> None:
    assert rules.in_language(text, language)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog and a cat and a dog and a cat and a dog and a cat and a dog and a cat", True),
        ("the the the the the the the the the the the the", True),
        ("개가 달린다 그리고 " * 6, True),
        (
            "A dog runs along the beach, a cat sleeps on the wall, and a bird sings in the tree above.",
            False,
        ),
        ("a b c a b c", False),
    ],
)
def test_repetition(text: str, expected: bool) -> None:
    assert rules.is_repetitive(text) is expected
    assert ("repeats itself" in rules.read_answer(text, language="xx").notes) is expected


@pytest.mark.parametrize(
    "raw", ["DECORATIVE", "decorative.", '"Decorative"', "**DECORATIVE**", "Alt text: DECORATIVE"]
)
def test_decoration_is_proposed(raw: str) -> None:
    answer = rules.read_answer(raw, language="ko")
    assert (answer.alt, answer.decorative, answer.problem) == ("", True, "")
    assert not rules.read_answer("Decorative tiles on a wall.", language="en").decorative


@pytest.mark.parametrize("raw", ["", " ", '""', "```\n```", "<think>x</think>", "**", "Alt text:"])
def test_nothing_is_a_problem(raw: str) -> None:
    assert rules.read_answer(raw, language="en").problem == "empty"


@given(st.text(max_size=300), st.sampled_from(["en", "ko", "ja", "zh", "de", "xx", ""]))
@settings(max_examples=400, deadline=None)
def test_no_answer_breaks_the_reader(raw: str, language: str) -> None:
    answer = rules.read_answer(raw, language=language)
    assert answer.problem in ("", "empty", "language", "long")
    assert "\n" not in answer.alt
    assert answer.alt == answer.alt.strip()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("A dog on a beach.", "A dog on the beach.", False),
        ("A dog on a beach.", "On a beach, a brown dog runs.", False),
        ("Two dogs, 3 cats.", "Two dogs, 4 cats.", True),
        ("A dog on a beach.", "A cat on a sofa.", True),
        ("", "A dog.", True),
    ],
)
def test_substance(old: str, new: str, expected: bool) -> None:
    assert rules.differs_in_substance(old, new) is expected
