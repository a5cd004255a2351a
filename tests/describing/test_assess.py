"""Texts of a catalogue held to what is known of their photos: what is asked, what is kept, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from describing.test_run import Scripted
from pictures import jpeg, put

import looksay
from looksay.data import readers
from looksay.describing.assess import Assessor, AssessReport
from looksay.describing.judging import Judge
from looksay.errors import BackendError
from looksay.types import CONFIDENCE, Completion, Conversation, Price

TEXT = "Two dogs lie on a red sofa."


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for n in range(4):
        put(tmp_path / f"{n}.jpg", jpeg(n))
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.describe(Scripted(Completion(0, TEXT, details={CONFIDENCE: -0.5}), "a"))
    return tmp_path


def checked(folder: Path, verifier: Any = None, **choices: Any) -> tuple[AssessReport, Assessor]:
    with looksay.Library(folder) as library:
        run = library.assessor(readers.load("english"), verifier=verifier, **choices)
        report = run.run()
        run.levels()
        return report, run


def claims(folder: Path, number: int = 1) -> dict[str, Any]:
    with looksay.Library(folder) as library:
        return {one.words: one for one in Judge(library.catalog).claims(number) or ()}


def says(answer: Callable[[str], str], name: str = "v", **profile: Any) -> Scripted:
    return Scripted(
        lambda talk: Completion(0, answer(talk.messages[-1].text), 10, 2), name, name, **profile
    )


class Ranks(Scripted):
    """A verifier that says how likely it finds an answer."""

    def rank(self, conversation: Conversation, choices: Any) -> list[float]:
        self.asked.append(conversation)
        return [-0.1, *(-3.0 for _ in choices[1:])]


def test_a_text_alone_is_told_by_rules_and_says_so(site: Path) -> None:
    report, _ = checked(site)
    assert (report.assessed, report.alone, report.failures) == (4, 4, [])
    assert sum(report.levels.values()) == 4
    assert "high" not in report.levels
    assert all(one.support is None for one in claims(site).values())


def test_other_models_speak_for_and_against(site: Path) -> None:
    with looksay.Library(site) as library:
        library.describe(Scripted("Three dogs lie on a red sofa.", "b"))
        library.describe(Scripted("One dog sleeps on a sofa.", "c"))
    report, _ = checked(site)
    assert report.assessed == 4, "of a photo's texts the one that counts"
    found = claims(site, 9)  # of c, which spoke last
    assert found["a dog"].verdict == "supported"
    assert {one.source for one in found["a dog"].evidence} == {"a", "b"}
    assert found["one dog"].verdict == "rejected"
    assert report.levels.get("low", 0) < 4
    assert any("one dog" in reason for reason in report.riskiest[0].reasons)


def test_a_verifier_is_asked_about_each_claim_alone_and_once(site: Path) -> None:
    verifier = says(lambda question: "No" if "red" in question else "Yes")
    checked(site, verifier)
    texts = [talk.messages[-1].text for talk in verifier.asked]
    assert len(texts) == sum(len(claims(site, n)) for n in range(1, 5))
    assert all(TEXT not in text for text in texts)
    assert claims(site)["a dog"].verdict == "supported"
    many = len(verifier.asked)
    again, _ = checked(site, verifier)
    assert (again.assessed, again.present, len(verifier.asked)) == (0, 4, many)


def test_what_was_paid_for_is_used_again_when_another_model_has_spoken(site: Path) -> None:
    verifier = says(lambda _: "Yes")
    checked(site, verifier)
    many = len(verifier.asked)
    with looksay.Library(site) as library:
        library.describe(
            Scripted("Two dogs on a sofa.", "facts", draft=True)
        )  # a draft counts behind a model
    report, _ = checked(site, verifier)
    assert report.assessed == 4
    assert len(verifier.asked) == many
    assert {"facts", "v"} <= {one.source for one in claims(site)["a dog"].evidence}
    other = Scripted("Yes", "w", fingerprint="2")
    checked(site, other)
    assert len(other.asked) == many, "another verifier is asked anew"


def test_a_claim_about_a_photo_is_paid_for_once_whoever_makes_it(site: Path) -> None:
    verifier = says(lambda _: "Yes")
    checked(site, verifier)
    many = len(verifier.asked)
    with looksay.Library(site) as library:
        library.describe(Scripted("Two dogs on a sofa.", "b"), which="all")
    report, _ = checked(site, verifier)
    assert report.assessed == 4
    assert len(verifier.asked) == many, "a said all of that"
    with looksay.Library(site) as library:
        how = {"verifier": verifier}
        both = [Scripted("Two cats.", name, name) for name in ("c", "d")]
        assert library.combine(both, how=how, which="all").combined == 4
        many = len(verifier.asked)
    report, _ = checked(site, verifier)
    assert (report.assessed, len(verifier.asked)) == (4, many), "they were combined with it"
    assert claims(site, 17)["a cat"].evidence[-1].source == "v"


def test_nobody_verifies_what_it_said_itself(site: Path) -> None:
    verifier = says(lambda _: "Yes", "a")
    report, _ = checked(site, verifier)
    assert (report.assessed, report.own, verifier.asked) == (4, 4, [])
    report, _ = checked(site, verifier, own_verifier=True)
    assert report.assessed == 4
    assert verifier.asked


def test_a_ranker_tells_how_likely(site: Path) -> None:
    checked(site, Ranks(name="r", fingerprint="3"))
    (evidence,) = claims(site)["a dog"].evidence
    assert evidence.how == "asked"
    assert evidence.support == pytest.approx(1 / (1 + 2.718281828 ** (-2.9)))


def test_an_estimate_is_what_is_then_asked(site: Path) -> None:
    price = Price(1.0, 1.0)
    verifier = says(lambda _: "Yes", price=price, remote=True)
    with looksay.Library(site) as library:
        run = library.assessor(readers.load("english"), verifier=verifier)
        planned = run.estimate()
        assert not verifier.asked
        assert run.report.present == 0
        run.run()
    assert planned.requests == len(verifier.asked) > 0
    assert planned.cost_usd is not None
    assert planned.cost_usd > 0
    assert checked_estimate(site, verifier) == 0


def checked_estimate(folder: Path, verifier: Any) -> int:
    with looksay.Library(folder) as library:
        return library.assessor(readers.load("english"), verifier=verifier).estimate().requests


def test_a_limit_counts_texts_and_money_stops(site: Path) -> None:
    report, _ = checked(site, says(lambda _: "Yes"), limit=1)
    assert (report.assessed, report.stopped) == (1, "limit")
    dear = Scripted(lambda _: Completion(0, "Yes", cost_usd=0.25), "d", "d", price=Price(1.0, 1.0))
    report, _ = checked(site, dear, max_cost_usd=2.5)
    assert report.stopped == "cost"
    assert 0 < report.assessed < 4
    assert report.cost_usd <= 2.5
    rest, _ = checked(site, dear)
    assert rest.assessed + rest.present == 4


def test_an_answer_that_cannot_be_read_is_no_evidence(site: Path) -> None:
    report, _ = checked(site, says(lambda _: "Hm, hard to say."))
    assert report.assessed == 4
    assert report.unreadable == sum(len(claims(site, n)) for n in range(1, 5))
    assert all(not one.evidence for one in claims(site).values())


def test_a_question_that_fails_leaves_the_text_for_the_next_run(site: Path) -> None:
    asked: list[str] = []

    def answer(conversation: Conversation) -> Completion:
        asked.append(conversation.messages[-1].text)
        if len(asked) == 2:
            return Completion(0, error="the server hung up", finish_reason="error")
        return Completion(0, "Yes")

    report, _ = checked(site, Scripted(answer, "v", "v"))
    assert report.assessed == 3
    assert [reason for _, reason in report.failures] == [
        "v was asked about a claim: the server hung up"
    ]
    report, _ = checked(site, Scripted("Yes", "v", "v"))
    assert (report.assessed, report.present) == (1, 3)


def test_a_verifier_that_answers_nobody_ends_the_run(tmp_path: Path) -> None:
    for n in range(7):
        put(tmp_path / f"{n}.jpg", jpeg(n))
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.describe(Scripted(TEXT, "a"))
    gone = Scripted(lambda _: Completion(0, error="no answer", finish_reason="error"), "v", "v")
    with pytest.raises(BackendError, match="v was asked about a claim: no answer"):
        checked(tmp_path, gone)


def test_a_photo_that_is_gone_is_told_and_the_others_go_on(site: Path) -> None:
    (site / "2.jpg").unlink()
    report, _ = checked(site, says(lambda _: "Yes"))
    assert report.assessed == 3
    assert [name for name, _ in report.failures] == ["2.jpg"]


def test_token_confidence_is_a_feature_and_never_the_risk(site: Path) -> None:
    checked(site)
    with looksay.Library(site) as library:
        ((target, words), *_) = library.targets()
        found = Judge(library.catalog).features(words, target.context)
    assert found.confidence == -0.5


def test_the_risk_learns_from_reviews(tmp_path: Path) -> None:
    for n in range(56):
        put(tmp_path / f"{n:02}.jpg", jpeg(n))
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.describe(Scripted(lambda talk: "Two dogs lie on a sofa."), max_cost_usd=None)
        for n in range(52):
            verb = "accept" if n % 4 else "reject"
            library.decide(tmp_path / f"{n:02}.jpg", verb)
        judge = Judge(library.catalog)
        first = judge.learn()
        assert judge.scale.reviews == 52
        left = [pair for pair in library.targets() if pair[1].state == "ai"]
        risk = judge.risk(*left[0])
        assert risk.calibrated
        assert risk.value == pytest.approx(0.25, abs=0.05)
        library.decide(tmp_path / "52.jpg", "reject")
        assert judge.learn() != first
    report, _ = checked(tmp_path)
    assert report.reviews == 53
