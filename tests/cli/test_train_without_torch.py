"""looksay train where packages of its extra are not installed: a sentence that names the extra, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HIDING = (
    "import sys\n"
    "sys.modules[sys.argv.pop(1)] = None\n"  # importing it fails as if it were not there
    "sys.argv[0] = 'looksay'\n"
    "from looksay.cli import main; main()"
)


def hiding(package: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HIDING, package, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)


@pytest.mark.parametrize("way", ["--plan", "--out"])
@pytest.mark.parametrize("family", ["clip", "llava"])
def test_without_torch_the_extra_is_named(family: str, way: str, tmp_path: Path) -> None:
    out = [tmp_path / "run"] if way == "--out" else []
    done = hiding("torch", "train", family, "--data", "scenes", way, *out)
    assert done.returncode == 2, done.stderr
    assert "'torch', which is not installed" in done.stderr
    assert 'pip install ".[train]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.local
@pytest.mark.parametrize(
    ("package", "options"),
    [("transformers", []), ("accelerate", []), ("peft", ["--lora", "--from", "mini"])],
)
def test_nor_do_other_packages_that_lack_leave_a_traceback(
    package: str, options: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="the extra local is not installed")
    asked = ["train", "llava", "--data", "scenes", "--size", "tiny", "--out", tmp_path / "run"]
    done = hiding(package, *asked, *options)
    assert done.returncode == 2, done.stderr
    assert f"{package!r}, which is not installed" in done.stderr
    assert 'pip install ".[train]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_what_needs_no_torch_is_told_without_it(tmp_path: Path) -> None:
    done = hiding("torch", "train", "lava", "--data", "scenes", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "There is no family to train 'lava'. Did you mean 'llava'?" in done.stderr
    assert "capfilt" not in done.stderr
    done = hiding("torch", "train", "llava", "--data", "scenes")
    assert done.returncode == 2
    assert "--out FOLDER" in done.stderr
