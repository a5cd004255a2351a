"""Findings as plain values for JSON: one form for the cache, for `looksay experts --json`, and for files that the
user brings (`precomputed`). docs/experts.md shows a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar, get_type_hints

from looksay.errors import InputError
from looksay.experts.base import Detection, Findings, Relation, Segment, TextLine
from looksay.experts.boxes import Box

T = TypeVar("T")
LISTS: dict[str, type] = {
    "segments": Segment,
    "detections": Detection,
    "relations": Relation,
    "lines": TextLine,
}
_WORDS = {str: "text", int: "a whole number", float: "a number"}


def to_json(findings: Findings) -> dict[str, Any]:
    """Plain values; what is empty is left out, and runs are a flat list: id, length, id, length …

    Example: {"size_px": [640, 480], "detections": [{"name": "dog", "box": [0.1, 0.2, 0.5, 0.9], "score": 0.9}]}.

    >>> found = Findings((4, 1), (Segment(7, "sky", 119, 1, (0, 0, 0.5, 1)),), ((7, 2), (0, 2)))
    >>> to_json(found)["runs"], from_json(to_json(found)) == found
    ([7, 2, 0, 2], True)
    """
    record: dict[str, Any] = {"size_px": list(findings.size_px)}
    for key in LISTS:
        if things := getattr(findings, key):
            record[key] = [asdict(one) | _boxed(one) for one in things]
    if findings.runs:
        record["runs"] = [number for run in findings.runs for number in run]
    return record


def from_json(record: Any, where: str = "findings") -> Findings:
    """The reverse of `to_json`. Raises InputError, which begins with `where`."""
    if not isinstance(record, Mapping):
        raise InputError(f"{where}: expected an object; found {_kind(record)}.")
    known = {"size_px", "runs", *LISTS}
    if unknown := sorted(map(str, set(record) - known)):
        raise InputError(
            f"{where}: unknown keys: {', '.join(unknown)}, probably a typo. Known: {', '.join(sorted(known))}."
        )
    size = _whole(record, "size_px", where)
    if len(size) != 2:
        raise InputError(f"{where}: 'size_px' should be [width, height]; found {size}.")
    flat = _whole(record, "runs", where) if "runs" in record else []
    if len(flat) % 2:
        raise InputError(
            f"{where}: 'runs' should be pairs of id and length; found {len(flat)} numbers."
        )
    found: dict[str, Any] = {
        key: _read(kind, record.get(key, []), f"{where}, {key}") for key, kind in LISTS.items()
    }
    runs = tuple(zip(flat[::2], flat[1::2], strict=True))
    try:
        return Findings((size[0], size[1]), runs=runs, **found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _boxed(one: Any) -> dict[str, list[float]]:
    return {"box": list(one.box)} if hasattr(one, "box") else {}


def _whole(record: Mapping[str, Any], key: str, where: str) -> list[int]:
    value = record.get(key)
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        raise InputError(
            f"{where}: {key!r} should be a list of whole numbers; found {_kind(value)}."
        )
    return value


def _read(kind: type[T], entries: Any, where: str) -> tuple[T, ...]:
    """Entries as things of a kind, whose own fields say what is expected; a score may be left out."""
    if not isinstance(entries, list):
        raise InputError(f"{where}: expected a list; found {_kind(entries)}.")
    hints = get_type_hints(kind)
    found = []
    for place, entry in enumerate(entries, 1):
        told = f"{where} {place}"
        keys = set(entry) if isinstance(entry, Mapping) else set()
        if not set(hints) - {"score"} <= keys <= set(hints):
            has = ", ".join(map(str, entry)) if keys else _kind(entry)
            raise InputError(f"{told}: expected the keys {', '.join(hints)}; found {has}.")
        values = {key: _value(value, hints[key], f"{told}, {key}") for key, value in entry.items()}
        found.append(kind(**values))
    return tuple(found)


def _value(value: Any, wanted: Any, where: str) -> Any:
    numbers = (int, float)
    if wanted == Box:
        if isinstance(value, list) and len(value) == 4 and all(type(n) in numbers for n in value):
            return tuple(map(float, value))
        raise InputError(
            f"{where}: expected [left, top, right, bottom], each from 0 to 1; found {_kind(value)}."
        )
    if type(value) not in (numbers if wanted is float else (wanted,)):
        raise InputError(f"{where}: expected {_WORDS[wanted]}; found {_kind(value)}.")
    return float(value) if wanted is float else value


def _kind(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    return "nothing" if value is None else repr(value)[:40]
