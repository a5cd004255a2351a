"""WebDataset: tar shards in which files of one name up to the first dot are one sample.

One sample: 000012.jpg, 000012.txt ("Two boats lie at a quay.") or 000012.json ({"caption": "..."}, or
{"conversations": [...]} as in LLaVA's JSON). A shard is read through once, for an index; after that a
sample is one seek away.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from looksay import images
from looksay.data.dataset import named
from looksay.data.reading import Place, bytes_of, kind
from looksay.data.sources import llava_instruct
from looksay.errors import InputError, UnreadablePhoto, plainly
from looksay.library.files import temporary
from looksay.types import Conversation, Example, Image, Message

QUESTION = "Describe the image concisely."
IMAGES = ("jpg", "jpeg", "png", "webp")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the files of one sample lie in a shard: suffix to (offset, length) in bytes."""

    shard: Path
    key: str
    files: dict[str, tuple[int, int]] = field(default_factory=dict)


class WebDataset:
    """The samples of all shards, in order."""

    def __init__(self, shards: list[Path], question: str) -> None:
        self._question = question
        self._samples = [sample for shard in shards for sample in index(shard)]
        if not self._samples:
            raise InputError(f"There is no sample in {', '.join(map(str, shards[:3]))}.")
        self.size: int | None = len(self._samples)
        found = [(str(s), s.stat().st_size, s.stat().st_mtime_ns) for s in shards]
        self.fingerprint = named(found, question)  # shards are too large to be read for it

    def example(self, index: int) -> Example:
        """Sample number `index`. Raises InputError, naming shard, sample and fault."""
        sample = self._samples[index]
        place = Place(sample.shard, index, len(self._samples), {"key": sample.key}, "key")
        suffix = next((s for s in IMAGES if s in sample.files), None)
        has = ", ".join(f".{s}" for s in sample.files)
        if suffix is None:
            place.fail(f"there is no image ({', '.join('.' + s for s in IMAGES)}); it has {has}.")
        picture = _read(sample, suffix)
        try:
            images.open_image(picture).close()
        except UnreadablePhoto as error:
            place.fail(f"the image {sample.key}.{suffix} cannot be read: {error}", error)
        image = Image(picture)
        if "txt" in sample.files:
            return self._captioned(sample, image, _text(sample, "txt", place), place)
        if "json" not in sample.files:
            place.fail(f"there is no text (.txt or .json); it has {has}.")
        try:
            entry = json.loads(_text(sample, "json", place))
        except json.JSONDecodeError as error:
            place.fail(f"{sample.key}.json is not JSON: {error.msg}.", error)
        if isinstance(entry, dict) and "conversations" in entry:
            return _talk(entry, image, sample, place)
        caption = next(
            (k for k in ("caption", "text") if isinstance(entry, dict) and k in entry), "caption"
        )
        return self._captioned(sample, image, place.words(entry, caption), place)

    def _captioned(self, sample: Sample, image: Image, caption: str, place: Place) -> Example:
        if not caption.strip():
            place.fail("the text is empty.")
        turns = (Message("user", (image, self._question)), Message("assistant", (caption.strip(),)))
        return Example(sample.key, Conversation(turns))


def read(path: Path, question: str = QUESTION) -> WebDataset:
    """The samples of a shard, of a folder of shards, or of a numbered range ("shards-{000..009}.tar")."""
    return WebDataset(_shards(path), question)


def index(shard: Path) -> list[Sample]:
    """The samples of a shard, without reading their files. Raises InputError where it is no tar file."""
    samples: list[Sample] = []
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                found = re.fullmatch(r"((?:.*/|)[^./]+)\.([^/]*)", member.name)
                if not member.isfile() or found is None:
                    continue
                key, suffix = found[1], found[2].lower()
                if not samples or samples[-1].key != key:
                    samples.append(Sample(shard, key))
                if suffix in samples[-1].files:
                    raise InputError(f"{shard}: {member.name} is there twice in one sample.")
                samples[-1].files[suffix] = member.offset_data, member.size
            end = tar.offset
        size = shard.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"There is no shard {shard}.") from error
    except tarfile.TarError as error:
        raise InputError(f"{shard} is no tar file, or compressed or damaged: {error}.") from error
    except OSError as error:
        raise InputError(f"{shard} cannot be read: {plainly(error)}.") from error
    last = max((at + length for s in samples for at, length in s.files.values()), default=0)
    if last > size:
        raise InputError(
            f"{shard} is cut off: its index reaches to byte {max(end, last)} of {size}."
        )
    return samples


def write(examples: Iterable[Example], path: Path, suffix: str = "png") -> int:
    """Write one shard: each example's image, and its caption as .txt or its turns as .json.

    An example with one answer becomes a .txt (its question is not part of the format); a longer one
    becomes a .json with `conversations`. The shard appears in one step. Returns the number of samples.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(path)
    count = 0
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for count, example in enumerate(examples, 1):
                found = example.conversation.images
                if len(found) != 1:
                    raise InputError(
                        f"Example {example.id} has {len(found)} images; a sample takes one."
                    )
                answers = [m.text for m in example.conversation.messages if m.role == "assistant"]
                key = f"{count - 1:09d}"
                form = "JPEG" if suffix in ("jpg", "jpeg") else "PNG"
                _add(tar, f"{key}.{suffix}", bytes_of(found[0], form))
                if len(answers) == 1:
                    _add(tar, f"{key}.txt", answers[0].encode())
                else:
                    entry = {"id": example.id, "conversations": llava_instruct.turns(example)}
                    _add(tar, f"{key}.json", json.dumps(entry, ensure_ascii=False).encode())
        if not count:
            raise InputError(f"There is nothing to write to {path}: no examples.")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {plainly(error)}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _shards(path: Path) -> list[Path]:
    span = RANGE.search(path.name)
    if span:
        width = len(span[1])
        numbers = range(int(span[1]), int(span[2]) + 1)
        names = [RANGE.sub(f"{n:0{width}d}", path.name, count=1) for n in numbers]
        return [path.with_name(name) for name in names]
    if path.is_dir():
        found = sorted(path.glob("*.tar"))
        if not found:
            raise InputError(f"There is no .tar file in {path}.")
        return found
    return [path]


def _read(sample: Sample, suffix: str) -> bytes:
    offset, length = sample.files[suffix]
    try:
        with sample.shard.open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except OSError as error:
        raise InputError(f"{sample.shard} cannot be read: {plainly(error)}.") from error


def _text(sample: Sample, suffix: str, place: Place) -> str:
    try:
        return _read(sample, suffix).decode("utf-8")
    except UnicodeDecodeError as error:
        place.fail(f"{sample.key}.{suffix} is not UTF-8 text.", error)


def _talk(entry: dict[str, Any], image: Image, sample: Sample, place: Place) -> Example:
    if not isinstance(entry["conversations"], list):
        place.fail(
            f"'conversations' should be a list of turns; found {kind(entry['conversations'])}."
        )
    return llava_instruct.talk(entry, [image], place, sample.key)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
