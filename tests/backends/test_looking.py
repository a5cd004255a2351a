"""Where a model looked: known for rankers that look at one place, and for the small model's scenes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import put
from PIL import Image as Pillow

from looksay.backends import _looking
from looksay.backends._looking import Heat, Rank
from looksay.errors import InputError
from looksay.types import Conversation, Image

sides = st.integers(1, 70)


def picture(width_px: int, height_px: int, seed: int = 0) -> Pillow.Image:
    """Dark noise, in which a white pixel is like no other."""
    noise = np.random.default_rng(seed).integers(0, 100, (height_px, width_px, 3), np.uint8)
    return Pillow.fromarray(noise)


def keyhole(place: tuple[int, int], number: int = 0) -> Rank:
    """Looks at one pixel of picture `number` and at nothing else."""

    def rank(conversation: Conversation, choices: Sequence[str]) -> list[float]:
        source = conversation.images[number].source
        assert isinstance(source, Pillow.Image)
        return [-float(source.getpixel(place)[0]) / 10] * len(choices)  # type: ignore[index]

    return rank


def asked(*pictures: Pillow.Image) -> Conversation:
    return Conversation.ask(*map(Image, pictures), "What is it?")


@given(sides, sides, st.integers(1, 9))
def test_places_are_the_whole_picture_and_no_pixel_is_in_two(
    width_px: int, height_px: int, side: int
) -> None:
    seen = np.zeros((height_px, width_px), int)
    for row in _looking._places((width_px, height_px), side):
        for left, top, right, bottom in row:
            assert right > left
            assert bottom > top
            seen[top:bottom, left:right] += 1
    assert (seen == 1).all()


@given(st.data(), sides, sides)
def test_all_the_heat_lies_where_a_model_looks_that_looks_at_one_place(
    data: st.DataObject, width_px: int, height_px: int
) -> None:
    x, y = data.draw(st.integers(0, width_px - 1)), data.draw(st.integers(0, height_px - 1))
    shown = picture(width_px, height_px)
    shown.putpixel((x, y), (255, 255, 255))
    (heat,) = _looking.heats(keyhole((x, y)), asked(shown), "A door.", side=4)
    boxes = _looking._places(shown.size, 4)
    here = [
        [left <= x < right and top <= y < bottom for left, top, right, bottom in row]
        for row in boxes
    ]
    if heat.strongest_nats:
        assert heat.values.tolist() == np.array(here, float).tolist()
    else:  # blurred, a single pixel is itself
        assert shown.size == (1, 1)


def test_heat_lies_in_the_picture_that_counts() -> None:
    first, second = picture(40, 40, 1), picture(60, 30, 2)
    second.putpixel((5, 25), (255, 255, 255))
    unseen, seen = _looking.looked(keyhole((5, 25), 1), asked(first, second), "A door.")
    assert "no place of the picture" in unseen.words
    assert seen.words == "The answer rests mostly on the lower left of the picture."
    grey, coloured = (np.asarray(Pillow.open(io.BytesIO(one.png)), int) for one in (unseen, seen))
    assert (grey[..., 0] == grey[..., 2]).all()
    assert coloured.shape == (256, 512, 3)  # the photo's shape
    yellow = coloured[..., 0] - coloured[..., 2] > 60
    assert yellow[190:, :90].any()
    assert not yellow[:128].any()
    assert not yellow[:, 256:].any()


def test_what_an_answer_owes_to_all_places_alike_is_told_so() -> None:
    def stars(conversation: Conversation, choices: Sequence[str]) -> list[float]:
        source = conversation.images[0].source
        assert isinstance(source, Pillow.Image)
        return [float((np.asarray(source) > 240).sum())] * len(choices)

    night = np.zeros((64, 64, 3), np.uint8)
    night[4:20:4, ::4] = 255
    (top,) = _looking.looked(stars, asked(Pillow.fromarray(night)), "Stars.")
    assert top.words == (
        "The answer rests mostly on the upper left, the top and the upper right of the picture."
    )
    even = Heat(np.full((8, 8), 1 / 64, np.float32), 1.0)
    assert _looking.words(even) == (
        "The answer rests on the whole picture rather than on one part of it."
    )


@pytest.mark.parametrize("part", range(9))
def test_each_part_has_its_words(part: int) -> None:
    values = np.zeros((3, 3), np.float32)
    values[part // 3, part % 3] = 1
    assert _looking.words(Heat(values, 1.0)) == (
        f"The answer rests mostly on {_looking.PARTS[part]} of the picture."
    )


def test_a_photo_on_its_side_is_shown_upright(tmp_path: Path) -> None:
    lying = picture(60, 40)
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what lies at the bottom left is the top left
    raw = io.BytesIO()
    lying.save(raw, "JPEG", exif=exif)
    path = put(tmp_path / "a.jpg", raw.getvalue())

    def upper_left(conversation: Conversation, choices: Sequence[str]) -> list[float]:
        source = conversation.images[0].source
        assert isinstance(source, Pillow.Image)
        assert source.size == (40, 60)
        return [float(np.asarray(source, float)[:8, :8].sum())] * len(choices)

    (found,) = _looking.looked(
        upper_left, Conversation.ask(Image(path), "What?"), "Something in a corner."
    )
    assert found.words == "The answer rests mostly on the upper left of the picture."
    assert Pillow.open(io.BytesIO(found.png)).size == (341, 512)


def test_large_photos_make_no_large_overlay() -> None:
    heat = Heat(np.array([[0.1, 0.9]], np.float32), 1.0)
    assert _looking.drawn(Pillow.new("RGB", (3000, 1500)), heat).size == (1024, 512)
    assert _looking.drawn(Pillow.new("RGB", (3000, 1)), heat).size == (1024, 1)


def test_hotter_is_brighter() -> None:
    """What differs in brightness can be told apart with any kind of colour blindness, and without colours."""
    steps = np.linspace(0, 1, 33)[:, None]
    linear = ((_looking.COLD + (_looking.HOT - _looking.COLD) * steps) / 255) ** 2.2
    assert (np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0.004).all()


def test_what_cannot_be_explained_is_said() -> None:
    with pytest.raises(InputError, match="no picture in this conversation"):
        _looking.heats(keyhole((0, 0)), Conversation.ask("What is it?"), "A dog.")
    with pytest.raises(InputError, match="no answer"):
        _looking.heats(keyhole((0, 0)), asked(picture(9, 9)), " ")


@pytest.mark.local
def test_a_model_that_sees_one_patch_looked_there() -> None:
    """A real language model behind a connector through which one patch of sixteen passes."""
    torch = pytest.importorskip("torch", reason="the extra local is not installed")
    from models.tiny import tiny_llava

    from looksay.models.likelihood import log_likelihoods

    model = tiny_llava(layer=0)  # before any attention of the tower: patches know only themselves
    only = torch.zeros(16, 1)
    only[6] = 1
    model.connector.register_forward_hook(lambda *call: call[2] * only)
    talk = Conversation.ask(Image(picture(32, 32, 3)), "what is this ?")

    def rank(conversation: Conversation, choices: Sequence[str]) -> list[float]:
        return log_likelihoods(model, conversation, choices)

    (heat,) = _looking.heats(rank, talk, "a red fox .", side=4)
    assert heat.values[1, 2] > 0.999
    assert heat.strongest_nats > 0.01


@pytest.mark.slow
@pytest.mark.local
def test_asked_about_an_object_the_small_model_looked_at_it() -> None:
    """Boxes are known exactly. Heat per area is more on the object in question than on the rest of the picture, and
    than on the other objects."""
    pytest.importorskip("torch", reason="the extra local is not installed")
    import looksay
    from looksay.data.scenes import Scene, Scenes
    from looksay.types import Options

    def share(scene: Scene, groups: Sequence[int]) -> np.ndarray:
        here = np.zeros((scene.size_px, scene.size_px))
        for group in groups:
            for x, y, width, height in scene.boxes(group):
                here[y : y + height, x : x + width] = 1
        return here

    mini, scenes = looksay.load("mini"), Scenes(77, "test")
    over_rest, over_others, number = [], [], 0
    while len(over_rest) < 24:
        scene, number = scenes.scene(number), number + 1
        if len(scene.groups) < 2:
            continue
        group = number % len(scene.groups)
        talk = Conversation.ask(
            Image(scene.image()), f"Is there a {scene.groups[group].noun.name} in the picture?"
        )
        (answer,) = mini.complete([talk], Options())
        if answer.text != "yes":
            continue  # it did not find it, so it did not look at it
        (heat,) = _looking.heats(mini.rank, talk, answer.text, side=8)  # type: ignore[attr-defined]
        values = heat.over(*scene.image().size)
        own = share(scene, [group])
        others = share(scene, [g for g in range(len(scene.groups)) if g != group])

        def density(where: np.ndarray, values: np.ndarray = values) -> float:
            return float((values * where).sum() / where.sum())

        over_rest.append(density(own) / density(1 - own))
        over_others.append(density(own) / density(others))
    # Of 60 scenes: 8.0, 97 %, and 42 of 60 (docs/chat.md).
    assert np.exp(np.mean(np.log(over_rest))) > 4
    assert np.mean(np.array(over_rest) > 1) > 0.85
    assert np.mean(np.array(over_others) > 1) > 0.5


@pytest.mark.local
def test_backends_have_a_door_to_it(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra local is not installed")
    from checkpoints import llava

    import looksay

    llava.build(tmp_path)
    for name in ("mini", f"hub:{tmp_path}"):
        (found,) = looksay.load(name).looked(asked(picture(64, 48)), "no")  # type: ignore[attr-defined]
        assert Pillow.open(io.BytesIO(found.png)).size == (512, 384), name
        assert found.words.startswith("The answer rests")
