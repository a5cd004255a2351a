"""A comparison that somebody published, read into the catalogue: its texts, its grades, and what it printed of them.

One JSON file beside the photos. Example record:
{"images": {"1": {"title": "Shibuya Crossing", "human_alt": "An intersection from above."}},
 "rows": [{"image": 1, "model": "GPT-4o", "text": "A vibrant city intersection …", "marked_spans": [], "grade": "A"}],
 "summary": [["GPT-4o", "Never", "Never", "Good", "4.8/5", "A"]]}
Image 1 is the photo image-1.jpg (or another format) beside the file; `grade` is A to F, or empty where none was given.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from looksay.comparing import grading
from looksay.comparing.board import Board, Entrant, Place, Plan, begin
from looksay.data.reading import load_json
from looksay.errors import InputError
from looksay.evaluation.metrics import rubric
from looksay.library.catalog import Catalog, relative
from looksay.library.ratings import Rating
from looksay.library.records import TRIAL, Key

_LIKE = 0.6
"""How alike two spellings of a model's name are, of 1, to be taken for one."""


def read(catalog: Catalog, path: Path) -> Board:
    """The comparison of that file; read again, nothing is added twice. Raises InputError for a file of another form,
    and for photos that are not in the library."""
    found = load_json(path)
    if not isinstance(found, dict) or not {"images", "rows"} <= found.keys():
        raise InputError(
            f"{path} should be a JSON object with images and rows; see docs/comparing.md."
        )
    rows = _rows(path, found["rows"], found["images"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    names = list(dict.fromkeys(row["model"] for row in rows))
    keys = list(found["images"])
    places = [_place(catalog, path, key, found["images"][key]) for key in keys]
    about = {
        "source": path.name,
        "library": len(places),
        "printed": _printed(names, found.get("summary", [])),
        "missing": [
            f"{row['model']} on {places[keys.index(str(row['image']))].path}"
            for row in rows
            if not row["grade"]
        ],
    }
    plan = Plan(
        tuple(map(Entrant, names)), tuple(places), {"published": path.name, "digest": digest}, about
    )
    board = begin(catalog, plan)
    with catalog.transaction():
        for row in rows:
            number, place = names.index(row["model"]), keys.index(str(row["image"]))
            _store(board, row, number, place, digest)
    board.read()
    return board


def _store(board: Board, row: Mapping[str, Any], number: int, place: int, digest: str) -> None:
    ledger, ratings = board.catalog.ledger, board.catalog.ratings
    key = Key(
        board.places[place].photo_id,
        ledger.model_id(row["model"], f"published-{digest}", True),
        "published",
        "published",
        board.places[place].language,
        TRIAL + digest,
    )
    ledger.add_generation(
        key,
        raw=row["text"],
        alt=row["text"],
        extended="",
        decorative=False,
        notes=(),
        prompt_tokens=None,
        completion_tokens=None,
        cost_usd=0.0,
        seconds=0.0,
        details={},
    )
    generation = ratings.generation(key)
    assert generation is not None
    ratings.note(board.comparison, number, place, generation)
    if row["grade"]:
        points = rubric.points_of(row["grade"])
        verdict = json.dumps(
            {"letter": row["grade"], "marked": row.get("marked_spans", [])}, ensure_ascii=False
        )
        rater = f"{grading.PERSON}{board.plan.wanted['published']}"
        token = f"{digest} {number} {place}"
        ratings.rate(board.comparison, Rating(rater, generation, None, verdict, points), token)


def _rows(path: Path, rows: Any, images: Mapping[str, Any]) -> list[dict[str, Any]]:
    for number, row in enumerate(rows):
        known = isinstance(row, dict) and {"image", "model", "text", "grade"} <= row.keys()
        if not known:
            raise InputError(
                f"{path}: row {number} should have image, model, text and grade; found {row!r:.80}."
            )
        if str(row["image"]) not in images:
            raise InputError(
                f"{path}: row {number} is about image {row['image']}, of which images says nothing."
            )
        if row["grade"]:
            rubric.points_of(row["grade"])
    return list(rows)


def _place(catalog: Catalog, path: Path, key: str, image: Mapping[str, Any]) -> Place:
    beside = relative(catalog.root.resolve(), path.parent.resolve())
    stem = f"image-{key}." if beside == "." else f"{beside}/image-{key}."
    for target in catalog.targets.of_photos():
        if target.path.startswith(stem) and "/" not in target.path[len(stem) :]:
            words = image.get("human_alt", "")
            place = Place(target.photo_id, target.path, around=image.get("title", ""))
            return replace(place, references=(words,) if words else ())
    raise InputError(
        f"The photo of image {key} is not in the library: expected {stem}jpg in {catalog.root}. Put it there, then type "
        f"looksay scan {catalog.root}"
    )


def _printed(names: Sequence[str], summary: Any) -> dict[str, dict[str, Any]]:
    """Model → the average and letter that were printed for it. A table may spell names otherwise: the most alike are
    matched first, and each name once."""
    rows = {str(row[0]): row for row in summary}
    alike = sorted(
        ((_alike(name, other), name, other) for name in names for other in rows), reverse=True
    )
    found: dict[str, dict[str, Any]] = {}
    for share, name, other in alike:
        if share >= _LIKE and name not in found and other in rows:
            row = rows.pop(other)
            points = float(str(row[-2]).partition("/")[0])
            found[name] = {"name": other, "points": points, "letter": str(row[-1])}
    return {name: found[name] for name in names if name in found}


def _alike(one: str, other: str) -> float:
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in (one, other)]
    return difflib.SequenceMatcher(None, plain[0], plain[1]).ratio()
