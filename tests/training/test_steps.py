"""How a step is taken: Muon beside AdamW, compiled layers; and gates between stages."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from conftest import need  # noqa: E402
from models.tiny import tiny_llava  # noqa: E402
from training.trained import Broken, breaking, stages  # noqa: E402

from looksay.data.scenes.grids import CLASSES  # noqa: E402
from looksay.errors import InputError  # noqa: E402
from looksay.models.small_tower import SmallTower  # noqa: E402
from looksay.training import optim  # noqa: E402
from looksay.training.layers import recomputed  # noqa: E402
from looksay.training.loop import train  # noqa: E402
from looksay.training.stages import Adapter, TrainingError  # noqa: E402

pytestmark = pytest.mark.local


def run(out: Path, plan: list[Any], **options: Any) -> list[float]:
    train(tiny_llava(), plan, out, device="cpu", quiet=True, log_every=4, **options)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return [line["losses"]["lm"] for line in lines if "losses" in line]


def test_muon_takes_the_matrices_of_stacked_layers_and_adamw_the_rest() -> None:
    model = tiny_llava()
    stage = replace(stages()[1], optimizer="muon")
    learning = optim.thaw(model.parts, stage)
    groups = optim.optimizer(model.parts, learning, stage).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    muon = [names[id(p)] for g in groups if "ns_steps" in g for p in g["params"]]
    adamw = [names[id(p)] for g in groups if "ns_steps" not in g for p in g["params"]]
    assert muon
    assert all(".layers." in name and name.startswith("language.") for name in muon)
    assert any("embed" in name for name in adamw)
    assert any(name.startswith("connector.") for name in adamw)
    assert sorted(muon + adamw) == sorted(
        names[id(p)] for found in learning.values() for p in found
    )


def test_muon_learns_and_resumes_exactly(tmp_path: Path) -> None:
    plan = [replace(stage, optimizer="muon") for stage in stages()]
    whole = run(tmp_path / "whole", plan)
    assert whole[-1] < whole[0]
    broken = tmp_path / "broken"
    with pytest.raises(Broken):
        run(broken, [plan[0], replace(plan[1], data=breaking(plan[1].data, 60))], save_every=3)
    assert (broken / "resume.pt").is_file()
    assert run(broken, plan, save_every=3) == whole


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the compiler about itself
def test_compiled_layers_learn_the_same(tmp_path: Path) -> None:
    need(shutil.which("g++") or shutil.which("clang++"), "torch compiles with a C++ compiler")
    plain = run(tmp_path / "plain", stages())
    compiled = run(tmp_path / "compiled", stages(), compile=True)
    assert compiled == pytest.approx(plain, rel=1e-3)


def test_a_gate_stops_a_run_before_the_next_stage_and_is_asked_again(tmp_path: Path) -> None:
    asked = []

    def gate(model: Any) -> None:
        asked.append(model.training)
        if len(asked) == 1:
            raise TrainingError("not good enough")

    first, second = stages()
    plan = [replace(first, gate=gate), second]
    with pytest.raises(TrainingError, match="not good enough"):
        run(tmp_path, plan, save_every=5)
    assert not (tmp_path / "align").exists()
    assert run(tmp_path, plan, save_every=5)
    assert asked == [False, False]


def test_a_stage_that_its_gate_holds_back_is_trained_for_longer(tmp_path: Path) -> None:
    steps = []

    def gate(model: Any) -> None:
        steps.append(plan[0].steps)
        if plan[0].steps == 20:
            raise TrainingError("not good enough")

    first, second = stages()
    plan = [replace(first, gate=gate), second]
    for _ in range(2):  # the second time only the gate is asked again
        with pytest.raises(TrainingError, match="not good enough"):
            run(tmp_path, plan, save_every=50)
    plan = [replace(first, gate=gate, steps=24), replace(second, steps=8)]
    losses = run(tmp_path, plan, save_every=50)
    assert steps == [20, 20, 24]
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = [(r["stage"], r["step"]) for r in records if "losses" in r]
    assert len(set(told)) == len(told) == len(losses)
    assert ("align", 24) in told
    assert ("tune", 8) in told
    with pytest.raises(InputError, match="--fresh"):
        run(tmp_path, [replace(first, gate=gate, steps=30), second])


def test_recomputing_leaves_layers_with_running_statistics_alone() -> None:
    tower = SmallTower(size_px=32, channels=64, blocks=(1, 2), classes=CLASSES).train()
    with recomputed(tower) as layers:
        assert layers == 0
        tower(torch.randn(2, 3, 32, 32)).sum().backward()
    assert int(next(b for n, b in tower.named_buffers() if "num_batches" in n)) == 1


def test_an_objective_that_the_model_has_not_is_told(tmp_path: Path) -> None:
    plan = [replace(stages()[0], objectives=("ml",), examples_per_batch=4)]
    with pytest.raises(InputError, match="no loss for ml"):
        run(tmp_path, plan)


def test_muon_alone_has_no_empty_partner(tmp_path: Path) -> None:
    adapter = Adapter(rank=4, alpha=8)
    stage = replace(stages()[1], trains={"language": 1e-3}, optimizer="muon", adapter=adapter)
    assert run(tmp_path, [stage])
