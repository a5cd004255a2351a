"""The small model that ships: there, small enough, true to its card, and as good on scenes as its page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from forking import looksay as typed
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")

import looksay
from looksay.backends import mini
from looksay.backends.echo import Echo
from looksay.cli import app
from looksay.data.scenes import Scene, Scenes, questions
from looksay.data.sources.scenes import DESCRIBE, LIST
from looksay.evaluation.metrics import scenes as texts
from looksay.training.recipes import llava15
from looksay.types import Conversation, Image, Options

pytestmark = pytest.mark.local

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "mini.md"
FRESH = Scenes(77, "test")
LIMITS = "mini knows drawn scenes only, not photographs: docs/mini.md\n"


def told(question: str, scenes: list[Scene]) -> list[str]:
    asked = [Conversation.ask(Image(scene.image()), question) for scene in scenes]
    done = sorted(
        looksay.load("mini").complete(asked, Options(max_tokens=120)), key=lambda c: c.index
    )
    assert not [c.error for c in done if c.error]
    return [c.text for c in done]


def test_it_came_along_is_small_and_says_what_it_knows() -> None:
    assert mini.is_here()
    size = sum(path.stat().st_size for path in mini.FOLDER.rglob("*") if path.is_file())
    assert size <= 20_000_000
    content = json.loads((mini.FOLDER / "looksay.json").read_text("utf-8"))
    assert "scenes, not photographs" in content["card"]["about"]
    assert content["card"]["data"] == "scenes"


def test_it_was_trained_by_the_recipe_that_is_here() -> None:
    content = json.loads((mini.FOLDER / "looksay.json").read_text("utf-8"))
    model, stages = llava15.scenes("mini", seed=0)
    learned = {s["name"]: s["steps"] for s in content["card"]["training"]["stages"]}
    assert learned == {stage.name: stage.steps for stage in stages}
    assert content["card"]["training"]["seed"] == 0
    own = looksay.load("mini")
    loaded = own._model  # type: ignore[attr-defined]
    assert [(n, p.shape) for n, p in loaded.named_parameters()] == [
        (n, p.shape) for n, p in model.named_parameters()
    ]
    assert loaded.tokenizer.get_vocab() == model.tokenizer.get_vocab()


def test_its_page_tells_the_steps_and_the_size() -> None:
    page = PAGE.read_text("utf-8")
    for stage in llava15.scenes("mini", seed=0)[1]:
        assert re.search(rf"\| `{stage.name}` \|[^|]*\| {stage.steps:,} \|", page), stage.name
    weights = max(path.stat().st_size for path in mini.FOLDER.glob("*.safetensors"))
    assert f"{weights / 1e6:.1f} MB" in page


def figure(name: str) -> float:
    """The figure of fresh scenes (first column) in the page's table, in percent."""
    found = re.search(
        rf"^\| {re.escape(name)}(?: \(wanted[^|]*\))? \| ([\d.]+)", PAGE.read_text("utf-8"), re.M
    )
    assert found, name
    return float(found[1])


@pytest.mark.slow
def test_fresh_scenes_are_described_as_well_as_its_page_says() -> None:
    scenes = [FRESH.scene(number) for number in range(80)]
    rows = [
        texts.score(text, scene) for text, scene in zip(told(DESCRIBE, scenes), scenes, strict=True)
    ]
    for name, room in (("object recall", 6), ("strictly correct", 18), ("sizes", 8)):
        pairs = [row[name] for row in rows if row[name] is not None]
        value = 100 * sum(n for n, _ in pairs) / sum(of for _, of in pairs)
        assert value == pytest.approx(figure(name), abs=room), name


@pytest.mark.slow
def test_questions_are_answered_better_than_by_somebody_who_never_looks() -> None:
    pairs = [(FRESH.scene(n), q) for n in range(30) for q in questions(FRESH.scene(n))]
    asked = [Conversation.ask(Image(scene.image()), q.text) for scene, q in pairs]
    done = sorted(looksay.load("mini").complete(asked, Options()), key=lambda c: c.index)
    right = sum(c.text == q.answer for c, (_, q) in zip(done, pairs, strict=True)) / len(pairs)
    assert right > figure("text prior: all questions") / 100 + 0.2


def test_it_lists_what_is_where() -> None:
    """Half of the lists begin well, its page says; a fourth of 20 is the least by chance."""
    scenes = [FRESH.scene(number) for number in range(20)]
    entry = re.compile(r"(small|large) [a-z ]+ at \d+ \d+(,|$)")
    assert sum(bool(entry.match(text)) for text in told(LIST, scenes)) >= 5


def test_a_talk_about_a_scene(tmp_path: Path) -> None:
    scene = FRESH.scene(3)
    scene.image().save(tmp_path / "scene.png")
    questions = f"{DESCRIBE}\nHow many objects are there in all?\n"
    done = typed("chat", tmp_path / "scene.png", "--model", "mini", typed=questions)
    assert done.returncode == 0, done.stderr
    assert done.stderr == LIMITS
    first, second = done.stdout.splitlines()
    assert first == told(DESCRIBE, [scene])[0]
    assert second in ("one", "two", "three", "four", "five")


def test_that_it_knows_no_photographs_is_told_beside_its_words(tmp_path: Path) -> None:
    picture = tmp_path / "scene.png"
    FRESH.scene(3).image().save(picture)
    for words in (["ask", picture, "What is there?"], ["describe", picture]):
        done = CliRunner().invoke(app, [*map(str, words), "--model", "mini", "--json"])
        assert done.exit_code == 0, done.output
        assert LIMITS in done.stderr
        assert all(json.loads(part) for part in done.stdout.replace("}\n{", "}\0{").split("\0"))


def test_echo_is_no_eye() -> None:
    """The measure above is no gift: a model that repeats its question names nothing."""
    (done,) = Echo().complete(
        [Conversation.ask(Image(FRESH.scene(0).image()), DESCRIBE)], Options()
    )
    recall, of = texts.score(done.text, FRESH.scene(0))["object recall"]
    assert (recall, of > 0) == (0, True)
