"""The calculation of docs/scale.md: what the page shows is what the script says, and its sums add up."""

from __future__ import annotations

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from looksay.backends import spread

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "cluster_on_paper.py"


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_the_page_shows_what_the_script_says() -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    mark = "benchmarks/cluster_on_paper.py"
    shown = page.partition(f"<!-- {mark}: -->\n")[2].partition(f"<!-- :{mark} -->")[0]
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert shown == done.stdout


def test_the_calculation_counts_as_the_program_does(paper: dict[str, Any]) -> None:
    assert paper["AHEAD"] == spread.AHEAD


def test_the_slowest_part_is_the_limit_and_time_is_photos_over_its_rate(
    paper: dict[str, Any],
) -> None:
    cluster = paper["Cluster"](photos=3600, gpus=2, writer_per_s=10, photo_bytes=1e6)
    cluster = replace(cluster, link_bytes_per_s=5e6)
    assert cluster.limits(1) == {"the GPUs": 2, "the describing process": 10, "the link": 5}
    assert cluster.row(1)[1:5] == ["the GPUs", "2", "0.5", "100.0%"]
    assert cluster.row(4)[1:5] == ["the link", "5", "0.2", "62.5%"]
    wide = replace(cluster, link_bytes_per_s=1e9)
    assert wide.row(10)[1:6] == ["the describing process", "10", "0.1", "50.0%", "1"]


def test_a_gpu_is_counted_by_flop_and_bandwidth(paper: dict[str, Any]) -> None:
    """By hand: 10 ms to read the prompt; a word takes 1 ms for the weights and 1 ms for 10 rows; 20 words for 10 rows."""
    model = paper["Model"]("toy", weights=1e6, place_bytes=2000, prompt=90, answer=20)
    device = paper["Device"]("toy", 2 * 1e6 * 90 / 0.010, 2e9, of_peak=1.0, of_bandwidth=1.0)
    each_s = 0.010 + 20 * 0.002 / 10
    assert paper["photos_per_s"](model, device, 10) == pytest.approx(1 / each_s)
