"""What a run asks for, what it stores, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

import looksay
from looksay.backends.base import Profile, as_they_finish
from looksay.errors import BackendError
from looksay.types import Completion, Conversation, Options, Price

ENGLISH = "A small dog runs along the beach with a stick in its mouth."


class Scripted:
    """A backend that answers by a function of the conversation; it keeps what it was asked."""

    def __init__(
        self, answer: Any = ENGLISH, name: str = "scripted", fingerprint: str = "1", **profile: Any
    ) -> None:
        self.answer, self.name, self.fingerprint = answer, name, fingerprint
        self.profile = Profile(**profile)
        self.asked: list[Conversation] = []

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        def one(conversation: Conversation) -> Completion:
            self.asked.append(conversation)
            said = self.answer(conversation) if callable(self.answer) else self.answer
            return said if isinstance(said, Completion) else Completion(0, said, 100, 10)

        for index, completion in as_they_finish(one, conversations, self.profile.concurrency):
            yield replace(completion, index=index)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield ENGLISH


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for n in range(6):
        put(tmp_path / f"{n}.jpg", jpeg(n))
    put(tmp_path / "page.md", "# Beach\n\nOne ![](0.jpg)\n\nTwo ![](0.jpg) ![Human words](1.jpg)\n")
    with looksay.Library(tmp_path) as library:
        library.scan()
    return tmp_path


def generations(folder: Path) -> list[dict[str, Any]]:
    with looksay.Library(folder) as library:
        return [dict(r) for r in library.catalog.rows("SELECT * FROM generation ORDER BY id")]


# --- only what is missing ---------------------------------------------------------------------------


def test_the_same_is_never_asked_twice(site: Path) -> None:
    model = Scripted()
    with looksay.Library(site) as library:
        assert library.describe(model).described == 6  # two places on the page, four photos
        report = library.describe(model)
        assert (report.described, report.present, len(model.asked)) == (0, 6, 6)


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ("another model", 6),
        ("another revision of the model", 6),
        ("another language", 6),
        ("another temperature", 6),
        ("another time limit", 0),
        ("another page context", 2),
        ("another length", 6),
        ("a new photo", 1),
        ("a moved photo", 0),
        ("asked again", 6),
        ("everything", 1),
    ],
)
def test_what_makes_an_answer_missing(site: Path, change: str, asked: int) -> None:
    with looksay.Library(site) as library:
        library.describe(Scripted())
        model, choices = Scripted(), dict[str, Any]()
        if change == "another model":
            model.name = "other"
        elif change == "another revision of the model":
            model.fingerprint = "2"
        elif change == "another language":
            choices["language"], model.answer = "ko", "작은 개가 해변을 달린다."
        elif change == "another temperature":
            choices["options"] = Options(temperature=0.5)
        elif change == "another time limit":
            choices["options"] = Options(timeout_s=1)
        elif change == "another page context":
            put(site / "page.md", (site / "page.md").read_text().replace("# Beach", "# Shore"))
        elif change == "another length":
            library.settings = replace(library.settings, target_characters=80)
        elif change == "a new photo":
            put(site / "new.jpg", jpeg(50))
        elif change == "a moved photo":
            (site / "5.jpg").rename(site / "moved.jpg")
        elif change == "asked again":
            choices["again"] = True
        elif change == "everything":
            choices["which"] = "all"
        library.scan()
        report = library.describe(model, **choices)
        assert (report.described, report.failures, len(model.asked)) == (asked, [], asked)


def test_a_captioner_is_asked_once_per_photo_whatever_the_page_says(site: Path) -> None:
    model = Scripted(instructable=False)
    with looksay.Library(site) as library:
        assert library.describe(model).described == 5
        assert {len(c.messages) for c in model.asked} == {1}
        put(site / "page.md", "# Shore\n\n![](0.jpg) ![](0.jpg) ![Human words](1.jpg)\n")
        library.scan()
        assert library.describe(model).described == 0


def test_words_of_people_and_decoration_are_not_asked_for(site: Path) -> None:
    model = Scripted()
    with looksay.Library(site) as library:
        library.decide(site / "2.jpg", "edit", "Mine")
        library.decide(site / "3.jpg", "decorative")
        library.decide(site / "4.jpg", "clear")
        library.describe(model)
    assert sorted(p.source.name for c in model.asked for p in c.images) == [
        "0.jpg",
        "0.jpg",
        "5.jpg",
    ]


def test_the_request_holds_the_context_and_never_the_image_s_own_text(site: Path) -> None:
    put(site / "page.md", "# Beach\n\nBefore [![Old words](0.jpg)](tickets.html) after\n")
    model = Scripted()
    with looksay.Library(site) as library:
        library.scan()
        library.describe(model, path=site / "page.md", which="all")
    (request,) = [c for c in model.asked if "tickets.html" in c.messages[-1].text]
    assert 'Title: "Beach"' in request.messages[-1].text
    assert 'Text before: "Beach Before"' in request.messages[-1].text
    assert "link" in request.messages[-1].text
    assert "Old words" not in repr(request)


# --- answers that will not do -----------------------------------------------------------------------


def test_too_long_is_asked_once_more_and_both_are_kept(site: Path) -> None:
    long = "A dog " + "runs and " * 40 + "rests."

    def answer(conversation: Conversation) -> str:
        return ENGLISH if len(conversation.messages) > 2 else long

    model = Scripted(answer)
    with looksay.Library(site) as library:
        report = library.describe(model, limit=1)
        assert (report.described, report.failures, len(model.asked)) == (1, [], 2)
        assert f"That is {len(long)} characters" in model.asked[1].messages[-1].text
        assert [g["alt"] for g in generations(site)] == [long, ENGLISH]
        assert ENGLISH in {w.text for _, w in library.targets()}
        assert library.describe(model, limit=1).described == 1


def test_always_too_long_is_kept_with_a_note(site: Path) -> None:
    model = Scripted("A dog " + "runs and " * 40 + "rests.")
    with looksay.Library(site) as library:
        report = library.describe(model)
        assert (report.described, report.failures, len(model.asked)) == (6, [], 12)
        notes = [w.notes for _, w in library.targets() if w.state == "ai"]
        assert len(notes) == 6
        assert all("characters" in " ".join(n) for n in notes)
        library.describe(model)
        assert len(model.asked) == 12


def test_the_wrong_language_is_asked_once_more_then_a_failure(site: Path) -> None:
    def answer(conversation: Conversation) -> str:
        good = len(conversation.messages) > 2 and conversation.images[0].source != site / "5.jpg"
        return "작은 갈색 개가 막대기를 물고 해변을 달린다." if good else ENGLISH

    model = Scripted(answer)
    with looksay.Library(site) as library:
        report = library.describe(model, language="ko")
        assert report.described + len(report.failures) == 6
        assert [name for name, _ in report.failures] == ["5.jpg"]
        assert "not in ko" in report.failures[0][1]
        assert len(model.asked) == 12
        assert "Write the alternative text in Korean" in model.asked[-1].messages[-1].text
        model.answer = "작은 갈색 개가 막대기를 물고 해변을 달린다."
        assert library.describe(model, language="ko").described == 1
    assert len(generations(site)) == 6


def test_a_limit_does_not_lose_a_second_request(site: Path) -> None:
    model = Scripted(lambda c: ENGLISH if len(c.messages) <= 2 else "작은 갈색 개가 해변을 달린다.")
    with looksay.Library(site) as library:
        report = library.describe(model, language="ko", limit=2)
        assert (report.described, report.failures, report.stopped) == (2, [], "limit")


def test_what_was_never_asked_a_second_time_is_told(site: Path) -> None:
    model = Scripted(lambda c: Completion(0, ENGLISH, cost_usd=1.0), price=Price(1, 1))
    with looksay.Library(site) as library:
        report = library.describe(model, language="ko", max_cost_usd=6.0)
        assert report.stopped == "cost"
        assert report.cost_usd <= 6.0
        assert report.described == 0
        assert len(report.failures) == sum(len(c.messages) == 2 for c in model.asked) > 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        ("  ** ", "empty"),
        (Completion(0, error="the server said 500"), "500"),
        (Completion(0, "", finish_reason="refusal", error="the model refused"), "refused"),
    ],
)
def test_failures_are_listed_and_tried_again(site: Path, answer: Any, reason: str) -> None:
    model = Scripted(lambda c: answer if c.images[0].source == site / "3.jpg" else ENGLISH)
    with looksay.Library(site) as library:
        report = library.describe(model)
        assert report.described == 5
        ((name, told),) = report.failures
        assert name == "3.jpg"
        assert reason in told
        assert [e["event"] for e in library.show(site / "3.jpg")] == ["failure"]
        model.answer = ENGLISH
        assert library.describe(model).described == 1


def test_a_photo_that_is_gone_or_broken_stops_nobody_else(site: Path) -> None:
    with looksay.Library(site) as library:
        (site / "2.jpg").unlink()
        put(site / "3.jpg", b"")
        report = library.describe("echo")
        assert report.described + len(report.failures) == 6
        assert "2.jpg" in [name for name, _ in report.failures]


def test_half_a_character_is_stored_not_fatal(site: Path) -> None:
    """A server that cuts JSON at a token limit can leave half of a surrogate pair."""
    with looksay.Library(site) as library:
        report = library.describe(Scripted("A dog with a ball \ud83d"))
        assert (report.described, report.failures) == (6, [])
        report = library.describe(Scripted(Completion(0, error="bad \udc80 bytes"), name="other"))
        assert len(report.failures) == 6
        assert library.show(site / "3.jpg")


# --- how a run ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 4])
def test_limit(site: Path, concurrency: int) -> None:
    model = Scripted(concurrency=concurrency)
    with looksay.Library(site) as library:
        report = library.describe(model, limit=4)
        assert (report.described, report.stopped, len(model.asked)) == (4, "limit", 4)
        assert library.describe(model).described == 2


@pytest.mark.parametrize("concurrency", [1, 3])
def test_cost(site: Path, concurrency: int) -> None:
    def answer(_: Conversation) -> Completion:
        return Completion(0, ENGLISH, 1000, 10, cost_usd=0.01)

    model = Scripted(answer, concurrency=concurrency, price=Price(5.0, 10.0))
    with looksay.Library(site) as library:
        report = library.describe(model, max_cost_usd=0.035)
        assert report.stopped == "cost"
        assert 0 < report.cost_usd <= 0.035
        assert library.describe(model, max_cost_usd=0.0).described == 0
        assert library.describe(model).stopped == ""


@pytest.mark.parametrize("concurrency", [1, 3])
def test_stop_finishes_what_is_in_flight(site: Path, concurrency: int) -> None:
    model = Scripted(concurrency=concurrency)
    with looksay.Library(site) as library:
        run = library.describer(model)
        model.answer = lambda _: (setattr(run, "stop", True), ENGLISH)[1]
        report = run.run()
        assert report.stopped == "interrupted"
        assert report.described == len(model.asked) == len(generations(site)) <= concurrency
        model.answer = ENGLISH
        assert library.describe(model).described == 6 - report.described


class Dying(Scripted):
    """A backend whose server goes away after a few answers."""

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, _ in enumerate(conversations):
            if index == self.answer:
                raise BackendError("The server went away.")
            yield Completion(index, ENGLISH)


def test_a_fault_of_the_whole_backend(site: Path) -> None:
    with looksay.Library(site) as library:
        with pytest.raises(BackendError, match="went away"):
            library.describe(Dying(0))
        report = library.describe(Dying(2))
        assert (report.described, report.stopped) == (2, "The server went away.")
        assert library.describe(Dying(99)).described == 4


def test_others_write_while_a_run_reads(site: Path) -> None:
    """While a run reads what is missing, other processes write; neither hinders the other."""
    with looksay.Library(site) as library:

        def answer(_: Conversation) -> str:
            with looksay.Library(site) as other:
                other.decide(site / "5.jpg", "edit", f"Words {len(model.asked)}")
            return ENGLISH

        model = Scripted(answer)
        report = library.describe(model)
        assert (report.failures, report.stopped) == ([], "")
        assert report.described == 5  # not the photo that a person has described meanwhile


def test_estimate_is_what_describe_does(site: Path) -> None:
    model = Scripted(price=Price(1.0, 1.0))
    with looksay.Library(site) as library:
        planned = library.estimate(model)
        assert planned.requests == library.describe(model).described == 6
        assert planned.cost_usd
        assert library.estimate(model).requests == 0
        assert len(model.asked) == 6


def test_an_estimate_takes_the_time_of_the_same_precision_where_it_is_known(site: Path) -> None:
    def slow(seconds: float) -> Any:
        return lambda conversation: Completion(0, ENGLISH, 100, 10, seconds)

    with looksay.Library(site) as library:
        for precision, seconds, limit in (("d-bfloat16", 9.0, 4), ("d-int8", 2.0, 2)):
            library.describe(Scripted(slow(seconds), "m", precision), limit=limit)
        for precision, each in (("d-bfloat16", 9.0), ("d-int8", 2.0), ("d-nf4", 9.0)):
            found = library.estimate(Scripted(name="m", fingerprint=precision))
            assert found.seconds == pytest.approx(found.requests * each)


def test_upgrade_describes_models_words_only_and_queues_what_changed(site: Path) -> None:
    with looksay.Library(site) as library:
        library.describe(Scripted("Three boats at a quay."))
        library.decide(site / "2.jpg", "accept")
        library.decide(site / "3.jpg", "edit", "Mine")
        better = Scripted(
            lambda c: (
                "At a quay, three boats." if c.images[0].source == site / "4.jpg" else "Seven cats."
            ),
            name="better",
        )
        report = library.upgrade(better)
        assert report.described == 4
        queued = {t.path for t, w in library.targets() if "changed in substance" in w.notes}
        assert queued == {"0.jpg", "5.jpg"}
        words = {t.path: w.text for t, w in library.targets()}
        assert (words["2.jpg"], words["3.jpg"]) == ("Three boats at a quay.", "Mine")


# --- two at once ------------------------------------------------------------------------------------


def test_two_processes_describe_at_once(tmp_path: Path) -> None:
    for n in range(60):
        put(tmp_path / f"{n}.jpg", jpeg(n))
    with looksay.Library(tmp_path) as library:
        library.scan()
    command = [
        sys.executable,
        "-m",
        "looksay",
        "describe",
        str(tmp_path),
        "--model",
        "echo:0.005",
        "--json",
    ]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    with looksay.Library(tmp_path) as library:
        assert library.catalog.one("SELECT count(*) FROM generation") == 60
        assert library.catalog.one("SELECT count(*) FROM failure") == 0
        assert library.catalog.one("SELECT sum(generations) FROM tally") == 60


def test_answers_that_come_in_any_order_go_to_their_photos(site: Path) -> None:
    order: list[threading.Event] = [threading.Event() for _ in range(6)]
    order[-1].set()
    lock = threading.Lock()

    def answer(conversation: Conversation) -> str:
        with lock:
            number = len(model.asked) - 1
        order[number].wait(10)
        if number:
            order[number - 1].set()
        return f"This is the dog of the photo {conversation.images[0].source.stem} on the beach."

    model = Scripted(answer, concurrency=6)
    with looksay.Library(site) as library:
        assert library.describe(model).described == 6
        for target, words in library.targets():
            if words.state == "ai":
                assert f"photo {Path(target.path).stem} " in words.text
