"""How often `looksay.experts.faces` reports a face where there is none.

    python benchmarks/faces.py DATA

DATA holds `coco/images` (with YOLO boxes beside them; class 0 is a person), `site/assets` and
`textbook/images`. A picture counts as one without a face if COCO has no person in it, or if
`labels.csv` says so; that column was filled by eye and left empty where in doubt (tiny people, drawn
smileys, carved figures). Several hundred pictures are few: the interval is what can be said.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import rates
from measured import explain

from looksay.errors import UnreadablePhoto
from looksay.experts.faces import Finder
from looksay.images import load_rgb


def main(data: Path) -> None:
    with (Path(__file__).parent / "labels.csv").open(encoding="utf-8") as file:
        without = {
            data / row["image"]: "by eye" for row in csv.DictReader(file) if row["face"] == "no"
        }
    with_person = []
    for path in sorted((data / "coco/images").glob("*.jpg")):
        boxes = path.with_suffix(".txt").read_text().splitlines()
        if any(line.startswith("0 ") for line in boxes):
            with_person.append(path)
        else:
            without[path] = "COCO"
    finder, started, seen = Finder(), time.perf_counter(), 0
    false: dict[str, list[Path]] = {"by eye": [], "COCO": []}
    for path, source in without.items():
        try:
            found = finder.find(load_rgb(path, max_side_px=1280))
        except UnreadablePhoto as error:
            sys.exit(f"{path}: {error}")
        seen += 1
        if found:
            false[source].append(path)
    reported = 0
    for path in with_person:
        reported += bool(finder.find(load_rgb(path, max_side_px=1280)))
        seen += 1
    print("A face reported where there is none")
    for source, paths in false.items():
        n = sum(s == source for s in without.values())
        print(f"  {source:>6}  {rates.words(len(paths), n)}", *(p.name for p in paths))
    print(f"     all  {rates.words(sum(map(len, false.values())), len(without))}")
    print("A face reported in COCO pictures with a person, however small or turned away")
    print(f"          {rates.words(reported, len(with_person))}")
    print(f"{(time.perf_counter() - started) / seen:.2f} s per picture, decoding included")


if __name__ == "__main__":
    explain(__doc__)
    main(Path(sys.argv[1]))
