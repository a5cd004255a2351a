"""Dual encoders on benchmarks of retrieval, through the command."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
from conftest import need
from forking import looksay

pytestmark = [pytest.mark.local, pytest.mark.slow]


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return looksay("evaluate", *words, cwd=folder)


def test_a_dual_encoder_is_measured_and_nothing_is_embedded_twice(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "matplotlib"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    from backends.test_encoders import clip
    from evaluation.benchmarks.test_retrieval_benchmarks import a_flickr30k

    clip(tmp_path / "clip")
    a_flickr30k(tmp_path / "benchmarks" / "flickr30k")
    words = (f"hub:{tmp_path / 'clip'}", "--on", "flickr30k", "--json")
    first, second = (run(*words, folder=tmp_path) for _ in range(2))
    assert first.returncode == 0, first.stderr
    (found,) = json.loads(first.stdout)["results"]
    (again,) = json.loads(second.stdout)["results"]
    assert found["figures"] == again["figures"]
    assert (found["reused"], again["reused"]) == (0, found["asked"])
    assert "report.html" in [path.name for path in (tmp_path / "evaluation").iterdir()]


def test_who_embeds_nothing_is_told(tmp_path: Path) -> None:
    from evaluation.benchmarks.test_retrieval_benchmarks import a_flickr30k

    a_flickr30k(tmp_path / "benchmarks" / "flickr30k")
    done = run("echo", "--on", "flickr30k", folder=tmp_path)
    assert done.returncode == 2
    assert "is no dual encoder" in done.stderr
