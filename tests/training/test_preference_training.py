"""Preference training through the loop: it begins at log 2, learns, and ends with the same numbers however the work is
split or broken off."""

from __future__ import annotations

import json
import math
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
from training.preferred import Pairs, stage  # noqa: E402
from training.trained import Broken  # noqa: E402

from looksay.data.dataset import Examples, Noted, Part  # noqa: E402
from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.fingerprint import is_adapter, plain  # noqa: E402
from looksay.models.likelihood import log_likelihoods  # noqa: E402
from looksay.training import state  # noqa: E402
from looksay.training.curve import draw  # noqa: E402
from looksay.training.loop import train  # noqa: E402
from looksay.training.stages import Adapter, Stage  # noqa: E402
from looksay.types import Conversation  # noqa: E402

pytestmark = pytest.mark.local

TESTS = Path(__file__).resolve().parents[1]
PROGRAM = TESTS / "training" / "preferred.py"


def run(out: Path, *plan: Stage, model: Any = None, **how: Any) -> Any:
    how = {"log_every": 4, "save_every": 3, **how}
    stages = plan or (stage(),)
    return train(
        model or tiny_llava(), stages, out, device="cpu", precision="fp32", quiet=True, **how
    )


def curve(out: Path) -> list[tuple[str, int, dict[str, float]]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return [(r["stage"], r["step"], r["losses"]) for r in lines if "losses" in r]


def figures(out: Path) -> list[dict[str, float]]:
    return [losses for _, _, losses in curve(out)]


def weights(model: Any) -> dict[str, Any]:
    return {plain(name): value.clone() for name, value in model.state_dict().items()}


def near(one: Path, other: Path, rel: float = 2e-4) -> None:
    assert len(figures(one)) == len(figures(other)) > 0
    for mine, theirs in zip(figures(one), figures(other), strict=True):
        # A margin near 0 may fall on either side of it.
        assert mine.keys() == theirs.keys()
        assert mine == pytest.approx(theirs, rel=rel, abs=2e-4)


def breaking(after: int) -> Pairs:
    """The same pairs, which fail once `after` were drawn."""
    broken, whole = Pairs(), Pairs()
    calls = iter(range(after))

    def example(index: int) -> Any:
        if next(calls, None) is None:
            raise Broken
        return whole.example(index)

    broken.example = example  # type: ignore[method-assign]
    return broken


# -- learning


def test_it_begins_at_log_2_and_learns_what_is_preferred(tmp_path: Path) -> None:
    model = run(tmp_path, stage(steps=40), log_every=1)
    found = figures(tmp_path)
    first, last = found[0], found[-1]
    assert first["preference"] == pytest.approx(math.log(2), abs=1e-5)
    for name in ("margin", "chosen", "rejected"):
        assert first[f"preference/{name}"] == pytest.approx(0, abs=1e-5)
    assert last["preference"] < 0.3
    assert last["preference/accuracy"] == 1
    assert last["preference/margin"] == pytest.approx(
        last["preference/chosen"] - last["preference/rejected"], rel=1e-4
    )
    # The rewards of the log are beta times what became of the likelihoods.
    before, example = tiny_llava(), Pairs().example(0)
    asked = Conversation(example.conversation.messages[:1])
    answers = (example.conversation.messages[-1].text, example.truth["rejected"])
    rewards = [
        0.5 * (now - then)
        for now, then in zip(
            *(log_likelihoods(one, asked, answers) for one in (model, before)), strict=True
        )
    ]
    assert rewards[0] > rewards[1] + 1
    assert not (tmp_path / state.REFERENCE).exists()


def test_rewards_below_0_are_in_the_log_and_not_in_the_picture(tmp_path: Path) -> None:
    run(tmp_path)
    assert figures(tmp_path)[-1]["preference/rejected"] < 0
    drawn = (tmp_path / "curve.svg").read_text("utf-8")
    assert ">preference</text>" in drawn
    assert "preference/rejected" not in drawn
    assert "nan" not in draw([])


def test_only_what_the_stage_names_learns(tmp_path: Path) -> None:
    model = tiny_llava()
    before = weights(model)
    run(tmp_path, stage(trains={"connector": 3e-3}), model=model)
    changed = {k.split(".")[0] for k, v in weights(model).items() if not torch.equal(v, before[k])}
    assert changed == {"connector"}


def test_an_adapter_learns_beside_weights_that_stay(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    adapter = Adapter(rank=4, alpha=8, dropout=0.0)
    model = tiny_llava()
    before = weights(model)
    run(tmp_path, stage(trains={"language": 3e-3}, adapter=adapter), model=model, log_every=1)
    found = figures(tmp_path)
    assert found[0]["preference"] == pytest.approx(math.log(2), abs=1e-5)
    assert found[-1]["preference"] < found[0]["preference"]
    after = weights(model)
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert any(is_adapter(k) for k in after)


def test_the_reference_is_the_model_after_the_stage_before(tmp_path: Path) -> None:
    supervised = replace(stage(), name="tune", objectives=("lm",))
    run(tmp_path, supervised, stage(), log_every=1)
    first = next(losses for name, step, losses in curve(tmp_path) if (name, step) == ("prefer", 1))
    assert first["preference"] == pytest.approx(math.log(2), abs=1e-5)


def test_the_anchor_keeps_the_chosen_answer_likely(tmp_path: Path) -> None:
    run(tmp_path / "alone", stage(steps=30))
    anchored = stage(steps=30, objectives=("preference", "anchor"), weights={"anchor": 3.0})
    run(tmp_path / "anchored", anchored)
    alone, both = figures(tmp_path / "alone")[-1], figures(tmp_path / "anchored")[-1]
    assert both["preference/chosen"] > alone["preference/chosen"] + 0.1
    assert "anchor" in both
    assert "anchor" not in alone


def test_a_stronger_beta_holds_the_model_nearer(tmp_path: Path) -> None:
    """At the loss's end a margin is reached with smaller changes of likelihoods."""
    moved = {}
    for beta in (0.1, 2.0):
        out = tmp_path / str(beta)
        run(out, stage(Noted(Pairs(), beta=beta), steps=30))
        moved[beta] = figures(out)[-1]["preference/margin"] / beta
    assert moved[2.0] < moved[0.1]


# -- the same numbers


def test_four_batches_of_one_are_one_batch_of_four(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "four", stage(examples_per_batch=1, accumulate=4))
    near(tmp_path / "four", tmp_path / "one")


def test_packed_padded_recomputed_and_cached_learn_the_same(tmp_path: Path) -> None:
    run(tmp_path / "packed")
    calls: list[int] = []
    cached = tiny_llava()
    cached.tower.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    run(tmp_path / "padded", stage(pack=False, checkpoint_activations=True))
    run(tmp_path / "cached", stage(cache_features=True), model=cached)
    near(tmp_path / "padded", tmp_path / "packed")
    near(tmp_path / "cached", tmp_path / "packed")
    # Three colours; the reference and all steps share what was seen of them.
    assert sum(calls) == 3


def test_workers_measure_the_same_reference(tmp_path: Path) -> None:
    run(tmp_path / "thread")
    run(tmp_path / "workers", workers=2)
    assert curve(tmp_path / "workers") == curve(tmp_path / "thread")


@pytest.mark.parametrize("after", [10, 40])
def test_a_run_that_broke_ends_with_the_same_numbers(tmp_path: Path, after: int) -> None:
    """While the reference was measured, and in the middle of the steps."""
    whole = run(tmp_path / "whole")
    with pytest.raises(Broken):
        run(tmp_path / "broken", stage(breaking(after)))
    assert (tmp_path / "broken" / state.REFERENCE).exists() == (after > 22)
    again = run(tmp_path / "broken")
    assert curve(tmp_path / "broken") == curve(tmp_path / "whole")
    found = weights(again)
    assert all(torch.equal(v, found[k]) for k, v in weights(whole).items())


def test_a_lost_or_another_reference_is_never_taken(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        run(tmp_path, stage(breaking(45)))
    path = tmp_path / state.REFERENCE
    kept = path.read_text("utf-8")
    path.unlink()
    with pytest.raises(InputError, match=r"reference\.json is gone.*--fresh"):
        run(tmp_path)
    path.write_text(kept.replace('"of": "', '"of": "x'), "utf-8")
    with pytest.raises(InputError, match="is gone"):
        run(tmp_path)
    run(tmp_path, resume=False)
    run(tmp_path.with_name("whole"))
    assert curve(tmp_path) == curve(tmp_path.with_name("whole"))


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 2])
def test_a_killed_run_goes_on_to_the_same_curve(tmp_path: Path, at: int) -> None:
    """`at` 0: while the reference is measured, or just after."""
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    run(unbroken)
    victim = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(broken), "--pause", "0.03"], env=environment()
    )
    until_logged(broken, at + 1, victim)
    victim.kill()
    victim.wait()
    assert not (broken / "run.json").exists()
    done = [sys.executable, str(PROGRAM), str(broken)]
    subprocess.run(done, env=environment(), check=True, timeout=120)
    assert curve(broken) == curve(unbroken)
    one, two = (weights(checkpoint.load(out)) for out in (unbroken, broken))
    assert all(torch.equal(v, two[k]) for k, v in one.items())


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--shard",)])
def test_two_processes_learn_as_one_does(tmp_path: Path, more: tuple[str, ...]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-addr", "127.0.0.1", "--master-port", str(port)),
    ]
    words = [str(PROGRAM), str(tmp_path / "two"), "--each", "2", *more]
    subprocess.run([*torchrun, *words], env=environment(), check=True, timeout=300)
    run(tmp_path / "one")
    near(tmp_path / "two", tmp_path / "one")
    one, two = (weights(checkpoint.load(tmp_path / out)) for out in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=2e-3), name


