"""What the readers of files share: JSON, image folders, and errors that name file and entry."""

from __future__ import annotations

import difflib
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import Any, NoReturn

from PIL import Image as Pillow

from looksay import images
from looksay.data.dataset import named
from looksay.errors import InputError, UnreadablePhoto, plainly
from looksay.library import files
from looksay.types import Example, Image


def load_json(path: Path, lines: bool = False) -> Any:
    """The content of a JSON file; with `lines`, or by the suffix .jsonl, a list of one value per line.
    Raises InputError."""
    with _opening(path):
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text (byte {error.start}).") from error
    by_line = lines or path.suffix == ".jsonl"
    # Not splitlines: JSON may hold other separators (U+2028) as they are.
    pieces = [text] if not by_line else text.split("\n") if text else []
    found = []
    for number, line in enumerate(pieces, 1):
        if len(pieces) > 1 and not line.strip():
            continue
        found.append(_value(path, line, number if by_line else None))
    return found if by_line else found[0]


def json_lines(path: Path) -> Iterator[Any]:
    """As `load_json` by lines, but one value after the other: for files of which little is kept. Raises InputError."""
    with _opening(path), path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path} is not UTF-8 text (line {number}).") from error
            if text.strip():
                yield _value(path, text, number)


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.{_near(path.name, path.parent)}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error


def _value(path: Path, text: str, line: int | None) -> Any:
    """The JSON value of a text: that of a line, or of the whole file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        hint = (
            " Each line looks like JSON of its own: name the file .jsonl."
            if error.msg == "Extra data" and line is None
            else ""
        )
        raise InputError(
            f"{path} is not JSON: {error.msg} in line {line or error.lineno}, column {error.colno}.{hint}"
        ) from error


def fingerprint(*paths: Path, also: object = None) -> str:
    """Of a source that reads these files, given what else shapes its examples."""
    digests = []
    for path in paths:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return named(digests, also)


def entries(path: Path, content: Any, key: str | None = None) -> list[Any]:
    """The list in a JSON file (under `key`, where given). Raises InputError where it is none, or empty."""
    found = content
    where = "the file"
    if key is not None:
        if not isinstance(content, dict) or key not in content:
            has = ", ".join(content) if isinstance(content, dict) else kind(content)
            raise InputError(f"{path}: expected an object with the key {key!r}; found {has}.")
        found, where = content[key], repr(key)
    if not isinstance(found, list):
        hint = " One entry? Put it in a list: [ … ]" if isinstance(found, dict) else ""
        raise InputError(
            f"{path}: expected {where} to be a list of entries; found {kind(found)}.{hint}"
        )
    if not found:
        raise InputError(f"{path}: {where} is an empty list; expected at least one entry.")
    return found


class Place:
    """One entry of a file, for errors: "chats.json, entry 3 of 10 (id 'a7')"."""

    __slots__ = ("_about",)

    def __init__(self, path: Path, number: int, count: int, entry: Any, key: str = "id") -> None:
        # Put into words only where something is at fault: there are as many places as entries.
        name = entry.get(key) if isinstance(entry, dict) else None
        self._about = path, number, count, key, name

    @property
    def _words(self) -> str:
        path, number, count, key, name = self._about
        called = f" ({key} {name!r})" if isinstance(name, str | int) else ""
        return f"{path}, entry {number + 1} of {count}{called}"

    def fail(self, fault: str, cause: BaseException | None = None) -> NoReturn:
        raise InputError(f"{self._words}: {fault}") from cause

    def get(self, entry: Any, key: str, wanted: type | tuple[type, ...], words: str) -> Any:
        """entry[key], which must be of a type; `words` says which in an error."""
        if not isinstance(entry, dict):
            self.fail(f"expected an object; found {kind(entry)}.")
        if key not in entry:
            near = difflib.get_close_matches(key, [str(k) for k in entry], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            has = ", ".join(map(repr, entry)) or "none"
            self.fail(f"there is no {key!r}, which should be {words}; keys: {has}.{hint}")
        value = entry[key]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is int):
            self.fail(f"{key!r} should be {words}; found {kind(value)}.")
        return value

    def words(self, entry: Any, key: str) -> str:
        """entry[key], which must be text that is not empty, without space around it."""
        text: str = self.get(entry, key, str, "text")
        if not text.strip():
            self.fail(f"{key!r} is empty.")
        return text.strip()

    def one_of(self, entry: Any, key: str, known: Sequence[str]) -> str:
        """entry[key], which must be one of the `known` texts."""
        text = self.words(entry, key)
        if text not in known:
            self.fail(f"{key!r} should be {' or '.join(known)}; found {text!r}.")
        return text

    def once(self, name: object, seen: set[Any], what: str) -> None:
        """Fail where `name` was `seen` already; else it is from now on."""
        if name in seen:
            self.fail(f"this {what} was there before.")
        seen.add(name)

    def inside(self, folder: Path, name: str) -> Path:
        """The path of that name in the folder. A name that a file gives must not lead elsewhere, on any system:
        no root, no drive, no way up. Links in the folder are the user's own, and followed."""
        windows = PureWindowsPath(name)  # knows both kinds of slashes
        if windows.drive or windows.root or ".." in windows.parts:
            self.fail(
                f"the name {name[:80]!r} leads out of {folder}; expected a path inside it. "
                "Of pictures that lie elsewhere --images names the folder."
            )
        return folder / name

    def image(self, folder: Path, name: str, *also: str) -> Image:
        """The image of that name (or of a name in `also`) in the folder: there, and opened as a picture (within
        `opened_later`, later)."""
        if name.startswith(("http://", "https://", "data:")):
            self.fail(f"the image {name[:60]!r} is an address; expected the name of a file.")
        paths = [self.inside(folder, one) for one in (name, *also)]
        path = next((one for one in paths if one.is_file()), None)
        later = _LATER.get()
        # Benchmarks, whose pictures are opened later, have no such option: they say what they need.
        hint = " Name the folder with --images." if later is None else ""
        if path is None and not folder.is_dir():
            self.fail(f"the image {name!r} was looked for in {folder}, which is no folder.{hint}")
        if path is None:
            near = _near(Path(name).name, (folder / name).parent)
            self.fail(f"the image {name!r} is not in {folder}.{near}{hint}")
        if later is None:
            self._open(path)
        else:
            later.setdefault(path, self)
        return Image(path)

    def _open(self, path: Path) -> None:
        fault = _fault(path, path.stat().st_mtime_ns)
        if fault:
            self.fail(f"the image {path} cannot be read: {fault}")


