"""Preference training of a tiny model, as a program of its own: to be killed, or to be one of several processes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from looksay.types import Conversation, Example, Image, Message

COLOURS = ("red", "blue", "green")


class Pairs:
    """Of each picture its colour, and another one; every second rejected answer is longer, every fourth pair has no
    picture."""

    def __init__(self, size: int | None = 22, pause_s: float = 0.0) -> None:
        self.size, self._pause_s = size, pause_s
        self.fingerprint = f"pairs {size}"

    def example(self, index: int) -> Example:
        time.sleep(self._pause_s)
        colour = index % 3
        shown = Image(Pillow.new("RGB", (32, 32), [(220, 0, 0), (0, 0, 220), (0, 220, 0)][colour]))
        asked = ("what is this",) if index % 4 == 3 else (shown, "what is this")
        more = " with a dog" if index % 2 else ""
        turns = (Message("user", asked), Message("assistant", (f"a {COLOURS[colour]} picture",)))
        rejected = f"a {COLOURS[(colour + 1 + index % 2) % 3]} picture{more}"
        return Example(str(index), Conversation(turns), {"rejected": rejected, "beta": 0.5})


def stage(data: Any = None, **how: Any) -> Any:
    from looksay.training.stages import Stage

    common: dict[str, Any] = {
        "trains": {"connector": 3e-3, "language": 1e-3},
        "objectives": ("preference",),
        "steps": 12,
        "examples_per_batch": 4,
        "max_length": 160,
        "warmup": 0.0,
    }
    return Stage("prefer", data=data or Pairs(), **{**common, **how})


def main() -> None:
    from models.tiny import tiny_llava

    from looksay.training.loop import train

    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--shard", action="store_true")
    asked = parser.parse_args()
    train(
        tiny_llava(),
        [stage(Pairs(pause_s=asked.pause), examples_per_batch=asked.each)],
        asked.out,
        device="cpu",
        precision="fp32",
        shard=asked.shard,
        save_every=3,
        log_every=4,
        quiet=True,
    )


if __name__ == "__main__":
    main()
