"""Scenes as conversations: each kind, fixed by its index, with the truth attached."""

from __future__ import annotations

import pytest

from looksay.data.scenes import Scene, Scenes, captions, description, listing, questions
from looksay.data.sources import languages, scenes
from looksay.errors import InputError, LooksayError


def test_the_same_index_gives_the_same_conversation() -> None:
    mix: dict[scenes.Kind, float] = dict.fromkeys(scenes.KINDS, 1.0)
    one, other = scenes.read(seed=3, mix=mix), scenes.read(seed=3, mix=mix)
    kinds = set()
    for index in (9, 2, 40, 7, 2, *range(60)):
        first, second = one.example(index), other.example(index)
        assert first.id == second.id
        assert [m.text for m in first.conversation.messages] == [
            m.text for m in second.conversation.messages
        ]
        kinds.add(first.truth["kind"])
    assert kinds == set(scenes.KINDS)
    assert one.size is None


def test_what_is_said_is_what_the_scene_says() -> None:
    for index in range(30):
        scene: Scene = scenes.read(mix={"description": 1.0}).example(index).truth["scene"]
        told = {kind: scenes.talk(scene, kind) for kind in scenes.KINDS}
        answers = {
            kind: [m.text for m in e.conversation.messages if m.role == "assistant"]
            for kind, e in told.items()
        }
        assert answers["description"] == [description(scene)] == answers["listing"]
        assert answers["caption"][0] in captions(scene)
        assert listing(scene) in told["listing"].conversation.messages[0].text
        asked = {(q.text, q.answer) for q in questions(scene)}
        messages = told["questions"].conversation.messages
        pairs = {(q.text, a.text) for q, a in zip(messages[::2], messages[1::2], strict=True)}
        assert pairs <= asked
        assert 2 <= len(pairs) <= 5
        assert answers["choice"][0] in "ABCD"
        assert answers["picture"] == []
        every = {description(scene), *(q.answer for q in questions(scene))}
        for kind in ("everything", "reading"):
            assert every <= set(answers[kind])
            listed = [listing(scene)] if kind == "everything" else []
            assert len(answers[kind]) == len(questions(scene)) + 2 + len(listed)
            assert answers[kind][len(answers[kind]) - len(listed) :] == listed
        assert told["reading"].conversation.messages[0].text.startswith(listing(scene))
        for kind, example in told.items():
            assert len(example.conversation.images) == (kind not in ("listing", "reading"))
            assert example.truth["scene"] is scene
            if kind in ("questions", "question", "choice"):
                assert len(example.truth["types"]) == len(answers[kind])


def test_types_narrow_the_questions() -> None:
    source = scenes.read(mix={"questions": 1.0}, types=frozenset({"relation", "where"}), size_px=96)
    kept = [t for n in range(80) for t in source.example(n).truth["types"]]
    assert kept.count("relation") > 15
    assert set(kept) <= {"relation", "where", "how many", "colour"}


def test_shares_of_the_mix() -> None:
    source = scenes.read(mix={"description": 3.0, "caption": 1.0})
    said = [source.example(n).truth["kind"] for n in range(400)]
    assert 270 <= said.count("description") <= 330  # five sigma around 300 is 257 to 343


def test_unknown_kinds_and_empty_mixes_are_told() -> None:
    with pytest.raises(LooksayError, match=r"'haiku'.*Known: caption"):
        scenes.read(mix={"haiku": 1.0})  # type: ignore[dict-item]
    with pytest.raises(LooksayError, match="weights above 0"):
        scenes.read(mix={"caption": 0.0})


def test_the_same_pictures_come_again_in_another_order_and_other_words() -> None:
    mix: dict[scenes.Kind, float] = {"caption": 0.5, "question": 0.5}
    source = scenes.read(3, mix=mix, pictures=64, alike=8)
    rounds = [[source.example(64 * turn + n) for n in range(64)] for turn in range(3)]
    pictures = [[e.truth["scene"].id for e in examples] for examples in rounds]
    assert {len(set(some)) for some in pictures} == {64}
    assert len({frozenset(some) for some in pictures}) == 1
    assert len({tuple(some) for some in pictures}) == 3
    told = [{e.truth["scene"].id: e.conversation.messages[-1].text for e in r} for r in rounds]
    assert sum(told[0][one] == told[1][one] for one in told[0]) < 32
    other = scenes.read(4, mix=mix, pictures=64, alike=8)
    assert {other.example(n).truth["scene"].id for n in range(64)} == set(pictures[0])
    assert [other.example(n).id for n in range(64)] != [e.id for e in rounds[0]]
    assert source.fingerprint != other.fingerprint


def test_scenes_of_a_run_have_one_background() -> None:
    source = scenes.read(5, mix={"caption": 1.0}, pictures=96, alike=8)
    for start in range(0, 192, 8):
        run = [source.example(start + n).truth["scene"] for n in range(8)]
        assert len({(scene.colour, scene.pattern) for scene in run}) == 1
        assert len({scene.id for scene in run}) == 8
    every = {s.colour for s in (Scenes(5, alike=8).scene(n) for n in range(96))}
    assert len(every) > 3
    assert Scenes(5, alike=8).scene(9).groups == Scenes(5).scene(9).groups


def test_pictures_that_do_not_fill_runs_are_refused() -> None:
    with pytest.raises(InputError, match="100 examples do not fill runs of 8"):
        scenes.read(0, pictures=100, alike=8)
    with pytest.raises(InputError, match="alike=0"):
        scenes.read(0, alike=0)


def test_translations_come_again_in_other_words() -> None:
    source = languages.read(0, pictures=32)
    first, second = ([source.example(32 * turn + n) for n in range(32)] for turn in range(2))
    assert {e.truth["scene"].id for e in first} == {e.truth["scene"].id for e in second}
    assert {e.id for e in first}.isdisjoint(e.id for e in second)
