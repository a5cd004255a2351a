"""Photos described in two batches beside each other and in one, in turns within one run, by one model on a CPU.

    python benchmarks/lanes.py [--model mini | hub:FOLDER] [--photos 48] [--rounds 3] [--dtype float32]

`looksay describe` as a user would run it, every text stored; between two turns nothing is remembered of prompts and
pictures. (A folder for `hub:` is made by `python benchmarks/describing.py --one make llava FOLDER`.)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from describing import photos
from measured import tell


def seconds(library, backend, lanes):
    from looksay.backends import preparing
    from looksay.backends._kept import Seen

    preparing.LANES = lanes
    Seen.forget()
    vars(backend).pop("steps", None)
    report = library.describe(backend, again=True, context=())
    if report.failures:
        raise SystemExit(f"{report.failures[0]}")
    return report.seconds


def main(args):
    from looksay import Library, load
    from looksay.backends.base import LoadOptions

    options = LoadOptions(device="cpu", dtype=args.dtype) if args.dtype else LoadOptions()
    backend = load(args.model, options)
    name = Path(args.model).name
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where) / "photos"
        photos(folder, args.photos, 640, 480)
        ratios = []
        with Library(folder) as library:
            for turn in range(args.rounds):
                took = {
                    lanes: seconds(library, backend, lanes) for lanes in ((1, 2), (2, 1))[turn % 2]
                }
                ratios.append(took[1] / took[2])
                print(f"{name}: one batch {took[1]:.1f} s, two {took[2]:.1f} s", flush=True)
    tell(f"{args.photos} photos in two batches beside each other over one, {name}", ratios)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", help="of a hub: model")
    main(parser.parse_args())
