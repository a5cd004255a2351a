"""The claims of MiniGPT-4, CoLLaVO and MoAI, and LLaVA's of pixels: what their arms differ in, and what they are asked."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("numpy", reason="no numpy: no intervals")

from looksay.claims import base, build, collavo, minigpt4, moai, released
from looksay.claims.base import Arm
from looksay.claims.measuring import DESCRIBED
from looksay.data.scenes import Scenes
from looksay.data.scenes.finding import findings, spoiled, without
from looksay.data.sources.scenes import CAPTION, DESCRIBE
from looksay.evaluation.benchmark import Item
from looksay.evaluation.benchmarks import scenes
from looksay.models import checkpoint
from looksay.models.fingerprint import exact_fingerprint
from looksay.training import state
from looksay.training.recipes import _small
from looksay.training.stages import Stage

pytestmark = pytest.mark.local

TOKENIZER = _small.tokenizer


@cache
def one_tokenizer() -> Any:
    return TOKENIZER(300)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer is trained once; each model has one of its own, because BLIP-2's words add to it."""
    monkeypatch.setattr(_small, "tokenizer", lambda: copy.deepcopy(one_tokenizer()))


@cache
def items() -> tuple[Item, ...]:
    return tuple(scenes.read(number=30))


def arms(name: str) -> dict[str, Arm]:
    return {arm.name: arm for arm in base.every()[name].arms}


def made(name: str, seed: int = 0) -> dict[str, tuple[Any, list[Stage]]]:
    return {name: arm.make("tiny", seed) for name, arm in arms(name).items()}


def asked(arm: Arm, some: Sequence[Item] | None = None) -> list[Item]:
    """What an arm's model is asked."""
    change: Any = arm.measure
    return list(change.items(some or items()))


def plan(model: Any, *stages: Stage) -> Any:
    return state.plan_of(list(stages), 0, 1, model)


def fingerprints(model: Any) -> dict[str, str]:
    return {name: exact_fingerprint(part.state_dict()) for name, part in model.parts.items()}


# -- MiniGPT-4


@pytest.mark.slow
def test_arms_of_minigpt4_are_its_recipe_but_for_what_the_claim_is_about() -> None:
    before = ["tower", "language", "contrast", "represent", "align"]
    tune = made("minigpt4/tune")
    assert [[s.name for s in stages] for _, stages in tune.values()] == [before, [*before, "tune"]]
    alone, whole = tune.values()
    assert plan(alone[0], *alone[1]) == plan(whole[0], *whole[1][:-1])
    assert fingerprints(alone[0]) == fingerprints(whole[0])
    with_it, without_it = made("minigpt4/qformer").values()
    assert with_it[0].qformer is not None
    assert without_it[0].qformer is None
    assert [s.name for s in without_it[1]] == ["tower", "language", "align", "tune"]
    three, one = (model.connector for model, _ in made("minigpt4/layers").values())
    assert (type(three).__name__, three.depth, type(one).__name__) == ("MLP", 3, "Linear")
    trains = [{*stages[-1].trains} for _, stages in made("minigpt4/tuned").values()]
    assert trains == [{"connector", "qformer"}, {"connector"}]
    blip2, other = made("minigpt4/coverage").values()
    assert {*blip2[1][-1].trains} == {"connector", "qformer"}
    assert [s.name for s in blip2[1]] == before
    # It learns on captions alone, the other ends with descriptions.
    kinds = [stages[-1].data.example(3).truth["kind"] for _, stages in (blip2, other)]
    assert kinds == ["caption", "description"]


@pytest.mark.slow
def test_all_seeds_and_kinds_of_minigpt4_have_one_q_former() -> None:
    first, second = (made("minigpt4/layers", seed)["one matrix"] for seed in (0, 1))
    three = made("minigpt4/layers", 1)["three layers"]
    parts = [fingerprints(model) for model, _ in (first, second, three)]
    for part in ("tower", "qformer", "text", "language"):
        assert len({one[part] for one in parts}) == 1, part
    assert len({one["connector"] for one in parts}) == 3
    represent = [stages[3] for _, stages in (first, second, three)]
    assert {stage.name for stage in represent} == {"represent"}
    assert len({plan(first[0], stage) for stage in represent}) == 1
    assert plan(first[0], first[1][-2]) != plan(first[0], second[1][-2])
    assert arms("minigpt4/layers")["one matrix"].alone >= {"represent"}


