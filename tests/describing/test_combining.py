"""Runs over a catalogue that make one text of several models': what is stored, what is asked again, what fails."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from commands import looksay as typed
from describing.test_run import Scripted
from pictures import jpeg, put

import looksay
from looksay.data import readers
from looksay.data.scenes.world import Scenes
from looksay.describing.claims import from_records
from looksay.describing.combine import NOTHING_SURVIVED
from looksay.describing.combining import Combiner
from looksay.errors import BackendError, InputError
from looksay.experts.base import Detection, Findings
from looksay.types import Completion, Conversation, Price

ENGLISH = readers.load("english")
PHOTOS = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(PHOTOS):
        put(tmp_path / f"{n}.jpg", jpeg(n))
    with looksay.Library(tmp_path, create=True) as library:
        library.scan()
    return tmp_path


def model(name: str, text: Any = "Two dogs on a sofa.", **profile: Any) -> Scripted:
    return Scripted(text, name, f"{name}-1", **profile)


def failing_on(which: int, text: str) -> Any:
    """Fails on the photo that is asked as number `which`."""
    count = iter(range(1000))

    def answer(conversation: Conversation) -> Completion:
        if next(count) == which:
            return Completion(0, error="out of memory", finish_reason="error")
        return Completion(0, text)

    return answer


def combiner(library: looksay.Library, *models: Scripted, **choices: Any) -> Combiner:
    describers = [library.describer(one) for one in models]
    for one in describers:
        one.run()
    return Combiner(describers, choices.pop("reader", ENGLISH), **choices)


def stored(folder: Path) -> list[dict[str, Any]]:
    with looksay.Library(folder) as library:
        return [
            {**dict(row), "assessment": library.catalog.assessments.newest(row["id"])}
            for row in library.catalog.rows(
                "SELECT g.*, m.name AS model FROM generation g JOIN model m ON m.id = g.model_id "
                "WHERE m.name LIKE 'combined:%' ORDER BY g.id"
            )
        ]


def test_the_combined_text_is_the_one_that_counts_and_keeps_its_evidence(folder: Path) -> None:
    with looksay.Library(folder) as library:
        run = combiner(library, model("a"), model("b", "Two dogs and a cat."), model("c"))
        report = run.run()
        assert (report.combined, report.failures, report.incomplete) == (PHOTOS, [], 0)
        assert report.claims["supported"] == 5 * PHOTOS
        texts = {(words.model, words.text) for _, words in library.targets()}
    assert texts == {("combined:a+b+c", "Two dogs on a sofa.")}
    for row in stored(folder):
        found = row["assessment"]
        assert found.method == run.method
        assert found.features["combined"]["texts"]["b"] == "Two dogs and a cat."
        claims = from_records(found.claims)
        assert {one.words for one in claims if not one.said.spans} == {"a cat", "one cat"}
        assert all(one.evidence for one in claims)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("nothing", 0),
        ("the verifier", PHOTOS),
        ("the way", PHOTOS),
        ("the reader", PHOTOS),
        ("a model", PHOTOS),
        ("a new photo", 1),
        ("again", PHOTOS),
    ],
)
def test_the_same_is_not_combined_twice(folder: Path, change: str, again: int) -> None:
    with looksay.Library(folder) as library:
        assert combiner(library, model("a"), model("b")).run().combined == PHOTOS
        choices: dict[str, Any] = {}
        models = [model("a"), model("b")]
        if change == "the verifier":
            choices["verifier"] = model("v", "Yes.")
        elif change == "the way":
            choices["by"] = "medoid"
        elif change == "the reader":
            choices["reader"] = readers.load("coco")
        elif change == "a model":
            models.append(model("c"))
        elif change == "a new photo":
            put(folder / "new.jpg", jpeg(50))
            library.scan()
        elif change == "again":
            choices["again"] = True
        run = combiner(library, *models, **choices)
        assert run.waiting() == again
        report = run.run()
        assert report.combined == again
        assert report.present == (PHOTOS if change in ("nothing", "a new photo") else 0)


def test_a_model_that_fails_on_a_photo_is_left_out_there_and_joins_later(folder: Path) -> None:
    with looksay.Library(folder) as library:
        broken = model("b", failing_on(1, "Two dogs."))
        report = combiner(library, model("a"), broken).run()
        assert (report.combined, report.incomplete) == (PHOTOS, 1)
        (short,) = [row for row in stored(folder) if "of 1 of 2 models" in row["notes"]]
        assert short["alt"] == "Two dogs on a sofa."
        assert {one.verdict for one in from_records(short["assessment"].claims)} == {"unchecked"}
        report = combiner(library, model("a"), model("b", "Two dogs.")).run()
        assert (report.combined, report.present, report.incomplete) == (1, PHOTOS - 1, 0)


def test_a_model_that_proposes_decoration_has_not_failed(folder: Path) -> None:
    with looksay.Library(folder) as library:
        report = combiner(library, model("a"), model("b", "DECORATIVE")).run()
    assert (report.combined, report.incomplete) == (PHOTOS, 0)
    assert [(row["alt"], row["notes"]) for row in stored(folder)] == [
        ("Two dogs on a sofa.", "[]")
    ] * PHOTOS


def test_of_all_who_answer_decoration_says_how_many_they_were(folder: Path) -> None:
    with looksay.Library(folder) as library:
        report = combiner(
            library, model("a", failing_on(1, "DECORATIVE")), model("b", "DECORATIVE")
        )
        assert (report.run().incomplete) == 1
    notes = sorted(row["notes"] for row in stored(folder))
    assert notes[-1] == '["proposed as decoration"]'
    assert notes[0] == '["proposed as decoration", "of 1 of 2 models"]'


def test_what_has_not_been_asked_yet_waits(folder: Path) -> None:
    with looksay.Library(folder) as library:
        first, second = library.describer(model("a")), library.describer(model("b"), limit=1)
        first.run(), second.run()
        report = Combiner([first, second], ENGLISH).run()
        assert (report.combined, report.lacking) == (1, PHOTOS - 1)


def test_a_verifier_that_fails_leaves_the_photo_for_the_next_run(folder: Path) -> None:
    asked = iter(range(1000))

    def answer(conversation: Conversation) -> Completion:
        number = next(asked)
        return Completion(0, "" if number == 7 else "Yes.", error="gone" if number == 7 else None)

    with looksay.Library(folder) as library:
        run = combiner(library, model("a"), model("b"), verifier=model("v", answer))
        report = run.run()
        assert report.combined == PHOTOS - 1
        assert [reason for _, reason in report.failures] == ["v was asked about a claim: gone"]
        report = combiner(library, model("a"), model("b"), verifier=model("v", "Yes.")).run()
        assert (report.combined, report.present) == (1, PHOTOS - 1)


def test_a_verifier_that_answers_nobody_ends_the_run(folder: Path) -> None:
    for n in range(10, 20):
        put(folder / f"{n}.jpg", jpeg(n))
    with looksay.Library(folder) as library:
        library.scan()
        dead = model("v", Completion(0, error="no server", finish_reason="error"))
        run = combiner(library, model("a"), model("b"), verifier=dead)
        with pytest.raises(BackendError, match="no server"):
            run.run()
        assert len(run.report.failures) == 5
    assert stored(folder) == []


def test_prose_of_a_verifier_is_counted(folder: Path) -> None:
    with looksay.Library(folder) as library:
        verifier = model("v", "I would rather describe the mood.")
        report = combiner(library, model("a"), model("b"), verifier=verifier).run()
        assert report.unreadable == len(verifier.asked) == 5 * PHOTOS
        assert report.combined == PHOTOS


def test_one_that_says_the_same_of_every_photo_is_named(folder: Path) -> None:
    for n in range(10, 14):
        put(folder / f"{n}.jpg", jpeg(n))
    numbers = iter(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"] * 2)
    with looksay.Library(folder) as library:
        library.scan()
        lively = model("a", lambda _: f"Photo with {next(numbers)} dogs.")
        assert combiner(library, lively, model("b")).run().same == ["b"]


def test_no_claim_survives_and_the_text_is_not_empty(folder: Path) -> None:
    with looksay.Library(folder) as library:
        report = combiner(
            library, model("a"), model("b"), verifier=model("v", "No."), by="union"
        ).run()
        assert (report.combined, report.unconfirmed) == (PHOTOS, PHOTOS)
        noted = list(library.lacking(["noted"]))
    assert len(noted) == PHOTOS
    assert all(row["alt"] and NOTHING_SURVIVED in row["notes"] for row in stored(folder))


def test_who_proposes_decoration_is_heard_only_if_all_do(folder: Path) -> None:
    with looksay.Library(folder) as library:
        combiner(library, model("a", "DECORATIVE"), model("b")).run()
        assert {row["alt"] for row in stored(folder)} == {"Two dogs on a sofa."}
        combiner(library, model("a", "DECORATIVE"), model("c", "DECORATIVE")).run()
    decorative = [row for row in stored(folder) if row["model"] == "combined:a+c"]
    assert all(row["decorative"] and row["alt"] == "" for row in decorative)


def test_the_library_combines_by_names(folder: Path) -> None:
    with looksay.Library(folder) as library:
        report = library.combine(["echo", model("a")], how={"by": "medoid"}, limit=2)
        assert (report.combined, report.lacking) == (2, PHOTOS - 2)
        with pytest.raises(InputError, match="--encoder"):
            library.combine(["echo", model("a")], how={"by": "fuse"})


def test_words_of_people_stay(folder: Path) -> None:
    with looksay.Library(folder) as library:
        library.decide("0.jpg", "edit", "My dogs.")
        assert combiner(library, model("a"), model("b")).run().combined == PHOTOS - 1
        assert {words.text for _, words in library.targets()} == {"My dogs.", "Two dogs on a sofa."}


def test_what_verifying_costs_is_kept_within_the_budget(folder: Path) -> None:
    paid = Price(1.0, 1.0)

    def answer(conversation: Conversation) -> Completion:
        return Completion(0, "Yes.", 100, 10, cost_usd=0.01)

    with looksay.Library(folder) as library:
        verifier = model("v", answer, price=paid, remote=True)
        report = combiner(
            library, model("a"), model("b"), verifier=verifier, max_cost_usd=0.12
        ).run()
        assert report.stopped == "cost"
        assert report.combined == 2
        assert report.cost_usd == pytest.approx(0.1)
    assert [row["cost_usd"] for row in stored(folder)] == pytest.approx([0.05, 0.05])


def test_with_nothing_left_to_spend_nobody_is_asked(folder: Path) -> None:
    def answer(conversation: Conversation) -> Completion:
        raise AssertionError("asked")

    with looksay.Library(folder) as library:
        verifier = model("v", answer, price=Price(1.0, 1.0), remote=True)
        said = [model("a"), model("b")]
        report = combiner(library, *said, verifier=verifier, max_cost_usd=0.0).run()
    assert (report.stopped, report.combined) == ("cost", 0)


@pytest.mark.parametrize(
    ("models", "choices", "told"),
    [
        (["a"], {}, "two models or more"),
        (["a", "a"], {}, "are one model"),
        (["a", "b"], {"verifier": "b"}, "would check what it said itself"),
        (["a", "b"], {"by": "union"}, "--verifier"),
        (["a", "b"], {"by": "fuse"}, "--encoder"),
    ],
)
def test_what_cannot_be_is_told(
    folder: Path, models: list[str], choices: dict[str, Any], told: str
) -> None:
    if "verifier" in choices:
        choices = {"verifier": model(choices["verifier"], "Yes.")}
    with looksay.Library(folder) as library, pytest.raises(InputError, match=told):
        combiner(library, *map(model, models), **choices)


def test_its_own_verifier_where_that_is_wanted(folder: Path) -> None:
    with looksay.Library(folder) as library:
        run = combiner(library, model("a"), model("b"), verifier=model("b"), own_verifier=True)
        assert run.run().combined == PHOTOS


class Detecting:
    """Sees two cats everywhere."""

    name, fingerprint, names = "detection:cats", "1", ("cat", "dog")

    def find(self, source: Any) -> Findings:
        box = (0.0, 0.0, 1.0, 1.0)
        return Findings((8, 8), detections=(Detection("cat", box, 0.9), Detection("cat", box, 0.9)))


def test_experts_look_at_every_photo(folder: Path) -> None:
    with looksay.Library(folder) as library:
        run = combiner(library, model("a"), model("b", "Two cats."), experts=[Detecting()])
        run.run()
        assert {words.text for _, words in library.targets()} == {"Two cats. A sofa."}
    evidence = [e for c in from_records(stored(folder)[0]["assessment"].claims) for e in c.evidence]
    assert {"detection:cats"} == {e.source for e in evidence if e.how == "found"}


# --- as it is typed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--combine", ""], "Two different models"),
        (["--combine", "echo,echo,facts"], "Two different models"),
        (["--combine", "echo,facts", "--verifier", "echo"], "would check what it said itself"),
    ],
)
def test_a_mistake_is_told_before_any_model_is_asked(
    folder: Path, words: list[str], told: str
) -> None:
    found = typed("describe", folder, *words)
    assert (found.returncode, found.stdout) == (2, "")
    assert told in found.stderr
    with looksay.Library(folder) as library:
        assert not list(library.catalog.rows("SELECT 1 FROM generation"))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    world = Scenes(1000, "test")
    for n in range(3):
        data = io.BytesIO()
        world.scene(n).image().save(data, "PNG")
        put(tmp_path / f"{n}.png", data.getvalue())
    return tmp_path


@pytest.mark.slow
@pytest.mark.local
def test_the_command_with_a_real_model_and_verifier(scenes: Path) -> None:
    """mini and two that see nothing: what mini alone says is not believed before a verifier has been asked."""
    how = ("--combine", "mini,echo,facts", "--reader", "scenes")
    done = typed("describe", scenes, *how, "--verifier", "mini")
    assert done.returncode == 2
    assert "would check what it said itself" in done.stderr
    done = typed("describe", scenes, *how, "--verifier", "mini", "--own-verifier", "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    summary = rows[-1]["summary"]
    assert summary["combined"] == 3
    assert summary["unreadable"] == 0
    assert sum(summary["claims"].values()) > 6
    again = typed("describe", scenes, *how, "--verifier", "mini", "--own-verifier")
    assert "combined 0" in again.stdout
    assert "3 were there already" in again.stdout
    said = [one for row in stored(scenes) for one in from_records(row["assessment"].claims)]
    asked = [e for one in said for e in one.evidence if e.how == "asked"]
    assert len(asked) == len(said)
    assert all(0 < e.support < 1 for e in asked)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--combine", "echo,facts", "--model", "echo"), "leave --model out"),
        (("--combine", "echo,facts", "--by", "union"), "--verifier"),
        (("--combine", "echo,facts", "--reader", "klingon"), "english"),
    ],
)
def test_mistakes_are_told_before_a_model_is_asked(
    folder: Path, words: tuple[str, ...], told: str
) -> None:
    done = typed("describe", folder, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    with looksay.Library(folder) as library:
        assert list(library.catalog.rows("SELECT 1 FROM generation")) == []
