"""Scenes per second of one core, and what they consist of.

    python benchmarks/scenes.py [--scenes 4000] [--rounds 5] [--size 128]

CPU time of this process, so that a busy machine changes little; the sprites are cached by a first round.
"""

from __future__ import annotations

import argparse
import statistics
import time

from looksay.data.scenes import Scenes, captions, draw


def measured(what, rounds):
    what()
    times = []
    for _ in range(rounds):
        began = time.process_time()
        what()
        times.append(time.process_time() - began)
    return statistics.median(times)


def main(count, rounds, size_px):
    source = Scenes(0, "train", size_px=size_px)
    scenes = [source.scene(n) for n in range(count)]
    parts = {
        "made up": lambda: [source.scene(n) for n in range(count)],
        "drawn": lambda: [draw.pixels(scene) for scene in scenes],
        "told (five captions)": lambda: [captions(scene) for scene in scenes],
        "made up and drawn": lambda: [draw.pixels(source.scene(n)) for n in range(count)],
    }
    for name, part in parts.items():
        print(f"{size_px} px, {name}: {count / measured(part, rounds):,.0f} scenes per second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    asked = parser.parse_args()
    main(asked.scenes, asked.rounds, asked.size)
