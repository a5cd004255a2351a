"""The words that count, looked up for many targets at once, are those that one look at a time would find."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from looksay.library.catalog import Catalog
from looksay.library.decisions import KEPT
from looksay.library.pages import Context
from looksay.library.records import TRIAL, Key, Target, Words, folded
from looksay.library.standing import PIECE, Met, as_words, decided

AT = "2026-01-01T00:00:00+00:00"
PHOTOS, LANGUAGES = 4, ("en", "ko")
CONTEXTS = (Context(), Context(title="A quay", language="ko"), Context(heading="Boats"))

# --- one look at a time, in SQL: what `Standing` is held to -------------------------------------------------

GIVEN = (
    "state IN ('human', 'reviewed') AND NOT EXISTS (SELECT 1 FROM decision n WHERE n.photo_id = d.photo_id "
    "AND n.page = d.page AND n.path = d.path AND n.occurrence = d.occurrence AND n.language = d.language "
    "AND n.id > d.id)"
)


def one_by_one(catalog: Catalog, target: Target, language: str | None, default: str) -> Words:
    tongue = (language is None, target.language(language, default))
    own = decision(catalog, target, tongue)
    if own is not None and own["state"] != "rejected":
        return decided(own, own=True)
    if target.source in ("text", "variable") and not is_ours(catalog, target):
        return Words("human", target.alt or "", language=tongue[1])
    if target.source == "decorative":
        return Words("decorative", language=tongue[1])
    if target.page:
        general = decision(catalog, Target(target.photo_id, target.path), tongue)
        if general is not None and general["state"] != "rejected":
            return decided(general)
    if follows(catalog, target):
        row = catalog.row(
            f"SELECT * FROM decision d WHERE photo_id = ? AND (? OR language = ?) AND {GIVEN} "
            "ORDER BY language = ? DESC, page = '' DESC, id DESC LIMIT 1",
            (target.lead_id, *tongue, tongue[1]),
        )
        waits = Words("none", notes=("waits for the review of a near-duplicate",))
        return waits if row is None else decided(row)
    row = catalog.row(
        "SELECT g.*, m.name AS model, m.draft FROM generation g JOIN model m ON m.id = g.model_id WHERE g.photo_id = ? "
        "AND (? OR g.language = ?) AND g.context_hash IN (?, '') AND g.id > ? "
        "ORDER BY g.language = ? DESC, m.draft, g.context_hash = ? DESC, g.id DESC LIMIT 1",
        (
            target.photo_id,
            *tongue,
            target.context_hash,
            (own["generation_id"] or 0) if own is not None else 0,
            tongue[1],
            target.context_hash,
        ),
    )
    if row is None:
        return Words("rejected" if own is not None else "none", language=tongue[1])
    return as_words(row)


def decision(catalog: Catalog, target: Target, tongue: tuple[bool, str]) -> sqlite3.Row | None:
    return catalog.row(
        "SELECT * FROM decision d WHERE photo_id IN (?, 0) AND page = ? AND path = ? AND occurrence = ? "
        f"AND (? OR language = ?) AND {KEPT} ORDER BY language = ? DESC, id DESC LIMIT 1",
        (
            target.photo_id,
            target.page,
            target.path if target.page else "",
            target.occurrence,
            *tongue,
            tongue[1],
        ),
    )


def is_ours(catalog: Catalog, target: Target) -> bool:
    row = catalog.row(
        "SELECT w.text FROM written w JOIN change c ON c.id = w.change_id WHERE w.page = ? AND w.path = ? "
        "AND w.occurrence = ? AND c.state != 'undone' ORDER BY w.id DESC LIMIT 1",
        (target.page, target.path, target.occurrence),
    )
    return row is not None and folded(row["text"]) == folded(target.alt)


def follows(catalog: Catalog, target: Target) -> bool:
    if target.lead_id is None or target.lead_id == target.photo_id:
        return False
    return bool(
        catalog.one(
            f"SELECT EXISTS (SELECT 1 FROM decision d WHERE d.photo_id = :lead AND {GIVEN}) OR EXISTS "
            "(SELECT 1 FROM place l LEFT JOIN placement m ON m.path = l.path WHERE l.photo_id = :lead AND l.gone = 0 "
            "AND (coalesce(m.state, l.state) IN ('missing', 'empty') OR EXISTS (SELECT 1 FROM generation g "
            f"WHERE g.photo_id = :lead AND substr(g.context_hash, 1, 6) != '{TRIAL}')) AND NOT EXISTS "
            "(SELECT 1 FROM decision d WHERE d.photo_id = :lead AND d.state IN ('decorative', 'cleared') "
            f"AND {KEPT}))",
            {"lead": target.lead_id},
        )
    )


# --- catalogues at random -----------------------------------------------------------------------------------

photo = st.integers(1, PHOTOS)
language = st.sampled_from(LANGUAGES)
occurrence = st.integers(0, 1)
SHOWN = st.tuples(
    photo,
    st.sampled_from(["", "a.md", "b.md"]),
    st.sampled_from(["missing", "empty", "text", "decorative", "variable"]),
    st.sampled_from(CONTEXTS),
)
DECIDED = st.tuples(
    st.sampled_from([0, *range(1, PHOTOS + 1)]),
    st.sampled_from(["", "a.md", "b.md"]),
    occurrence,
    language,
    st.sampled_from(["human", "reviewed", "decorative", "rejected", "cleared", "withdrawn"]),
    st.sampled_from([None, 1, 2, 3]),
)
SAID = st.tuples(photo, st.booleans(), language, st.sampled_from(CONTEXTS), st.booleans())
WRITTEN = st.tuples(photo, st.sampled_from(["", "a.md"]), st.booleans(), st.booleans())


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(SHOWN, max_size=8),
    st.lists(DECIDED, max_size=8),
    st.lists(SAID, max_size=8),
    st.lists(WRITTEN, max_size=4),
    st.lists(st.sampled_from([None, 1, 2]), min_size=PHOTOS, max_size=PHOTOS),
    st.sampled_from([None, *LANGUAGES]),
)
def test_many_looked_up_at_once_are_what_each_would_be_alone(
    shown: list[tuple[int, str, str, Context]],
    decisions: list[tuple[int, str, int, str, str, int | None]],
    said: list[tuple[int, bool, str, Context, bool]],
    written: list[tuple[int, str, bool, bool]],
    leads: list[int | None],
    wanted: str | None,
) -> None:
    with tempfile.TemporaryDirectory() as name, closing(Catalog(Path(name) / "db")) as catalog:
        with catalog.transaction():  # one for all, for speed
            fill(catalog, shown, decisions, said, written, leads)
        targets = list(catalog.targets.all()) + catalog.targets.of_photos()
        expected = [one_by_one(catalog, target, wanted, "en") for target in targets]
        assert [w for _, w in catalog.ledger.words_of(targets, wanted, "en")] == expected
        assert [catalog.ledger.words(target, wanted, "en") for target in targets] == expected
        assert [catalog.ledger.follows(t) for t in targets] == [
            follows(catalog, t) for t in targets
        ]


def fill(
    catalog: Catalog,
    shown: list[tuple[int, str, str, Context]],
    decisions: list[tuple[int, str, int, str, str, int | None]],
    said: list[tuple[int, bool, str, Context, bool]],
    written: list[tuple[int, str, bool, bool]],
    leads: list[int | None],
) -> None:
    db = catalog.db
    on_pages = {number for number, page, _, _ in shown if page}
    for number, lead in enumerate(leads, 1):
        db.execute("INSERT INTO photo VALUES (?, 'JPEG', 40, 30, NULL, ?)", (number, lead))
        alts = [
            None if state == "missing" else "Words."
            for n, p, state, _ in shown
            if n == number and not p
        ]
        db.execute(
            "INSERT INTO place (path, photo_id, size_bytes, mtime_ns, alt, shown) VALUES (?, ?, 1, 1, ?, ?)",
            (f"{number}.jpg", number, alts[0] if alts else None, number in on_pages),
        )  # fmt: skip
    for number, (one, page, state, context) in enumerate(shown):
        if page:
            catalog.db.execute(
                "INSERT INTO placement VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)",
                (
                    page,
                    number,
                    f"{one}.jpg",
                    f"{one}.jpg",
                    sum(s[:2] == (one, page) for s in shown[:number]),
                    None if state == "missing" else "Words.",
                    state,
                    json.dumps(asdict(context)),
                    context.digest,
                ),
            )
    models = [catalog.ledger.model_id(f"model {draft}", "1", draft) for draft in (False, True)]
    for number, (one, draft, tongue, context, on_page) in enumerate(said):
        catalog.ledger.add_generation(
            Key(one, models[draft], "p", "s", tongue, context.digest if on_page else "", number),
            raw="",
            alt=f"Text {number}.",
            extended="",
            decorative=number % 3 == 0,
            notes=["long"] * (number % 2),
            prompt_tokens=None,
            completion_tokens=None,
            cost_usd=0,
            seconds=0,
            details={},
        )
    db.executemany(
        "INSERT INTO decision (photo_id, page, path, occurrence, language, state, text, extended, generation_id, who, at) "
        f"VALUES (?, ?, ?, ?, ?, ?, 'Decided.', '', ?, 'ana', '{AT}')",
        (
            (one, page, f"{one or 1}.jpg" if page else "", at if page else 0, tongue, state, generation)
            for one, page, at, tongue, state, generation in decisions
        ),
    )  # fmt: skip
    db.execute(f"INSERT INTO apply VALUES (1, '{AT}', NULL, 0)")
    for one, page, undone, same in written:
        change = db.execute(
            "INSERT INTO change (apply_id, path, kind, created, after_sha256, offset, before, after_length, state) "
            "VALUES (1, ?, 'page', 0, x'00', 0, x'', 0, ?)",
            (page, "undone" if undone else "done"),
        ).lastrowid
        db.execute(
            "INSERT INTO written (change_id, photo_id, page, path, occurrence, language, text, state) "
            "VALUES (?, ?, ?, ?, 0, 'en', ?, 'human')",
            (change, one, page, f"{one}.jpg", "Words." if same else "Others."),
        )


# --- piece by piece -----------------------------------------------------------------------------------------


def test_targets_are_drawn_as_their_words_are_wanted(tmp_path: Path) -> None:
    drawn = 0

    def many() -> Iterator[Target]:
        nonlocal drawn
        for number in range(10 * PIECE):
            drawn += 1
            yield Target(number, f"{number}.jpg")

    with closing(Catalog(tmp_path / "db")) as catalog:
        words = catalog.ledger.words_of(many())
        assert drawn == 0
        for _ in range(PIECE):
            next(words)
        assert drawn == PIECE
        assert sum(1 for _ in words) == 9 * PIECE


def test_a_key_is_new_once(tmp_path: Path) -> None:
    keys = [Key(1, 1, "p", "s", "en", ""), Key(1, 1, "p", "s", "en", "c"), Key(1, 1, "p", "s", "ko", ""), Key(2, 1, "p", "s", "en", "", 1)]  # fmt: skip
    with closing(Catalog(tmp_path / "db")) as catalog:
        for _ in range(2):  # each run begins anew
            met = Met(catalog)
            assert [met.new(key) for key in (*keys, *keys)] == [True] * 4 + [False] * 4


def test_which_keys_are_answered(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path / "db")) as catalog:
        fill(catalog, [], [], [(1, False, "en", Context(), False)], [], [None] * PHOTOS)
        (row,) = catalog.rows("SELECT model_id FROM generation")
        there = Key(1, row["model_id"], "p", "s", "en", "")
        others = [Key(2, row["model_id"], "p", "s", "en", ""), Key(1, 9, "p", "s", "en", "")]
        assert catalog.ledger.standing.having([*others, there]) == {there}
        assert catalog.ledger.standing.having([]) == set()
