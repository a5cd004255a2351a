"""A small run as a program of its own: to be killed, or to be one of several processes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from PIL import Image as Pillow

from looksay.types import Conversation, Example, Image, Message

NOUNS = ["dog", "cat", "fox", "tree", "house"]


class Pictures:
    """Plain colours and a few words; `pause_s` makes a run slow enough to be killed in its middle."""

    def __init__(self, size: int | None = 37, pause_s: float = 0.0) -> None:
        self.size, self._pause_s = size, pause_s

    def example(self, index: int) -> Example:
        time.sleep(self._pause_s)
        picture = Pillow.new("RGB", (32, 32), (index * 47 % 255, index * 91 % 255, 90))
        words = " ".join(NOUNS[(index + k) % 5] for k in range(1 + index % 6))
        turns = (Message("user", (Image(picture), "what is this")), Message("assistant", (words,)))
        return Example(str(index), Conversation(turns))


def stages(
    pause_s: float = 0.0, each: int | None = None, accumulate: int = 1, adapter: object = None
):
    from looksay.training.stages import Stage

    data = Pictures(pause_s=pause_s)
    common = {"data": data, "max_length": 128, "tokens_per_batch": 256, "accumulate": accumulate}
    return [
        Stage("align", {"connector": 3e-3}, steps=20, examples_per_batch=each, **common),
        Stage(
            "tune",
            {"connector": 1e-3, "language": 1e-3},
            steps=20,
            examples_per_batch=each,
            adapter=adapter,
            **common,
        ),
    ]


def main() -> None:
    from models.tiny import tiny_llava

    from looksay.training.loop import train

    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--each", type=int)
    parser.add_argument("--accumulate", type=int, default=1)
    asked = parser.parse_args()
    plan = stages(asked.pause, asked.each, asked.accumulate)
    train(tiny_llava(), plan, asked.out, device="cpu", save_every=3, log_every=4, quiet=True)


if __name__ == "__main__":
    main()
