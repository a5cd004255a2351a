"""Preference data: trl's columns in all their forms, written and read again, and each defect told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from looksay import images
from looksay.data.dataset import problems
from looksay.data.opening import open_source
from looksay.data.sources import llava_instruct, preferences
from looksay.errors import InputError
from looksay.types import Conversation, Example, Image, Message

CHOSEN, REJECTED = "There is one dog.", "There are two dogs and a cat."


def turns(text: str, role: str = "assistant") -> list[dict[str, Any]]:
    return [{"role": role, "content": [{"type": "text", "text": text}]}]


def entry(**changes: Any) -> dict[str, Any]:
    shown = [{"type": "image"}, {"type": "text", "text": "Describe the picture."}]
    whole = {
        "id": "17",
        "images": ["a.png"],
        "prompt": [{"role": "user", "content": shown}],
        "chosen": turns(CHOSEN),
        "rejected": turns(REJECTED),
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Pillow.new("RGB", (8, 6), colour).save(tmp_path / name)
    return tmp_path


def source(folder: Path, *rows: Any, name: str = "pairs.jsonl") -> preferences.Preferences:
    path = folder / name
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    path.write_text(text if name.endswith("l") else json.dumps(list(rows)), "utf-8")
    return preferences.read(path)


def same(one: Example, other: Example) -> bool:
    def told(example: Example) -> Any:
        return [
            (
                m.role,
                [p if isinstance(p, str) else images.load_rgb(p.source).tobytes() for p in m.parts],
            )
            for m in example.conversation.messages
        ]

    return told(one) == told(other) and one.truth == other.truth


PLAIN = entry(prompt="Describe the picture.", chosen=CHOSEN, rejected=REJECTED)
TEXTS = entry(
    prompt=[{"role": "user", "content": "Describe the picture."}],
    chosen=[{"role": "assistant", "content": CHOSEN}],
    rejected=[{"role": "assistant", "content": f" {REJECTED} "}],
    score=0.5,
)


@pytest.mark.parametrize("row", [PLAIN, TEXTS])
def test_all_forms_of_trl_are_one(folder: Path, row: dict[str, Any]) -> None:
    found = source(folder, entry(), row)
    first, second = found.example(0), found.example(1)
    assert same(first, second)
    user, assistant = first.conversation.messages
    assert [type(part) for part in user.parts] == [Image, str]
    assert (assistant.text, first.truth) == (CHOSEN, {"rejected": REJECTED})
    assert found.size == 2


def test_a_talk_with_several_pictures_and_one_without(folder: Path) -> None:
    prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "And this?"}]},
        *turns("A dog."),
        {"role": "user", "content": [{"type": "text", "text": "Like"}, {"type": "image"}]},
    ]
    several, none = entry(images=["a.png", "b.png"], prompt=prompt), {**PLAIN, "images": None}
    found = source(folder, several, {k: v for k, v in none.items() if v}, name="pairs.json")
    first, second = found.example(0), found.example(1)
    assert [m.role for m in first.conversation.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert [Path(str(i.source)).name for i in first.conversation.images] == ["a.png", "b.png"]
    assert second.conversation.images == []


DEFECTS: list[tuple[dict[str, Any], str]] = [
    ({"chosen": None}, r"there is no 'chosen'"),
    ({"rejected": None}, r"there is no 'rejected', which should be an answer"),
    ({"prompt": None}, r"there is no 'prompt'"),
    ({"chosen": 3}, r"'chosen' should be an answer.*found a number"),
    ({"chosen": ""}, r"'chosen' is empty"),
    ({"rejected": turns("  ")}, r"'rejected' is empty"),
    ({"rejected": turns(CHOSEN)}, r"'chosen' and 'rejected' are the same: 'There is one dog\.'"),
    ({"rejected": f"{CHOSEN} "}, r"are the same"),
    ({"chosen": turns("x") * 2}, r"one turn of the assistant; found 2.*belongs into 'prompt'"),
    ({"chosen": turns("x", "user")}, r"'chosen' should be words of the assistant"),
    ({"images": ["c.png"]}, r"the image 'c\.png' is not in .*Near names there"),
    ({"images": ["../a.png"]}, r"leads out of"),
    ({"images": "a.png"}, r"'images' should be a list of file names; found text"),
    ({"images": [3]}, r"'images' should be a list of file names"),
    ({"images": None, "image": "a.png"}, r"there is 'image'; expected 'images'"),
    ({"images": ["a.png", "b.png"]}, r"names 2 pictures, but the parts of 'prompt' show 1"),
    ({"images": None}, r"names 0 pictures, but the parts of 'prompt' show 1"),
    ({"prompt": turns("What?", "bot")}, r"a turn of 'prompt' is from 'bot'"),
    ({"prompt": turns("What?")}, r"the last one be the user's; found assistant"),
    ({"prompt": []}, r"found none"),
    ({"prompt": turns("a", "user") * 2}, r"found user, user"),
    ({"prompt": [{"role": "user", "content": [{"type": "video"}]}]}, r"of the type 'video'"),
    ({"prompt": [{"role": "user", "content": [{"type": "text"}]}]}, r"there is no 'text'"),
    (
        {"images": None, "prompt": [{"role": "user", "content": " "}]},
        r"a turn of 'prompt' \(the user's\) is empty",
    ),
]


@pytest.mark.parametrize(("changes", "told"), DEFECTS)
def test_each_defect_is_told_with_its_place(
    folder: Path, changes: dict[str, Any], told: str
) -> None:
    found = source(folder, entry(), entry(**changes))
    with pytest.raises(InputError, match=told) as caught:
        found.example(1)
    assert str(caught.value).startswith(f"{folder / 'pairs.jsonl'}, entry 2 of 2 (id '17'): ")
    assert len(list(problems(found))) == 1


def test_a_picture_that_only_a_user_may_show_and_broken_files(folder: Path) -> None:
    shown = {"role": "assistant", "content": [{"type": "image"}]}
    asked = turns("What?", "user")
    with pytest.raises(InputError, match="only the user does"):
        source(folder, entry(prompt=[*asked, shown, *asked])).example(0)
    (folder / "a.png").write_text("no picture")
    with pytest.raises(InputError, match="cannot be read"):
        source(folder, entry()).example(0)
    (folder / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="empty list"):
        preferences.read(folder / "empty.jsonl")


def test_data_are_known_by_their_columns(folder: Path) -> None:
    for name in ("pairs.jsonl", "pairs.json"):
        source(folder, entry(), name=name)
        assert isinstance(open_source(str(folder / name)), preferences.Preferences)
    source(folder, entry(chosen=None), name="half.jsonl")
    assert len(list(problems(open_source(str(folder / "half.jsonl"))))) == 1
    # Conversations that talk about such keys are conversations.
    said = [{"from": "human", "value": 'What is "chosen": x?'}, {"from": "gpt", "value": "A key."}]
    (folder / "talk.json").write_text(json.dumps([{"id": "1", "conversations": said}]))
    assert isinstance(open_source(str(folder / "talk.json")), llava_instruct.LlavaInstruct)


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1).filter(
    str.strip
)


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=3))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    out = tmp_path_factory.mktemp("pairs")
    picture = Image(Pillow.new("RGB", (4, 4), "green"))
    pairs = [
        Example(
            f"p/{n}",
            Conversation(
                (
                    *Conversation.ask(picture, question.strip()).messages,
                    Message("assistant", (chosen.strip(),)),
                )
            ),
            {"rejected": f"{rejected.strip()}!{chosen.strip()}"},
        )
        for n, (question, chosen, rejected) in enumerate(rows)
    ]
    assert preferences.write(pairs, out / "preferences.jsonl") == len(pairs)
    again = preferences.read(out / "preferences.jsonl")
    assert all(same(again.example(n), one) for n, one in enumerate(pairs))
    assert [again.example(n).id for n in range(len(pairs))] == [one.id for one in pairs]
    assert len(list((out / "images").iterdir())) == 1  # one picture, one file


def test_nothing_to_write_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pairs"):
        preferences.write([], tmp_path / "x.jsonl")
