"""Image-text retrieval from similarities: images find their captions (TR), captions their image (IR).

similarity.json [[0.59, 0.12, …], …] or similarity.npy, a row per image and a column per caption; image_of.json
[0, 0, 0, 1, …] names the row of each caption's image. Without the latter every image has as many captions, one
image's after another's, as in Flickr30k's and COCO's tests (five).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from looksay.data.reading import kind
from looksay.errors import InputError, LooksayError
from looksay.evaluation.benchmark import Compat
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics import retrieval
from looksay.evaluation.metrics.retrieval import Array, BothWays
from looksay.evaluation.results import _files
from looksay.evaluation.scoring import Scored

ABOUT = "Recall at 1, 5 and 10 from similarities: of captions for images (TR), of images for captions (IR)."
EXPECTS = (
    "similarity.json [[…], …] or similarity.npy: a row per image, a column per caption",
    "image_of.json [0, 0, 0, 0, 0, 1, …]: the row of each caption's image (without it: as many for each)",
)
COMPAT: tuple[Compat, ...] = ("official", "strict")
_NAMES = ("similarity.json", "similarity.npy")
AT = (1, 5, 10)


def read(paths: Sequence[Path], compat: Compat, *, partial: bool = False) -> list[Scored]:
    """One matrix. Equal similarities: official puts the lower index first, as a stable sort does; strict puts
    wrong answers first, so that who says the same of everything finds nothing. Nothing can be missing of a
    matrix: `partial` changes nothing."""
    files = _files.listed(paths, ".json", ".npy")
    given = [path for path in files if path.name in _NAMES or path.suffix == ".npy"]
    given = given or [path for path in files if path in paths and path.name != "image_of.json"]
    if len(given) != 1:
        told = ", ".join(path.name for path in files)
        wanted = "\n".join(f"  {one}" for one in EXPECTS)
        raise InputError(
            f"Expected one matrix of similarities; found {len(given)} among {told}.\n"
            f"looksay score retrieval reads:\n{wanted}"
        )
    path = given[0]
    similarity = _matrix(path)
    listed = next((one for one in files if one.name == "image_of.json"), None)
    image_of = _listed(listed) if listed else _even(path, *similarity.shape)
    try:
        ties: retrieval.Ties = "against" if compat == "strict" else "index"
        found = retrieval.retrieval(similarity, image_of, ties=ties, at=AT)
    except LooksayError as error:
        raise InputError(f"{path}: {error}") from error
    clusters = {f"caption {n}": f"image {image}" for n, image in enumerate(image_of)}
    plain = {f"{way} median rank": one.median_rank for way, one in _ways(found)}
    return [
        Scored(
            path.resolve().parent.name,
            figures(found),
            clusters,
            plain,
            ("Ranks count from 1.",),
            (path, listed) if listed else (path,),
        )
    ]


def figures(found: BothWays) -> list[Measure]:
    """Recall at 1, 5, 10 and mean rank both ways; samples are "image 0" and "caption 0" and so on."""
    both = (("TR", "image", found.text_ranks), ("IR", "caption", found.image_ranks))
    recalls = [
        of_samples(f"{way} R@{k}", {f"{what} {n}": float(r < k) for n, r in enumerate(ranks)})
        for way, what, ranks in both
        for k in AT
    ]
    means = [
        of_samples(
            f"{way} mean rank",
            {f"{what} {n}": float(r + 1) for n, r in enumerate(ranks)},
            scale=1.0,
            better=-1,
        )
        for way, what, ranks in both
    ]
    return recalls + means


def _ways(found: BothWays) -> list[tuple[str, retrieval.Retrieval]]:
    return [("TR", found.text), ("IR", found.image)]


def _matrix(path: Path) -> Array:
    if path.suffix == ".npy":
        try:
            loaded = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is no array of numpy: {error}.") from error
        if loaded.dtype.kind not in "fiu":
            raise InputError(f"{path} holds {loaded.dtype}; expected numbers.")
        return np.asarray(loaded, dtype=np.float64)
    rows: Any = _files.content(path)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise InputError(f"{path}: expected a list of rows of numbers; found {kind(rows)}.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}, row {number} of {len(rows)} has {len(row)} similarities, the first {len(rows[0])}."
            )
        for value in row:
            if not isinstance(value, int | float):
                raise InputError(f"{path}, row {number}: expected a number; found {kind(value)}.")
    return np.array(rows, dtype=np.float64)


def _listed(path: Path) -> list[int]:
    found = _files.content(path)
    if not isinstance(found, list) or not all(isinstance(one, int) for one in found):
        raise InputError(f"{path}: expected a list of numbers of rows; found {kind(found)}.")
    return found


def _even(path: Path, *shape: int) -> list[int]:
    if len(shape) != 2 or not shape[0] or shape[1] % shape[0]:
        raise InputError(
            f"{path} is {' by '.join(map(str, shape))}: no whole number of captions per image. "
            "Expected a row per image and a column per caption; or say whose they are in image_of.json."
        )
    each = shape[1] // shape[0]
    return [column // each for column in range(shape[1])]
