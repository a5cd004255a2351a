"""What Ray adds and costs when photos are described by several replicas (`looksay describe --ray`), and what the one writer can take.

    python benchmarks/spread.py [--rounds 3] [--photos 60]

The replicas' model waits 50 ms for each photo, as a GPU lets its process wait, so that two replicas need no two cores.
Loading is not counted. "The writer" is describing with a model that takes no time, without Ray: all of that is the
catalogue, the requests and the rules for answers. With `ray[data]` installed, reading photos by Ray Data (blocks of one
photo, so that nothing waits for a block to fill) is measured beside the actors that read here.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import random
import statistics
import tempfile
import time
from pathlib import Path

from measured import tell
from PIL import Image

from looksay.api import Library
from looksay.backends import _ray, load, spread
from looksay.backends._spread_ends import Reader
from looksay.types import Conversation
from looksay.types import Image as Picture

MODEL = "echo:0.05"


def make_photos(folder: Path, number: int) -> list[Path]:
    found = [folder / f"{n:05d}.png" for n in range(number)]
    rng = random.Random(5)
    for path in found:
        Image.frombytes("RGB", (24, 24), rng.randbytes(1728)).save(path)
    return found


def described(backend, number):
    """(photos per second, seconds of this process's core per photo, bytes of catalogue per photo)."""
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder), number)
        with Library(folder) as library:
            library.scan()
        before = (Path(folder) / "looksay.db").stat().st_size
        with Library(folder) as library:
            wall, core = time.perf_counter(), time.process_time()
            report = library.describe(backend)
            assert report.described == number, report
            wall, core = time.perf_counter() - wall, time.process_time() - core
        grown = (Path(folder) / "looksay.db").stat().st_size - before
        return number / wall, core / number, grown / number


def throughput(rounds, photos):
    found = {1: [], 2: []}
    for _ in range(rounds):
        alone, _, _ = described(load(MODEL), photos)
        for replicas, ratios in found.items():
            with spread.spread(MODEL, None, (replicas, replicas)) as backend:
                rate, _, _ = described(backend, photos)
            ratios.append(rate / alone)
    for replicas, ratios in found.items():
        word = "replica" if replicas == 1 else "replicas"
        aim = "≥ 0.9" if replicas == 1 else "≥ 1.8"
        tell(f"describe with {replicas} {word} of Ray beside one process without", ratios, aim=aim)


def writer(rounds, photos):
    found = [described(load("echo"), photos) for _ in range(rounds)]
    rates, cores, sizes = zip(*found, strict=True)
    tell("the writer: photos described by a model that takes no time", rates, unit="per second")
    tell("core of the describing process per photo, without Ray", [1000 * c for c in cores], "ms")
    print(f"the catalogue grows by {statistics.median(sizes):,.0f} bytes for each")
    with spread.spread("echo", None, (2, 2)) as backend:
        found = [described(backend, photos) for _ in range(rounds)]
    rates, cores, _ = zip(*found, strict=True)
    tell("the same, handed out to 2 replicas of Ray", rates, unit="per second")
    tell("core of the describing process per photo, with Ray", [1000 * c for c in cores], "ms")


def reading(rounds, photos):
    """Core of the describing process for each photo that is read elsewhere, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
        talks = [Conversation.ask(Picture(one)) for one in make_photos(Path(folder), photos)]
        ray = _ray.started("benchmarks/spread.py", (2, 2), log_to_driver=False)
        held.callback(ray.shutdown)
        reader = ray.remote(Reader).options(num_cpus=0, max_concurrency=8).remote()

        def by_actors():
            waiting = []
            for talk in talks:
                waiting.append(reader.read.remote(talk, None))
                if len(waiting) == 8:
                    _, waiting = ray.wait(waiting)
            ray.get(waiting)

        def by_ray_data():
            data = ray.data.from_items([{"talk": one} for one in talks], override_num_blocks=1)
            read = data.map_batches(_one_by_one, batch_size=None, num_cpus=0.1)
            read = read.map(lambda row: {"talk": Reader().read(row["talk"], None)}, num_cpus=1)
            for _ in read.iter_batches(batch_size=None, prefetch_batches=0):
                pass

        arms = {"actors": by_actors}
        try:
            import ray.data

            logging.getLogger("ray.data").setLevel(logging.ERROR)
            context = ray.data.DataContext.get_current()
            context.target_max_block_size = 1
            context.enable_progress_bars = context.print_on_execution_start = False
            arms["Ray Data"] = by_ray_data
        except ImportError:
            print('Ray Data is not measured: pip install "ray[data]"')
        cores = {name: [] for name in arms}
        for number in range(rounds + 1):
            for name, arm in arms.items():
                began = time.process_time()
                arm()
                if number:  # processes start in the first round
                    cores[name].append(1000 * (time.process_time() - began) / photos)
    tell("core of the describing process per photo read by actors", cores["actors"], unit="ms")
    if "Ray Data" in cores:
        pairs = zip(cores["Ray Data"], cores["actors"], strict=True)
        tell("the same with Ray Data, beside that", [data / actors for data, actors in pairs])


def _one_by_one(batch):
    for talk in batch["talk"]:
        yield {"talk": [talk]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=60)
    given = parser.parse_args()
    writer(given.rounds, 10 * given.photos)
    throughput(given.rounds, given.photos)
    reading(given.rounds, 3 * given.photos)


if __name__ == "__main__":
    main()
