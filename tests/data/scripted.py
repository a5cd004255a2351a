"""A program: an OpenAI-compatible server on loopback whose model describes, mends and teaches, well or badly.

    with serving(tmp_path) as server: …      # server.url, and server.asked(), a word for each request

What it does depends on what it is asked alone, so every run of the same command has the same end. Pictures are told
apart by their red (`picture`): number 0 is described at length, 1 briefly and then at length, the others as `HABITS`
says. Contexts are told apart by a digest of what is told of them (`manner`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faulty import Faulty, Received, Reply, openai_models, openai_text
from forking import looksay
from PIL import Image as Pillow

from looksay.data import curate, teaching

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = (
    "A house with the number {n} stands at the end of a narrow street.",
    "Its door is painted green, and a small brass bell hangs beside it.",
    "On the left of the door there is a wooden bench with a folded blanket.",
    "Two pots with red flowers stand on the steps in front of the house.",
    "A bicycle leans against the wall below a window with white curtains.",
    "The roof is covered with dark tiles, some of which are overgrown with moss.",
    "In the street a woman in a blue coat walks a dog towards the corner.",
    "Behind the house the tops of three tall trees can be seen against the sky.",
    "The light comes from the right and throws long shadows on the stones.",
    "It seems to be late in the afternoon, and the street is nearly empty.",
)
HABITS = (
    "long", "brief", "loop", "looped still", "foreign", "cut off", "short", "refuses", "talks first", "own words",
)  # fmt: skip
MANNERS = (
    "right",
    "right",
    "right",
    "prose",
    "half",
    "absent",
    "twice",
    "refuses",
    "right",
    "fenced",
)


def picture(number: int) -> Pillow.Image:
    """Picture number `number`, from 0 to 24."""
    return Pillow.new("RGB", (48, 40), (10 * number + 5, 90, 140))


def whole(number: int, sentences: int = len(SENTENCES)) -> str:
    return " ".join(SENTENCES[:sentences]).format(n=number)


def described(number: int) -> str:
    """What the describer says of a picture at first."""
    text = whole(number)
    return {
        "brief": whole(number, 4),
        "loop": f"{whole(number)} {SENTENCES[1]} {SENTENCES[1]}",
        "looped still": f"{whole(number)} {SENTENCES[2]} {SENTENCES[2]}",
        "foreign": f"{whole(number)} Das Haus ist alt und der Hund bellt auf der Straße.",
        "cut off": f"{whole(number)} Above the",
        "short": whole(number, 1),
        "refuses": "I'm sorry, but I can't assist with that request.",
    }.get(HABITS[number % len(HABITS)], text)


def continued(number: int) -> str:
    brief = HABITS[number % len(HABITS)] == "brief"
    return " ".join(SENTENCES[4:]) if brief else "That is all there is."


def mended(text: str, attempt: int) -> str:
    """What the repairer makes of a description."""
    number = int(re.findall(r"number (\d+)", text)[0])
    habit = HABITS[number % len(HABITS)]
    if habit == "talks first" and not attempt:
        return f"Here is the mended description:\n{text}"
    if habit == "own words":
        return "Boats rock gently beside a crowded quay while gulls circle overhead, waiting for fishermen."
    if habit in ("loop", "cut off"):
        return whole(number)
    return text


def manner(told: str) -> str:
    return MANNERS[int(hashlib.sha256(told.encode()).hexdigest()[:8], 16) % len(MANNERS)]


liar = runpy.run_path(str(ROOT / "benchmarks" / "instruct.py"))


def taught(kind: Any, told: str, attempt: int) -> str:
    """What the teacher writes about a context."""
    right = json.dumps(liar["written"](kind, told, "", random.Random(0)))
    how = manner(told)
    if how == "refuses":
        return "I'm sorry, but I can't assist with that request."
    if how == "twice":
        return f"{right}\n{right}"
    if how == "fenced":
        return f"```json\n{right}\n```"
    if attempt or how == "right":
        return right
    wrong = {
        "prose": f"Here you are: {right} I hope this helps.",
        "half": right[: len(right) // 2],
        "absent": json.dumps(liar["written"](kind, told, "object", random.Random(0))),
    }
    return wrong[how]


def answer(body: dict[str, Any]) -> tuple[str, str]:
    """What is said to a request, and a word for it; "" to one of neither engine."""
    messages = body["messages"]
    head = messages[0]["content"]
    if isinstance(head, list):
        text = "".join(part.get("text", "") for part in head)
        if text != curate.DESCRIBE:
            return "", ""
        (data,) = Received("", "", {}, body, 0).images
        number = round((Pillow.open(io.BytesIO(data)).getpixel((20, 20))[0] - 5) / 10)
        if len(messages) == 1:
            return described(number), f"describe {number}"
        return continued(number), f"continue {number}"
    if head.startswith(curate.REPAIR[:60]):
        text, attempt = head.partition("The description:\n")[2], len(messages) // 2
        number = int(re.findall(r"number (\d+)", text)[0])
        return mended(text, attempt), f"repair {number} {attempt}"
    for kind, task in teaching.TASKS.items():
        if head == task:
            shown = liar["SHOWN"]
            told, attempt = messages[1 + shown]["content"], (len(messages) - 2 - shown) // 2
            which = hashlib.sha256(told.encode()).hexdigest()[:8]
            return taught(kind, told, attempt), f"{kind} {which} {attempt}"
    return "", ""


@dataclass(frozen=True)
class Server:
    url: str
    log: Path

    @property
    def model(self) -> str:
        return f"{self.url}/v1#scripted"

    def asked(self) -> list[str]:
        """A line for each request that came, in order."""
        return self.log.read_text("utf-8").splitlines() if self.log.exists() else []


@contextmanager
def serving(folder: Path, after_s: float = 0.0) -> Iterator[Server]:
    """Run this file as a process of its own; each answer takes `after_s`."""
    log = folder / "asked.log"
    command = [sys.executable, __file__, str(log), str(after_s)]
    paths = os.pathsep.join(str(ROOT / "tests" / folder) for folder in ("", "backends"))
    where = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=where) as process:
        assert process.stdout is not None
        try:
            yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}", log)
        finally:
            process.kill()


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command as it is typed, `python -m looksay WORDS…`, to its end."""
    assert words[1:3] == ["-m", "looksay"]
    return looksay(*words[3:])


def told(report: Path) -> dict[str, Any]:
    """A report but for the models' names, which hold the server's port."""
    found = json.loads(report.read_text("utf-8"))
    return {k: v for k, v in found.items() if k not in ("describer", "repairer", "teacher")}


def killed(words: list[str], answers: Path, seed: int) -> int:
    """Start a command three times and kill it after a few more answers, at a random moment; how often it was alive."""
    draws, alive = random.Random(seed), 0
    for _ in range(3):
        known = answers.read_bytes().count(b"\n") if answers.exists() else 0
        least = known + draws.randint(1, 12)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 240
            while not answers.exists() or answers.read_bytes().count(b"\n") < least:
                assert time.monotonic() < deadline
                if process.poll() is not None:
                    break
                time.sleep(0.002)
            time.sleep(draws.uniform(0, 0.05))
            process.kill()
        alive += process.returncode != 0
    return alive


def main() -> None:
    log, after_s = Path(sys.argv[1]), float(sys.argv[2])

    def reply(received: Received) -> Reply:
        text, word = answer(received.body)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{word}\n")
        return openai_text(text, after_s=after_s)

    with Faulty(reply, pages=openai_models("scripted")) as server:
        print(server.port, flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main()
