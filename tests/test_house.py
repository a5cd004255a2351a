"""The house rules that a machine can check: who imports whom, what a light core loads, what no file holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "looksay"
SOURCES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [
    {"types", "errors", "plugins", "settings", "images", "svg", "parallel", "fetching", "video"}
    | {"texts", "spending", "keeping"},
    {"library", "experts"},
    {"models"},
    {"backends"},
    {"data", "describing", "searching", "serve"},
    {"training", "evaluation"},
    {"comparing"},
    {"api", "claims", "web"},
    {"cli"},
    {"__main__"},
]
"""Imports point from a later floor to an earlier one, never the other way (docs/design.md)."""
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
MAX_LINES = 440


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    if path.name == "__init__.py" and path.parent == PACKAGE:
        return  # the public names, imported when they are first used
    own = FLOOR[part(path)]
    for name in imports(path):
        if name.startswith("looksay."):
            other = name.split(".")[1]
            if other in FLOOR:
                assert FLOOR[other] <= own, f"{path.name} imports {name}"
                same_floor = FLOOR[other] == own and own > 0
                assert not same_floor or other == part(path), (
                    f"{path.name} imports its neighbour {name}"
                )


def test_the_light_core_loads_no_torch() -> None:
    code = (
        "import sys, looksay.api, looksay.cli, looksay.library.apply, looksay.describing.run\n"
        "heavy = {'torch', 'transformers', 'numpy', 'cv2', 'openai', 'anthropic', 'onnxruntime', 'resvg_py', 'pillow_heif'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_bound_to_one_system_or_device(path: Path) -> None:
    source = path.read_text("utf-8")
    forbidden = {
        r"\.cuda\(": "move to a device by name instead",
        r"\bos\.fork\b|\bos\.getuid\b|\bos\.setsid\b": "POSIX only",
        r"^\s*import (?:fcntl|pwd|grp|resource|termios)\b": "POSIX only",
        r"signal\.SIG(?!INT\b|TERM\b)\w+": "not on Windows",
        r"['\"]/(?:tmp|dev/(?!null)|usr|home|etc)/": "a POSIX path",
        r"shell=True": "no shell",
    }
    for pattern, why in forbidden.items():
        found = re.search(pattern, source, re.M)
        assert found is None, f"{path.name}: {found[0] if found else ''} ({why})"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= MAX_LINES, f"{path.name} has {lines} lines: where is its second half?"
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{path.name} does not say what it is for"


def test_sql_stands_in_the_catalogue_only() -> None:
    allowed = {
        *("store.py", "catalog.py", "targets.py", "ledger.py", "journal.py", "migrations.py"),
        *("embeddings.py", "assessments.py", "ratings.py", "decisions.py", "queue.py"),
        "standing.py",
    }
    statement = re.compile(r"[\"'](?:SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA)\s")
    for path in SOURCES:
        if path.parent.name != "library" or path.name not in allowed:
            assert not statement.search(path.read_text("utf-8")), path


def test_every_backend_can_be_loaded() -> None:
    """What is no provider is named as machinery, or a user could type it as one."""
    from looksay import plugins

    for name in plugins.names("looksay.backends"):
        tree = ast.parse((PACKAGE / "backends" / f"{name}.py").read_text("utf-8"))
        assert "load" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (
            name
        )


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by it, and the second of two is not run."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})
