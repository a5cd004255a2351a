"""Scan: folders → photos, pages and the places where pages show photos.

The walk is cheap and single; what changed since the last scan (size or time of change) is read by a
few threads; the catalogue is written by one, in batches.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from looksay.errors import InputError, PageError
from looksay.library import addresses, pages, photos, xmp
from looksay.library.catalog import OWN_GALLERY, Catalog, relative
from looksay.library.export import GALLERY_MARK
from looksay.library.pages import Page
from looksay.library.records import Place, Placement
from looksay.library.slots import Dialect
from looksay.library.templates import CallPattern
from looksay.library.walk import Walked, Walker, changed_ns, sidecar_of
from looksay.parallel import as_they_finish
from looksay.settings import Settings

Progress = Callable[[int, str], None]
"""Called with (files done, path)."""

_BATCH_S = 0.5
_REDUCTIONS_KEPT = 1000


@dataclass(slots=True)
class ScanReport:
    """What a scan found. Counts are of the whole library, `new` and `changed` of this scan."""

    files: int = 0
    """Photo files that can be used."""
    photos: int = 0
    """Different photos among them."""
    near_duplicates: int = 0
    """Photos that look like an earlier one."""
    pages: int = 0
    placements: int = 0
    missing: int = 0
    """Targets (places on pages, and photos that no page shows) without alt text."""
    empty: int = 0
    decorative: int = 0
    described: int = 0
    variable: int = 0
    """Alt texts that a template computes."""
    elsewhere: int = 0
    """Places that show an image on the network, or a file that is not there."""
    new: int = 0
    changed: int = 0
    gone: int = 0
    cleared: int = 0
    """Texts of ours that a person deleted from a page: they stay deleted."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of what could not be read."""
    seconds: float = 0.0

    @property
    def duplicates(self) -> int:
        return self.files - self.photos


@dataclass(slots=True)
class _Read:
    """What was read of a photo and its sidecar."""

    name: str
    seen: photos.Inspection
    sidecar_mtime_ns: int | None = None
    sidecar: bytes | None = None


