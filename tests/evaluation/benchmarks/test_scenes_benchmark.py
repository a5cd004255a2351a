"""Measuring on scenes: who knows everything, who has a known fault, and the command."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import need
from forking import looksay

pytest.importorskip("numpy", reason="no numpy: scenes cannot be drawn")

from looksay.data.scenes import Scenes, captions, description
from looksay.data.scenes.finding import findings, spoiled, without
from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.benchmarks import scenes
from looksay.evaluation.journal import asked
from looksay.evaluation.measures import interval
from looksay.experts.verbalise import crayon_list

NUMBER = 60
Say = Callable[[Item, str], str]


def truth(item: Item) -> str:
    scene = Scenes(scenes.SEED, item.truth["split"]).scene(item.truth["scene"])
    if item.kind == "description":
        return description(scene)
    return captions(scene)[0] if item.kind == "caption" else item.truth["answer"]


def figures(variant: str = "test", say: Say = lambda item, right: right) -> dict[str, float]:
    items = scenes.read(None, variant, NUMBER)
    found = scenes.score([Answer(item, say(item, truth(item))) for item in items])
    return {f"{m.name}: {m.kind}": interval(m, samples=50).value for m in found}


@pytest.mark.parametrize("variant", ["test", "several", "pairs", "words"])
def test_who_knows_everything_scores_everything(variant: str) -> None:
    for name, value in figures(variant).items():
        if "CHAIR" in name or "failed" in name:
            assert value == 0, name
        elif name in ("words: ", "in short: words: "):
            assert value > 5, name
        elif "CIDEr" in name:
            # A paragraph that is its only reference scores 10; a caption is one of five references.
            assert value > (100 if name.startswith("in short") else 990)
        elif "said yes" not in name and not name.startswith(("in short", "text prior")):
            assert value == 100, name
        elif name.startswith("text prior") and "said yes" not in name:
            assert value < 90, name


def test_existence_is_balanced_and_yes_to_everything_is_seen() -> None:
    found = figures(say=lambda item, right: "Yes." if item.kind == "is there" else right)
    assert found["questions: is there"] == pytest.approx(50)
    assert found["questions: is there: said yes"] == 100
    assert found["questions: how many"] == 100


def test_a_grey_picture_shows_what_is_guessed() -> None:
    items = scenes.read(None, "blind", 5)
    assert {item.kind for item in items}.isdisjoint({"description", "caption"})
    for item in items:
        assert item.conversation.images[0].source.getcolors() == [(128 * 128, (127, 127, 127))]  # type: ignore[union-attr]
    found = figures("blind", lambda item, right: "no")
    assert found["questions: is there"] == pytest.approx(50)
    assert found["questions: colour"] == 0


def test_several_have_two_groups_and_pairs_are_held_out() -> None:
    world = Scenes(scenes.SEED, "test")
    for item in scenes.read(None, "several", 20):
        assert len(world.scene(item.truth["scene"]).groups) >= 2


@pytest.mark.parametrize("variant", scenes.FOUND)
def test_found_pictures_are_those_of_test_with_what_experts_see(variant: str) -> None:
    plain, told = (scenes.read(None, one, 12) for one in ("test", variant))
    wrong, lacking = scenes.FOUND[variant]
    assert [(i.id, i.kind, i.image, i.truth) for i in told] == [
        (i.id, i.kind, i.image, i.truth) for i in plain
    ]
    for before, after in zip(plain, told, strict=True):
        scene = Scenes(scenes.SEED, "test").scene(after.truth["scene"])
        (image,), (same,) = after.conversation.images, before.conversation.images
        assert image == same
        assert same.findings is None
        seen = spoiled(findings(scene), wrong, scene.id) if wrong else findings(scene)
        assert image.findings == (without(seen, lacking) if lacking else seen)
    assert any(a != b for a, b in zip(map(asked, plain), map(asked, told), strict=True))
    twice = scenes.read(None, variant, 12)
    assert [asked(i) for i in twice] == [asked(i) for i in told]


def test_crayon_instructions_are_asked_without_the_sentence_that_answers_them() -> None:
    items = scenes.read(None, "crayon", NUMBER)
    assert {item.kind for item in items} == {"description", "crayon"}
    lists = [item for item in items if item.kind == "crayon"]
    assert all(item.conversation.hints == {"skill": "image"} for item in lists)

    def say(item: Item) -> str:
        if item.kind == "description":
            return "A dog."
        return f"Sure, it is {crayon_list(item.conversation.images[0].findings.segments)}."

    found = scenes.score([Answer(item, say(item)) for item in items])
    values = {f"{m.name}: {m.kind}": interval(m, samples=20).value for m in found}
    assert values["crayon: named"] == values["crayon: placed"] == 100
    assert values["object recall: "] < 10


def test_the_text_prior_is_what_training_says_most() -> None:
    exact, template = scenes.priors(2000)
    assert exact["How many objects are there in all?"] in ("one", "two", "three", "four", "five")
    assert template["How many # are there?"] == "one"
    assert template["Is there # in the picture?"] in ("yes", "no")


def test_permuting_answers_changes_nothing() -> None:
    items = scenes.read(None, "test", 20)
    answers = [Answer(item, truth(item) if n % 3 else "a dog") for n, item in enumerate(items)]
    for first, second in zip(scenes.score(answers), scenes.score(answers[::-1]), strict=True):
        assert interval(first, samples=20) == pytest.approx(
            interval(second, samples=20), nan_ok=True
        )


@pytest.mark.local
@pytest.mark.slow
def test_batch_size_does_not_change_a_score(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "accelerate"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    from models.tiny import tiny_llava, word_tokenizer

    from looksay.backends import LoadOptions, load
    from looksay.evaluation.run import ask
    from looksay.models import checkpoint
    from looksay.types import Options

    checkpoint.save(tiny_llava(seed=0, tokenizer=word_tokenizer()), tmp_path / "model")
    items = scenes.read(None, "test", 6)
    said = []
    for size in (1, 3, 16):
        backend = load(f"local:{tmp_path / 'model'}", LoadOptions(batch_size=size))
        asked = ask(backend, items, tmp_path / f"{size}.jsonl", Options(max_tokens=12))
        said.append([one.text for one in asked.completions if one])
    assert said[0] == said[1] == said[2]
    assert len(set(said[0])) > 1


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return looksay("evaluate", *words, cwd=folder)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    done = run("echo", "--on", "scenes,scenes/blind", "--limit", "4", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "object recall" in done.stdout
    assert "text prior" in done.stdout
    again = run("echo", "--on", "scenes,scenes/blind", "--limit", "4", "--json", folder=tmp_path)
    found = json.loads(again.stdout)
    assert found == json.loads((tmp_path / "evaluation" / "report.json").read_text("utf-8"))
    assert [r["benchmark"] for r in found["results"]] == ["scenes", "scenes/blind"]
    assert all(r["reused"] == r["asked"] for r in found["results"])


@pytest.mark.slow
def test_a_model_that_is_not_there_costs_the_others_nothing(tmp_path: Path) -> None:
    done = run("nosuch,echo", "--on", "scenes/blind", "--limit", "2", "--json", folder=tmp_path)
    assert done.returncode == 1
    first, second = json.loads(done.stdout)["results"]
    assert "There is no backend 'nosuch'" in first["failures"][0]
    assert first["figures"] == []
    assert second["figures"]


@pytest.mark.slow
def test_faults_of_the_command(tmp_path: Path) -> None:
    for words, told in (
        (["echo", "--on", "scenes/val"], "no-text, pairs, several, test, train, words"),
        (["echo", "--on", "scene"], "scenes"),
        (["echo", "--on", " "], "Nothing is named in --on"),
        (
            ["echo", "--on", "scenes", "--compat", "lenient"],
            "Known: lmms-eval, official, strict, vlmevalkit",
        ),
        (["echo", "--on", "scenes", "--limit", "2", "--compat", "official"], "it has strict"),
        (["echo", "--on", "scenes", "--judge", "facts"], "--judge does nothing for scenes"),
        (["echo", "--on", "scenes", "--mode", "likelihood"], "no choices to rank"),
        (["echo", "--on", "pope"], "https://github.com/RUCAIBox/POPE"),
    ):
        done = run(*words, folder=tmp_path)
        assert done.returncode == 2, (words, done)
        assert told in " ".join(done.stderr.split()), (words, done.stderr)