@pytest.mark.slow
def test_a_q_former_that_was_trained_with_one_matrix_is_taken_by_three_layers(
    tmp_path: Path,
) -> None:
    """What stands alone comes out the same beside either; the second arm trains it no more."""
    found = []
    for arm in arms("minigpt4/layers").values():
        place, done = build.build(
            arm, "tiny", 3, tmp_path, steps_share=0.002, quiet=True, device="cpu"
        )
        found.append((fingerprints(checkpoint.load(place)), {one.name: one.key for one in done}))
    (three, first), (one, second) = found
    assert three["qformer"] == one["qformer"]
    assert first["represent"] == second["represent"]
    assert first["align"] != second["align"]


def test_short_ones_are_asked_in_other_words_about_the_same_pictures() -> None:
    long, short = (asked(arm) for arm in arms("minigpt4/short").values())
    assert [i.id for i in long] == [i.id for i in short] == [f"{n} description" for n in range(30)]
    assert {i.conversation.messages[0].text for i in long} == {DESCRIBE}
    assert {i.conversation.messages[0].text for i in short} == {CAPTION}
    assert [i.conversation.images for i in long] == [i.conversation.images for i in short]
    one, other = base.every()["minigpt4/short"].arms
    assert one.make is other.make


def test_what_costs_little_has_a_margin_and_what_is_better_has_none() -> None:
    margins = {one.name: one.margin for one in minigpt4.CLAIMS if one.margin}
    assert margins == dict.fromkeys(("qformer", "layers", "tuned"), minigpt4.MARGIN)
    assert not any(one.margin for one in (*moai.CLAIMS, *collavo.CLAIMS))


# -- CoLLaVO


@pytest.mark.slow
def test_arms_of_collavo_go_on_from_one_model_and_differ_in_what_they_say() -> None:
    names = ("crayon", "numbering", "drawing", "dual", "skills")
    every = {n: arm for claim in names for n, arm in arms(f"collavo/{claim}").items()}
    (over,) = {arm.over for arm in every.values()}
    assert over is not None
    model, stages = over("tiny", 0)
    assert [s.name for s in stages][-2:] == ["instruct", "read"]
    assert model.crayon is None
    assert model.tells
    built = {name: arm.make("tiny", 0) for name, arm in every.items()}

    def told(name: str) -> tuple[Any, ...]:
        found, own = built[name]
        numbers = found.crayon and found.crayon.numbering is not None
        return found.crayon is not None, numbers, found.tells, [s.name for s in own]

    both = (True, True, True, ["crayon", "dual"])
    assert told("classes and numbers") == told("two adapters") == told("one adapter") == both
    assert told("classes alone") == (True, False, True, ["crayon", "dual"])
    assert told("sentence alone") == (False, None, True, ["dual"])
    assert told("no crayon") == (False, None, False, ["dual"])
    adapters = {name: own[-1].adapter for name, (_, own) in built.items()}
    assert {name for name, one in adapters.items() if one.names == ("image", "talk")} == {
        *("classes and numbers", "two adapters", "classes alone", "sentence alone", "no crayon")
    }
    skills = {
        name: {own[-1].data.example(n).truth.get("skill", "talk") for n in range(20)}
        for name, (_, own) in built.items()
    }
    assert skills.pop("talks alone") == {"talk"}
    assert all(one == {"talk", "image"} for one in skills.values())
    assert len({own[-1].steps for _, own in built.values()}) == 1


@pytest.mark.slow
def test_what_it_goes_on_from_is_trained_once_and_taken_whole(tmp_path: Path) -> None:
    found = []
    for arm in arms("collavo/crayon").values():
        place, done = build.build(
            arm, "tiny", 2, tmp_path, steps_share=0.002, quiet=True, device="cpu"
        )
        found.append((place, {one.name: one.key for one in done}))
    (none, first), (both, second) = found
    assert first["read"] == second["read"]
    read = fingerprints(checkpoint.load(tmp_path / first["read"]))
    for place in (none, both):
        # The connector rests from there on.
        assert fingerprints(checkpoint.load(place))["connector"] == read["connector"]


def test_collavo_is_asked_about_objects_and_for_lists_of_them() -> None:
    for claim in ("crayon", "numbering", "drawing", "dual"):
        for arm in arms(f"collavo/{claim}").values():
            told = asked(arm)
            assert {i.kind for i in told} == {"description", "is there", "where", "how many"}
            assert all(one.findings for i in told for one in i.conversation.images)
    lists = scenes.read(None, "crayon", 5)
    for arm in arms("collavo/skills").values():
        assert [i.kind for i in asked(arm, lists)] == ["description"] * 5 + ["crayon"] * 5


# -- MoAI


