"""CLIPScore: how near captions lie to their pictures in the space of a dual encoder; RefCLIPScore: to references too.

candidates.json {"image1": "an orange cat and a grey cat are lying together.", …} and the pictures image1.jpg, … of
those names; references.json {"image1": ["two cats are sleeping next to each other.", …], …} gives RefCLIPScore as
well. So the authors' clipscore.py reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from looksay.backends import encoders
from looksay.errors import InputError
from looksay.evaluation.benchmark import Compat
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics.clipscore import PROMPT, clipscore, ref_clipscore
from looksay.evaluation.results import _files
from looksay.evaluation.scoring import UNREADABLE, Scored
from looksay.images import PHOTO_SUFFIXES
from looksay.types import Image

ABOUT = "Captions held to their pictures, and to references, by a dual encoder (--encoder), as CLIPScore is."
EXPECTS = (
    'candidates.json {"image1": "caption"}, and the pictures image1.jpg, … beside it, in images/ or in a '
    "folder named",
    'with them, if it is there, references.json {"image1": ["caption", …]}: RefCLIPScore as well',
)
COMPAT: tuple[Compat, ...] = ("official",)
PUBLISHED = "hub:openai/clip-vit-base-patch32"
"""The encoder of the paper's figures."""


def read(
    paths: Sequence[Path], compat: Compat, *, partial: bool = False, encoder: str | None = None
) -> list[Scored]:
    """`encoder`: any that `looksay.backends.encoders` loads. Figures are the paper's, a hundredfold; an empty
    caption is scored, as there, by the prompt before it. Raises BackendError for a picture that cannot be read."""
    if not encoder:
        raise InputError(
            f"clipscore needs a dual encoder. Name one, such as the paper's: --encoder {PUBLISHED}"
        )
    files = {file.path.name: file for file in _files.gathered(paths)}
    if "candidates.json" not in files:
        raise _files.unknown([*files.values()], "clipscore", "There are no captions.", EXPECTS)
    candidates, told = files["candidates.json"], files.get("references.json")
    said = _files.by_image(candidates)
    folders = _folders(paths, candidates.path.parent)
    pictures = _pictures(folders)
    if not pictures:
        raise _files.unknown([*files.values()], "clipscore", "There are no pictures.", EXPECTS)
    known = _files.by_image(told) if told else {}
    names, notes = _files.paired(
        said,
        known or pictures,
        told.path if told else folders[-1],
        candidates.path,
        partial,
        "image",
    )
    for name in names:
        if name not in pictures:
            where = ", ".join(map(str, folders))
            said[name][0].fail(
                f"there is no picture named {name}.jpg (or another format) in {where}."
            )
    texts = {name: _files.caption(*said[name]) for name in names}
    references = [_files.references(*known[name]) for name in names] if told else []
    loaded = encoders.load(encoder)
    images = loaded.embed_images(Image(pictures[name]) for name in names)
    captions = loaded.embed_texts([PROMPT + text for text in texts.values()])
    found = [_hundredfold("CLIPScore", names, clipscore(images, captions))]
    if told:
        rows = loaded.embed_texts([PROMPT + text for some in references for text in some])
        several = np.split(rows, np.cumsum([len(some) for some in references])[:-1])
        found.append(_hundredfold("RefCLIPScore", names, ref_clipscore(images, captions, several)))
    empty = {name: float(not text.strip()) for name, text in texts.items()}
    found.append(of_samples(UNREADABLE, dict(empty), better=-1))
    by = f"By {loaded.name} ({loaded.fingerprint}), a hundredfold: comparable under one encoder alone."
    paths_read = [candidates.path, *([told.path] if told else [])]
    title = candidates.path.parent.resolve().name
    return [Scored(title, found, notes=(*notes, by), files=tuple(paths_read))]


def _hundredfold(name: str, names: Sequence[str], scores: Iterable[float]) -> Measure:
    return of_samples(name, {one: float(score) for one, score in zip(names, scores, strict=True)})


def _folders(paths: Sequence[Path], home: Path) -> list[Path]:
    """Where pictures are looked for: the folders named, that of the captions, and images/ in each."""
    named = {path.resolve(): path for path in (*paths, home) if path.is_dir()}
    return [folder for one in named.values() for folder in (one, one / "images") if folder.is_dir()]


def _pictures(folders: Sequence[Path]) -> dict[str, Path]:
    """Pictures by their names without the ending. Raises InputError where two have one name."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in PHOTO_SUFFIXES:
                continue
            if path.stem in found:
                raise InputError(
                    f"{found[path.stem]} and {path} are two pictures for the captions of {path.stem!r}. "
                    "Leave one out, or name only the folder of the other."
                )
            found[path.stem] = path
    return found
