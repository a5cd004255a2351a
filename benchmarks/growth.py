"""How cost grows with the work: seconds over photos, pixels, places of a prompt, words, rows and models, each with a fit.

    python benchmarks/growth.py [--rounds 3] [--only photos,rows] [--svg growth.svg]

Each curve is measured at sizes that double, fitted as seconds = start + each × size^c (least squares of relative error),
and told by its exponent: 1 is growth in step with the work. Sizes are taken in turn within a round. Models are `mini`
and a random decoder of its kind with room for 4,096 places; of copies on several processes tells benchmarks/spread.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from library import make_photo
from measured import tell

from looksay.api import Library
from looksay.backends.base import LoadOptions
from looksay.backends.loading import load
from looksay.images import load_rgb

EXPONENTS = np.linspace(0.0, 2.5, 251)


def fitted(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Start, each and exponent c of seconds = start + each × size^c, none below 0, by least relative error.

    >>> start, each, c = fitted([1, 2, 4, 8], [3.0, 5.0, 9.0, 17.0])
    >>> round(start, 2), round(each, 2), round(float(c), 2)
    (1.0, 2.0, 1.0)
    """
    size, found = np.asarray(sizes, float), np.asarray(seconds, float)
    best = (float("inf"), 0.0, 0.0, 0.0)
    for c in EXPONENTS:
        columns = np.stack([np.ones_like(size), size**c], axis=1) / found[:, None]
        (start, each), *_ = np.linalg.lstsq(columns, np.ones_like(found), rcond=None)
        if start < 0 or each < 0:
            start = max(0.0, float(min(found))) if each < 0 else 0.0
            alone = columns[:, 0 if each < 0 else 1]
            share = float(alone @ np.ones_like(found) / (alone @ alone))
            start, each = (share, 0.0) if each < 0 else (0.0, share)
        error = float(((columns @ [start, each] - 1) ** 2).sum())
        if error < best[0] - 1e-12:
            best = (error, float(start), float(each), float(c))
    return best[1:]


def spent(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def photos() -> dict[int, Callable[[], float]]:
    """`describe` with `mini`, from an empty catalogue to the last text."""
    backend = load("mini", LoadOptions())

    def described(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count):
                make_photo((Path(folder) / f"{number}.jpg", number, (256, 256)))
            with Library(folder) as library:
                library.scan()
                return spent(lambda: library.describe(backend))

    return {count: lambda count=count: described(count) for count in (8, 16, 32, 64)}


def pixels() -> dict[int, Callable[[], float]]:
    """A JPEG's way to a model of 384 pixels, by the picture's pixels: read, decode, shrink."""
    folder = Path(tempfile.mkdtemp())
    found = {}
    for side in (512, 1024, 2048, 4096):
        file = folder / f"{side}.jpg"
        make_photo((file, side, (side, side)))
        found[side * side] = lambda file=file: spent(lambda: load_rgb(file, max_side_px=384))
    return found


def _decoder(places: int = 4096):
    from transformers import LlamaConfig, LlamaForCausalLM

    from looksay.models.language import Language

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1000, hidden_size=256, intermediate_size=768, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=places,
    )  # fmt: skip
    return Language(LlamaForCausalLM(config), attention="sdpa").eval()


def prompt() -> dict[int, Callable[[], float]]:
    """Reading a prompt, by its places."""
    from looksay.models.slots import begun

    language = _decoder()

    def read(places: int) -> float:
        given = torch.randn(1, places, language.width)
        return spent(lambda: language.read(given, begun([], 0)))

    return {places: lambda places=places: read(places) for places in (256, 512, 1024, 2048, 4096)}


def _written(language, rows: int, words: int, before: int = 64) -> float:
    from looksay.models.slots import Slots, begun, read_of

    slots = Slots(language.config.num_hidden_layers)
    with torch.inference_mode():
        cache = begun([], 0)
        language.read(torch.randn(1, before, language.width), cache)
        for _ in range(rows):
            slots.join(read_of(cache))
        ids = torch.full((rows,), 5)
        return spent(lambda: [language.step(ids, slots) for _ in range(words)])


