"""Relations by geometry: true of the boxes, and few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import jpeg

from looksay.errors import InputError, UnknownName
from looksay.experts.base import Detection, Findings, Relation
from looksay.experts.boxes import Box
from looksay.experts.loading import listed, load
from looksay.experts.records import to_json
from looksay.experts.scene_graph import GAP, MAX_RELATIONS, relate

TABLE = ("table", 1, (0.1, 0.5, 0.9, 0.9))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """On a grid of 64ths, whose sums and differences are exact: a mirrored box is no other one by rounding."""
    sides = st.lists(st.integers(0, 64), min_size=2, max_size=2, unique=True).map(sorted)
    (left, right), (top, bottom) = draw(sides), draw(sides)
    return left / 64, top / 64, right / 64, bottom / 64


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((0.4, 0.3, 0.5, 0.51), "on"),
        ((0.4, 0.1, 0.5, 0.3), "above"),  # in the air
        ((0.4, 0.92, 0.5, 1.0), "below"),
        ((0.0, 0.6, 0.08, 0.8), "left of"),
        ((0.92, 0.6, 1.0, 0.8), "right of"),
        ((0.45, 0.65, 0.55, 0.75), None),  # in the middle of it
    ],
)
def test_a_cup_and_a_table(box: Box, told: str | None) -> None:
    found = relate([TABLE, ("cup", 2, box)])
    assert [(one.subject, one.subject_number, one.predicate, one.object) for one in found] == (
        [("cup", 2, told, "table")] if told else []
    )


def test_one_thing_found_twice_stands_in_no_relation() -> None:
    assert relate([("dog", 1, (0.1, 0.1, 0.5, 0.5)), ("cat", 1, (0.1, 0.1, 0.52, 0.5))]) == ()


@given(st.lists(boxes(), max_size=8))
def test_relations_are_true_of_the_boxes(places: list[Box]) -> None:
    things = [("thing", number, box) for number, box in enumerate(places, 1)]
    found = relate(things)
    assert len(found) <= MAX_RELATIONS
    pairs = {frozenset((one.subject_number, one.object_number)) for one in found}
    assert len(pairs) == len(found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        ours, theirs = places[one.subject_number - 1], places[one.object_number - 1]
        across = (ours[0] + ours[2] - theirs[0] - theirs[2]) / 2
        down = (ours[1] + ours[3] - theirs[1] - theirs[3]) / 2
        assert {
            "left of": across <= -GAP,
            "right of": across >= GAP,
            "above": down <= -GAP,
            "below": down >= GAP,
            "on": ours[1] < theirs[1],
        }[one.predicate]


@given(st.lists(boxes(), max_size=5))
def test_a_mirrored_picture_has_mirrored_relations(places: list[Box]) -> None:
    turned = {"left of": "right of", "right of": "left of"}
    things = [("thing", number, box) for number, box in enumerate(places, 1)]
    mirror = [(n, i, (1 - b[2], b[1], 1 - b[0], b[3])) for n, i, b in things]
    there, back = relate(things), relate(mirror)
    facts = {(one.subject_number, one.predicate, one.object_number) for one in there}
    other = {
        (one.subject_number, turned.get(one.predicate, one.predicate), one.object_number)
        for one in back
    }
    assert facts == other


def test_the_expert_relates_what_another_one_finds(tmp_path: Path) -> None:
    found = Findings(
        (96, 72),
        detections=(
            Detection("dog", (0.0, 0.2, 0.2, 0.4)),
            Detection("dog", (0.7, 0.2, 0.9, 0.4)),
            Detection("mat", (0.6, 0.39, 1.0, 0.5)),
        ),
    )
    (tmp_path / "one.jpg").write_bytes(jpeg(1))
    (tmp_path / "f.json").write_text(json.dumps({"file": "one.jpg", **to_json(found)}))
    expert = load(f"scene_graph:precomputed:{tmp_path / 'f.json'}")
    told = expert.find(tmp_path / "one.jpg")
    assert told == Findings((96, 72), relations=told.relations)
    assert told.relations[0] == Relation("dog", 2, "on", "mat", 1, 1.0)
    assert Relation("dog", 1, "left of", "dog", 2, pytest.approx(0.7)) in told.relations
    assert expert.name == f"scene_graph:precomputed:{tmp_path / 'f.json'}"
    before = expert.fingerprint
    (tmp_path / "f.json").write_text("[]")
    assert load(expert.name).fingerprint != before


def test_names_are_checked_and_every_expert_says_what_it_lacks() -> None:
    with pytest.raises(InputError, match="Type, for example: --expert scene_graph:detection:MODEL"):
        load("scene_graph")
    with pytest.raises(
        UnknownName, match=r"There is no expert 'panoptik'. Did you mean 'panoptic'"
    ):
        load("panoptik:model")
    with pytest.raises(UnknownName, match="There is no expert 'maps'"):
        load("maps")
    there = {one.name: one for one in listed()}
    assert set(there) == {"detection", "ocr", "panoptic", "precomputed", "scene_graph"}
    assert "--expert" in there["panoptic"].lacking or "pip install" in there["panoptic"].lacking
    assert all(one.about for one in there.values() if "pip" not in one.lacking)
