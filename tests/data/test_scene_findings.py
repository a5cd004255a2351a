"""What perfect experts find in a scene is the truth; what spoiled ones find is wrong by the share that was asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.data.scenes import Scene, Scenes
from looksay.data.scenes.finding import EXPERTS, NAMES, SIDES, findings, spoiled, without
from looksay.errors import InputError, UnknownName
from looksay.experts import verbalise
from looksay.experts.base import Findings
from looksay.experts.boxes import overlap
from looksay.experts.maps import crayon

WORLD = Scenes(seed=5, split="test")
SOME = [WORLD.scene(number) for number in range(150)]


@settings(max_examples=60)
@given(st.sampled_from(SOME))
def test_the_truth_is_what_the_scene_says(scene: Scene) -> None:
    found = findings(scene)
    names = [scene.groups[thing.group].noun.name for thing in scene.things]
    names += ["sign"] if scene.sign else []
    assert [one.name for one in found.detections] == names
    assert [one.text for one in found.lines] == ([scene.sign.word] if scene.sign else [])
    by_id = {one.id: one for one in found.segments}
    for place, mask in enumerate(scene.masks(), 1):
        assert ((found.ids == place) == mask).all()
        if mask.any():
            assert by_id[place].name == names[place - 1] == NAMES[by_id[place].class_index]
            # What is seen of a thing lies within its box.
            assert overlap(by_id[place].box, found.detections[place - 1].box) > 0.2
    if scene.sign:
        assert by_id[len(names)].name == "sign"
        assert by_id[len(names)].box == found.detections[-1].box == found.lines[0].box


@settings(max_examples=60)
@given(st.sampled_from(SOME))
def test_relations_hold_in_pixels(scene: Scene) -> None:
    found = findings(scene)
    boxes: dict[tuple[str, int], tuple[float, float]] = {}
    for one in found.detections:
        number = 1 + sum(name == one.name for name, _ in boxes)
        boxes[one.name, number] = ((one.box[0] + one.box[2]) / 2, (one.box[1] + one.box[3]) / 2)
    pairs = sum(a.count * b.count for i, a in enumerate(scene.groups) for b in scene.groups[:i])
    assert len(found.relations) <= pairs
    for one in found.relations:
        ours = boxes[one.subject, one.subject_number]
        theirs = boxes[one.object, one.object_number]
        right = {
            "left of": ours[0] < theirs[0],
            "right of": ours[0] > theirs[0],
            "above": ours[1] < theirs[1],
            "on": ours[1] < theirs[1],
            "below": ours[1] > theirs[1],
        }
        assert right[one.predicate]


def test_a_scene_in_words() -> None:
    """Looked at: two taxis at the right, a rabbit below them."""
    found = findings(Scenes(0).scene(2))
    assert verbalise.crayon(found) == (
        "The image includes (#1 taxi) [0.52, 0.09, 0.70, 0.21], (#2 taxi) [0.77, 0.23, 0.94, 0.36], "
        "(#1 rabbit) [0.37, 0.69, 0.48, 0.84]."
    )
    assert verbalise.relations(found.relations) == (
        "The image includes relationships between objects: taxi (#1) is above rabbit, and taxi (#2) is above "
        "rabbit."
    )


def test_the_maps_of_scenes_have_a_row_for_every_class() -> None:
    shown, lost = 0, 0
    for scene in SOME:
        found = findings(scene)
        semantic, numbering = crayon(found, 16, 16, classes=len(NAMES))
        cells = set(zip(semantic.flat, numbering.flat, strict=True))
        gone = {(one.class_index + 1, one.number) for one in found.segments} - cells
        shown, lost = shown + len(found.segments), lost + len(gone)
    assert lost / shown < 0.05  # nearly hidden, or thin


def wrongs(true: Findings, false: Findings) -> dict[str, tuple[int, int]]:
    """(wrong, all) of each kind of fact."""
    pairs = list(zip(true.detections, false.detections, strict=True))
    return {
        "names": (sum(a.name != b.name for a, b in pairs), len(pairs)),
        "boxes": (sum(a.box != b.box for a, b in pairs), len(pairs)),
        "relations": (
            sum(a != b for a, b in zip(true.relations, false.relations, strict=True)),
            len(true.relations),
        ),
        "words": (
            sum(a != b for a, b in zip(true.lines, false.lines, strict=True)),
            len(true.lines),
        ),
    }


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_share_that_is_wrong_is_the_one_that_was_asked(share: float) -> None:
    signs = Scenes(seed=1, sign_share=1.0)
    totals: dict[str, list[int]] = {}
    segments = [0, 0]
    for number in range(400):
        true = findings(signs.scene(number))
        false = spoiled(true, share, signs.scene(number).id)
        for kind, counts in wrongs(true, false).items():
            had = totals.setdefault(kind, [0, 0])
            had[0], had[1] = had[0] + counts[0], had[1] + counts[1]
        seen = {one.id: one for one in false.segments}
        for one in true.segments:
            if one.id in seen:
                segments[0] += seen[one.id].name != one.name
                segments[1] += 1
    totals["segments"] = segments
    for kind, (wrong, of) in totals.items():
        assert of >= 400, kind
        spread = 4 * np.sqrt(share * (1 - share) / of)
        assert abs(wrong / of - share) < spread, (kind, wrong, of)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SOME), st.floats(0, 1), st.integers())
def test_spoiled_findings_are_findings_and_the_same_again(
    scene: Scene, share: float, seed: int
) -> None:
    true = findings(scene)
    false = spoiled(true, share, seed)
    assert spoiled(true, share, seed) == false
    assert false.size_px == true.size_px
    assert {one.name for one in (*false.segments, *false.detections)} <= set(NAMES)
    assert {one.predicate for one in false.relations} <= set(SIDES)
    # A wrong box is moved, not made smaller.
    for before, after in zip(true.detections, false.detections, strict=True):
        assert after.box[2] - after.box[0] == pytest.approx(before.box[2] - before.box[0])
        assert after.box[3] - after.box[1] == pytest.approx(before.box[3] - before.box[1])


def test_no_share_changes_nothing_and_all_of_it_everything() -> None:
    for scene in SOME[:20]:
        true = findings(scene)
        assert spoiled(true, 0) == true
        false = spoiled(true, 1)
        assert all(wrong == of for wrong, of in wrongs(true, false).values())
    with pytest.raises(InputError, match=r"found 30. For one in ten type 0.1"):
        spoiled(true, 30)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SOME), st.sampled_from(sorted(EXPERTS)))
def test_without_an_expert_what_the_others_found_stays(scene: Scene, expert: str) -> None:
    whole = findings(scene)
    less = without(whole, expert)
    sentences = {
        "segments": verbalise.boxes(whole.segments),
        "detections": verbalise.boxes(whole.detections),
        "relations": verbalise.relations(whole.relations),
        "text": verbalise.texts(whole.lines),
    }
    left = [said for name, said in sentences.items() if name != expert and said]
    assert verbalise.moai(less) == " ".join(left)
    assert less.ids.any() == (whole.ids.any() and expert != "segments")
    assert without(less, expert) == less
    assert (less.digest == whole.digest) == (less == whole)


def test_an_expert_that_there_is_not_is_told() -> None:
    with pytest.raises(UnknownName, match="detections, relations, segments, text"):
        without(findings(SOME[0]), "ocr")