class Scanner:
    """One scan of one or more folders into a catalogue."""

    def __init__(
        self, catalog: Catalog, settings: Settings, progress: Progress | None = None
    ) -> None:
        self.catalog, self.settings, self.progress = catalog, settings, progress
        self.root = catalog.root
        self.report = ScanReport()
        self.patterns, self.dialect = patterns_of(settings), dialect_of(settings, self.root)
        self.walker = Walker(catalog, settings.exclude)
        self._reduced: dict[int, bytes] = {}

    def run(self, paths: Sequence[Path]) -> ScanReport:
        started = time.perf_counter()
        for path in paths:
            if not path.exists():
                raise InputError(f"{path} is not there. Expected a folder or file to scan.")
        rules = (self.patterns, self.dialect, self.settings.max_megapixels)
        self.catalog.reread_unless(sha256(repr(rules).encode()).hexdigest())
        self._photos(self.walker.photos(paths))
        self._read_pages()
        self.report.problems += self.walker.problems
        with self.catalog.transaction():
            self.walker.end()
            for path in paths:
                if path.is_dir():
                    prefix = relative(self.root, path.resolve())
                    self.report.gone += self.catalog.forget_gone(prefix)
            self.catalog.mark_shown()
        count(self.catalog, self.report)
        self.report.seconds = time.perf_counter() - started
        return self.report

    # --- photos -----------------------------------------------------------------------------------

    def _photos(self, walked: Iterator[Walked]) -> None:
        """Read in threads, write here, in one transaction every half second."""
        drawn: dict[int, Walked] = {}

        def numbered() -> Iterator[Walked]:
            for number, item in enumerate(walked):
                drawn[number] = item
                yield item

        workers = max(2, (os.cpu_count() or 2) + 1)
        batch: list[tuple[Walked, _Read]] = []
        began = time.monotonic()
        for number, (index, read) in enumerate(as_they_finish(self._read, numbered(), workers)):
            batch.append((drawn.pop(index), read))
            # Reading happens outside of any transaction, so that other processes can write meanwhile.
            if time.monotonic() - began > _BATCH_S:
                self._store_all(batch)
                batch, began = [], time.monotonic()
            if self.progress:
                self.progress(number + 1, read.name)
        self._store_all(batch)

    def _store_all(self, batch: Sequence[tuple[Walked, _Read]]) -> None:
        with self.catalog.transaction():
            for item, read in batch:
                self._store(item, read)

    def _read(self, item: Walked) -> _Read:
        seen = photos.inspect(item.path, self.settings.max_megapixels * 1_000_000)
        if item.sidecar:
            with suppress(OSError):  # gone since it was listed
                return _Read(item.name, seen, changed_ns(item.sidecar), item.sidecar.read_bytes())
        return _Read(item.name, seen)

    def store_photo(self, path: Path, name: str) -> None:
        """Read one photo and its sidecar into the catalogue, inside the caller's transaction. One that is
        gone is left to the next scan."""
        known = self.catalog.place(name)
        names = [path.with_name(path.name + ".xmp")]
        names += [self.root / known.sidecar] if known and known.sidecar else []
        beside = {p.name.lower(): p for p in names if p.exists()}
        with suppress(FileNotFoundError):
            item = Walked(path, name, path.stat(), sidecar_of(path, beside))
            self._store(item, self._read(item))

    def _store(self, item: Walked, read: _Read) -> None:
        seen = read.seen
        if seen.sha256 is None and not item.path.exists():
            self.walker.lost(item.name)
            return
        known = self.catalog.has_place(item.name)
        self.report.changed += known
        self.report.new += not known
        photo_id = None
        if seen.picture and seen.sha256:
            photo_id = self.catalog.photo_of(seen.sha256)
            if photo_id is None:
                photo_id = self.catalog.add_photo(seen.picture, seen.sha256, self._lead(seen))
        alt, extended, source = (
            seen.alt,
            seen.extended,
            "embedded" if seen.alt is not None else None,
        )
        if read.sidecar is not None:
            side_alt, side_extended = xmp.read(read.sidecar)
            if side_alt is not None:
                alt, source = side_alt, "sidecar"
            extended = side_extended if side_extended is not None else extended
        beside = item.sidecar if read.sidecar is not None else None
        self.catalog.put_place(
            Place(
                item.name,
                photo_id,
                seen.sha256,
                item.status.st_size,
                item.status.st_mtime_ns,
                seen.fault,
                alt,
                extended,
                source,
                relative(self.root, beside) if beside else None,
                read.sidecar_mtime_ns,
                sha256(read.sidecar).digest() if read.sidecar is not None else None,
            )
        )

    def _lead(self, seen: photos.Inspection) -> int | None:
        """The leader of the near-duplicate group that a new photo belongs to, if there is one."""
        assert seen.picture is not None
        for lead in self.catalog.near(seen.picture):
            if lead not in self._reduced:
                other = self.catalog.path_of(lead)
                if len(self._reduced) >= _REDUCTIONS_KEPT:
                    self._reduced.pop(next(iter(self._reduced)))
                self._reduced[lead] = photos.reduction(self.root / other) if other else b""
            if photos.same_picture(self._reduced[lead], seen.reduced):
                return lead
        return None

    # --- pages ------------------------------------------------------------------------------------

    def _read_pages(self) -> None:
        """Read changed pages, and pages whose images have come or gone since they were read."""
        for name in self.catalog.pages_to_resolve():
            if self.walker.met(name):
                self.walker.pages.setdefault(name, self.root / name)
        for number, (name, path) in enumerate(self.walker.pages.items()):
            with self.catalog.transaction():
                self.store_page(path, name)
            if self.progress:
                self.progress(self.report.new + self.report.changed + number + 1, name)

    def store_page(self, path: Path, name: str, *, by_person: bool = True) -> None:
        """Read one page into the catalogue, inside the caller's transaction. `by_person`: what changed
        since the last reading is somebody's edit, not ours."""
        size, mtime_ns, digest = 0, 0, None
        try:
            status = path.stat()
            size, mtime_ns = status.st_size, status.st_mtime_ns
            if status.st_size > pages.MAX_PAGE_BYTES:
                raise PageError(f"{status.st_size / 1e6:.0f} MB is too large for a page")
            data = path.read_bytes()
            digest = sha256(data).digest()
            # Our own export shows every photo, and is no page of the site.
            own = GALLERY_MARK in data[:1000]
            page = pages.read(b"" if own else data, path.suffix, self.patterns, self.dialect)
        except FileNotFoundError:  # gone since it was listed
            self.walker.lost(name)
            return
        except (OSError, PageError) as error:
            reason = "permission denied" if isinstance(error, PermissionError) else str(error)
            self.catalog.put_page(name, digest, size, mtime_ns, "", "", reason, [])
            return
        placements = list(self._placements(page, name))
        if by_person:
            self.report.cleared += self.catalog.ledger.note_edits(
                name, self.catalog.placements_on(name), placements
            )
        self.catalog.put_page(
            name,
            digest,
            size,
            mtime_ns,
            OWN_GALLERY if own else page.encoding,
            page.title,
            None,
            placements,
        )

    def _placements(self, page: Page, name: str) -> Iterator[Placement]:
        shown: Counter[str] = Counter()
        for number, (slot, context) in enumerate(zip(page.slots, page.contexts, strict=True)):
            path, note = addresses.resolve(self.catalog, self.root, slot.src, name)
            if not note and slot.stray:
                note = "text after the alt text: a quote that is not escaped?"
            if not slot.writable:
                state = "variable"
            elif slot.presentational and not slot.alt:
                state = "decorative"
            else:
                state = "missing" if slot.alt is None else "text" if slot.alt.strip() else "empty"
            yield Placement(
                name,
                number,
                slot.src,
                path,
                shown[path or slot.src],
                slot.alt,
                state,
                context,
                note,
            )
            shown[path or slot.src] += 1


def patterns_of(settings: Settings) -> tuple[CallPattern, ...]:
    """The user's own template patterns. Raises InputError for one that lacks a part."""
    found = []
    for table in settings.templates:
        if set(table) != {"call", "photo", "alt"}:
            raise InputError(
                f"looksay.toml: a [[templates]] entry needs call, photo and alt; found {table!r}."
            )
        keys = {
            k: tuple(table[k]) if isinstance(table[k], list) else (table[k],)
            for k in ("photo", "alt")
        }
        found.append(CallPattern(str(table["call"]), keys["photo"], keys["alt"]))
    return tuple(found)


def dialect_of(settings: Settings, root: Path) -> Dialect:
    if settings.template_escape == "auto":
        return "entity" if (root / "_config.yml").exists() else "backslash"
    return "entity" if settings.template_escape == "entity" else "backslash"


def count(catalog: Catalog, report: ScanReport) -> ScanReport:
    """Fill in the counts of the whole library."""
    for name, value in catalog.counts().items():
        setattr(report, name, value)
    known = set(report.problems)
    report.problems += [p for p in catalog.faults_found() if p not in known]
    return report
