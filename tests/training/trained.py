"""A small run as a program of its own: to be killed, or to be one of several processes."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from PIL import Image as Pillow

from looksay.types import Conversation, Example, Image, Message

NOUNS = ["dog", "cat", "fox", "tree", "house"]


class Pictures:
    """Plain colours and a few words; `pause_s` makes a run slow enough to be killed in its middle, and
    `texts` leaves the picture out of half of the examples."""

    def __init__(self, size: int | None = 37, pause_s: float = 0.0, texts: bool = False) -> None:
        self.size, self._pause_s, self._texts = size, pause_s, texts
        self.fingerprint = f"{size} {texts}"

    def example(self, index: int) -> Example:
        time.sleep(self._pause_s)
        picture = Pillow.new("RGB", (32, 32), (index * 47 % 255, index * 91 % 255, 90))
        words = " ".join(NOUNS[(index + k) % 5] for k in range(1 + index % 6))
        shown = () if self._texts and index % 2 else (Image(picture),)
        turns = (Message("user", (*shown, "what is this")), Message("assistant", (words,)))
        return Example(str(index), Conversation(turns))


class Broken(Exception):
    """A fault in the middle of a stage."""


def breaking(source: Pictures, after: int) -> Pictures:
    """The same data, which fail once `after` examples were drawn; for the plan of a run they are equal."""
    broken = Pictures(source.size)
    calls = iter(range(after))

    def example(index: int) -> Example:
        if next(calls, None) is None:
            raise Broken
        return source.example(index)

    broken.example = example  # type: ignore[method-assign]
    return broken


def stages(
    pause_s: float = 0.0,
    each: int | None = None,
    accumulate: int = 1,
    adapter: object = None,
    texts: bool = False,
):
    from looksay.training.stages import Stage

    data = Pictures(pause_s=pause_s, texts=texts)
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
    from looksay.training.stages import Adapter

    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--each", type=int)
    parser.add_argument("--accumulate", type=int, default=1)
    for name in ("--shard", "--lora", "--texts", "--cached", "--again"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--precision", default="auto")
    asked = parser.parse_args()
    adapter = Adapter(rank=4, alpha=8, dropout=0.0) if asked.lora else None
    plan = [
        replace(stage, cache_features=asked.cached, checkpoint_activations=asked.again)
        for stage in stages(asked.pause, asked.each, asked.accumulate, adapter, asked.texts)
    ]
    train(
        tiny_llava(),
        plan,
        asked.out,
        device="cpu",
        precision=asked.precision,
        shard=asked.shard,
        save_every=3,
        log_every=4,
        quiet=True,
    )


if __name__ == "__main__":
    main()
