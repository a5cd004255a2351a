"""The maps that CoLLaVO and MoAI read: indices by hand, and what must hold for every map."""

from __future__ import annotations

import numpy as np
import pytest
from experts.test_findings import maps
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError
from looksay.experts import verbalise
from looksay.experts.base import Findings, segmented
from looksay.experts.maps import cells, colours, crayon, palette, square


def test_the_indices_of_a_map_by_hand() -> None:
    ids = np.array(
        [
            [7, 7, 0, 0],
            [7, 7, 0, 3],
            [5, 5, 3, 3],
            [5, 0, 3, 3],
        ]
    )
    found = segmented(ids, {3: ("horse", 17, 1.0), 5: ("person", 0, 1.0), 7: ("person", 0, 1.0)})
    semantic, numbering = crayon(found, 2, 2)
    assert semantic.tolist() == [[1, 0], [1, 18]]
    assert numbering.tolist() == [[2, 0], [1, 1]]
    assert (semantic.dtype, numbering.dtype) == (np.int64, np.int64)


def test_a_segment_that_vanishes_on_the_grid_shifts_no_box_and_no_number() -> None:
    """CoLLaVO's released code pairs boxes with segments by their place in two lists, and the list of the grid
    is shorter where a segment is too small for it."""
    ids = np.zeros((40, 40), np.int32)
    ids[:, :20] = 1
    ids[3, 30] = 2  # one pixel, which no cell of 4 × 4 gives to it
    ids[20:, 20:] = 3
    kinds = {1: ("person", 0, 1.0), 2: ("person", 0, 1.0), 3: ("person", 0, 1.0)}
    found = segmented(ids, kinds)
    _, numbering = crayon(found, 10, 10)
    assert 2 not in numbering
    assert numbering[5:, 5:].tolist() == [[3] * 5] * 5
    assert numbering[:, :5].tolist() == [[1] * 5] * 10
    told = verbalise.crayon(found)
    assert "(#3 person) [0.50, 0.50, 1.00, 1.00]" in told
    assert "(#2 person) [0.75, 0.07, 0.78, 0.10]" in told
    # The other order of the list changes the numbers of both alike.
    turned = segmented(ids, dict(reversed(kinds.items())))
    assert crayon(turned, 10, 10)[1][9, 9] == 1
    assert "(#1 person) [0.50, 0.50, 1.00, 1.00]" in verbalise.crayon(turned)


@given(maps(), st.integers(1, 12), st.integers(1, 12))
def test_every_cell_speaks_of_one_segment_that_there_is(
    found: Findings, rows: int, columns: int
) -> None:
    semantic, numbering = crayon(found, rows, columns)
    assert semantic.shape == numbering.shape == (rows, columns)
    there = {(one.class_index + 1, one.number) for one in found.segments} | {(0, 0)}
    assert set(zip(semantic.flat, numbering.flat, strict=True)) <= there
    again = crayon(found, rows, columns)
    assert (again[0] == semantic).all()
    assert (again[1] == numbering).all()


@given(maps(), st.integers(1, 4))
def test_a_grid_of_the_pictures_own_pixels_or_finer_loses_nothing(found: Findings, k: int) -> None:
    width, height = found.size_px
    assert (cells(found.ids, height * k, width * k) == found.ids.repeat(k, 0).repeat(k, 1)).all()


