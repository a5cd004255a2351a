"""What others found already: COCO panoptic (JSON and PNG, as released), or records of `looksay.experts.records`.

COCO: {"images": [{"id", "file_name", …}], "annotations": [{"image_id", "file_name", "segments_info": [{"id",
"category_id", …}]}], "categories": [{"id", "name", …}]}; the PNGs lie in a folder beside the JSON that is called
like it, and the id of a pixel's segment is R + 256 G + 256² B (cocodataset.org, "Panoptic Segmentation").
Records: one, a list of them, or one per line (.jsonl), each with "file" besides, the picture's path or its end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from looksay.errors import InputError, plainly
from looksay.experts import records
from looksay.experts.base import Findings, Options, check_size, segmented
from looksay.images import load_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

ABOUT = "What is in a file: COCO panoptic (JSON and PNG), or what looksay experts --json wrote."


class Entry(NamedTuple):
    """What a file says of one picture, not yet read."""

    file: str
    read: Callable[[], Findings]


class Precomputed:
    """The findings of a file, by the picture's file name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"precomputed:{path}"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
        self._sha256 = hashlib.sha256(data).hexdigest()
        content = _parsed(path, data)
        coco = isinstance(content, dict) and "annotations" in content
        self._entries: dict[str, list[Entry]] = {}
        for entry in _coco(path, content) if coco else _records(path, content):
            self._entries.setdefault(PurePath(entry.file).name, []).append(entry)

    @property
    def fingerprint(self) -> str:
        """Of the JSON; the PNGs of COCO belong to it."""
        return f"precomputed-1 {self._sha256}"

    def find(self, source: Path | bytes | Pillow) -> Findings:
        """What the file says of the picture. Raises InputError where it says nothing, or not of this size."""
        if not isinstance(source, Path):
            raise InputError(
                f"{self._path} knows pictures by their file names, and this one has none. Expected a file."
            )
        parts = source.absolute().parts
        named = self._entries.get(source.name, [])
        found = [
            e for e in named if parts[-len(PurePath(e.file).parts) :] == PurePath(e.file).parts
        ]
        if len(found) != 1:
            known = sorted(self._entries)
            told = f"{len(self._entries)} pictures, such as {known[0]}" if known else "no pictures"
            many = f"{len(found)} entries for {source.name}; expected one" if found else ""
            raise InputError(
                f"{self._path} has {many or f'nothing on {source.name}. It has {told}'}."
            )
        return check_size(found[0].read(), load_rgb(source).size, str(self._path))


def _parsed(path: Path, data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from error


def _records(path: Path, content: Any) -> Iterator[Entry]:
    entries = content if isinstance(content, list) else [content]
    for place, record in enumerate(entries, 1):
        where = f"{path}, entry {place} of {len(entries)}"
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            raise InputError(
                f'{where}: expected an object with "file", the path of its picture; or, for COCO\'s panoptic '
                'format, a file with "images", "annotations" and "categories".'
            )
        rest = {key: value for key, value in record.items() if key != "file"}

        def read(rest: dict[str, Any] = rest, where: str = where) -> Findings:
            return records.from_json(rest, where)

        yield Entry(record["file"], read)


def _coco(path: Path, content: dict[str, Any]) -> Iterator[Entry]:
    try:
        files = {one["id"]: str(one["file_name"]) for one in content["images"]}
        names = {one["id"]: str(one["name"]) for one in content["categories"]}
        # Classes are numbered in the order of their ids, as models trained on COCO have them.
        classes = {one: index for index, one in enumerate(sorted(names))}
        for one in content["annotations"]:
            kinds = [(s["id"], s["category_id"]) for s in one["segments_info"]]
            file, where = files[one["image_id"]], f"{path}, image {one['image_id']}"
            png = path.with_suffix("") / one["file_name"]

            def read(
                png: Path = png, kinds: list[tuple[int, int]] = kinds, where: str = where
            ) -> Findings:
                return _cut(png, kinds, names, classes, where)

            yield Entry(file, read)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not in COCO's panoptic format: {type(error).__name__} {error}. Expected images with id and "
            "file_name, annotations with image_id, file_name and segments_info, and categories with id and name."
        ) from error


def _cut(
    png: Path,
    kinds: Iterable[tuple[int, int]],
    names: dict[int, str],
    classes: dict[int, int],
    where: str,
) -> Findings:
    """The findings that a PNG of COCO holds."""
    try:
        with Image.open(png) as opened:
            rgb = np.asarray(opened.convert("RGB"), np.int32)
    except OSError as error:
        raise InputError(
            f"{png} cannot be read: {plainly(error)}. Expected the PNGs in a folder called like the JSON, without "
            ".json."
        ) from error
    ids = rgb @ np.array([1, 256, 256**2], np.int32)
    kinds = list(kinds)
    if unknown := sorted({str(kind) for _, kind in kinds if kind not in names}):
        raise InputError(f"{where}: there is no category {unknown[0]}; the file has {len(names)}.")
    if bare := {one for one, _ in kinds} - set(np.unique(ids).tolist()):
        raise InputError(f"{where}: segment {min(bare)} has no pixel in {png.name}.")
    try:
        return segmented(ids, {one: (names[kind], classes[kind], 1.0) for one, kind in kinds})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def lacking() -> str:
    return "a file: --expert precomputed:findings.json"


def load(model: str, options: Options) -> Precomputed:
    """`model` is the file. Raises InputError where it cannot be read."""
    if not model:
        raise InputError(
            "precomputed reads a file, and none is named. Type, for example: --expert precomputed:findings.json"
        )
    return Precomputed(Path(model).expanduser())
