"""The queue: always what it would be if it were made anew, whatever happens to the catalogue and in which order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import jpeg, put

import looksay
from looksay.library.catalog import Catalog
from looksay.library.queue import Entry, Filter, Queue
from looksay.library.records import Target, Words
from looksay.library.reviewing import Overtaken, Reviewer, Ruling

PAGE = "# Walk\n\n![](0.jpg)\n\n![](1.jpg)\n\n![words of a person](2.jpg)\n\n![](0.jpg)\n"


def rate(target: Target, words: Words) -> tuple[float, str]:
    """As good as random, and the same each time."""
    value = sum(map(ord, target.path + target.page + words.text)) % 10 / 10
    return value, "high" if value >= 0.5 else "low"


def site(folder: Path) -> Path:
    """Seven photos, of which 4.jpg is a near-duplicate of 3.jpg, and a page."""
    for n in (0, 1, 2, 3, 5, 6):
        put(folder / f"{n}.jpg", jpeg(n))
    put(folder / "walk.md", PAGE)
    with looksay.Library(folder) as library:
        library.scan()
        put(folder / "4.jpg", jpeg(3, (192, 144)))  # the first that is seen leads
        library.scan()
        library.describe("echo")
    return folder / "looksay.db"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(site(tmp_path))) as opened:
        yield opened


def made(catalog: Catalog) -> Queue:
    queue = Queue(catalog, "en", rate)
    while queue.stale():
        queue.refresh(2)
    return queue


def rows(queue: Queue) -> list[tuple[Any, ...]]:
    found = queue.catalog.rows("SELECT * FROM queue ORDER BY page, path, occurrence")
    return [tuple(row) for row in found]


def test_what_waits_and_what_does_not(catalog: Catalog) -> None:
    queue = made(catalog)
    entries = queue.next(Filter(), number=20)
    assert {one.place for one in entries} == {
        ("walk.md", "0.jpg", 0),
        ("walk.md", "0.jpg", 1),
        ("walk.md", "1.jpg", 0),
        *(("", f"{n}.jpg", 0) for n in (3, 5, 6)),
    }, "not 2.jpg, which a person described, nor 4.jpg, which follows 3.jpg"
    assert [one.risk for one in entries] == sorted((one.risk for one in entries), reverse=True)
    assert queue.count(Filter()) == 6
    assert sum(one["n"] for one in queue.counts()) == 6


def test_every_row_comes_once_however_the_queue_is_walked(catalog: Catalog) -> None:
    queue = made(catalog)
    everything = queue.next(Filter(), number=20)
    for step in (1, 2, 4):
        walked: list[Entry] = []
        while piece := queue.next(
            Filter(),
            (lambda e: (e.risk, e.path, e.page, e.occurrence))(walked[-1]) if walked else None,
            step,
        ):
            walked += piece
        assert walked == everything
    held = everything[0].place
    assert queue.next(Filter(), number=20, without=[held]) == everything[1:]


def test_what_another_program_decided_is_not_shown_as_waiting(catalog: Catalog) -> None:
    queue = made(catalog)
    first, *rest = queue.next(Filter(), number=20)
    with looksay.Library(catalog.root) as other:
        other.decide(first.path, "edit", "Theirs.", page=first.page)
    assert queue.stale()
    assert first.place not in {one.place for one in queue.next(Filter(), number=2)}
    assert [one.place for one in queue.next(Filter(), number=20)] == [one.place for one in rest]
    with looksay.Library(catalog.root) as other:
        for one in rest[:-1]:
            other.decide(one.path, "edit", "Theirs.", page=one.page, occurrence=one.occurrence)
    assert [one.place for one in queue.next(Filter(), number=1)] == [rest[-1].place]


def test_what_nobody_has_made_rows_of_yet_is_found(catalog: Catalog) -> None:
    """A page that asks before the queue has caught up would say that there is nothing, and not look again."""
    queue = Queue(catalog, "en", rate)
    assert queue.counts() == []
    assert len(queue.next(Filter(), number=1)) == 1


def test_filters(catalog: Catalog) -> None:
    queue = made(catalog)
    everything = queue.next(Filter(), number=20)
    wanted = {
        Filter(level="high"): [one for one in everything if one.level == "high"],
        Filter(model="echo"): everything,
        Filter(model="other"): [],
        Filter(name="WALK"): [one for one in everything if one.page],
        Filter(name="5.j"): [one for one in everything if one.path == "5.jpg"],
        Filter(below=0.5): [one for one in everything if one.risk < 0.5],
        Filter(state="decided"): [],
    }
    for filter_, expected in wanted.items():
        assert queue.next(filter_, number=20) == expected, filter_
        assert queue.count(filter_) == len(expected), filter_


def test_a_sample_stands_evenly_in_the_queue(catalog: Catalog) -> None:
    queue = made(catalog)
    everything = queue.next(Filter(), number=20)
    assert queue.sample(Filter(), 3) == everything[::2]
    assert queue.sample(Filter(), 100) == everything
    assert queue.sample(Filter(level="none"), 3) == []


def test_a_group_is_the_photos_other_places_and_its_near_duplicates(catalog: Catalog) -> None:
    queue = made(catalog)

    def group(path: str, page: str = "", occurrence: int = 0) -> list[tuple[str, int]]:
        entry = queue.find((page, path, occurrence))
        assert entry is not None
        return [(one.path, one.occurrence) for one in queue.group(entry)]

    assert group("3.jpg") == [("4.jpg", 0)]
    assert group("0.jpg", "walk.md") == [("0.jpg", 1)]
    assert group("5.jpg") == []


def test_a_photo_that_is_deleted_leaves_the_queue_with_the_next_scan(tmp_path: Path) -> None:
    db = site(tmp_path)
    with closing(Catalog(db)) as catalog:
        made(catalog)
    (tmp_path / "5.jpg").unlink()
    with looksay.Library(tmp_path) as library:
        library.scan()
    with closing(Catalog(db)) as catalog:
        queue = Queue(catalog, "en", rate)
        assert queue.stale() == 1, "only what has changed is made anew"
        assert made(catalog).find(("", "5.jpg", 0)) is None


def test_an_empty_catalogue(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path / "looksay.db")) as catalog:
        queue = made(catalog)
        assert queue.next(Filter()) == []
        assert queue.counts() == []
        assert queue.sample(Filter(), 5) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "accept",
                "edit",
                "reject",
                "decorative",
                "undo",
                "describe",
                "page",
                "delete",
                "back",
                "apply",
            ]
        ),
        st.integers(0, 6),
        st.booleans(),
    ),
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_queue_is_what_it_would_be_if_it_were_made_anew(
    steps: list[tuple[str, int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db = site(folder)
        with closing(Catalog(db)) as catalog:
            made(catalog)
        tokens: list[str] = []
        for number, (what, which, group) in enumerate(steps):
            step(folder, db, what, which, group, tokens, number)
            with closing(Catalog(db)) as catalog:
                kept = rows(made(catalog))
                with catalog.transaction():
                    catalog.db.execute("DELETE FROM queue")
                    catalog.db.execute("INSERT OR IGNORE INTO queue_stale SELECT id FROM photo")
                assert kept == rows(made(catalog)), (what, which, group)


def step(
    folder: Path, db: Path, what: str, which: int, group: bool, tokens: list[str], number: int
) -> None:
    if what in ("describe", "page", "delete", "back", "apply"):
        with looksay.Library(folder) as library:
            if what == "describe":
                library.describe("echo:0.001", which="ai" if group else "all")
            elif what == "apply":
                library.apply(include_ai=group)
            else:
                if what == "page":
                    put(
                        folder / "walk.md",
                        PAGE.replace("![](1.jpg)", f"![](5.jpg) {which}" * group),
                    )
                elif what == "delete":
                    (folder / f"{which}.jpg").unlink(missing_ok=True)
                else:
                    put(folder / f"{which}.jpg", jpeg(which))
                library.scan()
        return
    with closing(Catalog(db)) as catalog:
        queue, reviewer = made(catalog), Reviewer(catalog, "en")
        if what == "undo":
            if tokens:
                reviewer.undo(tokens.pop(), f"undo-{number}", "ana")
            return
        entries = queue.next(Filter(), number=20) + queue.next(Filter("decided"), number=20)
        if not entries:
            return
        entry = entries[which % len(entries)]
        target = catalog.targets.find(entry.path, entry.page, entry.occurrence)
        assert target is not None
        last = reviewer.decisions.last(target)
        if what in ("accept", "reject") and entry.generation_id is None:
            what = "decorative"
        ruling = Ruling(
            f"token-{number}",
            what,
            "ana",
            last.id if last else 0,
            f"Text {number}",
            "",
            entry.generation_id,
        )
        try:
            reviewer.rule(target, ruling, queue.group(entry) if group else ())
        except Overtaken:
            raise AssertionError("nobody else decides here") from None
        tokens.append(ruling.token)
