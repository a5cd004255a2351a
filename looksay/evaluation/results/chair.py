"""CHAIR: objects that captions name and that are not in their pictures.

Captions: [{"image_id": 391895, "caption": "A man on a motorcycle."}, …], or what the COCO evaluation leaves
behind, {"imgToEval": {"391895": {"image_id": 391895, "caption": "…", …}}, "overall": {…}}. The truth: COCO's
instances and captions, or ground_truth.json {"391895": {"objects": ["motorcycle"], "captions": ["…"]}}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries
from looksay.errors import InputError, LooksayError
from looksay.evaluation.benchmark import Compat
from looksay.evaluation.benchmarks import chair as benchmark
from looksay.evaluation.metrics.chair import Hallucination, of_coco
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import Entry, File
from looksay.evaluation.scoring import Scored
from looksay.texts.coco_objects import COCO, Mode, Vocabulary

ABOUT = "Objects of COCO that captions name and that are not there: CHAIRi, CHAIRs, and how many are named."
EXPECTS = (
    'captions [{"image_id", "caption"}] or {"imgToEval": {"id": {"image_id", "caption"}}}, beside',
    'ground_truth.json {"id": {"objects": ["dog"], "captions": ["…"]}}, or COCO\'s files of instances and captions',
)
COMPAT: tuple[Compat, ...] = ("official", "strict")
_OWN_WORDS = (
    "By looksay's own synonyms: for the paper's figures give its list (data/synonyms.txt of "
    "LisaAnne/Hallucination): --synonyms FILE"
)


@dataclass(slots=True)
class _Picture:
    objects: set[str] = field(default_factory=set)
    captions: list[str] = field(default_factory=list)


def read(
    paths: Sequence[Path],
    compat: Compat,
    *,
    partial: bool = False,
    synonyms: Path | None = None,
) -> list[Scored]:
    """official: objects are found as the paper's code finds them, its faults included; strict: without.

    `synonyms`: a line per class, with commas, the class first; by default our own. Where the truth is COCO's
    own files, only captioned images are asked for, as the paper's code does.
    """
    vocabulary = _vocabulary(synonyms) if synonyms else COCO
    mode: Mode = "fixed" if compat == "strict" else "reference"
    listed = [path for path in paths if synonyms is None or path.resolve() != synonyms.resolve()]
    files = _files.gathered(listed)
    truths = [file for file in files if file.maps("objects", "captions")]
    instances = [file for file in files if file.under("annotations", "image_id", "category_id")]
    annotated = [file for file in files if file.under("annotations", "image_id", "caption")]
    given = [(file, rows) for file in files if (rows := _captions(file))]
    if not given or not (truths or (instances and annotated)):
        lacking = "objects that are there" if given else "captions to score"
        raise _files.unknown(files, "chair", f"There are no {lacking}.", EXPECTS)
    if truths:
        known, where = _own(truths[0], vocabulary), truths[0].path
    else:
        wanted = {name for _, rows in given for name in rows}
        known, where = _of_coco(instances, annotated, vocabulary, wanted), instances[0].path
    truth = [file.path for file in (truths[:1] or [*instances, *annotated])]
    notes = () if synonyms else (_OWN_WORDS,)
    return [
        _scored(file, rows, known, where, vocabulary, mode, truth, notes, partial, bool(truths))
        for file, rows in given
    ]


def _captions(file: File) -> dict[str, Entry]:
    if file.has("image_id", "caption"):
        return _files.by_id(file, file.rows, "image_id")
    found = file.content.get("imgToEval") if isinstance(file.content, dict) else None
    if not isinstance(found, dict):
        return {}
    return _files.by_id(file, list(found.values()), "image_id")


def _vocabulary(path: Path) -> Vocabulary:
    table: dict[str, list[str]] = {}
    for number, line in enumerate(_files.lines(path), 1):
        # As the paper's code splits: a word after two spaces keeps one, and so is never found.
        name, *words = line.strip().split(", ")
        if not name:
            raise InputError(
                f"{path}, line {number}: expected a class and its synonyms, a comma and a space between; "
                "found an empty line."
            )
        table[name] = words
    return Vocabulary.of(table)


def _class(place: Place, name: Any, vocabulary: Vocabulary) -> str:
    """An object's class; the paper's code takes COCO's name for a word of its list likewise."""
    found = vocabulary.classes.get(name) if isinstance(name, str) else None
    if found is None:
        known = ", ".join(sorted(set(vocabulary.classes.values())))
        place.fail(f"{name!r} is no class of COCO. Known: {known}.")
    return found


def _own(file: File, vocabulary: Vocabulary) -> dict[str, _Picture]:
    found = {}
    for name, (place, row) in _files.keyed(file, file.content).items():
        objects = place.get(row, "objects", list, "a list of classes")
        captions = place.get(row, "captions", list, "a list of texts")
        if not all(isinstance(text, str) for text in captions):
            place.fail("'captions' should be texts.")
        found[name] = _Picture({_class(place, one, vocabulary) for one in objects}, captions)
    return found


def _of_coco(
    instances: Sequence[File],
    annotated: Sequence[File],
    vocabulary: Vocabulary,
    wanted: set[str],
) -> dict[str, _Picture]:
    """Pictures of COCO's files; of those that nobody captioned only that they are there."""
    found: dict[str, _Picture] = {}
    for file in instances:
        names: dict[Any, str] = {}
        for place, row in _files.placed(file, entries(file.path, file.content, "categories"), "id"):
            name = place.words(row, "name")
            names[place.get(row, "id", int, "a number")] = _class(place, name, vocabulary)
        for row in file.content.get("images", []):
            if isinstance(row, dict) and str(row.get("id")) in wanted:
                found.setdefault(str(row["id"]), _Picture())
        rows = entries(file.path, file.content, "annotations")
        for place, row in _files.placed(file, rows, "id"):
            image = _files.name_of(place, row, "image_id")
            category = place.get(row, "category_id", int, "a number")
            if category not in names:
                place.fail(f"category_id {category} is not among the {len(names)} 'categories'.")
            if image in wanted:
                found.setdefault(image, _Picture()).objects.add(names[category])
    for file in annotated:
        rows = entries(file.path, file.content, "annotations")
        for place, row in _files.placed(file, rows, "id"):
            image = _files.name_of(place, row, "image_id")
            if image in wanted:
                found.setdefault(image, _Picture()).captions.append(place.words(row, "caption"))
    return found


def _scored(
    file: File,
    rows: Mapping[str, Entry],
    known: Mapping[str, _Picture],
    where: Path,
    vocabulary: Vocabulary,
    mode: Mode,
    truth: Sequence[Path],
    notes: Sequence[str],
    partial: bool,
    whole: bool,
) -> Scored:
    names, left = _files.paired(rows, known, where, file.path, partial or not whole, "image")
    found: dict[str, Hallucination] = {}
    words: dict[str, int] = {}
    for name in names:
        place, row = rows[name]
        text = place.get(row, "caption", str, "text")
        picture = known[name]
        try:
            found[name] = of_coco(
                text, picture.objects, picture.captions, vocabulary=vocabulary, mode=mode
            )
        except LooksayError as error:
            place.fail(str(error), error)
        words[name] = len(text.split())
    told = (*notes, *(left if whole else ()))
    return Scored(
        file.path.stem, benchmark.figures(found, words), notes=told, files=(file.path, *truth)
    )
