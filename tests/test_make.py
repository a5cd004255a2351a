"""The two commands of the README, in a copy of the project: `make demo` from nothing, `make test` as far
as its first test file (it would otherwise run itself)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("looksay", "examples", "tests", "docs", "benchmarks")
FILES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    "Makefile",
    "constraints.txt",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    need(shutil.which("make"), "make is not installed")
    folder = tmp_path / "looksay"
    folder.mkdir()
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PYTEST_", "MAKE", "MFLAGS")) and k != "VIRTUAL_ENV"
    }
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=900,
    )


def test_make_demo_from_nothing(copy: Path) -> None:
    done = make(copy, "demo")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    # pip is quiet for minutes: what happens is said before.
    said = done.stdout.splitlines()
    waits = next(n for n, line in enumerate(said) if line.startswith("Installing looksay "))
    assert "a minute or two, once" in said[waits]
    assert "pip install" in said[waits + 1]
    assert said[waits + 2].startswith("touch "), "pip fills the log"
    assert "images/fish-sign.jpg" in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    page = Path(last.removeprefix("To look at: "))
    assert page.is_file()
    assert "<h1>Photos and their alt text</h1>" in page.read_text("utf-8")
    # Installed for use, as the README says: nearly the same packages, so little more is fetched.
    python = copy / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", ".[facts,serve]"], cwd=copy, check=True, timeout=600
    )
    absent = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    assert absent.returncode != 0, "neither extra may bring torch"


def test_what_the_readme_types_to_install(copy: Path) -> None:
    """As it stands there, but nothing is installed: pip only says what it would."""
    shell = shutil.which("sh")
    need(shell, "there is no POSIX shell")
    readme = (copy / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.M | re.S)
    typed = [line for b in blocks if "pip install" in b for line in b.splitlines()]
    assert any(line.startswith("pip install -c constraints.txt") for line in typed)
    assert typed[0].startswith("python3 -m venv")
    dry = "pip install --dry-run --no-deps --disable-pip-version-check -q --report {}.json"
    script = "\n".join(
        line.replace("pip install", dry.format(number)) for number, line in enumerate(typed)
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [str(shell), "-e", "-c", f"{script}\ncommand -v pip"],
        cwd=copy,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(copy / ".venv" / "bin" / "pip")
    reports = [json.loads(file.read_text("utf-8")) for file in sorted(copy.glob("[0-9].json"))]
    wanted = [
        (one["metadata"]["name"], sorted(one["requested_extras"]))
        for report in reports
        for one in report["install"]
    ]
    assert wanted == [
        ("looksay", ["facts", "serve"]),
        ("looksay", ["evaluate", "facts", "train"]),
    ]


def test_make_test_and_lint(copy: Path) -> None:
    """With the environment that runs this test in place of a new one: what make itself does."""
    (copy / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    for stamp in ("python", "dev"):
        path = copy / ".venv" / f"{stamp}.stamp"
        need(path.exists(), "this environment was not made by make test")
    for stamp in ("python", "dev"):
        os.utime(copy / ".venv" / f"{stamp}.stamp")
    done = make(copy, "test", "PYTEST_ARGS=tests/test_house.py")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    known = ROOT / ".mypy_cache"  # of `make lint` here; without it half a minute of the same
    if known.is_dir():
        shutil.copytree(known, copy / known.name)
    done = make(copy, "lint")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
