"""Every family on two steps of its stages, as a program: to be one of several processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from looksay import plugins

FAMILIES, RECIPES = "looksay.models.families", "looksay.training.recipes"


def names() -> list[str]:
    return plugins.names(FAMILIES)


def made(name: str, *, steps: int = 2, each: int = 4, tower: bool = False) -> tuple[Any, list[Any]]:
    """A new tiny model of the family and its stages, cut short, with so many examples in a batch: that of the
    tower, or those after it. (The tower's batch normalisation sees how a batch is split.)"""
    model, stages = plugins.load(RECIPES, name, "recipe").scenes("tiny", 0)
    return model, [
        replace(s, steps=steps, examples_per_batch=each, gate=None, warmup=0.0)
        for s in stages
        if (s.name == "tower") == tower
    ]


def main() -> None:
    from looksay.training.loop import train

    out, each = Path(sys.argv[1]), int(sys.argv[2])
    for name in sys.argv[3:] or names():
        model, stages = made(name, each=each)
        train(model, stages, out / name, device="cpu", precision="fp32", quiet=True)


if __name__ == "__main__":
    main()
