"""The walk: which files of a library are photos or pages, and which of them changed since the last scan."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from looksay.errors import plainly
from looksay.images import PHOTO_SUFFIXES
from looksay.library import pages
from looksay.library.catalog import FILE_NAME, Catalog, relative


@dataclass(slots=True)
class Walked:
    """What the walk hands on: a file that is new or changed."""

    path: Path
    name: str
    status: os.stat_result
    sidecar: Path | None = None


class Walker:
    """One walk. `photos` yields photos that are new or changed; `pages` then holds the pages that are,
    `seen` every file met, `unlisted` the folders that could not be listed, `problems` what went wrong."""

    def __init__(self, catalog: Catalog, exclude: Sequence[str]) -> None:
        self.catalog, self.root, self.exclude = catalog, catalog.root, exclude
        self.seen: set[str] = set()
        self.unlisted: list[str] = []
        self.pages: dict[str, Path] = {}
        self.problems: list[tuple[str, str]] = []
        self._roots = [self.root]
        self._visited: set[tuple[int, int]] = set()

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
                if status.st_ino and identity in self._visited:
                    return  # a link back to where the walk has been
                self._visited.add(identity)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda e: e.name)
        except OSError as error:
            self.unlisted.append(name)
            self._problem(name, error)
            return
        if folder != self.root and any(e.name == FILE_NAME for e in entries):
            reason = f"has a catalogue of its own ({FILE_NAME}), whose words do not count here"
            self.problems.append((name, reason))
        known_photos, known_pages = self.catalog.places_in(name), self.catalog.pages_in(name)
        sidecars = {
            e.name.lower(): folder / e.name for e in entries if e.name.lower().endswith(".xmp")
        }
        names = [Path(e.name) for e in entries]
        stems = Counter(n.stem.lower() for n in names if n.suffix.lower() in PHOTO_SUFFIXES)
        for stem, photos in stems.items():
            if photos > 1:  # a.xmp beside a.jpg and a.png: nobody can say whose it is
                sidecars.pop(f"{stem}.xmp", None)
        for entry in entries:
            if only is not None and entry.name != only:
                continue
            if only is None and any(fnmatch(entry.name, p) for p in self.exclude):
                continue
            path = folder / entry.name
            try:
                if entry.is_symlink() and not self._follow(path, linked):
                    continue
                if entry.is_dir():
                    inside.append(path)
                elif entry.name != FILE_NAME:
                    yield from self._file(path, entry, known_photos, known_pages, sidecars)
            except OSError as error:
                self._problem(relative(self.root, path), error)

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

    def _file(
        self,
        path: Path,
        entry: os.DirEntry[str],
        known_photos: dict[str, sqlite3.Row],
        known_pages: dict[str, sqlite3.Row],
        sidecars: Mapping[str, Path],
    ) -> Iterator[Walked]:
        suffix = path.suffix.lower()
        if suffix in PHOTO_SUFFIXES:
            status, name = entry.stat(), relative(self.root, path)
            if not stat.S_ISREG(status.st_mode):
                return
            self.seen.add(name)
            sidecar = sidecar_of(path, sidecars)
            known = known_photos.get(name)
            if (
                known is None
                or not _same(known, status)
                or known["sidecar_mtime_ns"] != changed_ns(sidecar)
            ):
                yield Walked(path, name, status, sidecar)
        elif pages.is_page(suffix):
            status, name = entry.stat(), relative(self.root, path)
            if not stat.S_ISREG(status.st_mode):
                return
            self.seen.add(name)
            known = known_pages.get(name)
            if known is None or not _same(known, status):
                self.pages[name] = path

    def _problem(self, name: str, reason: OSError | str) -> None:
        if isinstance(reason, OSError):
            reason = plainly(reason)
        self.problems.append((name, reason))


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
