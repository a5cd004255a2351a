"""Claims run from end to end on tiny models: what arms share is trained once, a kill loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("matplotlib", reason="the extra evaluate is not installed")

from claims.made import FIGURE

from looksay.claims import base, build, results
from looksay.claims.base import Arm, Claim
from looksay.claims.llava import INSTRUCT_STEPS
from looksay.claims.results import Found
from looksay.claims.run import reproduce
from looksay.cli.reproduce import _run
from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.fingerprint import exact_fingerprint
from looksay.training import state
from looksay.training.recipes import _small
from looksay.training.stages import Stage, TrainingError

pytestmark = [pytest.mark.local, pytest.mark.slow]

TOKENIZER = _small.tokenizer
TRIAL: dict[str, Any] = {"size": "tiny", "scenes": 3, "steps_share": 0.0004, "quiet": True}


def trial(name: str, out: Path, seeds: tuple[int, ...] = (0,)) -> Found:
    return reproduce(name, base.every()[name], out, seeds=seeds, **TRIAL)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of this process has one tokenizer, which is trained once."""
    monkeypatch.setattr(_small, "tokenizer", one_tokenizer)


@cache
def one_tokenizer() -> Any:
    return TOKENIZER(300)


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


@pytest.mark.usefixtures("quick")
def test_arms_are_the_recipe_but_for_what_the_claim_is_about() -> None:
    def made(name: str) -> dict[str, tuple[Any, list[Stage]]]:
        return {arm.name: arm.make("tiny", 0) for arm in base.every()[name].arms}

    whole = ["tower", "language", "ground", "align", "instruct"]
    for claim in ("align", "tuning", "ground"):
        left_out = claim.replace("tuning", "instruct")
        bad, good = made(f"llava/{claim}").values()
        assert [s.name for s in good[1]] == whole
        assert [s.name for s in bad[1]] == [name for name in whole if name != left_out]
    one, two = made("llava/mlp").values()
    assert [s.name for s in two[1]] == whole
    assert [type(model.connector).__name__ for model, _ in (one, two)] == ["Linear", "MLP"]
    assert two[0].connector.straight is None
    talk, every = (stages[-1] for _, stages in made("llava/kinds").values())
    seen = [source.data.example(7).truth for source in (talk, every)]
    assert seen[0]["scene"] == seen[1]["scene"]
    kinds = [{s.data.example(n).truth["kind"] for n in range(200)} for s in (talk, every)]
    assert kinds == [{"questions"}, {"everything", "description", "choice"}]
    assert replace(talk, data=every.data) == every
    assert every.steps == INSTRUCT_STEPS


@pytest.mark.usefixtures("quick")
def test_seeds_differ_in_all_but_what_published_systems_download() -> None:
    (arm,) = (arm for arm in base.every()["llava/align"].arms if arm.name == "all stages")
    made = [arm.make("tiny", seed) for seed in (0, 1)]
    parts = [
        {n: exact_fingerprint(part.state_dict()) for n, part in model.parts.items()}
        for model, _ in made
    ]
    assert {name for name in parts[0] if parts[0][name] == parts[1][name]} == arm.alone
    plans = [state.plan_of(stages, 0, 1, model) for model, stages in made]
    same = [s.name for s, one, other in zip(made[0][1], *plans, strict=True) if one == other]
    assert set(same) == arm.alone


@pytest.mark.usefixtures("quick")
def test_what_arms_and_claims_share_is_trained_once(
    tmp_path: Path, counted: Counter[tuple[str, int]]
) -> None:
    first = trial("llava/align", tmp_path, (0, 1))
    each = {"ground": 1, "align": 1, "instruct": 2}
    often = {(name, seed): n for name, n in each.items() for seed in (0, 1)}
    assert counted == {("tower", 0): 1, ("language", 0): 1, **often}
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


@pytest.mark.usefixtures("quick")
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


def told(found: Found) -> Any:
    """What was found, without how long it took."""
    models = [
        replace(m, asked_seconds=0, stages=tuple(replace(s, seconds=0) for s in m.stages))
        for m in found.models
    ]
    return replace(found, models=tuple(models))


def curve(out: Path) -> dict[str, list[Any]]:
    """Folder of a stage → (step, losses) as they were logged."""
    return {
        log.parent.name: [
            (record["step"], record["losses"])
            for record in map(json.loads, log.read_text("utf-8").splitlines())
            if "losses" in record
        ]
        for log in out.rglob("log.jsonl")
    }


def test_killed_again_and_again_it_ends_with_the_same_results(tmp_path: Path) -> None:
    """In the middle of the tower and of instruct, while a child that the same words started trains."""
    how: dict[str, Any] = {"size": "tiny", "scenes": 2, "steps_share": 0.001, "save_every": 1}
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    options = [f"--{key.replace('_', '-')}={value}" for key, value in how.items()]
    words = ["reproduce", "llava/align", "--seeds=3", *options, f"--out={broken}"]
    for stage in ("tower", "instruct"):
        child = subprocess.Popen(
            [sys.executable, "-m", "looksay", *words],
            env={**os.environ, "OMP_NUM_THREADS": "1", "LOOKSAY_PLAIN": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 240
        while not list((broken / "stages").glob(f"{stage}-*/resume.pt")):
            assert child.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        child.kill()
        child.wait()
        assert not list((broken / "stages").glob(f"{stage}-*/run.json"))
    claim = base.every()["llava/align"]
    ended = [
        reproduce("llava/align", claim, out, seeds=(3,), quiet=True, **how)
        for out in (broken, whole)
    ]
    assert told(ended[0]) == told(ended[1])
    assert curve(broken) == curve(whole)
    assert len(curve(whole)) == 6


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


@pytest.mark.usefixtures("quick")
def test_a_whole_run_leaves_results_from_which_the_page_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = (Arm("without align", short("align")), Arm("all stages", short()))
    claim = Claim("short", "Two steps teach.", arms, FIGURE, "two steps")
    how = {"seeds": (0,), "size": "tiny", "scenes": 2, "steps_share": 1.0}
    how |= {"device": "cpu", "precision": "auto", "compile": False, "save_every": 500}
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


@pytest.mark.usefixtures("quick")
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


@pytest.mark.usefixtures("quick")
def test_an_arm_must_end_with_a_stage_of_its_own(tmp_path: Path) -> None:
    arm = Arm("x", short(), frozenset({"instruct"}))
    with pytest.raises(InputError, match="ends with 'instruct'"):
        build.build(arm, "tiny", 0, tmp_path)
