"""Types whose image processor exists on torchvision alone, proven in a process that has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need

HERE = Path(__file__).resolve().parent

pytestmark = [pytest.mark.local, pytest.mark.slow]


def test_they_answer_and_weigh_answers_with_torchvision() -> None:
    folder = Path(sys.prefix) / "torchvision"
    need(
        (folder / "torchvision").is_dir(),
        "torchvision is not in its folder; make test puts it there",
    )
    words = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "torchvision_here",
        "-p",
        "no:cacheprovider",
        str(HERE / "test_hub.py"),
        str(HERE / "test_hub_ranking.py"),
        "-k",
        "lfm2_vl or (phi4_multimodal and one_pass)",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])
    done = subprocess.run(
        [sys.executable, *words],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "3 passed" in done.stdout, done.stdout
    assert "skipped" not in done.stdout
