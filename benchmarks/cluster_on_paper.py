"""A library of ten million photos on a hundred GPUs, on paper: hours, the limit, memory on the way, network and disk.

    python benchmarks/cluster_on_paper.py [--photos 10000000] [--gpus 100] [--writer 250]

Nothing here is measured on a GPU. What a GPU does is counted: reading a prompt takes 2 FLOP for each weight and place,
at a share of the peak; writing a word reads the weights once for the whole batch, and each row's keys and values, at a
share of the memory's bandwidth. The writer's rate, the catalogue's bytes and the photo's bytes are measured elsewhere
(benchmarks/spread.py) and given here as inputs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

AHEAD = 2
"""Photos on their way to a replica, over what it answers at once: `looksay.backends.spread.AHEAD`."""


@dataclass(frozen=True)
class Device:
    """A GPU by its data sheet, and the shares of it that programs get."""

    name: str
    peak_flops: float
    bytes_per_s: float
    of_peak: float = 0.4
    of_bandwidth: float = 0.6


@dataclass(frozen=True)
class Model:
    """A decoder in bf16. `place_bytes`: keys and values of one place."""

    name: str
    weights: float
    place_bytes: float
    prompt: int = 800
    """Places: an image's and the words around it."""
    answer: int = 40


H100 = Device("H100", 989e12, 3.35e12)
SMALL = Model("SmolVLM-256M", 0.26e9, 2 * 30 * 3 * 64 * 2)
LARGE = Model("LLaVA-1.5-7B", 7.1e9, 2 * 32 * 32 * 128 * 2)


def photos_per_s(model: Model, device: Device, batch: int) -> float:
    """Of one GPU, by arithmetic alone."""
    reading_s = 2 * model.weights * model.prompt / (device.of_peak * device.peak_flops)
    row_bytes = (model.prompt + model.answer / 2) * model.place_bytes
    word_s = (2 * model.weights + batch * row_bytes) / (device.of_bandwidth * device.bytes_per_s)
    return 1 / (reading_s + model.answer * word_s / batch)


@dataclass(frozen=True)
class Cluster:
    photos: int = 10_000_000
    gpus: int = 100
    batch: int = 32
    photo_bytes: float = 400e3
    writer_per_s: float = 250.0
    """Photos that the one process that describes hands out and stores per second, `benchmarks/spread.py`."""
    link_bytes_per_s: float = 1.25e9
    """Of the machine that reads, 10 Gbit/s, where the others do not see the photos."""
    row_bytes: float = 700.0
    """By which the catalogue grows: words of usual length twice, raw and read, and 150 bytes for the rest."""
    asked_bytes: float = 1000.0
    """Of a question and its answer, both ways."""

    def limits(self, each_per_s: float) -> dict[str, float]:
        """Photos per second that each part could take."""
        return {
            "the GPUs": self.gpus * each_per_s,
            "the describing process": self.writer_per_s,
            "the link": self.link_bytes_per_s / self.photo_bytes,
        }

    def row(self, each_per_s: float, what: str = "") -> list[str]:
        found = self.limits(each_per_s)
        limit = min(found, key=lambda name: found[name])
        rate = found[limit]
        hours = self.photos / rate / 3600
        enough = self.writer_per_s / each_per_s
        return [
            f"{each_per_s:,.3g}{what}",
            limit,
            f"{rate:,.0f}",
            f"{hours:,.1f}",
            f"{rate / found['the GPUs']:.1%}",
            f"{enough:,.0f}",
            f"{rate * self.photo_bytes / 1e6:,.0f}",
        ]


HEAD = [
    *("photos/s of a GPU", "the limit", "photos/s", "hours", "of the GPUs' time used"),
    *("GPUs at which that process is the limit", "network, MB/s"),
]


def told(cluster: Cluster) -> str:
    """The page's text: inputs, table, sums."""
    counted = {model: photos_per_s(model, H100, cluster.batch) for model in (LARGE, SMALL)}
    rows = [HEAD, ["---"] * len(HEAD), *map(cluster.row, (0.5, 2, 5))]
    rows += [cluster.row(rate, f" ({model.name}, counted)") for model, rate in counted.items()]
    way = AHEAD * cluster.batch * cluster.gpus
    lines = [
        f"{cluster.photos:,} photos of {cluster.photo_bytes / 1e3:,.0f} kB, {cluster.gpus} GPUs, {cluster.batch} answers "
        f"at once on each, a describing process of {cluster.writer_per_s:,.0f} photos/s.",
        "",
        *(f"| {' | '.join(row)} |".replace(" --- ", "---") for row in rows),
        "",
        *(
            f"Counted, not measured: {model.name} in bf16 on an {H100.name} reads {model.prompt} places and writes "
            f"{model.answer} words for {rate:,.3g} photos/s at most."
            for model, rate in counted.items()
        ),
        f"On their way: {way:,} photos, {way * cluster.photo_bytes / 1e9:.2f} GB in all object stores together, "
        f"{way * cluster.photo_bytes / cluster.gpus / 1e6:.0f} MB for each replica.",
        f"Network: {cluster.photos * cluster.photo_bytes / 1e12:.1f} TB from the reading machines to the replicas, "
        f"{cluster.photos * cluster.asked_bytes / 1e9:.0f} GB of questions and answers.",
        f"Disk: {cluster.photos * cluster.row_bytes / 1e9:.0f} GB of catalogue.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = Cluster()
    parser.add_argument("--photos", type=at_least_one(int), default=usual.photos)
    parser.add_argument("--gpus", type=at_least_one(int), default=usual.gpus)
    parser.add_argument("--writer", type=at_least_one(float), default=usual.writer_per_s)
    given = parser.parse_args()
    print(told(Cluster(given.photos, given.gpus, writer_per_s=given.writer)), end="")


def at_least_one(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Reads an option as a number of that kind."""

    def number(words: str) -> float:
        found = kind(words)
        if found < 1:
            raise argparse.ArgumentTypeError(f"{words}: expected at least 1")
        return found

    return number


if __name__ == "__main__":
    main()
