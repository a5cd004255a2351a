"""How long the caption metrics take on as many captions as COCO's test split has.

    python benchmarks/metrics.py [--images 5000] [--seed 0]

One caption and five references per image, 8 to 14 words each (COCO's are 10.5 on average). Words are made
up and drawn by Zipf's law from 10,000, some of them the image's own; word sequences repeat less than in
human captions, so that there are more n-grams to count. One process, no threads; tokenising included. Both
clocks are printed, because on a busy machine the wall clock measures the others too.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from itertools import accumulate
from typing import TypeVar

from looksay.evaluation.metrics import bleu, cider, rouge
from looksay.texts import ptb

T = TypeVar("T")
VOCABULARY, REFERENCES = 10_000, 5


def captions(images: int, seed: int) -> list[list[str]]:
    """Captions per image: the one to be scored, then its references."""
    chance = random.Random(seed)
    letters = "etaoinshrdlu"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(VOCABULARY)]
    weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))

    def told(own: list[str]) -> str:
        length = chance.randint(8, 14)
        common = chance.choices(words, cum_weights=weights, k=length)
        text = " ".join(chance.choice(own) if chance.random() < 0.4 else word for word in common)
        return text.capitalize() + chance.choice([".", "", " ."])

    found = []
    for _ in range(images):
        own = chance.choices(words, k=6)
        found.append([told(own) for _ in range(1 + REFERENCES)])
    return found


def timed(name: str, work: Callable[[], T]) -> T:
    wall, core = time.perf_counter(), time.process_time()
    result = work()
    wall, core = time.perf_counter() - wall, time.process_time() - core
    print(f"  {name:<10} {wall:6.2f} s   {core:6.2f} s of the core")
    return result


def main(images: int, seed: int) -> None:
    texts = captions(images, seed)
    wall, core = time.perf_counter(), time.process_time()
    tokens = timed("tokens", lambda: [[ptb.tokenize(text) for text in group] for group in texts])
    said = [group[0] for group in tokens]
    references = [group[1:] for group in tokens]
    ciders = timed("CIDEr-D", lambda: cider.cider(said, references))
    bleus = timed("BLEU", lambda: bleu.bleu(bleu.total(bleu.per_caption(said, references))))
    rouges = timed("ROUGE-L", lambda: list(map(rouge.rouge_l, said, references)))
    wall, core = time.perf_counter() - wall, time.process_time() - core
    print(f"  {'together':<10} {wall:6.2f} s   {core:6.2f} s of the core")
    print(f"{images} captions with {REFERENCES} references each: {images / wall:.0f} captions/s")
    mean = sum(ciders) / images, sum(rouges) / images
    print(f"CIDEr-D {mean[0]:.4f}, BLEU-4 {bleus[3]:.4f}, ROUGE-L {mean[1]:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.images, given.seed)
