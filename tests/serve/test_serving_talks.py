"""`looksay ask` and `looksay chat` against `looksay serve`, by its address."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import commands
import pytest
from running import Server

pytestmark = [pytest.mark.local, pytest.mark.slow]
looksay = partial(commands.looksay, timeout_s=240)


def test_what_mini_says_behind_the_server_is_what_it_says_here(
    served: Server, tmp_path: Path
) -> None:
    from looksay.data.scenes import Scenes

    scene, question = tmp_path / "scene.png", "How many objects are there in all?"
    Scenes(77, "test").scene(3).image().save(scene)
    there = ("--url", f"{served.url}/v1", "--model", "mini")
    told = json.loads(looksay("ask", scene, question, *there, "--json").stdout)
    assert (told["model"], told["error"]) == (f"{served.url}/v1#mini", None)
    assert told["answer"] == looksay("ask", scene, question, "-m", "mini").stdout.strip()
    assert told["prompt_tokens"] > 64
    talk = looksay("chat", scene, *there, typed=f"{question}\nIs there a dog in the picture?\n")
    assert talk.returncode == 0, talk.stderr
    first, second = talk.stdout.splitlines()
    assert first == told["answer"]
    assert second in ("yes", "no")


def test_a_server_of_several_models_says_which_it_has(served: Server, tmp_path: Path) -> None:
    done = looksay("chat", "--url", f"{served.url}/v1", typed="Hello?\n")
    assert done.returncode == 2
    assert "the name says not which: " in done.stderr
    assert "echo" in done.stderr
    assert "mini" in done.stderr
