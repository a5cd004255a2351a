"""The walk: which files of a library are photos or pages, and which of them changed since the last scan.

A walk lists one folder after the other, and holds it to the files that the catalogue knows there, both in the order of
their names. So it keeps the names of one folder at a time, and of all folders, but never those of all files.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Literal

from looksay.errors import plainly
from looksay.images import PHOTO_SUFFIXES
from looksay.library import pages
from looksay.library.catalog import FILE_NAME, PIECE, Catalog, relative


@dataclass(slots=True)
class Walked:
    """What the walk hands on: a file that is new or changed."""

    path: Path
    name: str
    status: os.stat_result
    sidecar: Path | None = None


class Walker:
    """One walk. `photos` yields photos that are new or changed; `pages` then holds the pages that are, `problems` what
    went wrong. `end` then tells the catalogue which of the files that it knows were not met."""

    def __init__(self, catalog: Catalog, exclude: Sequence[str]) -> None:
        self.catalog, self.root = catalog, catalog.root
        self.pages: dict[str, Path] = {}
        self.problems: list[tuple[str, str]] = []
        patterns = [translate(os.path.normcase(one)) for one in exclude]
        self._patterns = re.compile("|".join(patterns) or "(?!)")
        self._roots = [self.root]
        self._visited: set[tuple[int, int]] = set()
        self._listed: set[str] = set()
        self._unlisted: list[str] = []
        self._absent: list[str] = []
        """Folders of known files that were not met."""
        self._named: set[str] = set()
        """Files met because they themselves are to be scanned, whatever is excluded."""
        catalog.expect_all()

    def photos(self, paths: Sequence[Path]) -> Iterator[Walked]:
        """Photos under `paths` that are new or changed, one folder after the other."""
        self._roots += [path.resolve() for path in paths]
        linked: list[Path] = []
        for path in paths:
            resolved = path.resolve()
            if resolved.is_dir():
                yield from self._folders(resolved, linked)
            else:
                yield from self._list(resolved.parent, [], linked, only=resolved.name)
        # A link to a folder inside the library counts last: its files have their own names there.
        while linked:
            yield from self._folders(linked.pop(0), linked)

    def met(self, name: str) -> bool:
        """Whether the walk met a file that the catalogue knows."""
        listed = (name.rpartition("/")[0] or ".") in self._listed
        return name in self._named or (listed and not self.catalog.is_missing(name))

    def lost(self, name: str) -> None:
        """A file is gone since the walk met it."""
        self._named.discard(name)
        self.catalog.note_missing([name])

    def end(self) -> None:
        """Note also what is missing with its folder; folders that could not be listed are left as they were."""
        for folder in self._absent:
            self.catalog.note_missing_in(folder, self._listed)
        self.catalog.unnote_missing(self._named, self._unlisted)

    def _folders(self, top: Path, linked: list[Path]) -> Iterator[Walked]:
        todo = [top]
        while todo:
            inside: list[Path] = []
            yield from self._list(todo.pop(), inside, linked)
            todo += reversed(inside)

    def _list(
        self, folder: Path, inside: list[Path], linked: list[Path], only: str | None = None
    ) -> Iterator[Walked]:
        """What one folder holds; its folders go to `inside`, links to folders to `linked`."""
        name = relative(self.root, folder)
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if only is None:
                if status.st_ino and identity in self._visited:  # a link back to where the walk was
                    self._absent += [] if name in self._listed else [name]
                    return
                self._visited.add(identity)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda e: e.name)
        except OSError as error:
            self._unlisted.append(name)
            self._problem(name, error)
            return
        if folder != self.root and any(e.name == FILE_NAME for e in entries):
            reason = f"has a catalogue of its own ({FILE_NAME}), whose words do not count here"
            self.problems.append((name, reason))
        prefix = "" if name == "." else name + "/"
        beside = _sidecars(folder, entries)
        first = "" if only is None else prefix + only
        photos = _Known(self.catalog, "place", name, first)
        shown = _Known(self.catalog, "page", name, first)
        links = len(linked)
        for entry in entries:
            if entry.name != only if only is not None else self._excluded(entry.name):
                continue
            try:
                entry.name.encode()
            except UnicodeEncodeError:
                # Bytes that are no UTF-8: no catalogue, page or report can hold them.
                readable = os.fsencode(prefix + entry.name).decode("utf-8", "backslashreplace")
                self._problem(readable, "its name is not UTF-8; give it another")
                continue
            try:
                if entry.is_symlink() and not self._follow(folder / entry.name, linked):
                    continue
                file = prefix + entry.name
                suffix = _suffix(entry.name)
                if entry.is_dir():
                    inside.append(folder / entry.name)
                    continue
                is_photo = suffix in PHOTO_SUFFIXES
                if not is_photo and not pages.is_page(suffix):
                    continue
                status = entry.stat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                if only is not None:
                    self._named.add(file)
                if not is_photo:
                    known = shown.meet(file)
                    if known is None or not _same(known, status):
                        self.pages[file] = folder / entry.name
                    continue
                known = photos.meet(file)
                sidecar = sidecar_of(folder / entry.name, beside) if beside else None
                if (
                    known is None
                    or not _same(known, status)
                    or known["sidecar_mtime_ns"] != changed_ns(sidecar)
                ):
                    yield Walked(folder / entry.name, file, status, sidecar)
            except OSError as error:
                self._problem(prefix + entry.name, error)
        if only is None:
            self._listed.add(name)
            here = {path.name for path in (*inside, *linked[links:])}
            below = photos.end() | shown.end()
            self._absent += [prefix + one for one in sorted(below - here)]

    def _excluded(self, name: str) -> bool:
        return self._patterns.match(os.path.normcase(name)) is not None

    def _follow(self, path: Path, linked: list[Path]) -> bool:
        """Whether a symbolic link leads to a file of the library. One that does not is told where it
        would matter; one to a folder goes to `linked`."""
        suffix = path.suffix.lower()
        matters, reason = suffix in PHOTO_SUFFIXES or pages.is_page(suffix), ""
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
            reason = "a link that leads nowhere"
        else:
            matters |= target.is_dir()
            if not any(target.is_relative_to(root) for root in self._roots):
                reason = "a link that leads out of the library; not followed"
            elif target.is_dir():
                linked.append(path)
                return False
        if reason and matters:
            self._problem(relative(self.root, path), reason)
        return not reason

    def _problem(self, name: str, reason: OSError | str) -> None:
        if isinstance(reason, OSError):
            reason = plainly(reason)
        self.problems.append((name, reason))


class _Known:
    """The files that a folder had when it was scanned last, held to those that are there in the order of their names."""

    def __init__(
        self, catalog: Catalog, table: Literal["place", "page"], folder: str, first: str
    ) -> None:
        self.catalog, self.folders, self._missing = catalog, set[str](), list[str]()
        self._start = 0 if folder == "." else len(folder) + 1
        self._rows = catalog.known_in(table, folder, first)
        self._next = self._following()

    def meet(self, name: str) -> sqlite3.Row | None:
        """What is known of a file that is there; those before it are missing."""
        while self._next is not None and self._next["path"] < name:
            self._missing.append(self._next["path"])
            if len(self._missing) == PIECE:
                self._note()
            self._next = self._following()
        if self._next is None or self._next["path"] != name:
            return None
        found, self._next = self._next, self._following()
        return found

    def end(self) -> set[str]:
        """What is left is missing. Returns the folders that this one had files in."""
        self.meet("\U0010ffff")
        self._note()
        return self.folders

    def _note(self) -> None:
        self.catalog.note_missing(self._missing)
        self._missing = []

    def _following(self) -> sqlite3.Row | None:
        for row in self._rows:
            name, below, _ = row["path"][self._start :].partition("/")
            if not below:
                return row
            self.folders.add(name)
        return None


def _same(known: sqlite3.Row, status: os.stat_result) -> bool:
    """Not changed since it was read. What could not be read at all is tried again: permissions may have
    changed, which touches no time."""
    return (
        known["sha256"] is not None
        and known["size_bytes"] == status.st_size
        and known["mtime_ns"] == status.st_mtime_ns
    )


def changed_ns(path: Path | None) -> int | None:
    return path.stat().st_mtime_ns if path else None


def sidecar_of(photo: Path, beside: Mapping[str, Path]) -> Path | None:
    """The XMP file of a photo: `photo.jpg.xmp` (darktable, digiKam) before `photo.xmp` (Adobe, ExifTool).
    `beside` holds the XMP files of its folder by lower-case name."""
    return beside.get(photo.name.lower() + ".xmp") or beside.get(photo.stem.lower() + ".xmp")


def _sidecars(folder: Path, entries: Sequence[os.DirEntry[str]]) -> dict[str, Path]:
    """The XMP files of a folder, by lower-case name."""
    found = {e.name.lower(): folder / e.name for e in entries if e.name.lower().endswith(".xmp")}
    if found:
        names = [
            (e.name[: -len(_suffix(e.name)) or None].lower(), _suffix(e.name)) for e in entries
        ]
        stems = Counter(stem for stem, suffix in names if suffix in PHOTO_SUFFIXES)
        for stem, photos in stems.items():
            if photos > 1:  # a.xmp beside a.jpg and a.png: nobody can say whose it is
                found.pop(f"{stem}.xmp", None)
    return found


def _suffix(name: str) -> str:
    """As `Path.suffix` has it, in small letters, without the cost of a path for each file."""
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""
