"""The small tower: one vector per place, learned from the truth of scenes, the same after saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.tiny import tiny_llava  # noqa: E402

from looksay.data.scenes.grids import CELL_PX, CLASSES  # noqa: E402
from looksay.data.sources import scenes as talks  # noqa: E402
from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.export import export  # noqa: E402
from looksay.models.small_tower import SmallTower  # noqa: E402
from looksay.training.recipes import llava, llava15  # noqa: E402

pytestmark = pytest.mark.local


def tower(**more: Any) -> SmallTower:
    torch.manual_seed(0)
    return SmallTower(size_px=128, channels=64, blocks=(1, 2), classes=CLASSES, **more)


def batch(seeing: SmallTower, count: int) -> tuple[Any, dict[str, Any]]:
    source = talks.read(0, mix={"picture": 1.0}, sign_share=0.5)
    examples = [source.example(i) for i in range(count)]
    pixels = torch.stack([seeing.prepare(e.conversation.images[0].source) for e in examples])
    targets = [seeing.targets(e) for e in examples]
    return pixels, {name: torch.cat([t[name] for t in targets]) for name in targets[0]}


def test_a_token_is_four_neighbouring_cells_and_their_place() -> None:
    seeing = tower().eval()
    pixels, _ = batch(seeing, 3)
    with torch.no_grad():
        cells, tokens = seeing.cells_of(pixels), seeing(pixels)
    assert cells.shape == (3, 64, 128 // CELL_PX, 128 // CELL_PX)
    assert tokens.shape == (3, seeing.tokens, seeing.width) == (3, 64, 4 * 64 + 32)
    row, column = 5, 2
    token = tokens[1, row * 8 + column, : 4 * 64].reshape(64, 2, 2)
    four = cells[1, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
    assert torch.equal(token, four)
    places = tokens[0, :, -32:]
    assert torch.equal(places, tokens[2, :, -32:])
    assert len({tuple(p.tolist()) for p in places}) == 64


def test_it_learns_what_lies_where() -> None:
    seeing = tower().train()
    pixels, targets = batch(seeing, 8)
    optimizer = torch.optim.AdamW(seeing.parameters(), lr=3e-3)
    totals = []
    for _ in range(60):
        losses = seeing.losses(pixels, targets)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert set(losses) == {"noun", "box", "letter", "order", "board", "colour", "pattern"}
    assert totals[-1] < totals[0] / 10
    said = seeing.heads["noun"](seeing.cells_of(pixels)).argmax(1)
    there = targets["noun"] < CLASSES["noun"]
    assert (said[there] == targets["noun"][there]).float().mean() > 0.9


def test_examples_without_truth_are_refused() -> None:
    source = talks.read(0, mix={"description": 1.0})
    with pytest.raises(InputError, match="no truth on a grid"):
        tower().targets(source.example(0))


def test_its_name_survives_saving_in_half_precision(tmp_path: Path) -> None:
    model, _ = llava.scenes("tiny")
    checkpoint.save(model, tmp_path / "half", dtype=torch.bfloat16)
    assert checkpoint.load(tmp_path / "half").tower.fingerprint == model.tower.fingerprint


def test_it_has_no_place_in_an_official_layout(tmp_path: Path) -> None:
    model, _ = llava15.scenes("tiny")
    checkpoint.save(model, tmp_path / "own")
    with pytest.raises(InputError, match="SmallTower"):
        export(tmp_path / "own", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tower_without_the_objective_says_so() -> None:
    model = tiny_llava()
    example = talks.read(0, mix={"picture": 1.0}).example(0)
    with pytest.raises(InputError, match="recognise"):
        model.encode(example, None, ("recognise",))
