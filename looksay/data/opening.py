"""From what a user names (scenes, a file, a folder) to the source that reads it, by content and not by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

from looksay.data.dataset import Source
from looksay.data.reading import load_json
from looksay.errors import InputError, plainly

EXPECTED = (
    "Expected: scenes; LLaVA's JSON (a list of conversations) or JSON Lines; preferences (prompt, chosen, rejected) "
    "in either; COCO captions; VQA questions "
    "with their annotations beside them; NLVR's sentences; RefCOCO's references (.p or JSON) with instances.json beside "
    "them; Visual Genome's regions, objects, relationships or questions; Localized Narratives; a .tar shard or a "
    "folder of them; a folder with ScienceQA's problems.json. See docs/data.md."
)
LINE_BYTES = 65_536
"""At most so much of a file is read to see what it is: a whole file may be one line."""
_PAIRS = re.compile(r'"(?:chosen|rejected)"\s*:')
"""A key of preference data; in a text its quotation marks would be escaped."""
_REFERENCES = re.compile(r'\[\s*\{[^{}]*"(?:ref_id|sent_ids|sentences)"\s*:')
_GENOME = re.compile(r'\[\s*\{[^{}\[\]]*"(?:regions|objects|relationships|qas)"\s*:')
_NARRATIVE = re.compile(r'\{[^{}\[\]]*"dataset_id"\s*:')
"""A key of the first entry, before any list or object in it; the entry itself may be longer than what is read."""


def open_source(
    data: str, images: Path | None = None, seed: int = 0, split: str = "train"
) -> Source:
    """The examples of `data`: "scenes", or a file or folder whose content says what it is.

    `images` is the folder that image names start from; `seed` is that of scenes, `split` that of scenes, of
    ScienceQA and of RefCOCO. Raises InputError where there is nothing, or nothing known.
    """
    from looksay.data.sources import (
        coco_captions,
        llava_instruct,
        localized_narratives,
        nlvr,
        preferences,
        refcoco,
        scienceqa,
        visual_genome,
        vqa,
        webdataset,
    )

    if data == "scenes":
        from looksay.data.sources import scenes

        return scenes.read(seed=seed, split=split)
    path = Path(data)
    if (path / "problems.json").is_file() or path.name == "problems.json":
        return scienceqa.read(path, split, images)
    if path.suffix == ".tar" or path.is_dir():
        return webdataset.read(path)
    if path.suffix in (".p", ".pkl"):
        return refcoco.read(path, images, split)
    start = _start(path) if path.is_file() else ""
    first = start.partition("\n")[0]
    if _keys(first) >= nlvr.KEYS:
        return nlvr.read(path, images)
    if start[:1] in ("[", "{") and _PAIRS.search(start):
        return preferences.read(path, images)
    if '"conversations"' not in start and _REFERENCES.match(start):
        return refcoco.read(path, images, split)
    if '"conversations"' not in start and _GENOME.match(start):
        return visual_genome.read(path, images)
    if _NARRATIVE.match(start) and path.suffix == ".jsonl":
        return localized_narratives.read(path, images)
    if path.suffix == ".jsonl" or not path.is_file() or first[:1] == "[":
        return llava_instruct.read(path, images)
    content = load_json(path)
    keys = set(content) if isinstance(content, dict) else set()
    if "conversations" in keys:  # one entry without its list: the reader says so
        return llava_instruct.read(path, images)
    if "questions" in keys:
        return vqa.read(path, _annotations(path), images)
    if {"annotations", "images"} <= keys:
        return coco_captions.read(path, images)
    found = f"an object with {', '.join(sorted(keys))}" if keys else "nothing of these"
    raise InputError(f"{path} holds {found}. {EXPECTED}")


def _start(path: Path) -> str:
    """What a file begins with, without blank lines before it."""
    try:
        with path.open("rb") as stream:
            text = stream.read(LINE_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
    return text.lstrip()


def _keys(line: str) -> frozenset[str]:
    """The keys of the object that a line holds; none where it holds none."""
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return frozenset()
    return frozenset(found) if isinstance(found, dict) else frozenset()


def _annotations(questions: Path) -> Path:
    """The answers' file beside the questions': the official names differ in these words."""
    name = questions.name.replace("OpenEnded_", "").replace("questions", "annotations")
    path = questions.with_name(name)
    if path == questions or not path.is_file():
        raise InputError(
            f"{questions} holds questions; their answers were looked for in {path}, which is not there."
        )
    return path