def words() -> dict[int, Callable[[], float]]:
    """Writing an answer, by its words."""
    language = _decoder()
    return {n: lambda n=n: _written(language, 1, n) for n in (64, 128, 256, 512)}


def rows() -> dict[int, Callable[[], float]]:
    """A word of each of so many answers that are written side by side (seconds of 32 words)."""
    language = _decoder()
    return {n: lambda n=n: _written(language, n, 32) for n in (1, 2, 4, 8, 16, 32)}


def models() -> dict[int, Callable[[], float]]:
    """Eight photos described by so many models, one after the other, each loaded anew."""
    folder = Path(tempfile.mkdtemp())
    for number in range(8):
        make_photo((folder / f"{number}.jpg", number, (256, 256)))

    def several(count: int) -> float:
        with tempfile.TemporaryDirectory() as place:
            for file in folder.glob("*.jpg"):
                (Path(place) / file.name).write_bytes(file.read_bytes())
            with Library(place) as library:
                library.scan()
                return spent(lambda: [_describe(library, n) for n in range(count)])

    def _describe(library, number: int) -> None:
        backend = load("mini", LoadOptions())
        backend.fingerprint = f"{backend.fingerprint}-{number}"  # another model for the catalogue
        library.describe(backend, which="all")

    return {count: lambda count=count: several(count) for count in (1, 2, 4)}


CURVES = {
    "photos": photos,
    "pixels": pixels,
    "prompt": prompt,
    "words": words,
    "rows": rows,
    "models": models,
}
MEANS = {
    "photos": "describing with `mini`, by photos",
    "pixels": "reading a JPEG for a model, by its pixels",
    "prompt": "reading a prompt, by its places",
    "words": "writing an answer, by its words",
    "rows": "a word for each of several answers, by answers",
    "models": "describing 8 photos, by models",
}


def main(args: argparse.Namespace) -> None:
    curves = {}
    for name in args.only.split(",") if args.only else CURVES:
        arms = CURVES[name]()
        found: dict[int, list[float]] = {size: [] for size in arms}
        for number in range(args.rounds + 1):
            for size, arm in arms.items():
                took = arm()
                if number:  # the first round warms up
                    found[size].append(took)
        best = [min(several) for several in found.values()]
        fit = fitted(list(found), best)
        told = ", ".join(f"{size:,}: {s:.3g} s" for size, s in zip(found, best, strict=True))
        print(f"{MEANS[name]}: {told}; {fit[0]:.3g} + {fit[1]:.3g} × size^{fit[2]:.2f} s")
        own = [fitted(list(found), [s[n] for s in found.values()])[2] for n in range(args.rounds)]
        tell(f"growth of {MEANS[name]}: exponent", own, unit="")
        curves[name] = (list(found), best, fit)
    if args.svg:
        draw(curves, args.svg)


def draw(
    curves: dict[str, tuple[list[int], list[float], tuple[float, float, float]]], file: Path
) -> None:
    """What was measured (dots) and the fits (lines), both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "looksay"
    across = min(3, len(curves))
    down = -(-len(curves) // across)
    shape, boxes = pyplot.subplots(down, across, figsize=(4 * across, 3 * down), squeeze=False)
    for box, (name, (sizes, seconds, fit)) in zip(boxes.flat, curves.items(), strict=False):
        start, each, c = fit
        line = np.geomspace(sizes[0], sizes[-1], 50)
        box.loglog(sizes, seconds, "o")
        box.loglog(line, start + each * line**c)
        box.set_title(f"{name}: exponent {c:.2f}")
        box.set_ylabel("seconds")
    shape.tight_layout()
    shape.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--svg", type=Path, help="draw the curves, each as a multiple of its first")
    main(parser.parse_args())
