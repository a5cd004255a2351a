"""The world of scenes: what is drawn is what the truth says, and what is held out stays out."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("numpy", reason="no numpy: scenes cannot be drawn")

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.data.scenes import (
    SCENES_VERSION,
    Scene,
    Scenes,
    captions,
    description,
    listing,
    questions,
)
from looksay.data.scenes.atlas import BOARDS, NOUNS
from looksay.data.scenes.world import (
    MAX_OVERLAP,
    SPLITS,
    Box,
    held_out_pairs,
    margin_px,
    sign_words,
)
from looksay.errors import InputError

INDEX = st.integers(0, 10**9)
SPLIT = st.sampled_from(SPLITS)
SIZE_PX = st.sampled_from([96, 112, 128])

DIGEST = (
    "import hashlib\n"
    "from looksay.data.scenes import Scenes\n"
    "digest = hashlib.sha256()\n"
    "for split in ('train', 'test', 'pairs', 'words'):\n"
    "    for index in (0, 1, 77, 123456):\n"
    "        scene = Scenes(5, split, 112).scene(index)\n"
    "        digest.update(repr(scene).encode() + scene.pixels().tobytes())\n"
    "print(digest.hexdigest())"
)


def names(scene: Scene) -> list[str]:
    return [group.noun.name for group in scene.groups]


def drawn(scene: Scene, number: int) -> Box:
    """Where the picture of one thing alone differs from the empty background."""
    empty = replace(scene, things=(), sign=None).pixels().astype(int)
    alone = replace(scene, things=(scene.things[number],), sign=None).pixels().astype(int)
    rows, columns = np.nonzero(np.abs(alone - empty).max(axis=2) > 8)
    x, y = int(columns.min()), int(rows.min())
    return Box(x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y)


@settings(max_examples=150, deadline=None)
@given(INDEX, SPLIT, SIZE_PX)
def test_boxes_lie_inside_are_large_enough_and_hardly_overlap(
    index: int, split: str, size_px: int
) -> None:
    scene = Scenes(1, split, size_px).scene(index)
    boxes = [thing.box for thing in scene.things] + ([scene.sign.box] if scene.sign else [])
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= size_px
        assert box.y + box.height <= size_px
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            assert box.overlap(other) <= MAX_OVERLAP == 0.2
    assert all(max(thing.box.width, thing.box.height) >= 16 for thing in scene.things)
    assert 1 <= len(scene.things) <= 5
    assert 1 <= len(scene.groups) <= 3
    assert len(set(names(scene))) == len(scene.groups)


@settings(max_examples=150, deadline=None)
@given(INDEX, SIZE_PX)
def test_groups_say_what_the_boxes_hold(index: int, size_px: int) -> None:
    scene = Scenes(2, "train", size_px).scene(index)
    for number, group in enumerate(scene.groups):
        things = [thing for thing in scene.things if thing.group == number]
        assert len(things) == group.count
        assert {NOUNS[thing.noun].name for thing in things} == {group.noun.name}
        longer = {max(thing.box.width, thing.box.height) / size_px for thing in things}
        # Between 3/16 and 1/4 of the picture nothing is drawn, so small and large are told apart.
        assert len(longer) == 1
        assert (max(longer) <= 3 / 16) if group.size == "small" else (min(longer) >= 1 / 4)


@settings(max_examples=80, deadline=None)
@given(INDEX, SPLIT)
def test_relations_are_those_of_the_pixels(index: int, split: str) -> None:
    scene = Scenes(3, split).scene(index)
    seen: dict[int, list[Box]] = {}
    for number, thing in enumerate(scene.things):
        box = drawn(scene, number)
        assert all(abs(a - b) <= 2 for a, b in zip(box, thing.box, strict=True)), (box, thing)
        seen.setdefault(thing.group, []).append(box)
    stated = {(r.a, r.side, r.b) for r in scene.relations}
    tolerance, margin = 2.0, margin_px(scene.size_px)
    for a, ours in seen.items():
        for b, theirs in seen.items():
            if a == b:
                continue
            for axis, before, after in ((0, "left of", "right of"), (1, "above", "below")):
                gap = min(box.centre[axis] for box in theirs) - max(
                    box.centre[axis] for box in ours
                )
                if abs(gap - margin) > tolerance:
                    assert ((a, before, b) in stated) == (gap > margin)
                    assert ((b, after, a) in stated) == (gap > margin)
            if (a, "on", b) in stated:
                (upper,), (lower,) = ours, theirs
                foot = upper.y + upper.height
                assert -tolerance <= foot - lower.y <= 0.15 * lower.height + 3 + tolerance
                assert lower.x < upper.centre[0] < lower.x + lower.width


@settings(max_examples=60, deadline=None)
@given(INDEX, SPLIT, SIZE_PX)
def test_masks_show_every_thing(index: int, split: str, size_px: int) -> None:
    scene = Scenes(4, split, size_px).scene(index)
    masks = scene.masks()
    assert len(masks) == len(scene.things)
    assert sum(mask.astype(int) for mask in masks).max() <= 1, "two things at one pixel"
    for number, mask in enumerate(masks):
        box = scene.things[number].box
        outside = mask.copy()
        outside[box.y : box.y + box.height, box.x : box.x + box.width] = False
        assert not outside.any()
        alone = replace(scene, things=(scene.things[number],), sign=None).masks()[0]
        assert mask.sum() >= 0.4 * alone.sum(), "hardly anything of it is visible"


@settings(max_examples=60, deadline=None)
@given(INDEX, SIZE_PX)
def test_letters_of_a_sign_are_drawn_in_their_boxes(index: int, size_px: int) -> None:
    sign = (scene := Scenes(6, "words", size_px).scene(index)).sign
    assert sign is not None
    board, ink = BOARDS[sign.colour]
    assert 3 <= len(sign.word) <= 6
    pixels = scene.pixels().astype(int)
    for letter, box in zip(sign.word, sign.letter_boxes(), strict=True):
        part = pixels[box.y : box.y + box.height, box.x : box.x + box.width]
        to_ink, to_board = (np.abs(part - np.array(c)).sum(axis=2) for c in (ink, board))
        assert (to_ink < to_board).sum() >= 4, f"no {letter} to be seen"


def test_one_to_five_objects_have_equal_shares() -> None:
    scenes = Scenes(0)
    counted = Counter(len(scenes.scene(index).things) for index in range(5000))
    chi_square = sum((counted[n] - 1000) ** 2 / 1000 for n in range(1, 6))
    assert sum(counted[n] for n in range(1, 6)) == 5000
    assert chi_square < 18.5, counted  # p = 0.001 at four degrees of freedom


def test_a_fifth_have_signs_and_sizes_are_balanced() -> None:
    scenes = [Scenes(0, "test").scene(index) for index in range(3000)]
    assert 0.17 < sum(scene.sign is not None for scene in scenes) / 3000 < 0.23
    sizes = Counter(group.size for scene in scenes for group in scene.groups)
    assert 0.45 < sizes["small"] / sizes.total() < 0.55
    assert len({name for scene in scenes for name in names(scene)}) == len(NOUNS) >= 128


def test_what_is_held_out_stays_out() -> None:
    pairs = {frozenset((NOUNS[a].name, NOUNS[b].name)) for a, b in held_out_pairs()}
    known, held = sign_words()
    assert not set(known) & set(held)
    assert len(held) >= 20
    assert 0.05 < len(pairs) / (len(NOUNS) * (len(NOUNS) - 1) / 2) < 0.15

    def held_out(scene: Scene) -> bool:
        own = names(scene)
        return any(frozenset((a, b)) in pairs for a in own for b in own if a != b)

    for index in range(3000):
        for split in ("train", "test"):
            scene = Scenes(7, split).scene(index)
            assert not held_out(scene)
            assert scene.sign is None or scene.sign.word in known
    for index in range(500):
        assert held_out(Scenes(7, "pairs").scene(index))
        sign = Scenes(7, "words").scene(index).sign
        assert sign is not None
        assert sign.word in held
    invented = Scenes(7, "train", sign_share=1.0, invented=1.0)
    assert not {invented.scene(i).sign.word for i in range(2000)} & set(held)  # type: ignore[union-attr]


def test_splits_and_seeds_differ() -> None:
    def layout(seed: int, split: str) -> list[tuple[object, ...]]:
        return [Scenes(seed, split).scene(index).things for index in range(20)]

    assert layout(0, "train") == layout(0, "train")
    assert not set(layout(0, "train")) & set(layout(0, "test"))
    assert not set(layout(0, "train")) & set(layout(1, "train"))


def test_another_process_draws_the_same() -> None:
    found = set()
    for hash_seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


TRUTH = {1: "7da0a9ca94e5b9ca"}
"""Digest of what is true of 400 scenes, by version."""


def test_a_scene_that_changes_needs_a_new_version() -> None:
    digest = hashlib.sha256()
    for split in SPLITS:
        for index in range(100):
            scene = Scenes(0, split).scene(index)
            told = (description(scene), captions(scene), listing(scene), questions(scene))
            digest.update(repr((scene.things, scene.sign, told)).encode())
    assert TRUTH.get(SCENES_VERSION) == digest.hexdigest()[:16], (
        f"Scenes differ from those of version {SCENES_VERSION}: raise SCENES_VERSION and add "
        f"{digest.hexdigest()[:16]!r} to TRUTH. Figures of another version are not comparable."
    )


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(InputError, match="train, test, pairs, words"):
        Scenes(split="val")
    with pytest.raises(InputError, match="96 to 128"):
        Scenes(size_px=64)


def test_the_page_says_what_there_is(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "scenes.md").read_text("utf-8")
    kinds = Counter(noun.kind for noun in NOUNS)
    known, held = sign_words()
    pairs = len(NOUNS) * (len(NOUNS) - 1) // 2
    for told in (
        f"| nouns | {len(NOUNS)}: {kinds['animal']} animals, {kinds['food']} kinds of food, "
        f"{kinds['vehicle']} vehicles, {kinds['thing']} things;",
        f"({len(held_out_pairs()):,} of {pairs:,} pairs)",
        f"({len(held)} of {len(known) + len(held)})",
    ):
        assert told in page
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "There" in done.stdout
    assert (tmp_path / "scene.png").exists()
