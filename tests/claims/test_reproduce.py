"""Claims run from end to end on tiny models: what arms share is trained once, a kill loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("matplotlib", reason="the extra evaluate is not installed")

from claims.made import FIGURE

from looksay.claims import base, build, results
from looksay.claims.base import Arm, Claim
from looksay.claims.results import Found
from looksay.claims.run import reproduce
from looksay.cli.reproduce import _run
from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.fingerprint import exact_fingerprint
from looksay.training.stages import Stage, TrainingError

pytestmark = [pytest.mark.local, pytest.mark.slow]

TRIAL: dict[str, Any] = {"size": "tiny", "scenes": 3, "steps_share": 0.0004, "quiet": True}


def trial(name: str, out: Path, seeds: tuple[int, ...] = (0,)) -> Found:
    return reproduce(name, base.every()[name], out, seeds=seeds, **TRIAL)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each stage was trained with each seed."""
    found: Counter[tuple[str, int]] = Counter()
    real = build.train

    def train(model: Any, stages: list[Stage], out: Path, *, seed: int, **how: Any) -> Any:
        found[stages[0].name, seed] += 1
        return real(model, stages, out, seed=seed, **how)

    monkeypatch.setattr(build, "train", train)
    return found


def test_what_arms_and_claims_share_is_trained_once_per_seed(
    tmp_path: Path, counted: Counter[tuple[str, int]]
) -> None:
    first = trial("llava/align", tmp_path, (0, 1))
    once = {"tower": 1, "language": 1, "ground": 1, "align": 1, "instruct": 2}
    assert counted == {(name, seed): n for name, n in once.items() for seed in (0, 1)}
    counted.clear()
    second = trial("llava/mlp", tmp_path)
    assert counted == {("ground", 0): 1, ("align", 0): 1, ("instruct", 0): 1}
    counted.clear()
    trial("llava/tuning", tmp_path)  # both arms are there already
    assert trial("llava/align", tmp_path, (0, 1)) == first
    assert counted == {}
    whole = [next(m for m in f.models if m.arm == "all stages") for f in (first, second)]
    assert whole[0] == whole[1]
    assert [s.name for s in whole[0].stages] == ["tower", "language", "ground", "align", "instruct"]
    assert first.hours > 0
    assert len({one.fingerprint for one in first.models}) == 4
    # One file of answers for each model, whichever claim asked it.
    assert len(list((tmp_path / "answers").rglob("*.jsonl"))) == 4 + 1 + 1


def test_stages_said_to_stand_alone_do(tmp_path: Path) -> None:
    """Tower and language model come out the same beside one matrix and beside two layers."""
    found = []
    for number, arm in enumerate(base.every()["llava/mlp"].arms):

        def grounded(size: str, seed: int, arm: Arm = arm) -> Any:
            model, stages = arm.make(size, seed)
            return model, stages[:3]

        place, _ = build.build(
            replace(arm, make=grounded),
            "tiny",
            5,
            tmp_path / str(number),
            steps_share=0.002,
            quiet=True,
        )
        parts = checkpoint.load(place).parts
        found.append({n: exact_fingerprint(part.state_dict()) for n, part in parts.items()})
    assert found[0]["tower"] == found[1]["tower"]
    assert found[0]["language"] == found[1]["language"]
    assert found[0]["connector"] != found[1]["connector"]


def looksay(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "looksay", *map(str, arguments)]


def test_killed_again_and_again_it_ends_with_the_same_record(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LOOKSAY_PLAIN": "1"}
    asked = ("reproduce", "llava/align", "--size", "tiny", "--seeds", 3, "--scenes", 3)
    more = ("--steps-share", 0.003, "--save-every", 2, "--json", "--out")

    def record(out: Path) -> dict[str, Any]:
        done = subprocess.run(
            looksay(*asked, *more, out),
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)
        return {key: value for key, value in row.items() if key != "hours"}

    broken = tmp_path / "broken"
    for killed_in in ("tower", "language", "instruct"):
        child = subprocess.Popen(
            looksay(*asked, *more, broken),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while not list((broken / "stages").glob(f"{killed_in}-*/resume.pt")):
            assert child.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        child.kill()
        child.wait()
    unfinished = list((broken / "stages").glob("instruct-*/resume.pt"))
    assert unfinished
    assert record(broken) == record(tmp_path / "whole")
    for out in (broken, tmp_path / "whole"):
        assert not list(out.glob("*.gz")), "a trial is no result"
    curves = [
        sorted(
            [
                (r["stage"], r["step"], tuple(r["losses"].values()))
                for log in (out / "stages").glob("*/log.jsonl")
                for r in map(json.loads, log.read_text("utf-8").splitlines())
                if "losses" in r
            ]
        )
        for out in (broken, tmp_path / "whole")
    ]
    assert curves[0] == curves[1]


def short(without: str = "", gate: Any = None) -> Any:
    """The recipe with two steps for each stage: a whole run of a plan that is short."""

    def make(size: str, seed: int) -> Any:
        from looksay.training.recipes import llava

        model, stages = llava.scenes(size, seed)
        kept = [s for s in stages if s.name != without]
        return model, [
            replace(s, steps=2, gate=gate if s.name == "instruct" else None) for s in kept
        ]

    return make


def test_a_whole_run_leaves_results_from_which_the_page_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = (Arm("without align", short("align")), Arm("all stages", short()))
    claim = Claim("short", "Two steps teach.", arms, FIGURE, "two steps")
    how = {"seeds": (0,), "size": "tiny", "scenes": 2, "steps_share": 1.0}
    how |= {"device": "cpu", "compile": False, "save_every": 500}
    _run({"made/short": claim}, tmp_path, how, as_json=True)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "undecided"
    assert "is blind: object recall" in row["reasons"][0]
    assert row["arms"][0]["of"] > 2
    kept = results.load(results.file(tmp_path, "made/short"))
    assert [m.arm for m in kept.models] == ["without align", "all stages"]
    assert {one.image for one in kept.samples} == {"test 0", "test 1"}
    assert all(one.sight for one in kept.samples if one.id.endswith("description"))
    questions = [one for one in kept.samples if one.figure]
    assert len(questions) == row["arms"][0]["of"]
    assert all(isinstance(text, str) for one in questions for arm in one.said for text in arm)
    from looksay.claims import page

    assert "Verdict: **undecided**: without align is blind" in page.markdown(
        {"made/short": claim}, tmp_path
    )


def test_a_gate_that_an_arm_does_not_pass_leaves_the_claim_undecided(tmp_path: Path) -> None:
    def closed(model: Any) -> None:
        raise TrainingError("It has learned nothing.")

    arms = (Arm("bad", short("align")), Arm("good", short(gate=closed)))
    claim = Claim("gate", "It passes.", arms, FIGURE, "two steps")
    found = reproduce("made/gate", claim, tmp_path, seeds=(0,), size="tiny", scenes=2, quiet=True)
    assert found.faults == ("good with seed 0 could not be trained: It has learned nothing.",)
    from looksay.claims.verdict import outcome

    assert outcome(claim, found).reasons == found.faults
    assert outcome(claim, found).word == "undecided"


def test_an_arm_must_end_with_a_stage_of_its_own(tmp_path: Path) -> None:
    arm = Arm("x", short(), frozenset({"instruct"}))
    with pytest.raises(InputError, match="ends with 'instruct'"):
        build.build(arm, "tiny", 0, tmp_path)
