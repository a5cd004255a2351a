"""looksay train with preference data as a user types it: every family that talks, its plan, and what does not go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from PIL import Image as Pillow
from typer.testing import CliRunner

from looksay import plugins
from looksay.errors import InputError
from looksay.training.recipes import _published

pytestmark = [pytest.mark.local, pytest.mark.slow]

SILENT = ("albef", "blip", "clip")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = []
    for number in range(12):
        Pillow.new("RGB", (60, 40), (number * 20, 80, 120)).save(tmp_path / f"{number}.png")
        line = {
            "id": str(number),
            "images": [f"{number}.png"],
            "prompt": "Which shade is it?",
            "chosen": f"Shade number {number}.",
            "rejected": f"Shade {number + 1} and a dog.",
        }
        lines.append(json.dumps(line))
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def typed(*words: object) -> str:
    from looksay.cli import app

    done = CliRunner().invoke(app, ["train", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def stage_of(out: Path) -> list[Any]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return [line for line in lines if "losses" in line]


@pytest.mark.parametrize("family", plugins.names("looksay.models.families"))
def test_every_family_that_talks_learns_from_preferences(
    family: str, pairs: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    own = tmp_path / "own.json"
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A shade."}]
    entries = [{"id": str(n), "image": f"{n}.png", "conversations": turns} for n in range(4)]
    own.write_text(json.dumps(entries), "utf-8")
    small = ("--size", "tiny", "--batch", 4)
    typed(family, "--data", own, *small, "--steps", 1, "--out", trained)
    asked = (family, "--data", pairs, "--from", trained, *small)
    if family in SILENT:
        with pytest.raises(InputError, match="does not learn from preferences; expected a family"):
            typed(*asked, "--steps", 1, "--out", tmp_path / "more")
        return
    assert "Stage prefer: 100 steps of 4 examples" in typed(*asked, "--plan")
    typed(*asked, "--steps", 1, "--out", tmp_path / "more")
    (line,) = stage_of(tmp_path / "more")
    assert line["stage"] == "prefer"
    assert line["losses"]["preference"] == pytest.approx(0.6931, abs=1e-3)
    assert {"anchor", "preference/accuracy", "preference/margin"} <= line["losses"].keys()


def test_mini_learns_with_an_adapter_and_another_beta(pairs: Path, tmp_path: Path) -> None:
    asked = ("llava", "--data", pairs, "--from", "mini", "--lora", "--beta", 0.5, "--batch", 4)
    typed(*asked, "--stages", "prefer", "--steps", 8, "--out", tmp_path / "run")
    (line,) = stage_of(tmp_path / "run")
    assert line["lr"].keys() == {"language"}  # the adapter alone
    assert line["losses"]["preference/margin"] > 0
    typed(*asked, "--stages", "prefer", "--steps", 8, "--out", tmp_path / "run")
    other = ("llava", "--data", pairs, "--from", "mini", "--lora", "--batch", 4)
    with pytest.raises(InputError, match="--fresh"):
        typed(*other, "--steps", 8, "--out", tmp_path / "run")


def test_a_published_size_is_planned_as_it_was_published(pairs: Path) -> None:
    asked = ("llava15", "--data", pairs, "--size", "7b", "--devices", 8, "--batch", 1)
    told = typed(*asked, "--device", "a100-80gb", "--plan")
    assert "Stage prefer: 6 steps of 8 examples" in told  # four rounds of twelve pairs
    assert "language 6,7" in told
    assert "Stage prefer: 6 steps" in typed(*asked, "--device", "a100-80gb", "--lora", "--plan")


def test_stages_for_preferences_say_whose_figures_they_have() -> None:
    from looksay.data.dataset import Part
    from looksay.data.sources import scenes

    data = Part(scenes.read(0), 0, 1600)
    small = _published.prefer(data, ("connector", "language"), small=True)
    assert dict(small.trains) == {"connector": 3e-5, "language": 3e-5}
    assert (small.objectives, small.steps) == (("preference", "anchor"), 300)
    large = _published.prefer(data, ("connector", "language"), small=False, devices=2)
    assert dict(large.trains) == {"connector": 5e-7, "language": 5e-7}
    assert large.examples_per_batch * large.accumulate * 2 == 8
    assert (large.objectives, large.steps, large.weight_decay) == (("preference",), 800, 0.01)
    assert large.data.example(0).truth["beta"] == 0.1
    (adapted,) = _published.lora([large])
    assert dict(adapted.trains) == pytest.approx({"language": 2e-6})
    assert (adapted.adapter.rank, adapted.adapter.alpha) == (128, 256)


def test_what_does_not_go_is_told(pairs: Path, tmp_path: Path) -> None:
    asked = ("llava", "--data", pairs, "--size", "tiny", "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"learns that answers already.*--from FOLDER"):
        typed(*asked)
    for data in ("scenes", tmp_path / "own.json"):
        own = {"id": "1", "conversations": [{"from": "human", "value": "a"}]}
        own["conversations"].append({"from": "gpt", "value": "b"})
        (tmp_path / "own.json").write_text(json.dumps([own]), "utf-8")
        with pytest.raises(InputError, match="--beta is for preference data"):
            typed("llava", "--data", data, "--size", "tiny", "--beta", 0.2, "--out", tmp_path / "o")
    (tmp_path / "3.png").unlink()
    with pytest.raises(
        InputError, match=r"(?s)1 of the 12 examples.*entry 4 of 12 \(id '3'\)"
    ) as e:
        typed(*asked, "--from", "mini")
    assert "3.png" in str(e.value)
