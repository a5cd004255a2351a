"""Mixtures: shares, rounds and exact repetition by index alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.data.dataset import BLOCK, Examples, FirstTurns, Mixture, Part, Pictured, Shuffled
from looksay.data.opening import open_source
from looksay.errors import InputError
from looksay.types import Conversation, Example, Image, Message


def source(name: str, size: int) -> Examples:
    return Examples([Example(f"{name}{n}", Conversation(())) for n in range(size)])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.floats(0.01, 100)), min_size=1, max_size=5),
    st.integers(0, 5),
)
def test_shares_hold_and_nothing_comes_twice_before_all_came(
    parts: list[tuple[int, float]], seed: int
) -> None:
    mixture = Mixture([(source(f"{n}-", s), w) for n, (s, w) in enumerate(parts)], seed)
    drawn = [mixture.example(n).id for n in range(BLOCK)]
    total = sum(weight for _, weight in parts)
    for number, (size, weight) in enumerate(parts):
        own = [name for name in drawn if name.startswith(f"{number}-")]
        assert abs(len(own) - max(1, BLOCK * weight / total)) <= len(parts)
        for start in range(0, len(own) - size + 1, size):
            assert len(set(own[start : start + size])) == size


def test_any_index_gives_the_same_example_in_any_order() -> None:
    def mixture() -> Mixture:
        return Mixture([(source("a", 700), 3), (source("b", 50), 1)], seed=4)

    indices = [0, 9000, 17, BLOCK, BLOCK - 1, 3, 12_345]
    straight = {n: mixture().example(n).id for n in sorted(indices)}
    jumping = mixture()
    assert {n: jumping.example(n).id for n in indices} == straight
    other = Mixture([(source("a", 700), 3), (source("b", 50), 1)], seed=5)
    assert [other.example(n).id for n in range(50)] != [mixture().example(n).id for n in range(50)]


def test_rounds_continue_over_blocks() -> None:
    mixture = Mixture([(source("a", 1000), 1), (source("b", 10), 1)], seed=1)
    own = [e for n in range(3 * BLOCK) if (e := mixture.example(n).id).startswith("a")]
    assert set(Counter(own[:6000]).values()) == {6}


def test_a_source_that_weighs_nothing_never_comes() -> None:
    mixture = Mixture([(source("a", 5), 1), (source("b", 5), 0)])
    assert {mixture.example(n).id[0] for n in range(500)} == {"a"}


def test_shuffled_goes_round() -> None:
    shuffled = Shuffled(source("a", 30), seed=2)
    first = [shuffled.example(n).id for n in range(30)]
    second = [shuffled.example(n).id for n in range(30, 60)]
    assert sorted(first) == sorted(second)
    assert first != second
    assert [shuffled.example(n).id for n in range(30)] == first


def test_a_part_keeps_to_its_bounds() -> None:
    part = Part(source("a", 30), 10, 99)
    assert part.size == 20
    assert part.example(0).id == "a10"
    with pytest.raises(InputError, match="there are 30"):
        Part(source("a", 30), 30, 40)


@pytest.mark.parametrize("weights", [[], [-1.0, 2.0], [0.0]])
def test_weights_that_mix_nothing(weights: list[float]) -> None:
    with pytest.raises(InputError, match="mixture takes"):
        Mixture([(source("a", 3), weight) for weight in weights])


def test_an_empty_source_is_told() -> None:
    with pytest.raises(InputError, match="empty"):
        Shuffled(source("a", 0))


def test_first_turns_are_a_question_and_its_answer() -> None:
    talk = Conversation(
        (Message("system", ("Be brief.",)), *asked("What?", "A cat."), *asked("Where?", "Here."))
    )
    found = FirstTurns(Examples([Example("1", talk)])).example(0)
    assert [m.text for m in found.conversation.messages] == ["What?", "A cat."]


def asked(question: str, answer: str) -> tuple[Message, Message]:
    return Message("user", (question,)), Message("assistant", (answer,))


def _renamed(image: Image) -> Image:
    return Image(Path(f"{image.source}.new"), image.findings)


def test_other_pictures_stand_where_the_first_ones_stood() -> None:
    one, other = Image(Path("a")), Image(Path("b"), findings="found")
    first = Conversation(
        (Message("user", ("look", one, other)), *asked("And?", "Yes."), Message("user", (one,))),
        {"language": "en"},
    )
    changed = Pictured(Examples([Example("1", first, {"n": 1})]), _renamed, "renamed").example(0)
    assert [m.role for m in changed.conversation.messages] == [m.role for m in first.messages]
    assert changed.conversation.messages[0].parts == (
        *("look", Image(Path("a.new")), Image(Path("b.new"))),
    )
    assert changed.conversation.images[1].findings == "found"
    assert changed.conversation.messages[1:3] == first.messages[1:3]
    assert changed.conversation.hints == first.hints
    assert (changed.id, changed.truth) == ("1", {"n": 1})


def test_fingerprints_tell_other_data(tmp_path: Path) -> None:
    def written(answer: str) -> Path:
        turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": answer}]
        path = tmp_path / "talks.json"
        path.write_text(json.dumps([{"id": "1", "conversations": turns}]), "utf-8")
        return path

    first = open_source(str(written("A cat.")))
    again = open_source(str(written("A cat.")))
    other = open_source(str(written("A dog.")))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    whole, scene = Examples([first.example(0)]), open_source("scenes", seed=1)
    made = [
        first,
        other,
        open_source("scenes", seed=2),
        scene,
        whole,
        Examples([other.example(0)]),
        Part(scene, 0, 9),
        Part(scene, 0, 10),
        Part(open_source("scenes", seed=2), 0, 9),
        Shuffled(whole, 1),
        Shuffled(whole, 2),
        FirstTurns(whole),
        Pictured(whole, _renamed, "renamed"),
        Pictured(whole, _renamed, "renamed again"),
        Mixture([(whole, 1.0), (scene, 1.0)], 1),
        Mixture([(whole, 1.0), (scene, 2.0)], 1),
        Mixture([(whole, 1.0), (scene, 1.0)], 2),
    ]
    assert len({one.fingerprint for one in made}) == len(made)
