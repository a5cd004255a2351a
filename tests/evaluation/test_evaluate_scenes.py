"""Measuring a backend on scenes: one that knows everything, ones with a known fault, and the command."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import need

pytest.importorskip("numpy", reason="no numpy: scenes cannot be drawn")

from looksay.backends.base import Profile
from looksay.data.scenes import Scene, Scenes, captions, description, questions
from looksay.data.sources.scenes import CAPTION, DESCRIBE
from looksay.errors import BackendError, InputError
from looksay.evaluation.scenes import Report, evaluate
from looksay.types import Completion, Conversation, Options

NUMBER = 60
Fault = Callable[[str, str], str | None]
"""From (question, right answer) to what is said instead; None: no answer comes."""


@dataclass
class Knowing:
    """A backend that recognises each picture and says the truth, bent by `fault`."""

    split: str = "test"
    fault: Fault = lambda question, answer: answer
    blank: str = "no"
    name = "knowing"
    fingerprint = "knowing-1"
    profile = Profile()

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        known: dict[bytes, Scene] = {}
        for index in range(NUMBER):
            scene = Scenes(1000, self.split).scene(index)
            known[scene.pixels().tobytes()] = scene
        for number, conversation in enumerate(conversations):
            (image,), question = conversation.images, conversation.messages[-1].text
            scene_ = known.get(image.source.tobytes())  # type: ignore[union-attr]
            said = self.fault(question, self.truth(scene_, question)) if scene_ else self.blank
            if said is None:
                yield Completion(number, error="gone", finish_reason="error")
            else:
                yield Completion(number, said)

    @staticmethod
    def truth(scene: Scene, question: str) -> str:
        if question == DESCRIBE:
            return description(scene)
        if question == CAPTION:
            return captions(scene)[0]
        return {q.text: q.answer for q in questions(scene)}[question]

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        raise NotImplementedError  # evaluating asks for whole answers; nothing here streams


def measured(backend: Knowing, **choices: object) -> Report:
    return evaluate(backend, backend.split, NUMBER, prior_scenes=400, **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("split", ["test", "pairs", "words"])
def test_who_knows_everything_scores_everything(split: str) -> None:
    report = measured(Knowing(split))
    for figure in report.figures:
        if figure.name.startswith("CHAIR"):
            assert figure.value == 0
        elif figure.name == "CIDEr-D":
            # A paragraph that is its only reference scores 10; a caption is one of five references.
            assert figure.value > (9.9 if figure.group == "descriptions" else 1.0)
        elif figure.group != "short captions" and figure.n:
            assert figure.value == figure.low == figure.high == 1, figure
    assert report.failed == report.cut == 0
    # 10,000 scenes make the real prior; 400 make a weaker one, and never a perfect one.
    assert all(f.prior is None or f.prior < 0.9 for f in report.figures if f.group == "questions")


def test_existence_is_balanced_and_yes_to_everything_is_seen() -> None:
    def yes(question: str, answer: str) -> str:
        return "Yes." if question.startswith("Is there") else answer

    report = measured(Knowing(fault=yes))
    assert report.figure("questions", "is there").value == pytest.approx(0.5)
    assert report.said_yes == 1
    assert report.figure("questions", "how many").value == 1


def test_a_grey_picture_shows_what_is_guessed() -> None:
    report = measured(Knowing(blank="no"), blank=True)
    existence = report.figure("questions", "is there")
    assert (existence.value, existence.blank) == (1, pytest.approx(0.5))
    assert report.figure("questions", "colour").blank == 0
    assert report.figure("descriptions", "counts").blank is None


def test_answers_that_never_come_are_told_and_left_out() -> None:
    def silent(question: str, answer: str) -> str | None:
        return None if question == CAPTION else answer

    report = measured(Knowing(fault=silent))
    assert report.failed == NUMBER
    assert not [f for f in report.figures if f.group == "short captions"]
    assert f"{NUMBER} of {report.asked} answers failed" in report.table()
    with pytest.raises(BackendError, match=r"none of \d+ requests: gone"):
        measured(Knowing(fault=lambda question, answer: None))


def test_the_record_is_json_and_every_answer_is_kept(tmp_path: Path) -> None:
    report = measured(Knowing("test"), answers=tmp_path / "answers.jsonl", hint="")
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert record["figures"][0]["name"] == "object recall"
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == report.asked
    assert all(row["said"] == row["answer"] for row in rows if row["answer"])
    with pytest.raises(InputError, match="descriptions: counts"):
        report.figure("descriptions", "count")


def test_the_text_prior_is_what_training_says_most() -> None:
    from looksay.evaluation.scenes import _priors

    exact, template = _priors(2000, 128)
    assert exact["How many objects are there in all?"] in ("one", "two", "three", "four", "five")
    assert template["How many # are there?"] == "one"
    assert template["Is there # in the picture?"] in ("yes", "no")


def test_scenes_of_at_least_so_many_groups() -> None:
    world = Scenes(1000, "test")
    several = [n for n in range(NUMBER) if len(world.scene(n).groups) >= 2]
    count = len(several)
    report = evaluate(Knowing(), scenes=count, groups=2, prior_scenes=100, brief=False)
    assert report.figure("descriptions", "strictly correct").n == count
    assert report.figure("descriptions", "strictly correct").value == 1
    assert "of at least 2 groups" in report.table()
    with pytest.raises(InputError, match="1 to 3 groups"):
        evaluate(Knowing(), groups=4)


@pytest.mark.local
def test_a_checkpoint_is_measured(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "accelerate"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    from models.tiny import tiny_llava, word_tokenizer

    from looksay.backends import load
    from looksay.models import checkpoint

    checkpoint.save(tiny_llava(seed=0, tokenizer=word_tokenizer()), tmp_path)
    options = Options(max_tokens=12)
    report = evaluate(load(f"local:{tmp_path}"), scenes=5, prior_scenes=100, options=options)
    assert report.failed == 0
    assert report.fingerprint
    assert report.figure("descriptions", "object recall").n > 0


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "looksay", "evaluate", "scenes", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    done = run("--model", "echo", "--scenes", "4", "--out", "report.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "object recall" in done.stdout
    assert "text prior" in done.stdout
    again = run("--model", "echo", "--scenes", "4", "--json", folder=tmp_path)
    first, second = json.loads((tmp_path / "report.json").read_text()), json.loads(again.stdout)
    assert first.pop("seconds") >= 0
    assert second.pop("seconds") >= 0
    assert first == second


@pytest.mark.slow
def test_faults_of_the_command(tmp_path: Path) -> None:
    done = run("--model", "echo", "--split", "val", folder=tmp_path)
    assert done.returncode == 2
    assert "Known: train, test, pairs, words" in done.stderr
    done = run("--model", "echo", "--scenes", "2", "--out", "no/such/r.json", folder=tmp_path)
    assert done.returncode == 2
    assert "is not there" in done.stderr
