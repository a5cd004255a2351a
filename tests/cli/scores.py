"""`looksay score` typed in this process, and files to score."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "score"


def typed(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, output and errors of `looksay score` with these words."""
    from looksay.cli import main

    out, err, code = StringIO(), StringIO(), 0
    argv = ["looksay", "score", *map(str, words)]
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", argv):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def scored(*words: str | Path) -> list[dict[str, Any]]:
    """The sets of answers that were scored."""
    quick = [] if "--samples" in words else ["--no-intervals"]
    code, out, err = typed(*words, "--json", *quick)
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)["results"]
    return found


def refused(*words: str | Path) -> str:
    """What is told where nothing can be scored; its white space as one line."""
    code, out, err = typed(*words)
    assert code == 2, out
    assert out == ""
    return " ".join(err.split())


def row(result: dict[str, Any], name: str, kind: str = "") -> dict[str, Any]:
    (found,) = (one for one in result["figures"] if (one["name"], one["kind"]) == (name, kind))
    return dict(found)


def value(result: dict[str, Any], name: str, kind: str = "") -> float:
    return float(row(result, name, kind)["value"])


def by_lines(path: Path) -> bool:
    return path.suffix == ".jsonl" or "coco_pope" in path.name


def content(path: Path) -> Any:
    """What a file of JSON, or of JSON lines, holds."""
    text = path.read_text("utf-8")
    return [json.loads(one) for one in text.splitlines()] if by_lines(path) else json.loads(text)


def write(path: Path, what: Any) -> Path:
    """Texts as they are, anything else as JSON, or as JSON lines where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(what, str):
        rows = what if by_lines(path) else [what]
        what = "".join(json.dumps(one) + "\n" for one in rows)
    path.write_text(what, "utf-8")
    return path
