"""`Slots` against plain lists of tensors: whatever joins, leaves and steps, each row holds what was put there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: no slots")
pytest.importorskip("transformers", reason="no transformers: no slots")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from looksay.models.slots import PLACES, Slots

pytestmark = pytest.mark.local
LAYERS, HEADS, WIDTH = 2, 2, 3


def drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


@dataclass
class Row:
    """What a row should hold: keys and values HTD of every layer, and how far ahead it counts."""

    layers: list[tuple[Tensor, Tensor]]
    ahead: int

    @property
    def length(self) -> int:
        return self.layers[0][0].shape[1]


def join(
    slots: Slots, rows: list[Row], generator: torch.Generator, length: int, ahead: int
) -> None:
    layers = [
        (drawn(generator, 1, HEADS, length, WIDTH), drawn(generator, 1, HEADS, length, WIDTH))
        for _ in range(LAYERS)
    ]
    assert slots.join(layers, ahead) == len(rows)
    rows.append(Row([(keys[0], values[0]) for keys, values in layers], ahead))


def leave(slots: Slots, rows: list[Row], at: int) -> None:
    slots.leave(at)
    last = rows.pop()
    if at < len(rows):
        rows[at] = last


@torch.inference_mode()
def step(slots: Slots, rows: list[Row], generator: torch.Generator) -> None:
    """As a model does: mask and places first, then layer by layer, then on."""
    mask_BT = slots.mask_BT()
    assert slots.positions_B.tolist() == [row.length + row.ahead for row in rows]
    for number in range(LAYERS):
        new = [drawn(generator, len(rows), HEADS, 1, WIDTH) for _ in range(2)]
        held = slots.update(*new, number)
        assert slots.get_mask_sizes(1, number)[0] == held[0].shape[2]
        for at, row in enumerate(rows):
            grown = []
            for mine, one, seen in zip(row.layers[number], new, held, strict=True):
                wanted = torch.cat([mine, one[at]], 1)
                counts_T = torch.ones(seen.shape[2], dtype=torch.bool)
                if mask_BT is not None:
                    counts_T = mask_BT[at]
                # Those that count are this row's own in their order, and what counts nothing is a number.
                assert torch.equal(seen[at][:, counts_T], wanted)
                assert bool(seen[at].isfinite().all())
                grown.append(wanted)
            row.layers[number] = (grown[0], grown[1])
    slots.advance()


def check(slots: Slots, rows: list[Row]) -> None:
    assert slots.lengths == [row.length for row in rows]
    for at, row in enumerate(rows):
        for kept, mine in zip(slots.copied(at), row.layers, strict=True):
            assert torch.equal(kept[0][0], mine[0])
            assert torch.equal(kept[1][0], mine[1])


def room(slots: Slots) -> int:
    """Places of all rows that there is memory for."""
    shapes = [layer.keys.shape for layer in slots.layers if layer.is_initialized]
    return max((shape[0] * shape[2] for shape in shapes), default=0)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from([1, 2, 7, 127, 128, 200]), st.integers(-3, 3)),
        st.tuples(st.just("leave"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("step"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("spoil"), st.integers(0, 9), st.just(0)),
    ),
    max_size=24,
)


@given(moves=MOVES, seed=st.integers(0, 99))
def test_rows_come_and_go(moves: list[tuple[str, int, int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    slots, rows = Slots(LAYERS), list[Row]()
    most = 0
    for what, number, ahead in moves:
        if what == "join":
            join(slots, rows, generator, number, ahead)
        elif rows and what == "leave":
            leave(slots, rows, number % len(rows))
        elif rows and what == "step":
            for _ in range(number):
                step(slots, rows, generator)
        elif rows and what == "spoil":
            spoil(slots, rows, number % len(rows))
        check(slots, rows)
        longest = max((row.length for row in rows), default=0)
        most = max(most, len(rows) * (longest + 1 + PLACES))
        assert room(slots) <= most
    while rows:
        leave(slots, rows, 0)
    assert room(slots) == 0


@torch.inference_mode()
def spoil(slots: Slots, rows: list[Row], at: int) -> None:
    """A row whose numbers ran over, as in half precision: it goes, and harms nobody who comes after."""
    with torch.inference_mode():
        for layer in slots.layers:
            any_layer: Any = layer
            any_layer.keys[at], any_layer.values[at] = float("nan"), float("inf")
    leave(slots, rows, at)


def test_numbers_that_ran_over_harm_nobody_who_comes_after() -> None:
    generator = torch.Generator().manual_seed(0)
    for gone in (0, 1):
        slots, rows = Slots(LAYERS), list[Row]()
        join(slots, rows, generator, 9, 0)
        join(slots, rows, generator, 9, 0)
        spoil(slots, rows, gone)
        join(slots, rows, generator, 3, 0)
        step(slots, rows, generator)
        check(slots, rows)


def test_many_short_ones_then_a_long_one() -> None:
    """The room of sixty-four short texts is given back before there is room for a long one."""
    generator = torch.Generator().manual_seed(0)
    slots, rows = Slots(LAYERS), list[Row]()
    for _ in range(64):
        join(slots, rows, generator, 20, 0)
    while len(rows) > 1:
        leave(slots, rows, 0)
    join(slots, rows, generator, 5000, 0)
    assert room(slots) <= 2 * (5001 + PLACES)
    leave(slots, rows, 1)
    for _ in range(63):
        join(slots, rows, generator, 20, 0)
    assert room(slots) <= 64 * (21 + PLACES) + 2 * (5001 + PLACES)
    check(slots, rows)


def test_rows_that_grew_while_a_model_wrote_leave_from_anywhere() -> None:
    """A model writes in inference mode; whoever lets a row go need not."""
    slots, generator = Slots(LAYERS), torch.Generator().manual_seed(0)
    for length in (3, 5):
        layers = [(drawn(generator, 1, HEADS, length, WIDTH),) * 2 for _ in range(LAYERS)]
        slots.join(layers)
    with torch.inference_mode():
        for _ in range(PLACES + 1):  # buffers are made anew within
            for layer in range(LAYERS):
                slots.update(*(drawn(generator, 2, HEADS, 1, WIDTH) for _ in range(2)), layer)
            slots.advance()
    slots.leave(0)
    assert slots.lengths == [5 + PLACES + 1]
