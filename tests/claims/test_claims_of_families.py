"""The claims of BLIP, BLIP-2 and Flamingo: what their arms differ in, and how they are measured; and trials of all
families' claims but LLaVA's."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("numpy", reason="no numpy: no intervals")

import numpy as np

from looksay.backends import encoders
from looksay.claims import base, blip, build, flamingo, measuring
from looksay.claims.measuring import FOUND_FIRST, Retrieving, Task, best
from looksay.claims.results import Found
from looksay.claims.run import reproduce
from looksay.data import dataset
from looksay.errors import InputError
from looksay.evaluation import benchmark, embedding
from looksay.evaluation.benchmark import Item
from looksay.evaluation.benchmarks import scenes
from looksay.evaluation.metrics import retrieval
from looksay.evaluation.run import Result
from looksay.models import checkpoint
from looksay.training import state
from looksay.training.recipes import _small
from looksay.training.stages import Stage, TrainingError

pytestmark = pytest.mark.local

TOKENIZER = _small.tokenizer
NEW = [name for name in base.every() if not name.startswith("llava/")]


@cache
def one_tokenizer() -> Any:
    return TOKENIZER(300)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer is trained once; each model has one of its own, because BLIP adds tokens."""
    monkeypatch.setattr(_small, "tokenizer", lambda: copy.deepcopy(one_tokenizer()))


def made(name: str, seed: int = 0) -> dict[str, tuple[Any, list[Stage]]]:
    return {arm.name: arm.make("tiny", seed) for arm in base.every()[name].arms}


@pytest.mark.slow
def test_arms_are_the_recipe_but_for_what_the_claim_is_about() -> None:
    parts = ["tower", "language"]
    bad, good = made("blip2/first").values()
    assert [s.name for s in bad[1]] == [*parts, "generate"]
    assert [s.name for s in good[1]] == [*parts, "contrast", "represent", "generate"]
    assert state.plan_of(bad[1][-1:], 0, 1, bad[0]) == state.plan_of(good[1][-1:], 0, 1, good[0])
    bad, good = made("blip2/itg").values()
    assert [s.objectives for s in (bad[1][-1], good[1][-1])] == [
        ("itc", "itm"),
        ("itc", "itm", "itg"),
    ]
    bad, good = made("flamingo/gates").values()
    assert [s.name for s in bad[1]] == [s.name for s in good[1]] == [*parts, "flamingo"]
    assert [m.gates.gated for m, _ in (bad, good)] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blip2/first", "flamingo/gates", "blip/rerank"])
def test_all_families_and_seeds_have_one_tower_and_one_language_model(name: str) -> None:
    from looksay.models.fingerprint import exact_fingerprint

    llava = next(iter(made("llava/mlp").values()))[0]
    for seed in (0, 1):
        (model, stages), *_ = made(name, seed).values()
        assert {s.name for s in stages if s.name in model.parts} <= {"tower", "language"}
        for part in {"tower", "language"} & set(model.parts):
            own, theirs = (exact_fingerprint(m.parts[part].state_dict()) for m in (model, llava))
            assert own == theirs, part
    one, two = (next(iter(made(name, seed).values()))[0].state_dict() for seed in (0, 1))
    assert not all(bool((one[key] == two[key]).all()) for key in one)


# -- retrieval