_LATER: ContextVar[dict[Path, Place] | None] = ContextVar("pictures to open later", default=None)


@contextmanager
def opened_later() -> Iterator[Callable[[Iterable[Image]], None]]:
    """Within it `Place.image` looks only whether pictures are there; the function that it gives opens those that
    are wanted after all, and names the entry of one that cannot be read (InputError).

    For trials on a part of a large set: opening a picture takes ten times as long as seeing that it is there,
    and far longer where the disk is slow.
    """
    places: dict[Path, Place] = {}

    def wanted(found: Iterable[Image]) -> None:
        for image in found:
            if isinstance(image.source, Path) and image.source in places:
                places.pop(image.source)._open(image.source)

    before = _LATER.set(places)
    try:
        yield wanted
    finally:
        _LATER.reset(before)


@cache
def _fault(path: Path, changed_ns: int) -> str | None:
    try:
        images.open_image(path).close()
    except UnreadablePhoto as error:
        return str(error)
    return None


@cache
def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(child.name for child in folder.iterdir()))[:100_000]
    except OSError:
        return ()


def _near(name: str, folder: Path) -> str:
    near = difflib.get_close_matches(name, _names(folder), n=3, cutoff=0.7)
    return f" Near names there: {', '.join(near)}." if near else ""


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return f"{names.get(type(value), type(value).__name__)} ({str(value)[:40]!r})"


def save_json(path: Path, content: Any) -> None:
    """Write JSON in one step: the old file or the new one, never half of one."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    # A lone surrogate, such as a server leaves that cuts a text, becomes JSON's own escape.
    write(path, text.encode("utf-8", "backslashreplace"))


write = files.save


def bytes_of(image: Image, form: str) -> bytes:
    """The image as a file of `form` (JPEG or PNG); a file that is one already stays as it is."""
    source = image.source
    data = source.read_bytes() if isinstance(source, Path) else source
    if isinstance(data, bytes):
        opened = images.open_image(data)
        if opened.format == form:
            return data
    stream = io.BytesIO()
    picture: Pillow.Image = images.load_rgb(source)
    how: dict[str, Any] = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    picture.save(stream, form, **how)
    return stream.getvalue()


def safe(name: str) -> str:
    """An id as a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "_"


def numbers(examples: Iterable[Example]) -> list[tuple[int, Example]]:
    """Examples with a number each: the id where it is one, the place otherwise."""
    found = list(examples)
    own = [e.truth.get("image_id") for e in found]
    if all(isinstance(number, int) for number in own):
        return list(zip(own, found, strict=True))  # type: ignore[arg-type]
    return list(enumerate(found, 1))


def write_image(folder: Path, stem: str, image: Image) -> str:
    """Write an image losslessly (a JPEG file stays what it is); returns the file's name."""
    source = image.source
    data = source.read_bytes() if isinstance(source, Path) else source
    form = "PNG"
    if isinstance(data, bytes) and images.open_image(data).format == "JPEG":
        form = "JPEG"
    name = f"{stem}.{'jpg' if form == 'JPEG' else 'png'}"
    write(folder / name, bytes_of(image, form))
    return name
