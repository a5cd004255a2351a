"""Apply and undo: the only code that touches the user's files.

Every changed file goes through four steps: its patch is committed to the catalogue (`prepared`), the
file is replaced in one step, it is read back, and the change is marked `done`. Killed between any two,
the next command finds out from the file's digest what happened (`recover`).
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from looksay.errors import InputError, PageError
from looksay.library import embed, files, pages, xmp
from looksay.library.catalog import Catalog
from looksay.library.journal import Change, Journal
from looksay.library.records import Target, Words, folded
from looksay.library.scan import Scanner
from looksay.settings import Settings


@dataclass(frozen=True, slots=True)
class Edit:
    """One file to change: its bytes now and then, and the words that go in."""

    path: str
    kind: str
    """page, sidecar or photo."""
    old: bytes | None
    """None: the file is new."""
    new: bytes
    words: tuple[tuple[Target, Words], ...]

    def diff(self) -> str:
        """A unified diff; a photo's bytes are summed up in a line."""
        if self.kind == "photo":
            size = len(self.new) - len(self.old or b"")
            return f"--- a/{self.path}\n+++ b/{self.path}\nalt text in the photo ({size:+d} bytes): {self.words[0][1].text}\n"
        old, new = (
            io.StringIO(
                pages.decode(b)[0], newline="\n"
            ).readlines()  # other breaks are no line's end
            for b in (self.old or b"", self.new)
        )
        source = f"a/{self.path}" if self.old is not None else "/dev/null"
        lines = difflib.unified_diff(old, new, source, f"b/{self.path}")
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )


