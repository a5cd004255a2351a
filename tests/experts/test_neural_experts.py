"""Experts that are models of transformers, in miniature: what they say is read right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from looksay.errors import InputError
from looksay.experts.base import Expert, Options
from looksay.experts.loading import load

torch = pytest.importorskip("torch", reason="the extra local is not installed")
pytest.importorskip("scipy", reason="the extra experts is not installed")
pytestmark = pytest.mark.local

from experts import tiny_vision  # noqa: E402

from looksay.experts.panoptic import MIN_KEPT, Panoptic, cut  # noqa: E402

SEES = [picture(number, (120, 90)) for number in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by its name in tiny_vision, built once."""
    built: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in built:
            built[kind] = tmp_path_factory.mktemp(kind)
            getattr(tiny_vision, kind)(built[kind])
        return built[kind]

    return get


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mask2former", "oneformer"])
def test_a_segmenter_cuts_pictures_into_its_classes(
    folder: Callable[[str], Path], kind: str
) -> None:
    expert = load(f"panoptic:{folder(kind)}", Options(min_score=0.0, device="cpu"))
    found = [expert.find(one) for one in SEES]
    assert sum(len(one.segments) for one in found) > 0
    for one in found:
        assert one.size_px == (120, 90)
        for segment in one.segments:
            assert tiny_vision.NAMES[segment.class_index] == segment.name
            assert 0 < segment.score <= 1
    assert [expert.find(one) for one in SEES] == found
    assert (
        load(f"panoptic:{folder(kind)}", Options(min_score=0.0)).fingerprint == expert.fingerprint
    )
    assert load(f"panoptic:{folder(kind)}").fingerprint != expert.fingerprint


@pytest.mark.parametrize("seed", range(5))
def test_where_queries_are_sure_segments_are_those_that_transformers_finds(seed: int) -> None:
    """Its post-processing and ours differ where no mask reaches the threshold, and where scores are low."""
    from transformers import Mask2FormerImageProcessorPil

    draws = np.random.default_rng(seed)
    owner = draws.integers(0, 5, (4, 6)).repeat(16, 0).repeat(16, 1)
    masks = torch.tensor(np.where(owner == np.arange(5)[:, None, None], 9.0, -9.0))[None].float()
    labels = draws.integers(0, 3, 5)
    classes = torch.full((1, 5, 4), -9.0)
    classes[0, torch.arange(5), torch.tensor(labels)] = 9.0
    processor = Mask2FormerImageProcessorPil()
    (theirs,) = processor.post_process_panoptic_segmentation(
        SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks),
        label_ids_to_fuse=set(),
        target_sizes=[(64, 96)],
    )
    ids, kinds = cut(classes[0].softmax(-1).numpy(), masks[0].sigmoid().numpy())
    assert [kind for kind, _ in kinds.values()] == [s["label_id"] for s in theirs["segments_info"]]
    # It scales masks to 384 × 384 and back, which moves borders by a pixel.
    labelled = theirs["segmentation"].numpy().clip(0)
    assert (ids == labelled).mean() > 0.8
    inside = np.zeros((4, 6, 16, 16), bool)
    inside[..., 3:13, 3:13] = True
    inside = inside.swapaxes(1, 2).reshape(64, 96)
    assert (ids == labelled)[inside & (ids > 0)].all()


class SeesLight:
    """Stands for a segmenter: query 0 is where the picture is bright, query 1 where it is dark, padding dark too."""

    device = "cpu"
    config = SimpleNamespace(model_type="mask2former", id2label={0: "light", 1: "dark"})

    def __call__(self, pixel_values: Any, pixel_mask: Any) -> Any:
        light = pixel_values.mean(1, keepdim=True)
        light = torch.nn.functional.interpolate(light, scale_factor=0.25, mode="area") * 20
        return SimpleNamespace(
            masks_queries_logits=torch.cat([light, -light], 1),
            class_queries_logits=torch.tensor([[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]]),
        )