# -- what does not go


def test_what_does_not_go_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without end"):
        run(tmp_path / "a", stage(Pairs(size=None)))
    run(tmp_path / "part", stage(Part(Pairs(size=None), 0, 8), steps=1))
    with pytest.raises(InputError, match=r"max_length=30"):
        run(tmp_path / "b", stage(max_length=30, overlong="cut"))
    plain = [Pairs().example(n) for n in range(8)]
    single = Examples([replace(e, truth={}) for e in plain])
    with pytest.raises(InputError, match="Example '0': This is no pair of answers"):
        run(tmp_path / "c", stage(single))
    with pytest.raises(InputError, match="a stage of its own"):
        run(tmp_path / "d", stage(objectives=("preference", "lm")))


def test_a_family_that_says_nothing_learns_nothing_from_it(tmp_path: Path) -> None:
    from training.families import made

    model, stages = made("clip")
    with pytest.raises(InputError, match="clip does not learn from preferences; expected a family"):
        run(tmp_path, stage(trains=stages[-1].trains), model=model)


def test_other_rejected_answers_are_other_data() -> None:
    pairs = [Pairs().example(n) for n in range(4)]
    turned = [replace(e, truth={**e.truth, "rejected": "a tree"}) for e in pairs]
    prints = {Examples(some).fingerprint for some in (pairs, turned)}
    prints |= {Noted(Examples(pairs), beta=beta).fingerprint for beta in (0.1, 0.2)}
    assert len(prints) == 4
