"""Sharded training: the numbers of one process, a share of the model in each, and ordinary checkpoints."""

from __future__ import annotations

import json
import os
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
from training.broken_off import until_logged  # noqa: E402
from training.trained import Pictures, stages  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.training.loop import train  # noqa: E402
from looksay.training.plan import plan, told  # noqa: E402
from looksay.training.recipes import llava15  # noqa: E402
from looksay.training.stages import Adapter  # noqa: E402

pytestmark = pytest.mark.local

TESTS = Path(__file__).resolve().parents[1]
PROGRAM = TESTS / "training" / "trained.py"


def start(*arguments: object, world: int = 2) -> list[subprocess.Popen[bytes]]:
    """The processes of one run, as torchrun would start them; started by hand to be killed at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    common = {
        **os.environ,
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(world)
    ]


def finish(processes: list[subprocess.Popen[bytes]]) -> None:
    try:
        assert [p.wait(timeout=200) for p in processes] == [0] * len(processes)
    finally:
        for process in processes:
            process.kill()


def curve(out: Path) -> list[tuple[str, int, dict[str, float]]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return [(r["stage"], r["step"], r["losses"]) for r in lines if "losses" in r]


def losses(out: Path) -> list[float]:
    return [found["lm"] for _, _, found in curve(out)]


def weights(folder: Path) -> dict[str, Any]:
    return dict(checkpoint.load(folder).state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (("--texts", "--accumulate", 2, "--again"), {"texts": True, "accumulate": 2}),
        (("--lora", "--cached"), {"adapter": Adapter(rank=4, alpha=8, dropout=0.0)}),
    ],
    ids=["whole", "adapter"],
)
def test_two_sharded_processes_learn_as_one_does(
    tmp_path: Path, options: tuple[object, ...], changes: dict[str, Any]
) -> None:
    running = start(PROGRAM, tmp_path / "two", "--shard", "--each", 1, *options)
    try:
        one = tmp_path / "one"
        train(tiny_llava(), stages(each=2, **changes), one, device="cpu", quiet=True, log_every=4)
    finally:
        finish(running)
    assert losses(tmp_path / "two") == pytest.approx(losses(one), rel=2e-4)
    for folder in ("align", "tune", "."):
        found = weights(tmp_path / "two" / folder)
        for name, value in weights(one / folder).items():
            assert torch.allclose(value, found[name], atol=2e-3), (folder, name)


@pytest.mark.slow
def test_a_killed_sharded_run_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    finish(start(PROGRAM, unbroken, "--shard"))
    victims = start(PROGRAM, broken, "--shard", "--pause", 0.02)
    until_logged(broken, 9, *victims)
    for victim in victims:
        victim.kill()
        victim.wait()
    assert not (broken / "run.json").exists()
    state = torch.load(broken / "resume.pt", weights_only=True)
    assert state["stage"] == 1
    finish(start(PROGRAM, broken, "--shard"))
    assert curve(broken) == curve(unbroken)
    whole = weights(unbroken)
    assert all(torch.equal(value, whole[name]) for name, value in weights(broken).items())


SHARES = """
import json, sys
import torch
import torch.distributed as dist
from models.tiny import tiny_llava
from training.trained import Pictures, stages
from looksay.models.batching import pad
from looksay.training import optim
from looksay.training.sharding import Shards, clip, part, split_state, whole_state

dist.init_process_group("gloo")
model = tiny_llava(language="qwen2")
stage = stages()[1]
learning = optim.thaw(model.parts, stage)
total = sum(p.numel() for p in model.parameters())
shards = Shards(model, torch.device("cpu"), torch.float32)
learning = shards.learning(learning)
every = [p for found in learning.values() for p in found]
optimizer = torch.optim.AdamW(every, lr=1e-3, fused=True)
data = Pictures()
batch = pad([model.encode(data.example(i), None, ("lm",)) for i in range(2)])
shards.module(batch, objectives=("lm",))["lm"].backward()
before = float(clip(every, 1e-3))
after = float(clip(every, 1.0))
optimizer.step()
held = sum(p.to_local().numel() for p in shards.module.parameters())
states = [s[k].to_local().numel() for s in optimizer.state.values() for k in ("exp_avg", "exp_avg_sq")]
grads = sum(p.grad.to_local().numel() for p in every)
state = whole_state(optimizer, keep=True)
optimizer.load_state_dict(split_state(state, optimizer))
again = whole_state(optimizer, keep=True)
same = all(
    torch.equal(v, again["state"][n][k]) for n, found in state["state"].items() for k, v in found.items()
)
shards.gather()
tied = model.language.model.lm_head.weight is model.language.model.model.embed_tokens.weight
if dist.get_rank() == 0:
    learned = sum(p.numel() for p in every)
    wholes = sum(v.numel() for s in state["state"].values() for k, v in s.items() if k != "step")
    json.dump([total, held, learned, grads, sum(states), wholes, before, after, same, tied], open(sys.argv[1], "w"))
dist.barrier()
del shards, optimizer, learning, every, model
part()
"""


@pytest.mark.slow
def test_each_process_holds_its_share_of_weights_gradients_and_moments(tmp_path: Path) -> None:
    finish(start("-c", SHARES, tmp_path / "found.json"))
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    total, held, learned, grads, states, wholes, before, after, same, tied = found
    assert held == pytest.approx(total / 2, rel=0.02)  # rows that do not divide
    assert grads == pytest.approx(learned / 2, rel=0.02)
    assert states == 2 * grads
    assert wholes == 2 * learned
    assert before > 1
    assert after == pytest.approx(1e-3, rel=1e-3)
    assert same
    assert tied


def test_what_cannot_be_sharded_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="torchrun"):
        train(tiny_llava(), stages(), tmp_path, device="cpu", shard=True)
    from looksay.training.sharding import check

    packed = [replace(stages()[1], adapter=Adapter(quantize="nf4"))]
    with pytest.raises(InputError, match="4 bit"):
        check(packed, 2, compile=False)
    with pytest.raises(InputError, match="Muon"):
        check([replace(stages()[1], optimizer="muon")], 2, compile=False)
    with pytest.raises(InputError, match="--compile"):
        check(stages(), 2, compile=True)


def test_the_papers_7b_fits_eight_devices_in_shards_alone() -> None:
    outlined = llava15.outline("7b")
    asked: dict[str, Any] = {
        "device": "a100-80gb",
        "devices": 8,
        "image_tokens": outlined.image_tokens,
        "tower_tokens": outlined.tower_tokens,
        "frozen_bytes": 2.0,
    }
    recipe = llava15.paper(Pictures(558_128), Pictures(665_298))
    plain = plan(outlined.parts, recipe, **asked)
    shared = plan(outlined.parts, recipe, **asked, shard=True)
    assert "MORE THAN" in told(plain, "a100-80gb", 8, 0.0)
    assert "MORE THAN" not in told(shared, "a100-80gb", 8, 0.0)
    for name in ("weights", "gradients", "optimizer"):
        assert shared[1].memory[name] == plain[1].memory[name] / 8
    assert shared[1].host == plain[1].memory["weights"]
    layer = (4 * 4096**2 + 3 * 4096 * 11008) * 4
    assert shared[0].memory["gathered"] > layer
    assert shared[1].hours == plain[1].hours
    lean = plan(
        outlined.parts,
        llava15.paper(Pictures(99_999), Pictures(99_999), adapter=True),
        **asked,
        shard=True,
    )
    assert lean[1].memory["gathered"] < shared[1].memory["gathered"]
