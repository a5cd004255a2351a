"""Crayon instructions, and scenes with what vision experts find in them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from looksay.data.dataset import Examples
from looksay.data.scenes.finding import findings, spoiled
from looksay.data.sources import scenes
from looksay.data.sources.crayon import BOXES, NAMES, NOTHING, Crayon
from looksay.errors import InputError
from looksay.experts.base import Findings, segmented
from looksay.types import Conversation, Example, Image, Message

KINDS = {
    1: ("horse", 17, 1.0),
    2: ("sky-other-merged", 119, 1.0),
    3: ("horse", 17, 1.0),
}


def shown(found: Findings | None, name: str = "7") -> Example:
    image = Image(Pillow.new("RGB", (20, 10)), found)
    talk = Conversation((Message("user", (image, "hi")), Message("assistant", ("ho",))))
    return Example(name, talk)


def field() -> Findings:
    """A horse at the left, sky in the middle, a horse at the right."""
    ids = np.zeros((10, 20), np.int32)
    ids[5:, :4], ids[:, 8:12], ids[2:, 16:] = 1, 2, 3
    return segmented(ids, KINDS)


def told(example: Example) -> tuple[str, str]:
    return example.conversation.messages[0].text, example.conversation.messages[1].text


def test_the_three_forms_are_told_as_in_the_paper() -> None:
    source = Crayon(Examples([shown(field(), str(n)) for n in range(40)]))
    found = [told(source.example(index)) for index in range(40)]
    one, sky, two = (
        "(#1 horse) [0.00, 0.50, 0.20, 1.00]",
        "(#1 sky) [0.40, 0.00, 0.60, 1.00]",
        "(#2 horse) [0.80, 0.20, 1.00, 1.00]",
    )
    assert set(found) == {
        (NAMES, "Sure, it is (#1 horse), (#1 sky), (#2 horse)."),
        (BOXES, f"Sure, it is {one}, {sky}, {two}."),
        (
            "Name each horse of this image with its number and its box.",
            f"Sure, it is {one}, {two}.",
        ),
        ("Name each sky of this image with its number and its box.", f"Sure, it is {sky}."),
    }


def test_an_instruction_depends_on_its_number_and_seed_alone() -> None:
    many = Examples([shown(field(), str(n)) for n in range(20)])
    source, again, other = Crayon(many), Crayon(many), Crayon(many, seed=1)
    assert [told(source.example(n)) for n in range(20)] == [
        told(again.example(n)) for n in reversed(range(20))
    ][::-1]
    assert [told(source.example(n)) for n in range(20)] != [
        told(other.example(n)) for n in range(20)
    ]
    assert source.size == 20
    assert source.fingerprint == again.fingerprint != other.fingerprint
    assert source.example(3).truth["skill"] == "image"
    assert source.example(3).id == "3 crayon"


def test_a_picture_without_segments_is_answered_so() -> None:
    source = Crayon(Examples([shown(Findings((20, 10)), str(n)) for n in range(12)]))
    found = [told(source.example(index)) for index in range(12)]
    assert set(found) == {(NAMES, NOTHING), (BOXES, NOTHING)}


def test_a_picture_that_no_expert_saw_is_an_error_that_says_what_to_do() -> None:
    talk = Conversation((Message("user", ("hi",)), Message("assistant", ("ho",))))
    source = Crayon(Examples([shown(None), Example("8", talk)]))
    with pytest.raises(InputError, match=r"'7' shows a picture without findings.*experts=0\.0"):
        source.example(0)
    with pytest.raises(InputError, match="'8' shows no picture"):
        source.example(1)


def test_boxes_are_those_of_their_own_segments_when_one_has_no_pixel() -> None:
    """The released code of CoLLaVO pairs boxes and segments by their places in two lists."""
    ids = np.zeros((10, 20), np.int32)
    ids[5:, :4], ids[2:, 16:] = 1, 3  # 2, the sky, is hidden by nothing and still not there
    source = Crayon(Examples([shown(segmented(ids, KINDS), str(n)) for n in range(12)]))
    answers = {told(source.example(n))[1] for n in range(12) if told(source.example(n))[0] == BOXES}
    assert answers == {
        "Sure, it is (#1 horse) [0.00, 0.50, 0.20, 1.00], (#2 horse) [0.80, 0.20, 1.00, 1.00]."
    }


# -- scenes


def test_scenes_come_with_their_findings_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, truth = scenes.read(3), scenes.read(3, experts=0.0)
    for index in range(6):
        one, other = plain.example(index), truth.example(index)
        assert one.id == other.id
        assert one.conversation == other.conversation  # findings name no picture
        (image,) = other.conversation.images
        assert image.findings == findings(other.truth["scene"])
        assert one.conversation.images[0].findings is None

    def called(_: Any) -> Findings:
        raise AssertionError("computed without being asked for")

    monkeypatch.setattr(scenes, "findings", called)
    plain.example(7)
    with pytest.raises(AssertionError):
        truth.example(7)


def test_a_share_of_the_findings_is_wrong_when_asked() -> None:
    source = scenes.read(3, experts=0.5)
    wrong = 0
    for index in range(8):
        example = source.example(index)
        scene = example.truth["scene"]
        (image,) = example.conversation.images
        assert image.findings == spoiled(findings(scene), 0.5, scene.id)
        wrong += image.findings != findings(scene)
    assert wrong >= 7
    assert source.example(2).conversation.images[0].findings == (
        scenes.read(3, experts=0.5).example(2).conversation.images[0].findings
    )


def test_what_experts_say_is_part_of_what_data_are_called() -> None:
    """Runs on scenes without findings keep their names, so they can be gone on with."""
    before = "experts"
    assert before not in scenes.read(3).fingerprint
    names = {scenes.read(3, experts=e).fingerprint for e in (None, 0.0, 0.1)}
    assert len(names) == 3
    mixed = scenes.read(3, experts=0.1).mixed({"caption": 1.0})
    assert mixed.example(0).conversation.images[0].findings is not None
    with pytest.raises(InputError, match=r"from 0 to 1; found 1\.5"):
        scenes.read(3, experts=1.5)


def test_the_findings_can_be_told_instead_of_shown() -> None:
    many = Examples([shown(field(), str(n)) for n in range(12)])
    pictured, read = Crayon(many), Crayon(many, told=True)
    sentence = (
        "The image includes (#1 horse) [0.00, 0.50, 0.20, 1.00], (#1 sky) [0.40, 0.00, 0.60, 1.00], "
        "(#2 horse) [0.80, 0.20, 1.00, 1.00]."
    )
    for index in range(12):
        one, other = pictured.example(index), read.example(index)
        assert not other.conversation.images
        assert told(other) == (f"{sentence} {told(one)[0]}", told(one)[1])
        assert other.truth["skill"] == "talk"
    assert pictured.fingerprint != read.fingerprint


def test_scenes_can_be_instructions() -> None:
    source = Crayon(scenes.read(0, mix={"caption": 1.0}, experts=0.0))
    assert source.size is None
    for index in range(12):
        example = source.example(index)
        said = told(example)[1]
        listed = re.findall(r"\(#(\d+) ([^)]+)\)", said)
        assert listed == [(str(s.number), s.name) for s in example.truth["segments"]]
