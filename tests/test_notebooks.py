"""The notebooks of examples/ run from top to bottom, in a kernel of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))

# The kernel is the Python that runs the tests, whatever kernels the machine has installed. All in a process
# of its own: what the notebook client leaves open is not this test's concern.
EXECUTE = """
import sys, nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

manager = KernelManager()
manager._kernel_spec = KernelSpec(
    argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
)
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, km=manager, timeout=300).execute()
nbformat.write(notebook, sys.argv[2])
"""

pytestmark = [pytest.mark.slow, pytest.mark.local]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    for package in ("torch", "matplotlib", "peft", "nbclient", "ipykernel"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells), "commit it without outputs"
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path, tmp_path / "executed.ipynb"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    executed = json.loads((tmp_path / "executed.ipynb").read_text("utf-8"))["cells"]
    said = "".join(
        "".join(output.get("text", "")) for cell in executed for output in cell.get("outputs", [])
    )
    assert "true: There " in said
    assert (tmp_path / "runs" / "llava-tiny" / "looksay.json").is_file()
