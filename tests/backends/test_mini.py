"""The small model that ships: whole, small, honest about what it knows, and it sees."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from typing import Any

import pytest
from conftest import need

from looksay.backends import load, mini
from looksay.data.scenes import Scenes, description
from looksay.types import Conversation, Image, Message, Options

pytestmark = pytest.mark.local
FIGURES = mini.FOLDER.parents[1] / "docs" / "mini"


@pytest.fixture(scope="module")
def model() -> Any:
    for package in ("torch", "transformers", "accelerate"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    return load("mini")


def test_it_ships_whole_and_small_and_says_what_it_knows() -> None:
    assert mini.is_here()
    files = [path for path in mini.FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20e6
    card = json.loads((mini.FOLDER / "looksay.json").read_text("utf-8"))["card"]
    assert card["data"] == "scenes"
    assert "not photographs" in card["knows"]
    tracked = subprocess.run(
        ["git", "ls-files", str(mini.FOLDER)], cwd=mini.FOLDER, capture_output=True, text=True
    )
    need(tracked.returncode == 0 and tracked.stdout, "this copy is no git checkout")
    assert len(tracked.stdout.split()) == len(files)


def test_its_drafts_are_for_a_person_and_in_english(model: Any) -> None:
    assert model.profile.draft
    assert not model.profile.instructable
    assert model.profile.languages == ("en",)


def test_it_sees_scenes_that_it_was_not_trained_on(model: Any) -> None:
    from looksay.evaluation.scenes import evaluate

    report = evaluate(model, scenes=40, prior_scenes=300, brief=False, seed=7)
    assert report.failed == report.cut == 0
    assert report.figure("descriptions", "object recall").value > 0.9
    assert report.figure("descriptions", "CHAIRi").value < 0.06
    asked = report.figure("questions", "all questions")
    assert asked.prior is not None
    assert asked.value > asked.prior + 0.25


def test_what_docs_say_of_it_was_measured_with_these_weights(model: Any) -> None:
    for path in sorted(FIGURES.glob("instruct-*.json")):
        assert json.loads(path.read_text("utf-8"))["fingerprint"] == model.fingerprint, path
    assert list(FIGURES.glob("instruct-*.json"))


def test_a_talk_of_several_turns_streams(model: Any) -> None:
    scene = next(s for s in map(Scenes(3, "test").scene, range(99)) if len(s.things) == 1)
    talk = Conversation.ask(Image(scene.image()), "Describe the picture in detail.")
    told = "".join(model.stream(talk, Options()))
    assert scene.groups[0].name in told
    assert told.split(".")[0] == description(scene).split(".")[0]
    more = ("How many objects are there in all?",)
    turns = (*talk.messages, Message("assistant", (told,)), Message("user", more))
    assert "".join(model.stream(Conversation(turns), Options())).strip() == "one"
