"""A forked program has what a started one has, so tests that fork for a command see what its user sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import looksay as started
from forking import looksay, run

pytestmark = pytest.mark.slow

TELLS = """
import atexit, os, random, sys
atexit.register(print, "ended")
print(sys.argv, os.getcwd(), sys.stdin.read(), os.environ.get("TOLD"), os.environ.get("KEPT"), __name__)
print(sorted(n for n in sys.modules if n.startswith("looksay")), sys.stdout.isatty(), sys.path[0] == "")
print("부두", random.random(), file=sys.stderr)
sys.exit(3)
"""


def test_arguments_folder_environment_input_output_and_end_are_its_own(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "KEPT"} | {"TOLD": "yes", "PYTHONUTF8": "1"}
    found = run(["a", "b c"], code=TELLS, cwd=tmp_path, env=env, typed="질문\n둘")
    wanted = subprocess.run(
        [sys.executable, "-c", TELLS, "a", "b c"],
        cwd=tmp_path,
        env=env,
        input="질문\n둘",
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert found.returncode == wanted.returncode == 3
    assert found.stdout == wanted.stdout
    assert found.stderr.split()[0] == wanted.stderr.split()[0] == "부두"
    again = run([], code=TELLS, cwd=tmp_path, env=env | {"KEPT": "no"})
    assert " yes no __main__" in again.stdout
    assert again.stderr != found.stderr  # chance is drawn anew


@pytest.mark.parametrize("words", [("scan", "nowhere"), ("--help",), ("scenes", "--rows", "x")])
def test_a_command_says_what_it_says_where_python_starts(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKSAY_PLAIN", "1")  # as `forking.looksay` has it
    found, wanted = looksay(*words), started(*words)
    assert (found.returncode, found.stderr) == (wanted.returncode, wanted.stderr)
    assert found.stdout == wanted.stdout


def test_a_fault_is_seen_and_the_next_program_runs() -> None:
    broken = run([], code="import os\nraise ValueError('no ink')")
    assert broken.returncode == 1
    assert broken.stderr.startswith("Traceback")
    assert "ValueError: no ink" in broken.stderr
    assert run([], code="import sys; sys.exit('no paper')").stderr == "no paper\n"
    assert run([], code="import sys; sys.exit('no paper')").returncode == 1
    waits = "import threading; threading.Timer(0.2, print, ['late']).start()"
    assert run([], code=waits).stdout == "late\n"
    assert run([], code="import os; os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    assert run([], code="print(1)").stdout == "1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="nothing forks there")
def test_one_that_does_not_end_is_ended() -> None:
    assert run([], code="while True: pass", timeout_s=1).returncode == -signal.SIGALRM