@given(maps(), st.integers(2, 4))
def test_each_cell_is_that_of_the_most_pixels(found: Findings, k: int) -> None:
    """Where cells hold k × k whole pixels, the vote can be counted by hand."""
    width, height = found.size_px
    large = found.ids.repeat(k, 0).repeat(k, 1)[: height // 2 * 2 * k, : width // 2 * 2 * k]
    if large.size:
        rows, columns = large.shape[0] // (2 * k), large.shape[1] // (2 * k)
        grid = cells(large, rows, columns)
        for row in range(rows):
            for column in range(columns):
                part = found.ids[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                ids, votes = np.unique(part, return_counts=True)
                assert grid[row, column] == ids[votes.argmax()]


@given(maps())
def test_renumbering_instances_changes_the_numbers_alone(found: Findings) -> None:
    turned = segmented(
        found.ids, {s.id: (s.name, s.class_index, s.score) for s in reversed(found.segments)}
    )
    before, after = crayon(found, 5, 5), crayon(turned, 5, 5)
    assert (before[0] == after[0]).all()
    assert ((before[1] > 0) == (after[1] > 0)).all()


def test_numbers_beyond_the_table_are_unknown_and_classes_beyond_it_refused() -> None:
    ids = np.arange(1, 26).reshape(5, 5)
    found = segmented(ids, dict.fromkeys(range(1, 26), ("bird", 14, 1.0)))
    semantic, numbering = crayon(found, 5, 5)
    assert (semantic == 15).all()
    assert numbering.ravel().tolist() == [*range(1, 21), 0, 0, 0, 0, 0]
    with pytest.raises(
        InputError, match=r"'bird' is class 14, but there are 14 classes \(0 to 13\)"
    ):
        crayon(found, 5, 5, classes=14)
    with pytest.raises(InputError, match="found 0 × 5"):
        crayon(found, 0, 5)


def test_nothing_found_is_unknown_everywhere() -> None:
    semantic, numbering = crayon(Findings((64, 48)), 3, 4)
    assert semantic.tolist() == numbering.tolist() == [[0] * 4] * 3
    assert not colours(Findings((64, 48))).any()


def test_the_map_lies_as_the_tower_makes_pictures_square() -> None:
    wide = np.array([[1, 2, 3, 4], [1, 2, 3, 4]])
    assert square(wide, "pad").tolist() == [[0] * 4, [1, 2, 3, 4], [1, 2, 3, 4], [0] * 4]
    assert square(wide, "crop").tolist() == [[2, 3], [2, 3]]
    assert square(wide, "stretch") is wide
    assert square(wide.T, "crop").tolist() == [[2, 2], [3, 3]]


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (7, 4), (6, 6)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.local
def test_cells_lie_where_the_tower_sees_the_segment(size: tuple[int, int], fit: str) -> None:
    pytest.importorskip("torch", reason="the extra local is not installed")
    from PIL import Image

    from looksay.models.vision import make_square

    scale = 40
    ids = np.zeros((size[1] * scale, size[0] * scale), np.uint8)
    ids[scale : 4 * scale, 2 * scale : 4 * scale] = 1
    seen = make_square(Image.fromarray(ids * 255).convert("RGB"), 64, fit, (0.0, 0.0, 0.0))  # type: ignore[arg-type]
    light = np.asarray(seen)[..., 0].reshape(8, 8, 8, 8).mean(axis=(1, 3)) / 255
    grid = cells(square(ids, fit), 8, 8)  # type: ignore[arg-type]
    sure = abs(light - 0.5) > 0.1
    assert sure.sum() > 50
    assert (grid[sure] == (light[sure] > 0.5)).all()


@pytest.mark.parametrize(
    ("number", "rgb"),
    # The first and the last rows of the VOC development kit's table, and "tv/monitor".
    [
        (0, (0, 0, 0)),
        (1, (128, 0, 0)),
        (3, (128, 128, 0)),
        (8, (64, 0, 0)),
        (20, (0, 64, 128)),
        (255, (224, 224, 192)),
    ],
)
def test_the_palette_is_that_of_voc(number: int, rgb: tuple[int, int, int]) -> None:
    assert tuple(palette(np.array(number)).tolist()) == rgb


@given(st.lists(st.integers(0, 2**24 - 1), unique=True, max_size=50))
def test_no_two_segments_have_one_colour(ids: list[int]) -> None:
    rows = palette(np.array(ids, np.int64).reshape(-1)).tolist()
    assert len({tuple(row) for row in rows}) == len(ids)


def test_a_colour_map_is_that_of_the_ids() -> None:
    found = segmented(np.array([[2, 0, 1]]), {1: ("sky", 119, 1.0), 2: ("dog", 16, 1.0)})
    assert colours(found).tolist() == [[[0, 128, 0], [0, 0, 0], [128, 0, 0]]]
    assert colours(found).dtype == np.uint8
    assert colours(found, "pad").shape == (3, 3, 3)
