"""Rulings: sent twice they are one, nobody's words go under unseen, and what is taken back was never decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from library.test_queue import made, site

import looksay
from looksay.errors import InputError
from looksay.library.catalog import Catalog
from looksay.library.queue import Filter, Queue
from looksay.library.records import Target, Words
from looksay.library.reviewing import Overtaken, Reviewer, Ruling


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with closing(Catalog(site(tmp_path))) as catalog:
        yield made(catalog)


@pytest.fixture
def reviewer(queue: Queue) -> Reviewer:
    return Reviewer(queue.catalog, "en")


def target(queue: Queue, path: str, page: str = "") -> Target:
    found = queue.catalog.targets.find(path, page)
    assert found is not None
    return found


def words(queue: Queue, of: Target) -> Words:
    return queue.catalog.ledger.words(of)


def ruling(queue: Queue, of: Target, token: str, verb: str, **more: object) -> Ruling:
    made = Ruling(token, verb, "ana", generation_id=words(queue, of).generation_id)
    return replace(made, **more)  # type: ignore[arg-type]


def count(queue: Queue) -> int:
    found: int = queue.catalog.one("SELECT count(*) FROM decision")
    return found


def test_each_verb_and_the_words_that_follow(queue: Queue, reviewer: Reviewer) -> None:
    five = target(queue, "5.jpg")
    said = words(queue, five).text
    for verb, text, state, follows in [
        ("accept", "", "reviewed", said),
        ("edit", " Mine. ", "human", "Mine."),
        ("edit", said, "reviewed", said),
        ("decorative", "", "decorative", ""),
        ("reject", "", "rejected", ""),
        ("clear", "", "cleared", ""),
    ]:
        last = reviewer.decisions.last(five)
        generation = queue.catalog.one(
            "SELECT id FROM generation WHERE photo_id = ?", (five.photo_id,)
        )
        one = Ruling(
            f"{verb}-{text}", verb, "ana", last.id if last else 0, text, "", generation, 2.5
        )
        (row,) = reviewer.rule(five, one)
        assert (row.state, row.who, row.seconds) == (state, "ana", 2.5)
        assert (words(queue, five).state, words(queue, five).text) == (state, follows)


def test_a_ruling_that_is_sent_twice_is_one(queue: Queue, reviewer: Reviewer) -> None:
    five = target(queue, "5.jpg")
    one = ruling(queue, five, "t", "edit", text="Mine.")
    first = reviewer.rule(five, one)
    assert reviewer.rule(five, one) == first
    assert reviewer.rule(five, replace(one, text="Other.")) == first, "a token is used once"
    assert count(queue) == 1


def test_who_saw_an_older_decision_is_told_the_newer(queue: Queue, reviewer: Reviewer) -> None:
    five = target(queue, "5.jpg")
    (first,) = reviewer.rule(five, ruling(queue, five, "a", "edit", text="Ana's words."))
    late = Ruling("b", "edit", "bob", 0, "Bob's words.")
    with pytest.raises(Overtaken) as told:
        reviewer.rule(five, late)
    assert (told.value.by.who, told.value.by.text) == ("ana", "Ana's words.")
    assert words(queue, five).text == "Ana's words."
    reviewer.rule(five, replace(late, saw=first.id))
    assert words(queue, five).text == "Bob's words."
    assert [
        e["text"] for e in queue.catalog.ledger.history(five.photo_id) if e["event"] == "decision"
    ] == [
        "Ana's words.",
        "Bob's words.",
    ], "both stay in the history"


def test_a_person_who_edits_the_page_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    db = site(tmp_path)
    with closing(Catalog(db)) as catalog:
        queue, reviewer = made(catalog), Reviewer(catalog, "en")
        one = target(queue, "1.jpg", "walk.md")
        old = ruling(queue, one, "late", "accept")
    page = tmp_path / "walk.md"
    page.write_text(page.read_text().replace("![](1.jpg)", "![A person's](1.jpg)"))
    with looksay.Library(tmp_path) as library:
        library.scan()
    with closing(Catalog(db)) as catalog:
        queue, reviewer = made(catalog), Reviewer(catalog, "en")
        with pytest.raises(InputError, match="written by a person"):
            reviewer.rule(target(queue, "1.jpg", "walk.md"), old)


@pytest.mark.parametrize(
    ("verb", "more", "says"),
    [
        ("praise", {}, "no decision 'praise'"),
        ("edit", {"text": "  "}, "text is empty"),
        ("accept", {"generation_id": None}, "no words of a model"),
        ("accept", {"generation_id": 9999}, "9999"),
    ],
)
def test_what_cannot_be_decided_changes_nothing(
    queue: Queue, reviewer: Reviewer, verb: str, more: dict[str, object], says: str
) -> None:
    five = target(queue, "5.jpg")
    with pytest.raises(InputError, match=says):
        reviewer.rule(five, ruling(queue, five, "t", verb, **more))
    assert count(queue) == 0


def test_what_is_taken_back_was_never_decided(queue: Queue, reviewer: Reviewer) -> None:
    catalog, five = queue.catalog, target(queue, "5.jpg")
    before, saw = words(queue, five), 0
    for token, verb in [("a", "decorative"), ("b", "reject"), ("c", "edit")]:
        one = Ruling(token, verb, "ana", saw, "Mine.", "", before.generation_id)
        reviewer.rule(five, one)
        assert words(queue, five) != before
        (row,), left = reviewer.undo(token, f"undo {token}", "ana")
        assert (row.state, left) == ("withdrawn", 0)
        assert reviewer.undo(token, f"undo {token}", "ana")[0] == [row], "sent twice it is one"
        assert words(queue, five) == before
        assert catalog.ledger.decision_counts() == {}
        saw = row.id


def test_taking_back_restores_what_stood_before(queue: Queue, reviewer: Reviewer) -> None:
    five = target(queue, "5.jpg")
    (first,) = reviewer.rule(five, ruling(queue, five, "a", "edit", text="First."))
    reviewer.rule(five, ruling(queue, five, "b", "edit", text="Second.", saw=first.id))
    (third,), _ = reviewer.undo("b", "c", "ana")
    assert words(queue, five).text == "First."
    with pytest.raises(Overtaken):
        reviewer.undo("b", "d", "ana")
    (fourth,) = reviewer.rule(
        five, ruling(queue, five, "e", "edit", text="Bob's.", saw=third.id, who="bob")
    )
    with pytest.raises(Overtaken) as told:
        reviewer.undo("a", "f", "ana")
    assert told.value.by == fourth
    assert words(queue, five).text == "Bob's."
    with pytest.raises(InputError, match="nothing to take back"):
        reviewer.undo("unknown", "g", "ana")


def test_a_whole_group_is_decided_and_taken_back_at_once(queue: Queue, reviewer: Reviewer) -> None:
    entry = queue.find(("", "3.jpg", 0))
    assert entry is not None
    three, four = target(queue, "3.jpg"), target(queue, "4.jpg")
    rows = reviewer.rule(three, ruling(queue, three, "t", "accept"), queue.group(entry))
    assert [row.token for row in rows] == ["t", "t/1"]
    assert words(queue, three).text == words(queue, four).text != ""
    assert words(queue, four).own
    _, left = reviewer.undo("t", "u", "ana")
    assert left == 0
    assert not words(queue, four).own
    assert words(queue, three).state == "draft"


def test_a_group_leaves_alone_what_a_person_decided(queue: Queue, reviewer: Reviewer) -> None:
    three, four = target(queue, "3.jpg"), target(queue, "4.jpg")
    reviewer.rule(four, Ruling("a", "edit", "bob", text="Bob's."))
    entry = queue.find(("", "3.jpg", 0))
    assert entry is not None
    assert len(reviewer.rule(three, ruling(queue, three, "b", "accept"), queue.group(entry))) == 1
    assert words(queue, four).text == "Bob's."


def test_many_are_accepted_as_they_were_shown(queue: Queue, reviewer: Reviewer) -> None:
    entries = queue.next(Filter(), number=20)
    shown = [(target(queue, e.path, e.page), e.generation_id) for e in entries if not e.occurrence]
    other = (shown[0][0], 9999)
    reviewer.rule(shown[1][0], Ruling("bob", "edit", "bob", text="Bob's."))
    assert reviewer.accept_many([other, *shown[1:]], "many", "ana") == len(shown) - 2
    assert words(queue, shown[1][0]).text == "Bob's."
    assert words(queue, shown[0][0]).state == "draft"
    assert reviewer.accept_many(shown, "many", "ana") == 1, "the rest, under the same token"
    rows, left = reviewer.undo("many", "back", "ana")
    assert (len(rows), left) == (len(shown) - 1, 0)
    assert all(words(queue, one).state == "draft" for one, _ in (shown[0], *shown[2:]))
