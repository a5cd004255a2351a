"""The loop: the same numbers however the work is split or broken off, and only what trains changes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from models.tiny import tiny_llava  # noqa: E402
from training.broken_off import environment, until_logged  # noqa: E402
from training.trained import Pictures, stages  # noqa: E402

from looksay.errors import InputError, UnknownName  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.training import state  # noqa: E402
from looksay.training.loop import TrainingError, train  # noqa: E402
from looksay.training.stages import Stage  # noqa: E402

pytestmark = pytest.mark.local

TESTS = Path(__file__).resolve().parents[1]


def run(out: Path, plan: list[Stage] | None = None, model: Any = None, **options: Any) -> Any:
    options = {"device": "cpu", "quiet": True, "log_every": 4, "save_every": 3, **options}
    return train(model or tiny_llava(), plan or stages(), out, **options)


def curve(out: Path) -> list[tuple[str, int, dict[str, float]]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return [(r["stage"], r["step"], r["losses"]) for r in lines if "losses" in r]


def losses(out: Path) -> list[float]:
    return [found["lm"] for _, _, found in curve(out)]


def weights(model: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def program(*arguments: object) -> list[str]:
    return [str(TESTS / "training" / "trained.py"), *map(str, arguments)]


def test_a_run_learns_and_leaves_checkpoints_log_and_curve(tmp_path: Path) -> None:
    model = run(tmp_path)
    found = losses(tmp_path)
    assert found[-1] < found[0] - 1
    assert [c[:2] for c in curve(tmp_path)] == [
        (stage, step) for stage in ("align", "tune") for step in (4, 8, 12, 16, 20)
    ]
    again = checkpoint.load(tmp_path)
    assert all(torch.equal(v, weights(again)[k]) for k, v in weights(model).items())
    aligned = checkpoint.load(tmp_path / "align")
    assert torch.equal(aligned.language.head[0], tiny_llava().language.head[0])
    assert (tmp_path / "curve.svg").read_text("utf-8").count("<polyline") == 1
    starts = [json.loads(li) for li in (tmp_path / "log.jsonl").read_text().splitlines()]
    start = next(r for r in starts if r.get("event") == "start")
    assert start["trains"]["connector"] == sum(p.numel() for p in model.connector.parameters())


def test_frozen_parts_stay_as_they_were(tmp_path: Path) -> None:
    model = tiny_llava()
    before = weights(model)
    run(tmp_path, stages()[:1], model)
    changed = {k.split(".")[0] for k, v in weights(model).items() if not torch.equal(v, before[k])}
    assert changed == {"connector"}
    assert all(p.grad is None for p in model.language.parameters())


def test_a_frozen_part_is_in_evaluation_mode_while_others_train(tmp_path: Path) -> None:
    model = tiny_llava()
    seen = []
    model.connector.register_forward_hook(
        lambda *_: seen.append(
            (model.tower.training, model.language.training, model.connector.training)
        )
    )
    run(tmp_path, [replace(stages()[0], steps=2)], model)
    assert set(seen) == {(False, False, True)}


def test_four_batches_of_one_are_one_batch_of_four(tmp_path: Path) -> None:
    one = run(tmp_path / "one", stages(each=4))
    four = run(tmp_path / "four", stages(each=1, accumulate=4))
    assert losses(tmp_path / "four") == pytest.approx(losses(tmp_path / "one"), rel=2e-4)
    for name, value in weights(one).items():
        assert torch.allclose(value, weights(four)[name], atol=2e-3), name


def test_packed_and_padded_batches_learn_the_same(tmp_path: Path) -> None:
    run(tmp_path / "packed", stages(each=6))
    run(tmp_path / "padded", [replace(s, pack=False) for s in stages(each=6)])
    assert losses(tmp_path / "padded") == pytest.approx(losses(tmp_path / "packed"), rel=2e-4)


def test_recomputing_activations_changes_no_number(tmp_path: Path) -> None:
    run(tmp_path / "kept")
    run(tmp_path / "again", [replace(s, checkpoint_activations=True) for s in stages()])
    assert losses(tmp_path / "again") == pytest.approx(losses(tmp_path / "kept"), rel=1e-6)


def test_cached_features_change_no_number_and_save_the_tower(tmp_path: Path) -> None:
    plain, cached = tiny_llava(), tiny_llava()
    calls = []
    cached.tower.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    run(tmp_path / "plain", stages(each=6), plain)
    keeping = [replace(s, cache_features=True) for s in stages(each=6)]
    run(tmp_path / "cached", keeping, cached, features=tmp_path / "features")
    assert losses(tmp_path / "cached") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)
    assert sum(calls) == Pictures().size
    calls.clear()
    once_more = tiny_llava()
    once_more.tower.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    run(tmp_path / "disk", keeping, once_more, features=tmp_path / "features")
    assert not calls
    assert losses(tmp_path / "disk") == losses(tmp_path / "cached")


def test_features_of_a_tower_that_trains_are_not_cached(tmp_path: Path) -> None:
    plan = [replace(stages()[0], trains={"tower": 1e-3}, cache_features=True)]
    with pytest.raises(InputError, match="tower"):
        run(tmp_path, plan)


def test_bf16_learns_as_fp32_does_and_keeps_fp32_weights(tmp_path: Path) -> None:
    run(tmp_path / "wide")
    narrow = run(tmp_path / "narrow", precision="bf16")
    assert losses(tmp_path / "narrow") == pytest.approx(losses(tmp_path / "wide"), rel=0.05)
    assert losses(tmp_path / "narrow") != losses(tmp_path / "wide")
    assert next(narrow.connector.parameters()).dtype == torch.float32


def test_a_finished_run_is_loaded_and_another_one_is_refused(tmp_path: Path) -> None:
    model = run(tmp_path)
    again = run(tmp_path)
    assert torch.equal(model.language.head[0], again.language.head[0])
    assert len(losses(tmp_path)) == 10
    with pytest.raises(InputError, match="--fresh"):
        run(tmp_path, seed=1)
    with pytest.raises(InputError, match="first weights"):
        run(tmp_path, model=tiny_llava(seed=1))
    run(tmp_path, seed=1, resume=False)
    assert len(losses(tmp_path)) == 10


def test_a_run_of_other_lengths_is_refused_and_told_stage_by_stage(tmp_path: Path) -> None:
    run(tmp_path)
    first, second = stages()
    longer = [first, replace(second, steps=second.steps + 7)]
    told = f"{second.name}: {second.steps} steps, now {second.steps + 7} are asked for"
    with pytest.raises(InputError, match=re.escape(f"({told})")) as caught:
        run(tmp_path, longer)
    assert f"Type --steps {second.name}={second.steps} for" in str(caught.value)
    assert f"--from {tmp_path} --out ANOTHER" in str(caught.value)
    assert len(losses(tmp_path)) == 10
    # A stage less is another run, not one of other lengths.
    with pytest.raises(InputError, match="other stages"):
        run(tmp_path, [first])
    # So is one that stands in a later stage, of which there is no model yet.
    (tmp_path / "run.json").unlink()
    plan = state.plan_of(stages(), 0, 1, tiny_llava())
    state.save(state.State(plan, stage=1, step=2), tmp_path)
    with pytest.raises(InputError, match=f"{first.name}: {first.steps} steps, now 99") as caught:
        state.load(tmp_path, ((plan[0][0], 99), plan[1]))
    assert "--from" not in str(caught.value)
    assert state.load(tmp_path, (plan[0], (plan[1][0], 99))) is not None


def test_faults_are_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="tower"):
        run(tmp_path / "a", [replace(stages()[0], trains={"towr": 1.0})])
    with pytest.raises(InputError, match="max_length=20"):
        run(tmp_path / "b", [replace(stages()[0], max_length=20)])
    with pytest.raises(InputError, match="precision"):
        run(tmp_path / "c", precision="fp8")
    model = tiny_llava()
    with torch.no_grad():
        next(model.connector.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="learning rates"):
        run(tmp_path / "d", model=model)


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 7])
def test_a_killed_run_goes_on_to_the_same_curve(tmp_path: Path, at: int) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    run(unbroken)
    victim = subprocess.Popen(
        [sys.executable, *program(broken, "--pause", 0.02)], env=environment()
    )
    until_logged(broken, at, victim)
    victim.kill()
    victim.wait()
    assert not (broken / "run.json").exists()
    subprocess.run([sys.executable, *program(broken)], env=environment(), check=True, timeout=120)
    assert curve(broken) == curve(unbroken)
    one, two = checkpoint.load(unbroken), checkpoint.load(broken)
    assert all(torch.equal(v, weights(two)[k]) for k, v in weights(one).items())


@pytest.mark.slow
def test_two_runs_do_not_train_in_one_folder(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, *program(tmp_path, "--pause", 0.02)], env=environment()
    )
    until_logged(tmp_path, 0, first)
    with pytest.raises(InputError, match=r"Another run is training in .* choose another --out"):
        run(tmp_path, resume=False)
    assert first.wait(120) == 0
    assert (tmp_path / "run.json").is_file()


@pytest.mark.slow
def test_two_processes_learn_as_one_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = program(tmp_path / "two", "--each", 2)
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-addr", "127.0.0.1", "--master-port", str(port)),
    ]
    subprocess.run([*torchrun, *arguments], env=environment(), check=True, timeout=300)
    run(tmp_path / "one", stages(each=4))
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-4)
    one, two = checkpoint.load(tmp_path / "one"), checkpoint.load(tmp_path / "two")
    for name, value in weights(one).items():
        assert torch.allclose(value, weights(two)[name], atol=2e-3), name


def test_a_state_that_is_no_number_never_replaces_a_good_one(tmp_path: Path) -> None:
    class Poisoned(Pictures):
        def example(self, index: int) -> Any:
            drawn.append(index)
            if len(drawn) == 20:
                with torch.no_grad():
                    model.connector.parameters().__next__().fill_(float("nan"))
            return super().example(index)

    drawn: list[int] = []
    model = tiny_llava()
    plan = [replace(stages(each=2)[0], data=Poisoned())]
    with pytest.raises(TrainingError, match=r"no number after step \d+ of the stage 'align'"):
        run(tmp_path, plan, model, log_every=100, save_every=3)
    kept = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert 0 < kept["step"] < 20
    assert all(value.isfinite().all() for value in kept["weights"].values())


@pytest.mark.parametrize("damage", ["gone", "half", "cut"])
def test_a_damaged_log_breaks_no_resume(tmp_path: Path, damage: str) -> None:
    from training.trained import Broken, breaking

    plan = stages(each=2)
    data = breaking(Pictures(), 30)
    with pytest.raises(Broken):
        run(tmp_path, [replace(plan[0], data=data), plan[1]])
    log = tmp_path / "log.jsonl"
    content = log.read_bytes()
    if damage == "gone":
        log.unlink()
    elif damage == "half":
        log.write_bytes(content[: len(content) // 2])
    else:
        log.write_bytes(content[:10] + b"\0" * (len(content) - 10))
    run(tmp_path, plan)
    assert curve_of_last(log) == ("tune", 20)


def curve_of_last(log: Path) -> tuple[str, int]:
    last = json.loads(log.read_text("utf-8").splitlines()[-1])
    return last["stage"], last["step"]
