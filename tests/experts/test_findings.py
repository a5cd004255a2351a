"""What an expert may hand over: everything that contradicts itself is refused, in words that help."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError
from looksay.experts.base import (
    Detection,
    Findings,
    Relation,
    Segment,
    TextLine,
    check_size,
    merged,
    segmented,
)
from looksay.experts.records import from_json, to_json

LEFT = (0.0, 0.0, 0.5, 1.0)
DOG = Segment(1, "dog", 16, 1, LEFT)
SAID = Findings(
    (4, 2),
    (DOG,),
    ((1, 2), (0, 2), (1, 2), (0, 2)),
    (Detection("dog", LEFT, 0.5),),
    (Relation("dog", 1, "beside", "tree", 2, 0.25),),
    (TextLine("BEWARE", (0.5, 0.5, 1.0, 1.0), 0.75),),
)


@st.composite
def maps(draw: st.DrawFn) -> Findings:
    """Findings of a small map; classes of segments repeat, some ids have no pixel."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    ids = draw(
        st.lists(st.integers(0, 5), min_size=height * width, max_size=height * width).map(
            lambda flat: np.array(flat).reshape(height, width)
        )
    )
    order = draw(st.permutations(range(1, 6)))
    kinds = {one: (f"class {one % 3}", one % 3, 1.0) for one in order}
    return segmented(ids, kinds)


@given(maps())
def test_a_map_comes_back_as_it_was_and_boxes_hold_their_pixels(found: Findings) -> None:
    again = segmented(found.ids, {s.id: (s.name, s.class_index, s.score) for s in found.segments})
    assert again == found
    width, height = found.size_px
    for one in found.segments:
        rows, columns = np.nonzero(found.ids == one.id)
        left, top, right, bottom = one.box
        assert (left * width, right * width) == pytest.approx((columns.min(), columns.max() + 1))
        assert (top * height, bottom * height) == pytest.approx((rows.min(), rows.max() + 1))
    by_class: dict[int, list[int]] = {}
    for one in found.segments:
        by_class.setdefault(one.class_index, []).append(one.number)
    assert all(numbers == [*range(1, len(numbers) + 1)] for numbers in by_class.values())


@given(maps())
def test_findings_pass_through_json(found: Findings) -> None:
    assert from_json(json.loads(json.dumps(to_json(found)))) == found
    assert hash(found) == hash(from_json(to_json(found)))


def test_all_kinds_pass_through_json_and_nothing_stays_nothing() -> None:
    assert from_json(json.loads(json.dumps(to_json(SAID)))) == SAID
    assert to_json(Findings((4, 2))) == {"size_px": [4, 2]}
    assert not Findings((4, 2)).ids.any()
    assert Findings((4, 2)).ids.shape == (2, 4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size_px": (0, 2)}, "found 0 × 2"),
        ({"size_px": (8, 2)}, "cover 8 pixels, but the picture has 8 × 2 = 16"),
        ({"runs": ()}, "cover 0 pixels"),
        ({"runs": ((1, 2), (0, 2), (1, 6), (0, -2))}, "shorter"),
        ({"runs": ((2, 8),)}, "pixels of 2 without a segment, segments 1 without a pixel"),
        ({"segments": (DOG, DOG)}, "the same id"),
        ({"segments": (DOG, replace(DOG, id=2))}, "the same number"),
        ({"segments": (replace(DOG, number=0),)}, "a number from 1"),
        ({"segments": (replace(DOG, box=(0, 0, 1.2, 1)),)}, r"\[0, 0, 1\.2, 1\]"),
        ({"detections": (Detection("cat", (0.5, 0, 0.2, 1)),)}, "box of 'cat'"),
        ({"detections": (Detection("cat", (math.nan, 0, 0.2, 1)),)}, "box of 'cat'"),
        ({"lines": (TextLine("EXIT", (0, -0.1, 1, 1)),)}, "box of 'EXIT'"),
    ],
)
def test_findings_that_contradict_themselves_are_refused(changes: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(SAID, **changes)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ([], r"^f\.json: expected an object; found a list of 0"),
        ({"detections": []}, "'size_px' should be a list of whole numbers; found nothing"),
        ({"size_px": [4]}, r"should be \[width, height\]; found \[4\]"),
        ({"size_px": [4, 2.0]}, "whole numbers"),
        ({"size_px": [4, 2], "boxes": []}, "unknown keys: boxes, probably a typo. Known: det"),
        ({"size_px": [4, 2], "runs": [1, 2, 3]}, "pairs of id and length; found 3"),
        ({"size_px": [4, 2], "lines": {}}, "f.json, lines: expected a list; found an object"),
        ({"size_px": [4, 2], "lines": ["x"]}, "lines 1: expected the keys text, box, score"),
        ({"size_px": [4, 2], "detections": [{"name": "a"}]}, "detections 1: expected the keys"),
        (
            {"size_px": [4, 2], "detections": [{"name": 3, "box": [0, 0, 1, 1]}]},
            "detections 1, name: expected text; found 3",
        ),
        (
            {"size_px": [4, 2], "detections": [{"name": "a", "box": [0, 0, 1]}]},
            r"box: expected \[left, top, right, bottom\], each from 0 to 1; found a list of 3",
        ),
        (
            {"size_px": [4, 2], "detections": [{"name": "a", "box": [0, 0, 1, 640]}]},
            r"^f\.json: The box of 'a'",
        ),
    ],
)
def test_a_record_that_is_none_is_refused_with_its_place(record: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        from_json(record, "f.json")


def test_a_map_with_an_unknown_id_is_refused() -> None:
    with pytest.raises(InputError, match=r"pixels of 9, which no segment has. Known ids: 1, 2"):
        segmented(np.array([[1, 9]]), {1: ("dog", 0, 1.0), 2: ("cat", 1, 1.0)})


def test_findings_of_several_experts_become_one() -> None:
    parts = [
        replace(Findings((4, 2)), **{key: getattr(SAID, key)})
        for key in ("detections", "relations", "lines")
    ]
    cut = Findings((4, 2), SAID.segments, SAID.runs)
    assert merged([*parts, cut]) == SAID
    with pytest.raises(InputError, match="2 experts cut the picture into segments"):
        merged([cut, cut])
    with pytest.raises(InputError, match="different pictures: 4 × 2 px, 4 × 3 px"):
        merged([cut, Findings((4, 3))])
    with pytest.raises(InputError, match="nothing to merge"):
        merged([])
    with pytest.raises(InputError, match="of 4 × 2 px, but this one has 5 × 2"):
        check_size(cut, (5, 2), "panoptic")