@pytest.mark.parametrize("size", [(120, 90), (90, 120), (300, 100), (64, 64)])
def test_masks_lie_where_the_picture_shows_them(size: tuple[int, int]) -> None:
    """What the processor adds at the edges must not stretch the masks."""
    from transformers import Mask2FormerImageProcessorPil

    processor = Mask2FormerImageProcessorPil(
        size={"shortest_edge": 72, "longest_edge": 200}, size_divisor=32
    )
    shown = Image.new("RGB", size)
    edge = (size[0] * 2 // 3, size[1] // 2)
    shown.paste((255, 255, 255), (0, 0, *edge))
    found = Panoptic(SeesLight(), processor, "panoptic:light", "1").find(shown)
    (light,) = [one for one in found.segments if one.name == "light"]
    assert light.box == pytest.approx((0, 0, edge[0] / size[0], edge[1] / size[1]), abs=0.03)
    assert np.mean((found.ids == light.id) == (np.asarray(shown)[..., 0] > 0)) > 0.97


def test_queries_compete_for_pixels_by_hand() -> None:
    nothing, dog, sky = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    classes = np.stack(
        [0.9 * dog + 0.1 * nothing, sky, nothing, 0.4 * dog + 0.3 * sky + 0.3 * nothing]
    )
    masks = np.array(
        [
            [[0.9, 0.9, 0.9, 0.1]],
            [[0.0, 0.0, 0.7, 0.9]],
            [[1.0, 1.0, 1.0, 1.0]],
            [[1.0, 1.0, 1.0, 1.0]],
        ],
        np.float32,
    )
    ids, kinds = cut(classes, masks)
    # The dog's 0.9 × 0.9 beats the sky's 0.7 at the third pixel, which leaves the sky half of its mask.
    assert ids.tolist() == [[1, 1, 1, 0]]
    assert kinds == {1: (0, pytest.approx(0.9))}
    masks[1, 0, 2] = 0.3  # not the sky's any more, so all of its mask is left
    ids, kinds = cut(classes, masks)
    assert ids.tolist() == [[1, 1, 1, 2]]
    assert kinds == {1: (0, pytest.approx(0.9)), 2: (1, 1.0)}
    masks[0, 0, 0] = 0.45  # its own pixel, but below the threshold of a mask
    assert cut(classes, masks)[0].tolist() == [[0, 1, 1, 2]]
    assert cut(classes[2:3], masks[2:3])[1] == {}
    assert 0.5 < MIN_KEPT < 1


def test_what_is_stuff_is_one_segment() -> None:
    classes = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    masks = np.array([[[0.9, 0.0]], [[0.0, 0.9]]], np.float32)
    assert cut(classes, masks)[0].tolist() == [[1, 2]]
    ids, kinds = cut(classes, masks, stuff={0})
    assert ids.tolist() == [[1, 1]]
    assert kinds == {1: (0, pytest.approx(0.9))}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["owlv2", "grounding_dino", "yolos"])
def test_a_detector_names_what_it_was_asked_for(folder: Callable[[str], Path], kind: str) -> None:
    names = () if kind == "yolos" else ("dog", "red house", "cat")
    expert: Expert = load(f"detection:{folder(kind)}", Options(names=names, min_score=0.05))
    found = [expert.find(one) for one in SEES]
    assert sum(len(one.detections) for one in found) > 0
    known = set(names or tiny_vision.NAMES.values())
    for one in found:
        assert {thing.name for thing in one.detections} <= known
        assert [t.score for t in one.detections] == sorted(
            (t.score for t in one.detections), reverse=True
        )
    sure = load(f"detection:{folder(kind)}", Options(names=names, min_score=0.999))
    assert all(t.score >= 0.999 for one in SEES for t in sure.find(one).detections)
    assert sure.fingerprint != expert.fingerprint


@pytest.mark.slow
def test_boxes_of_owlv2_are_shares_of_the_picture_not_of_its_padding(
    folder: Callable[[str], Path],
) -> None:
    expert: Any = load(f"detection:{folder('owlv2')}", Options(names=("dog",), min_score=0.0))
    fed = expert._processor(images=SEES[0], text=[["a photo of a dog"]], return_tensors="pt")
    with torch.inference_mode():
        x, y, wide, high = expert._model(**fed).pred_boxes[0].T.double()
    # The picture, 120 × 90, is the upper part of a square of 120 × 120.
    corners = torch.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], 1)
    corners = (corners * torch.tensor([1, 120 / 90] * 2)).clamp(0, 1).tolist()
    for one in expert.find(SEES[0]).detections:
        assert min(max(abs(a - b) for a, b in zip(one.box, c, strict=True)) for c in corners) < 1e-4


@pytest.mark.slow
def test_an_open_vocabulary_wants_words(folder: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r'was asked for nothing. Type --names "dog, cat"'):
        load(f"detection:{folder('owlv2')}")
    with pytest.raises(InputError, match="up to a full stop"):
        load(f"detection:{folder('grounding_dino')}", Options(names=("St. Bernard",)))


@pytest.mark.parametrize("kind", ["panoptic", "detection"])
def test_a_model_that_there_is_not_is_told(kind: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"Type .*(facebook/mask2former|--expert detection:MODEL.onnx)"
    ):
        load(kind)
    for name in (str(tmp_path), "nobody/nothing-of-the-kind"):
        with pytest.raises(
            InputError, match=r"cannot be loaded: .* Expected a folder, or a name on the hub"
        ):
            load(f"{kind}:{name}")


@pytest.mark.slow
def test_a_model_of_another_kind_or_with_half_its_weights_is_told(
    folder: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        load(f"panoptic:{folder('owlv2')}", Options(names=("dog",)))
    from safetensors.torch import load_file, save_file

    for file in folder("mask2former").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(iter(sorted(weights)))
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="1 tensors are missing"):
        load(f"panoptic:{tmp_path}")


@pytest.mark.slow
def test_a_device_that_there_is_not_is_told(folder: Callable[[str], Path]) -> None:
    with pytest.raises(
        InputError, match=r"The device 'nonsense' cannot be used: .*Type --device cpu"
    ):
        load(f"panoptic:{folder('mask2former')}", Options(device="nonsense"))
