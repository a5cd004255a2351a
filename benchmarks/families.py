"""Every family trained on scenes with several seeds and measured: the tables of docs/models.md.

    python benchmarks/families.py clip blip [--seeds 0,1,2] [--out families] [--table]

Hours on a CPU. Trained stages and answers lie below --out, where the same command goes on; figures of each family
in OUT/FAMILY.json, from which `--table` prints the table without training. Intervals (95 %) are of the mean over the
seeds, by drawing whole scenes with replacement; the figure of every seed stands beside. Descriptions are
of every second scene.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from looksay import plugins
from looksay.claims import blip2, flamingo, released
from looksay.claims.base import Figure
from looksay.claims.build import Trainer
from looksay.claims.measuring import FOUND_FIRST, Asking, Retrieving, Task
from looksay.claims.run import drawn
from looksay.claims.verdict import weighed
from looksay.data.reading import write
from looksay.evaluation import measures
from looksay.training.stages import Stage

Make = Callable[[str, int], tuple[Any, list[Stage]]]
"""Size and seed → the untrained model and its stages."""
FOUND = (FOUND_FIRST, "noun recall, same background")
TOLD = ("object recall", "CHAIRi", "CHAIRs", "strictly correct", "CIDEr-D")
ASKED = ("questions: all questions",)


@dataclass(frozen=True)
class Measured:
    """What is measured after a stage."""

    stage: str
    figures: tuple[str, ...]
    how: object
    benchmark: str = "scenes/test"
    name: str = ""


DESCRIBED = Asking(lambda items: [one for one in items if one.kind == "description"][::2])
QUESTIONS = Asking(
    lambda items: [one for one in flamingo.one_each(items) if "question" in one.truth]
)


def finds(stage, again=0, weighed=False):
    name = "both weighed: " if weighed else "matching too: " if again else ""
    figures = FOUND[: 1 if again else 2]  # nouns are found by contrast alone
    return Measured(stage, figures, Retrieving(again, weighed), "scenes_retrieval/test", name)


@dataclass(frozen=True)
class Trial:
    family: str
    measured: tuple[Measured, ...]
    make: Make | None = None
    """None: the family's recipe for scenes."""


def recipe(family: str, **options: Any) -> Make:
    """Its recipe for scenes; what published systems download is one for all seeds."""
    scenes = plugins.load("looksay.training.recipes", family, "recipe").scenes

    def make(size, seed):
        model, stages = scenes(size, seed, **options)
        first, begun = scenes(size, 0, **options)
        downloaded = [stage for stage in begun if stage.name in released.ALONE]
        for part in {name for stage in downloaded for name in stage.trains}:
            model.parts[part].load_state_dict(first.parts[part].state_dict())
        return model, [*downloaded, *(s for s in stages if s.name not in released.ALONE)]

    return make


TRIALS = {
    "clip": Trial("clip", (finds("pairs"),)),
    "albef": Trial(
        "albef",
        (
            finds("pretrain"),
            finds("pretrain", 16),
            finds("pretrain", 16, weighed=True),
            Measured("vqa", ASKED, QUESTIONS),
        ),
    ),
    "blip": Trial(
        "blip",
        (
            finds("pretrain"),
            finds("pretrain", 16),
            finds("pretrain", 16, weighed=True),
            Measured("caption", TOLD, DESCRIBED),
            Measured("vqa", ASKED, QUESTIONS),
        ),
    ),
    "blip2": Trial(
        "blip2", (finds("represent"), Measured("generate", TOLD, DESCRIBED)), blip2.recipe
    ),
    "blip2-seq2seq": Trial(
        "blip2", (Measured("generate", TOLD, DESCRIBED),), recipe("blip2", language="seq2seq")
    ),
    "flamingo": Trial(
        "flamingo",
        (Measured("flamingo", TOLD, DESCRIBED), Measured("flamingo", ASKED, QUESTIONS)),
        flamingo.recipe,
    ),
    "simvlm": Trial(
        "simvlm",
        (Measured("answers", TOLD, DESCRIBED), Measured("answers", ASKED, QUESTIONS)),
    ),
    "pali": Trial("pali", (Measured("main", TOLD, DESCRIBED), Measured("main", ASKED, QUESTIONS))),
}


def trained(trial, size, seed, out, share, how):
    """The folder of each stage's model, and what each took."""
    make = trial.make or recipe(trial.family)
    trainer = Trainer(out / "stages", size, seed, released.ALONE, share, how)
    trainer(*make(size, seed))
    done = trainer.done.values()
    return {one.name: trainer.folder / one.key for one in done}, [asdict(one) for one in done]


def measure(name, trial, seeds, size, scenes, out, share, how):
    models = {seed: trained(trial, size, seed, out, share, how) for seed in seeds}
    rows = []
    for one in trial.measured:
        bench, items = drawn(one.benchmark, scenes)
        task = Task(one.benchmark, bench, items, out, how["device"])
        clusters = {item.id: item.image for item in items if item.image}
        each = {}
        for places, _ in models.values():
            for figure in one.how(places[one.stage], task).figures:
                label = str(Figure(figure.measure.name, figure.measure.kind))
                if label in one.figures:
                    each.setdefault(one.name + label, []).append(figure.measure)
        for label, several in each.items():
            whole = weighed([(1 / len(several), measure) for measure in several])
            mean = measures.interval(whole, clusters)
            own = [measures.interval(m, clusters, samples=1).value for m in several]
            rows.append(
                {
                    "figure": label,
                    "mean": mean.value,
                    "low": mean.low,
                    "high": mean.high,
                    "seeds": own,
                }
            )
    return {
        "name": name,
        "size": size,
        "seeds": list(seeds),
        "scenes": scenes,
        "share": share,
        "precision": how["precision"],
        "command": f"python benchmarks/families.py {name} --seeds {','.join(map(str, seeds))} "
        f"--precision {how['precision']}",
        "rows": rows,
        "spent": {seed: stages for seed, (_, stages) in models.items()},
    }


def table(found):
    lines = ["| figure | mean, 95 % interval | seeds |", "|---|---|---|"]
    for row in found["rows"]:
        seeds = ", ".join(f"{one:.1f}" for one in row["seeds"])
        low, high = (
            f"{row[end]:.1f}" if math.isfinite(row[end]) else "–" for end in ("low", "high")
        )
        lines.append(f"| {row['figure']} | {row['mean']:.1f} ({low} to {high}) | {seeds} |")
    return "\n".join(lines)


def main(args):
    for name in args.families or TRIALS:
        file = args.out / f"{name}.json"
        if not args.table:
            seeds = [int(seed) for seed in args.seeds.split(",")]
            how = {"device": args.device, "precision": args.precision}
            found = measure(
                name, TRIALS[name], seeds, args.size, args.scenes, args.out, args.share, how
            )
            write(file, json.dumps(found, indent=1).encode())
        found = json.loads(file.read_text("utf-8"))
        print(f"{name}\n\n{table(found)}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("families", nargs="*", choices=[[], *TRIALS], metavar="FAMILY")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--share", type=float, default=1.0, help="of all steps; below 1 a trial")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="auto, bf16 or fp32")
    parser.add_argument("--out", type=Path, default=Path("families"))
    parser.add_argument("--table", action="store_true", help="print, train nothing")
    main(parser.parse_args())