def test_the_best_of_several_vectors_is_compared() -> None:
    draw = np.random.default_rng(0)
    pictures, texts = draw.normal(size=(3, 4, 5)), draw.normal(size=(6, 5))
    pictures /= np.linalg.norm(pictures, axis=2, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    wanted = [[max(float(q @ t) for q in picture) for t in texts] for picture in pictures]
    side_by_side = pictures.reshape(3, 20) / 2  # of length 1, as an encoder's rows are
    found = best(side_by_side.astype(np.float32), texts.astype(np.float32))
    assert np.allclose(found, wanted, atol=1e-5)
    alone = best(pictures[:, 0].astype(np.float32), texts.astype(np.float32))
    assert np.allclose(alone, pictures[:, 0] @ texts.T, atol=1e-5)


def test_blip2_is_compared_exactly(tmp_path: Path) -> None:
    (model, _), *_ = made("blip2/itg").values()
    checkpoint.save(model.eval(), tmp_path)
    _, items = retrieval_items()
    pictures = [i for i in items if i.conversation.images]
    captions = [i for i in items if i.image and not i.conversation.images]
    wanted = model.similarities(
        [i.conversation.images[0] for i in pictures],
        [i.conversation.messages[0].text for i in captions],
    )
    encoder = measuring.encoder_of(tmp_path, "cpu")
    rows = [embedding.embed(encoder, side, tmp_path / "x")[0] for side in (pictures, captions)]
    assert rows[0].shape[1] > rows[1].shape[1]
    assert np.allclose(best(*rows), wanted.numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLIP whose texts differ more than those of a new one: none tie."""
    import torch

    from looksay.training.recipes import blip as recipe

    out = tmp_path_factory.mktemp("blip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_small, "tokenizer", lambda: copy.deepcopy(one_tokenizer()))
        model = recipe.model("tiny").eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    checkpoint.save(model, out)
    return out


@cache
def retrieval_items() -> tuple[Any, tuple[Item, ...]]:
    found, variant = benchmark.load("scenes_retrieval/test")
    return found, tuple(embedding.limited(found.read(Path(), variant), 12))


def task(folder: Path) -> Task:
    found, items = retrieval_items()
    return Task("scenes_retrieval/test", found, list(items), folder, "cpu")


def rows(result: Result, name: str) -> dict[str, tuple[float, ...]]:
    return dict(next(f.measure.rows for f in result.figures if f.measure.name == name))


def test_retrieval_is_the_benchmarks_own_where_a_picture_has_one_vector(
    trained: Path, tmp_path: Path
) -> None:
    found = Retrieving()(trained, task(tmp_path))
    module, items = retrieval_items()
    encoder = encoders.load(f"local:{trained}")
    wanted = embedding.evaluate(encoder, "x", module, items, tmp_path / "own", samples=1)
    both = rows(wanted, "text retrieval R@1") | rows(wanted, "image retrieval R@1")
    assert len(both) == 24
    assert rows(found, FOUND_FIRST) == both
    nouns = "noun recall, same background"
    assert rows(found, nouns) == rows(wanted, nouns)
    places = {a.item.id: a.text for a in found.asked.answers if a.text}
    assert {one for one, text in places.items() if text == "1"} == {
        one for one, row in both.items() if row[0]
    }
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    again = Retrieving()(trained, task(tmp_path))
    assert rows(again, FOUND_FIRST) == both
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == kept


def test_looking_again_orders_the_first_candidates_by_log_odds_and_similarity(
    trained: Path, tmp_path: Path
) -> None:
    import torch

    top = 5
    found = Retrieving(again=top)(trained, task(tmp_path))
    assert found.fingerprint != Retrieving()(trained, task(tmp_path)).fingerprint
    model = checkpoint.load(trained)
    _, items = retrieval_items()
    images = [i.conversation.images[0] for i in items if i.conversation.images]
    texts = [
        i.conversation.messages[0].text for i in items if i.image and not i.conversation.images
    ]
    with torch.inference_mode():
        similarity = (model.embed_images(images) @ model.embed_texts(texts).T).double().numpy()
        odds = np.array([model.match([image] * 12, texts).tolist() for image in images])
    places = {a.item.id: int(a.text) for a in found.asked.answers if a.text}
    names = [i.image for i in items if i.conversation.images]
    for way, prefix in ((0, "picture"), (1, "caption of")):
        close = similarity if way == 0 else similarity.T
        sure = odds if way == 0 else odds.T
        for query in range(12):
            first = np.argsort(-close[query], kind="stable")
            again = sorted(first[:top], key=lambda c: -(sure + close)[query, c])
            order = [*again, *first[top:]]
            assert places[f"{prefix} {names[query]}"] == order.index(query) + 1
    assert retrieval.ranks(similarity, np.eye(12, dtype=bool)).tolist() != [
        places[f"picture {name}"] - 1 for name in names
    ]


# -- examples in the prompt


def test_a_form_that_training_does_not_have_after_examples_of_its_type() -> None:
    items = scenes.read(number=30)
    none, four = flamingo.lettered(items, 0), flamingo.lettered(items, 4)
    assert [i.id for i in none] == [i.id for i in four]
    assert [i for i in none if i.kind == "description"] == items[:30]
    questions = [(a, b) for a, b in zip(none, four, strict=True) if a.kind != "description"]
    assert len(questions) == len({a.image for a, _ in questions}) == 30
    assert len({a.kind for a, _ in questions}) > 4
    for plain, shown in questions:
        assert plain.truth == shown.truth
        assert plain.truth["answer"] in "ABCD"
        *before, last = shown.conversation.messages
        assert last == plain.conversation.messages[-1]
        assert "\nC. " in last.text
        assert len(shown.conversation.images) == 5
        assert len({id(image) for image in shown.conversation.images}) == 5
        assert [m.role for m in before] == ["user", "assistant"] * 4
        assert all(m.text in "ABCD" for m in before if m.role == "assistant")
        option = next(
            line for line in last.text.splitlines() if line[:2] == plain.truth["answer"] + "."
        )
        asked = next(i for i in items if i.id == plain.id)
        assert option[3:] == asked.truth["answer"]


def test_letters_are_right_by_themselves_and_silence_never_is() -> None:
    assert scenes.right("choice", "A", "A") == scenes.right("choice", "b.", "B") == 1
    assert scenes.right("choice", "", "A") == scenes.right("choice", "two", "A") == 0


def test_no_training_of_flamingo_has_the_form() -> None:
    from looksay.training.recipes import flamingo as recipe

    stage = recipe.flamingo_stage(0)
    told = [stage.data.example(n).conversation for n in range(60)]
    assert not any("\nA. " in m.text for c in told for m in c.messages)
    language = _small.language_stage(0)
    told = [language.data.example(n).conversation for n in range(60)]
    assert not any("\nA. " in m.text for c in told for m in c.messages)


# -- CapFilt


@pytest.mark.slow
def test_the_arms_of_capfilt_differ_in_their_texts_alone(tmp_path: Path) -> None:
    claim = base.every()["blip/capfilt"]
    found: dict[str, Stage] = {}
    for arm in claim.arms:
        _, stages = arm.make("tiny", 0)
        assert [s.name for s in stages] == ["tower", "contrast", "pretrain"]
        assert stages[1].data.fingerprint == stages[2].data.fingerprint
        trainer = build.Trainer(
            tmp_path, "tiny", 0, arm.alone, 0.003, {"device": "cpu", "quiet": True}
        )
        data = arm.data("tiny", 0, trainer) if arm.data else stages[-1].data
        names = [one.name for one in trainer.done.values()]
        found[arm.name] = stages[-1]
        texts = [data.example(n).conversation.messages[-1].text for n in range(200)]
        origins = {data.example(n).truth.get("origin") for n in range(200)}
        assert all(texts)
        assert (
            origins
            == {
                "neither": {None},
                "filter alone": {None, "web"},
                "captioner alone": {None, "web", "synthetic"},
                "both": {None, "web", "synthetic"},
            }[arm.name]
        )
        wanted = {"neither": [], "filter alone": ["filter"], "captioner alone": ["captioner"]}
        tuned = wanted.get(arm.name, ["captioner", "filter"])
        assert names == (["tower", "contrast", "pretrain", *tuned] if tuned else [])
    assert len({(s.steps, s.objectives, s.examples_per_batch) for s in found.values()}) == 1


def test_a_round_that_keeps_nothing_is_an_arm_that_could_not_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from looksay.training.recipes import capfilt

    def nothing(*args: Any, **how: Any) -> dataset.Source:
        raise InputError("The filter rejected all 7 texts")

    monkeypatch.setattr(capfilt, "mended", nothing)
    monkeypatch.setattr(blip, "_web", lambda size, seed: (None, []))
    arm = base.every()["blip/capfilt"].arms[-1]
    assert arm.data is not None
    trainer = build.Trainer(tmp_path, "tiny", 0, arm.alone, 1.0, {})
    with pytest.raises(TrainingError, match="rejected all 7"):
        arm.data("tiny", 0, trainer)


# -- precision


def test_what_is_computed_otherwise_lies_elsewhere_but_for_what_stands_alone(
    tmp_path: Path,
) -> None:
    arm = base.every()["llava/align"].arms[-1]
    folders = {}
    for precision in ("auto", "fp32", "bf16"):
        model, stages = arm.make("tiny", 0)
        how = {"device": "cpu", "quiet": True, "precision": precision}
        trainer = build.Trainer(tmp_path, "tiny", 0, arm.alone, 0.001, how)
        trainer(model, stages[:3])
        folders[precision] = {one.name: one.key for one in trainer.done.values()}
    names = [*folders["auto"]]
    assert names == ["tower", "language", "ground"]
    for name in names:
        kinds = {folders[precision][name] for precision in folders}
        assert len(kinds) == (1 if name in arm.alone else 3)


# -- from end to end


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all claims, which share stages."""
    return tmp_path_factory.mktemp("claims")


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_a_trial_measures_every_arm_and_goes_on_where_it_was(name: str, folder: Path) -> None:
    # Of the first eight scenes one has a sign, one a relation.
    how: dict[str, Any] = {"seeds": (0,), "size": "tiny", "scenes": 8, "steps_share": 0.001}
    claim = base.every()[name]
    found = reproduce(name, claim, folder, quiet=True, **how)
    assert found.faults == ()
    assert [m.arm for m in found.models] == [arm.name for arm in claim.arms]
    figures = [one for one in found.samples if one.figure]
    assert figures
    assert any(one.sight for one in found.samples)
    for one in figures:
        assert one.figure is not None
        assert all(seed is not None for arm in one.figure for seed in arm)
        assert all(text is not None for arm in one.said for text in arm)
    for place, figure in enumerate(claim.beside):
        assert found.beside[place].name == figure.name
        assert any(one.beside[place] for one in found.samples), figure
    assert {one.image for one in found.samples} == {f"test {number}" for number in range(8)}
    stages = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    assert same(reproduce(name, claim, folder, quiet=True, **how), found)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")} == stages


def same(one: Found, other: Found) -> bool:
    """But for the seconds that measuring took."""
    return [(m.arm, m.fingerprint, m.stages) for m in one.models] == [
        (m.arm, m.fingerprint, m.stages) for m in other.models
    ] and one.samples == other.samples
