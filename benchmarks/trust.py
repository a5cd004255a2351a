"""What several models know together, and how well risk finds the captions that are wrong: the tables of docs/risk.md.

    python benchmarks/trust.py scenes MODEL MODEL MODEL --verifier MODEL [--matcher ENCODER] [--scenes 2500] [--out trust]
    python benchmarks/trust.py coco FOLDER DETECTOR.onnx

scenes: models that know drawn scenes (mini, local:FOLDER) describe them, and another is asked about each claim alone. All
of them see pixels only; the scenes' truth says afterwards which captions were wrong, and labels the captions that stand
for reviewed ones. Answers lie below --out, where the same command goes on. coco: images with YOLO labels (images/*.jpg
beside *.txt, config.yaml); captions are made from the labels, objects that are not there are planted in them, and the
detector is the only witness.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from looksay.backends.base import Backend, Encoder, LoadOptions, same_model, spelled
from looksay.backends.encoders import load as load_encoder
from looksay.backends.loading import load as load_backend
from looksay.data import readers
from looksay.data.scenes import Scene, Scenes
from looksay.data.scenes.told import read as told
from looksay.data.sources.scenes import DESCRIBE
from looksay.describing import checking
from looksay.describing.calibration import Scale
from looksay.describing.claims import Checked, Claim
from looksay.describing.combine import WAYS, combine
from looksay.describing.evidence import Look
from looksay.describing.risk import Features, features
from looksay.errors import InputError
from looksay.evaluation import run
from looksay.evaluation.benchmark import Item
from looksay.evaluation.measures import Measure, difference, interval, of_samples
from looksay.evaluation.metrics import scenes as texts
from looksay.evaluation.metrics.risks import auroc, calibration_error, found_first
from looksay.library.lines import Lines
from looksay.types import CONFIDENCE, Completion, Conversation, Image, Options

SEED = 2000
DRAWS, HELD_OUT, SHARE = 20, 2000, 0.2
REVIEWS = (50, 500)
RESAMPLES = 500
TOLD = (
    "object recall",
    "object precision",
    "CHAIRi",
    "CHAIRs",
    "strictly correct",
    "counts",
    "relations",
)


@dataclass(frozen=True)
class Told:
    """One caption, what was found out about it from pixels, and what is true."""

    text: str
    features: Features
    wrong: bool
    confidence: float | None = None
    match: float | None = None


# --- scenes ---------------------------------------------------------------------------------------


def scenes(args: argparse.Namespace) -> None:
    world, reader = Scenes(args.seed, "test"), readers.load("scenes")
    drawn = [world.scene(number) for number in range(args.scenes)]
    asked = load_backend(args.verifier, LoadOptions())
    encoder = load_encoder(args.matcher, LoadOptions()) if args.matcher else None
    said: dict[str, list[Completion]] = {}
    for name in args.models:
        backend = load_backend(name, LoadOptions())
        if same_model(backend, asked):
            raise InputError(f"{name} would verify its own captions. Choose another --verifier.")
        said[name] = _captions(backend, drawn, args)
        print(f"{name} has described", flush=True)
    single: dict[str, list[Told]] = {name: [] for name in said}
    ways = [way for way in WAYS if way != "fuse" or encoder]
    together: dict[str, list[Told]] = {way: [] for way in ways}
    with Remembering(asked, _file(args, "asked", asked)) as verifier:
        for n, scene in enumerate(drawn):
            image = Image(scene.image())
            captions = {name: rows[n].text for name, rows in said.items()}
            for way in ways:
                found = combine(
                    captions, reader, by=way, image=image, verifier=verifier, encoder=encoder
                )
                own = [one for one in found.checked if one.said.spans]
                together[way].append(_told(found.text, own, scene))
            for name, text in captions.items():
                others = {who: other for who, other in captions.items() if who != name}
                checked = checking.check(text, reader, texts=others)
                checked = checking.asked(checked, image, reader, verifier)
                confidence = said[name][n].details.get(CONFIDENCE)
                single[name].append(_told(text, checked, scene, confidence))
            if n % 500 == 499:
                print(f"{n + 1} scenes verified", flush=True)
    if encoder:
        single = {name: _matched(rows, drawn, encoder) for name, rows in single.items()}
    _print_captions(single, together, drawn)
    print("\nRisk of a caption that says a false object, count or relation")
    for name, rows in single.items():
        _print_risk(name, rows)
    _print_risk("every model", [one for rows in single.values() for one in rows])
    _print_risk("combined by claims", together["claims"])


class Remembering:
    """A model that ranks, and what it has answered in a file: the same question is asked once."""

    def __init__(self, backend: Backend, path: Path) -> None:
        self.name, self.fingerprint, self.profile = (
            backend.name,
            backend.fingerprint,
            backend.profile,
        )
        self._backend, self._lines = backend, Lines(path, "an answer")

    def __enter__(self) -> Remembering:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()

    def rank(self, conversation: Conversation, choices: Sequence[str]) -> list[float]:
        key = json.dumps([self.fingerprint, spelled(conversation), list(choices)])
        key = hashlib.sha256(key.encode()).hexdigest()[:32]
        row = self._lines.get(key)
        if row is None:
            row = {"key": key, "found": self._backend.rank(conversation, choices)}
            self._lines.add(row)
        return list(row["found"])


def _told(
    text: str, checked: Sequence[Checked], scene: Scene, confidence: float | None = None
) -> Told:
    found = features(text, checked, confidence=confidence)
    return Told(text, found, bool(false_claims(text, scene)), confidence)


def false_claims(text: str, scene: Scene) -> list[str]:
    """What a caption says that is not true of the scene: objects that are not there, other counts, relations that do
    not hold."""
    said = told(text)
    truth = {group.noun.name: group.count for group in scene.groups}
    numbers = {group.noun.name: number for number, group in enumerate(scene.groups)}
    holds = {(one.a, one.side, one.b) for one in scene.relations}
    return [
        *(noun for noun in dict.fromkeys(said.nouns) if noun not in truth),
        *(
            f"{group.count} {group.noun}"
            for group in said.groups
            if group.noun in truth and group.count not in (None, truth[group.noun])
        ),
        *(
            f"{one.a} {one.side} {one.b}"
            for one in dict.fromkeys(said.relations)
            if one.a in truth
            and one.b in truth
            and (numbers[one.a], one.side, numbers[one.b]) not in holds
        ),
    ]


def _captions(
    backend: Backend, drawn: Sequence[Scene], args: argparse.Namespace
) -> list[Completion]:
    items = [
        Item(scene.id, Conversation.ask(Image(scene.image()), DESCRIBE), image=scene.id)
        for scene in drawn
    ]
    found = run.ask(backend, items, _file(args, "captions", backend), Options())
    if found.failures:
        raise InputError(f"{backend.name} failed on {len(found.failures)} scenes: type it again.")
    return [one for one in found.completions if one is not None]


def _matched(rows: Sequence[Told], drawn: Sequence[Scene], encoder: Encoder) -> list[Told]:
    """The captions with how well an encoder finds that they fit (cosine): beside risk, no part of it."""
    pictures = encoder.embed_images(Image(scene.image()) for scene in drawn)
    words = encoder.embed_texts([one.text for one in rows])
    found = (pictures * words).sum(axis=1).tolist()
    return [replace(one, match=match) for one, match in zip(rows, found, strict=True)]


def _file(args: argparse.Namespace, what: str, backend: Backend) -> Path:
    name = re.sub(r"\W+", "-", backend.name)[-40:]
    return args.out / f"{what}-{name}-{backend.fingerprint[:8]}-{args.seed}.jsonl"


# --- figures --------------------------------------------------------------------------------------


def _measures(rows: Sequence[Told], drawn: Sequence[Scene]) -> dict[str, Measure]:
    scored = {s.id: texts.score(one.text, s) for one, s in zip(rows, drawn, strict=True)}
    found = {
        name: Measure(
            name,
            {one: row[name] for one, row in scored.items()},
            better=-1 if "CHAIR" in name else 1,
        )
        for name in TOLD
    }
    invented = {one: float(row["CHAIRi"][0]) for one, row in scored.items()}
    found["invented objects"] = of_samples("invented objects", invented, better=-1)
    return found


def _print_captions(
    single: Mapping[str, list[Told]], together: Mapping[str, list[Told]], drawn: Sequence[Scene]
) -> None:
    ways = {f"combined: {way}": rows for way, rows in together.items()}
    found = {name: _measures(rows, drawn) for name, rows in {**single, **ways}.items()}
    figures = [*TOLD, "invented objects"]
    print(f"\n{len(drawn)} scenes; invented objects: of 100 captions")
    print(f"{'':>20}" + "".join(f"{head:>18}" for head in figures))
    for name, measured in found.items():
        values = [interval(measured[figure]).value for figure in figures]
        print(f"{name[-18:]:>20}" + "".join(f"{value:18.1f}" for value in values))
    best = max(single, key=lambda name: interval(found[name]["object recall"]).value)
    print(f"\nCombined less each model (95 %, paired); best single model by object recall: {best}")
    for way in ways:
        for name in single:
            for figure in ("object recall", "CHAIRi", "invented objects", "strictly correct"):
                d = difference(found[name][figure], found[way][figure])
                print(
                    f"  {way} less {name[-18:]:>18}, {figure:>17}: {d.value:+6.1f} ({d.low:+.1f} to {d.high:+.1f}), "
                    f"p {d.p:.3f}"
                )


def _print_risk(name: str, rows: Sequence[Told]) -> None:
    wrong = [one.wrong for one in rows]
    print(f"\n{name}: {len(rows)} captions, {100 * statistics.fmean(wrong):.1f} % wrong")
    prior = [Scale().risk(one.features).value for one in rows]
    print(f"  AUROC of the prior (no review) {_shown(auroc(prior, wrong))}")
    for what, values in (
        ("token confidence", [o.confidence for o in rows]),
        ("matching", [o.match for o in rows]),
    ):
        if None not in values:
            print(f"  AUROC of {what} alone {_shown(auroc([-v for v in values], wrong))}")
    sure = [one.confidence for one in rows]
    if None not in sure:
        low, high = _apart(prior, [-value for value in sure], wrong)
        print(
            f"  AUROC of the prior less that of token confidence: {low:+.3f} to {high:+.3f} (95 %, paired)"
        )
    _print_first("prior", prior, wrong)
    for reviews in REVIEWS:
        drawn = list(_draws(rows, reviews))
        if drawn:
            print(
                f"  after {reviews} reviews, median of {DRAWS} draws, on {drawn[0][3]} others: calibration error "
                f"{_shown(statistics.median(d[0] for d in drawn))} (worst {_shown(max(d[0] for d in drawn))}), AUROC "
                f"{_shown(statistics.median(d[1] for d in drawn))}, riskiest {SHARE:.0%} find "
                f"{statistics.median(d[2] for d in drawn):.0%} of what they could"
            )


def _apart(
    first: Sequence[float], second: Sequence[float], wrong: Sequence[bool]
) -> tuple[float, float]:
    """The interval (percentile bootstrap) of the first's AUROC less the second's, on the same captions."""
    random, found = Random(0), []
    for _ in range(RESAMPLES):
        drawn = random.choices(range(len(wrong)), k=len(wrong))
        labels = [wrong[n] for n in drawn]
        pair = [auroc([risks[n] for n in drawn], labels) for risks in (first, second)]
        if None not in pair:
            found.append(pair[0] - pair[1])
    found.sort()
    return found[int(0.025 * len(found))], found[int(0.975 * len(found))]


def _print_first(name: str, risks: Sequence[float], wrong: Sequence[bool]) -> None:
    found = found_first(risks, wrong, SHARE)
    if found:
        share, most = found
        print(
            f"  riskiest {SHARE:.0%} by the {name}: {share:.1%} of the wrong ones; at most {most:.1%}; {share / most:.0%} of that"
        )


def _draws(rows: Sequence[Told], reviews: int) -> Iterator[tuple[float, float, float, int]]:
    """(calibration error, AUROC, share of what could be found, how many) on held-out captions, draw by draw."""
    for draw in range(DRAWS):
        order = Random(f"{draw} {reviews}").sample(rows, len(rows))
        seen, rest = order[:reviews], order[reviews : reviews + HELD_OUT]
        wrong = [one.wrong for one in rest]
        if len(rest) < 100 or len(set(wrong)) < 2:
            return
        scale = Scale.fitted([(one.features, one.wrong) for one in seen])
        risks = [scale.risk(one.features).value for one in rest]
        share, most = found_first(risks, wrong, SHARE)
        yield calibration_error(risks, wrong), auroc(risks, wrong), share / most, len(rest)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


# --- COCO -----------------------------------------------------------------------------------------


def coco(args: argparse.Namespace) -> None:
    """False objects planted in captions made from the labels, ranked by what a detector says of each claim."""
    from looksay.experts.base import Options as ExpertOptions
    from looksay.experts.loading import load as load_expert

    reader = readers.load("coco")
    listed = re.findall(r"^\s+\d+: (.+)$", (args.folder / "config.yaml").read_text("utf-8"), re.M)
    expert = load_expert(
        f"detection:{args.detector}", ExpertOptions(names=tuple(listed), min_score=args.min_score)
    )
    claims: dict[str, list[tuple[float, bool]]] = {}
    captions: dict[str, list[tuple[float, bool]]] = {}
    scale = Scale()
    for path in sorted((args.folder / "images").glob("*.jpg")):
        labels = path.with_suffix(".txt")
        rows = labels.read_text("utf-8").splitlines() if labels.is_file() else []
        there = list(dict.fromkeys(listed[int(row.split()[0])] for row in rows))
        if not there:
            continue
        random = Random(path.name)
        planted = random.choice([name for name in listed if name not in there])
        look = Look.of(expert, path)
        part = path.name.partition("2017")[0]
        for more in ([], [planted]):
            objects = random.sample(there, len(there))[:3] + more
            random.shuffle(objects)
            text = reader.compose([Claim("object", name) for name in objects])
            checked = checking.check(text, reader, looks=[look])
            value = scale.risk(features(text, checked)).value
            captions.setdefault(part, []).append((value, bool(more)))
            if more:
                claims.setdefault(part, []).extend(
                    (1 - one.support, one.claim.subject not in there)
                    for one in checked
                    if one.claim.kind == "object" and one.support is not None
                )
    for part in claims:
        print(
            f"{part}: {len(captions[part])} captions of {len(captions[part]) // 2} photographs, half with one object planted"
        )
        for what, pairs in (("claims", claims[part]), ("captions", captions[part])):
            risks, wrong = [r for r, _ in pairs], [w for _, w in pairs]
            print(
                f"  {what}: {sum(wrong)} of {len(wrong)} false, AUROC {_shown(auroc(risks, wrong))}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_subparsers(required=True)
    drawn = which.add_parser("scenes")
    drawn.add_argument("models", nargs="+")
    drawn.add_argument("--verifier", required=True, help="none of the models")
    drawn.add_argument("--matcher", default="", help="an encoder: local:FOLDER")
    drawn.add_argument("--scenes", type=int, default=2500)
    drawn.add_argument("--seed", type=int, default=SEED)
    drawn.add_argument("--out", type=Path, default=Path("trust"))
    drawn.set_defaults(does=scenes)
    photos = which.add_parser("coco")
    photos.add_argument("folder", type=Path)
    photos.add_argument("detector", type=Path)
    photos.add_argument("--min-score", type=float, default=0.1)
    photos.set_defaults(does=coco)
    args = parser.parse_args()
    args.does(args)


if __name__ == "__main__":
    main()