@dataclass(slots=True)
class ApplyReport:
    """What an apply or undo did, or (dry run) would do."""

    files: list[str] = field(default_factory=list)
    texts: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(file, reason); these files are as they were."""
    diff: str = ""
    left_ai: int = 0
    """Texts of models that nobody reviewed: written only with include_ai."""
    left_drafts: dict[str, int] = field(default_factory=dict)
    """Drafts by model: written only once somebody accepted them."""


class Applier:
    """Writes the words that count into pages, sidecars and (on request) photos."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self.catalog, self.settings, self.root = catalog, settings, catalog.root
        self.ledger, self.journal = catalog.ledger, Journal(catalog)
        self.scanner = Scanner(catalog, settings)
        self.recover()

    def apply(
        self,
        prefix: str = "",
        *,
        include_ai: bool = False,
        into_photos: bool = False,
        language: str | None = None,
        dry_run: bool = False,
    ) -> ApplyReport:
        """Write all words under `prefix` that may be written. Human and reviewed words only, unless
        `include_ai`. A file that changed since the scan is refused; the others are written."""
        if into_photos:
            embed.require()
        report = ApplyReport()
        number: int | None = None
        for edit in self._edits(prefix, include_ai, into_photos, language, report):
            if isinstance(edit, tuple):
                report.refused.append(edit)
                continue
            if dry_run:
                report.diff += edit.diff()
            else:
                number = number or self.journal.begin(include_ai)
                try:
                    self._write(number, edit)
                except PageError as error:
                    report.refused.append((edit.path, str(error)))
                    continue
            report.files.append(edit.path)
            report.texts += len(edit.words)
        return report

    # --- planning ---------------------------------------------------------------------------------

    def _edits(
        self,
        prefix: str,
        include_ai: bool,
        into_photos: bool,
        language: str | None,
        report: ApplyReport,
    ) -> Iterator[Edit | tuple[str, str]]:
        for page, targets in groupby(self.catalog.targets.on_pages(prefix), key=lambda t: t.page):
            found = [
                (target, words)
                for target in targets
                if (words := self._to_write(target, include_ai, language, report)) is not None
            ]
            if found:
                try:
                    yield self._page_edit(page, found)
                except (PageError, OSError) as error:
                    yield page, str(error)
        for target in self.catalog.targets.of_photos(prefix):
            words = self._to_write(target, include_ai, language, report)
            if words is not None and not words.decorative_proposed and words.text:
                try:
                    edits = list(self._photo_edits(target, words, into_photos))
                except (PageError, OSError) as error:
                    yield target.path, str(error)
                else:
                    yield from edits

    def _to_write(
        self, target: Target, include_ai: bool, language: str | None, report: ApplyReport
    ) -> Words | None:
        words = self.ledger.words(target, language, self.settings.language)
        standing_is_free = target.source in ("missing", "empty") or self.ledger.is_ours(target)
        if words.state in ("human", "reviewed"):
            allowed = words.own or standing_is_free
        elif words.state == "decorative":
            allowed, words = words.own or standing_is_free, replace(words, text="")
        elif words.state == "ai":
            allowed = (
                include_ai
                and standing_is_free
                and not words.decorative_proposed
                and bool(words.text)
            )
            report.left_ai += not include_ai and standing_is_free and _differs(target, words)
        else:
            if words.state == "draft" and standing_is_free:
                report.left_drafts[words.model] = report.left_drafts.get(words.model, 0) + 1
            allowed = False
        return (
            words if allowed and target.source != "variable" and _differs(target, words) else None
        )

    def _page_edit(self, page: str, found: Sequence[tuple[Target, Words]]) -> Edit:
        path = self.root / page
        old = self._unchanged(path, self.catalog.page_digest(page))
        new = pages.rewrite(
            old,
            path.suffix,
            {t.number: w.text for t, w in found},
            self.scanner.patterns,
            self.scanner.dialect,
        )
        return Edit(page, "page", old, new, tuple(found))

    def _photo_edits(self, target: Target, words: Words, into_photo: bool) -> Iterator[Edit]:
        place = self.catalog.place(target.path)
        assert place is not None, "a target comes from a place"
        path = self.root / target.path
        if into_photo:
            old = self._unchanged(path, place.sha256)
            new = embed.embed(path, words.text, words.extended, words.language)
            if new != old:
                yield Edit(target.path, "photo", old, new, ((target, words),))
            if place.alt_from != "sidecar":
                return  # else the sidecar's other words, which readers prefer, would still stand
        name = place.sidecar or f"{target.path}.xmp"
        sidecar = self.root / name
        before = (
            self._unchanged(sidecar, place.sidecar_sha256)
            if place.sidecar or sidecar.exists()
            else None
        )
        packet = xmp.write(before, words.text, words.extended, words.language)
        if packet != before:
            yield Edit(name, "sidecar", before, packet, ((target, words),))

    def _unchanged(self, path: Path, known: bytes | None) -> bytes:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise PageError(f"cannot be read ({error.strerror}); nothing was changed") from error
        if sha256(data).digest() != known:
            raise PageError(_CHANGED)
        return data

    # --- writing ----------------------------------------------------------------------------------

    def _write(self, apply_id: int, edit: Edit) -> None:
        path = self.root / edit.path
        mtime_ns = path.stat().st_mtime_ns if edit.old is not None else None
        change = self.journal.prepare(
            apply_id, edit.path, edit.kind, edit.old, edit.new, mtime_ns, edit.words
        )
        try:
            if files.digest(path) != change.before_sha256:
                raise PageError(_CHANGED)
            files.write(path, edit.new)
        except PageError:
            with self.catalog.transaction():
                self.journal.mark(change, "undone")
            raise
        self._settle(change, "done")

    def _settle(self, change: Change, state: str) -> None:
        """Bring the catalogue in line with a file that was replaced, in one transaction with its state."""
        path = self.root / change.path
        with self.catalog.transaction():
            self.journal.mark(change, state)
            if change.kind == "page":
                self.scanner.store_page(path, change.path, by_person=False)
            else:
                for photo in self.journal.photos_of(change):
                    self.scanner.store_photo(self.root / photo, photo)

    # --- undo and recovery ------------------------------------------------------------------------

    def undo(self) -> ApplyReport:
        """Put back the bytes that the last apply replaced. A file that changed since is left and told;
        an apply of which only such files are left does not bar the way to the one before."""
        report = ApplyReport()
        standing = self.journal.standing()
        if not standing:
            raise InputError("There is no apply to undo.")
        for number in standing:
            refused = len(report.refused)
            for change in reversed(self.journal.changes(number)):
                try:
                    self._revert(change)
                except PageError as error:
                    report.refused.append((change.path, str(error)))
                else:
                    report.files.append(change.path)
            if len(report.refused) == refused:
                self.journal.close(number)
            if report.files:
                break
        return report

    def _revert(self, change: Change) -> None:
        path = self.root / change.path
        found = files.digest(path)
        if found != change.after_sha256:
            gone = "is gone" if found is None else "changed since it was written"
            raise PageError(f"{gone}; it is left as it is")
        old = change.patch.revert(path.read_bytes())
        if not change.created and sha256(old).digest() != change.before_sha256:
            raise PageError("the kept bytes do not give the old file; it is left as it is")
        with self.catalog.transaction():
            self.journal.mark(change, "undoing")
        if change.created:
            path.unlink()
        else:
            files.write(path, old)
        self._reverted(change)

    def _reverted(self, change: Change) -> None:
        path = self.root / change.path
        if change.before_mtime_ns is not None:
            os.utime(path, ns=(path.stat().st_atime_ns, change.before_mtime_ns))
        self._settle(change, "undone")

    def recover(self) -> None:
        """Settle what a killed apply or undo left: the file's digest says whether it was replaced."""
        for change in self.journal.unsettled():
            path = self.root / change.path
            files.temporary(path.resolve()).unlink(missing_ok=True)
            found = files.digest(path)
            if found == change.after_sha256:
                self._settle(change, "done")
            elif found == change.before_sha256:  # both None: a new file that is not there
                self._reverted(change)
            else:  # somebody else has replaced it since
                with self.catalog.transaction():
                    self.journal.mark(change, "undone")


_CHANGED = "changed since the scan, so it is left as it is. Type: looksay scan, then apply again"


def _differs(target: Target, words: Words) -> bool:
    if target.source == "missing":
        return True
    return folded(target.alt) != folded(words.text)