@pytest.mark.slow
def test_nearly_all_arms_of_moai_are_one_model() -> None:
    every = {
        (claim, arm.name): arm.make("tiny", 0)
        for claim, one in base.every().items()
        if claim.startswith("moai/")
        for arm in one.arms
    }
    others = {
        *{("moai/gates", "equal parts")},
        *((f"moai/learned-{name}", f"learned without {name}") for name in ("text", "relations")),
    }
    assert others < set(every)
    plans = {key: plan(model, *stages) for key, (model, stages) in every.items()}
    whole = plans["moai/experts", "all experts"]
    assert {key for key, one in plans.items() if one != whole} == others
    assert len({plans[key] for key in others}) == 3
    (model, level), (_, gated) = (every["moai/gates", a] for a in ("equal parts", "all experts"))
    assert plan(model, *level[:-1]) == plan(model, *gated[:-1])
    assert {*gated[-1].trains} - {*level[-1].trains} == {"gates"}
    # Without text a picture of training says nothing of signs, and all else stays.
    data, less = (
        every["moai/learned-text", a][1][-1].data for a in ("all experts", "learned without text")
    )
    signs = 0
    for number in range(40):
        true, told = (source.example(number) for source in (data, less))
        assert [m.text for m in true.conversation.messages] == [
            m.text for m in told.conversation.messages
        ]
        (one,), (other,) = (x.conversation.images for x in (true, told))
        signs += len(one.findings.lines)
        assert other.findings == without(one.findings, "text")
    assert signs


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("name", list(moai.EXPERTS))
def test_an_expert_is_taken_away_when_the_model_is_asked(name: str, wrong: float) -> None:
    claim = f"moai/{name}" + (f"-{wrong * 100:.0f}" if wrong else "")
    lacking, whole = (asked(arm) for arm in arms(claim).values())
    assert [i.id for i in lacking] == [i.id for i in whole]
    assert {i.kind for i in whole} == {"description", *moai.EXPERTS[name].kinds}
    changed = 0
    for less, more in zip(lacking, whole, strict=True):
        scene = Scenes(scenes.SEED, "test").scene(more.truth["scene"])
        true = findings(scene)
        (image,), (other,) = (i.conversation.images for i in (more, less))
        assert image.findings == (spoiled(true, wrong, scene.id) if wrong else true)
        assert other.findings == without(image.findings, name)
        changed += other.findings != image.findings
        assert image.source is other.source
    assert changed


def test_findings_get_worse_from_arm_to_arm() -> None:
    none, worst, worse, true = (asked(arm) for arm in arms("moai/faults").values())
    assert all(i.conversation.images[0].findings is None for i in none)

    def wrong(some: list[Item]) -> int:
        pairs = zip(some, true, strict=True)
        return sum(
            a != b
            for one, other in pairs
            for a, b in zip(
                *(i.conversation.images[0].findings.detections for i in (one, other)), strict=True
            )
        )

    assert wrong(worst) > 2 * wrong(worse) > 0
    assert len({tuple(i.id for i in some) for some in (none, worst, worse, true)}) == 1


def test_descriptions_only_show_whether_it_sees() -> None:
    many = scenes.read(number=DESCRIBED + 5)
    found = asked(arms("moai/text")["all experts"], many)
    assert sum(i.kind == "description" for i in found) == DESCRIBED
    words = [i.id for i in many if i.kind == "which word"]
    assert [i.id for i in found if i.kind == "which word"] == words


# -- LLaVA: pixels


@pytest.mark.slow
def test_arms_of_pixels_differ_in_the_size_of_pictures_alone() -> None:
    few, many = made("llava/pixels").values()
    assert plan(few[0], *few[1][:-1]) == plan(many[0], *many[1][:-1])
    assert few[1][-1].steps == many[1][-1].steps
    for number in range(5):
        one, other = (stages[-1].data.example(number) for _, stages in (few, many))
        assert [m.text for m in one.conversation.messages] == [
            m.text for m in other.conversation.messages
        ]
        sizes = [x.conversation.images[0].source.size for x in (one, other)]
        assert sizes == [(64, 64), (128, 128)]
    reduced = asked(arms("llava/pixels")["64 px"])
    assert [i.id for i in reduced] == [i.id for i in items()]
    assert {i.conversation.images[0].source.size for i in reduced} == {(64, 64)}
    # Enlarged again a picture is another, but no other place.
    tower = few[0].tower
    whole, coarse = (
        tower.prepare(i.conversation.images[0].source) for i in (items()[0], reduced[0])
    )
    assert whole.shape == coarse.shape
    assert 0 < (whole - coarse).abs().mean() < 0.2


@pytest.mark.slow
def test_of_the_size_mini_what_ships_talks_already() -> None:
    model, stages = released.talking("mini")
    assert stages == []
    shipped = checkpoint.load(checkpoint.SHIPPED)
    assert model.family == shipped.family == "llava"
    assert model.tower.fingerprint == released.parts("mini").tower.fingerprint
    assert [s.name for s in released.talking("tiny")[1]] == [
        *("tower", "language", "ground", "align", "instruct")
    ]
