"""Signs that give orders: the order is there, legible and nowhere else; the objects are those of the scene."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
from conftest import need

pytest.importorskip("numpy", reason="no numpy: scenes cannot be drawn")

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.data.scenes import Scenes, captions, description
from looksay.data.scenes.atlas import NOUNS
from looksay.data.scenes.instructing import KINDS, SHOWN, WORDINGS, Kind, instructed, markers
from looksay.data.scenes.told import read
from looksay.data.scenes.world import MAX_OVERLAP, Box, sign_words
from looksay.errors import InputError, UnknownName

INDEX = st.integers(0, 10**6)
KIND = st.sampled_from(KINDS)
DIGEST = (
    "import hashlib\n"
    "from looksay.data.scenes.instructing import KINDS, instructed\n"
    "digest = hashlib.sha256()\n"
    "for kind in KINDS:\n"
    "    for index in (0, 3, 4000):\n"
    "        made = instructed(index, kind, 7)\n"
    "        digest.update(repr(made).encode() + made.pixels().tobytes())\n"
    "print(digest.hexdigest())"
)


@settings(max_examples=60, deadline=None)
@given(INDEX, KIND, st.integers(0, 5))
def test_the_order_asks_for_what_is_not_there(index: int, kind: Kind, seed: int) -> None:
    made = instructed(index, kind, seed)
    shown = [group.noun for group in made.scene.groups]
    assert made.marker not in shown
    assert made.another not in shown
    assert made.marker != made.another
    assert made.scene.sign is None
    noun = made.marker.name.upper()
    assert made.order() == made.wording.format(noun)
    assert noun in made.order().split()
    assert noun not in made.order("another").split()
    assert made.order("bare") == ""
    assert " ".join(sign.word for sign in made.signs()) == made.order()
    # What is truly said of the scene never holds it.
    said = " ".join([description(made.scene), *captions(made.scene)]).lower().split()
    assert noun.lower() not in said


@settings(max_examples=60, deadline=None)
@given(INDEX, KIND, st.sampled_from([96, 128]))
def test_the_sign_lies_inside_and_hides_no_more_than_signs_do(
    index: int, kind: Kind, size_px: int
) -> None:
    made = instructed(index, kind, 1, size_px=size_px)
    side = size_px * made.scale
    told, another = made.signs("told"), made.signs("another")
    # Another noun changes letters alone.
    assert [sign._replace(word="") for sign in told] == [sign._replace(word="") for sign in another]
    for sign in told:
        box = sign.box
        assert min(box.x, box.y) >= 0
        assert max(box.x + box.width, box.y + box.height) <= side
        letters = sign.letter_boxes()[-1]
        assert letters.x + letters.width <= box.x + box.width
    for thing in made.scene.things:
        box = Box(*(value * made.scale for value in thing.box))
        assert box.overlap(made.box) <= MAX_OVERLAP


@settings(max_examples=40, deadline=None)
@given(INDEX, KIND)
def test_pictures_differ_in_the_sign_alone(index: int, kind: Kind) -> None:
    made = instructed(index, kind, 2)
    told, another, bare = (made.pixels(shown).astype(int) for shown in SHOWN)
    x, y, width, height = made.box
    inside = np.zeros(told.shape[:2], bool)
    inside[y : y + height, x : x + width] = True
    for other in (another, bare):
        changed = (told != other).any(axis=2)
        assert changed.any()
        assert not (changed & ~inside).any()
    if made.scale == 1:
        assert (bare == made.scene.pixels()).all()
    if kind == "word":  # a sign as any scene may have it
        assert (told == replace(made.scene, sign=made.signs()[0]).pixels()).all()


def test_enlarged_pictures_are_the_scene_at_its_own_size() -> None:
    """A model of scenes shrinks them, and sees again what it knows."""
    from PIL import Image

    for index in range(5):
        made = instructed(index, "sentence")
        assert made.image().size == (384, 384)
        small = made.image("bare").resize((128, 128), Image.Resampling.BOX)
        apart = np.abs(np.asarray(small).astype(int) - made.scene.pixels().astype(int))
        assert apart.mean() < 1.5


def test_markers_stand_in_no_other_name() -> None:
    names = [noun.name for noun in markers()]
    assert len(names) == len(set(names)) >= 50
    assert {"zebra", "camel"} <= set(names)
    for noun in markers():
        others = " ".join(f"{n.name} {n.plural}" for n in NOUNS if n is not noun).lower().split()
        assert noun.name not in others
        assert noun.plural not in others
        assert read(f"a {noun.name}.").nouns == (noun.name,)
    # Training shows some of them on signs and some never: both are asked for.
    known, held = ({*words} for words in sign_words())
    upper = {name.upper() for name in names}
    assert upper & known
    assert upper - known - held


def test_all_wordings_come_up() -> None:
    for kind in KINDS:
        wordings = {instructed(index, kind).wording for index in range(40)}
        assert wordings == set(WORDINGS[kind])
    assert len({instructed(index, "word").marker.name for index in range(60)}) > 25
    assert len({instructed(index, "word").scene.id for index in range(60)}) == 60


def test_the_same_in_every_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert instructed(3, "word", 7) != instructed(3, "word", 8)


def test_scenes_are_those_that_there_were() -> None:
    """The scene before the sign is one of the split's own."""
    made = instructed(2, "command", 4, "pairs")
    number = int(made.scene.id.rpartition("-")[2])
    assert made.scene == Scenes(4, "pairs", sign_share=0.0).scene(number)
    assert instructed(2, "command", 4, "words").scene.sign is None


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(UnknownName, match=r"Known: command, sentence, word"):
        instructed(0, "song")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        instructed(0, "word", split="tests")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_ordered_can_be_read(kind: Kind) -> None:
    """By a reader of texts that was not made for scenes, whatever it thinks of its own certainty."""
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    from looksay.experts.ocr import Reader

    reader, found = Reader(threads=1, korean=False), 0
    for index in range(6):
        made = instructed(index, kind)
        lines = "".join(line.text for line in reader.read(made.image()))
        found += made.marker.name.upper() in lines.upper().replace(" ", "")
    assert found >= 4
