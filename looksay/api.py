"""The Python API for a whole library; the command line is a thin layer over it. For one picture there is
`looksay.describe` (`looksay.describing.single`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from looksay import plugins, settings
from looksay.backends import presets
from looksay.backends.base import Backend, LoadOptions
from looksay.backends.loading import load as load_backend
from looksay.describing import explaining
from looksay.describing.assess import Assessor
from looksay.describing.run import Describer, DescribeReport, Event, Which
from looksay.errors import InputError, UnknownName
from looksay.library import catalog as catalog_file
from looksay.library import texts_csv
from looksay.library.apply import Applier, ApplyReport
from looksay.library.catalog import Catalog
from looksay.library.deciding import Decider
from looksay.library.export import Row
from looksay.library.records import Target, Words
from looksay.library.scan import Progress, Scanner, ScanReport, count
from looksay.spending import Estimate
from looksay.texts.claims import Reader
from looksay.types import Options

if TYPE_CHECKING:
    from looksay.describing.combining import CombineReport


@dataclass(frozen=True, slots=True)
class Status:
    """A library in numbers."""

    scan: ScanReport
    described_photos: int
    models: list[dict[str, Any]]
    """model, language, generations, cost_usd, seconds (mean)."""
    decisions: dict[str, int]
    undecided_since_apply: bool
    """Something was decided after the last apply."""


class Library:
    """A folder of photos and pages with its catalogue. Use as a context manager.

    `path` is the folder (its catalogue is found there or above, or made there) or one of its files;
    `db` puts the catalogue elsewhere. Raises InputError or CatalogError.
    """

    def __init__(
        self, path: str | Path = ".", *, db: str | Path | None = None, create: bool = True
    ) -> None:
        self.path = Path(path)
        self.created = False
        """Whether this made the catalogue."""
        if not self.path.exists():
            raise InputError(f"{self.path} is not there. Expected a folder of photos and pages.")
        folder = self.path if self.path.is_dir() else self.path.parent
        found = Path(db) if db else catalog_file.find(folder)
        if found is None or not found.exists():
            if not create:
                raise InputError(
                    f"No catalogue here: {folder} was not scanned yet. Type: looksay scan {folder}"
                )
            found = found or folder / catalog_file.FILE_NAME
            self.created = True
        self.catalog = Catalog(found)
        try:
            if db and self.created:
                self.catalog.set_root(folder)
            self.root = self.catalog.root
            if db and self.root.resolve() not in (
                self.path.resolve(),
                *self.path.resolve().parents,
            ):
                self.path = self.root  # the catalogue says where the library is
            self.settings = settings.load(self.root)
        except BaseException:
            self.catalog.close()
            raise

    def close(self) -> None:
        self.catalog.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- see --------------------------------------------------------------------------------------

    def scan(
        self, paths: Iterable[str | Path] = (), *, progress: Progress | None = None
    ) -> ScanReport:
        """Find photos and pages, and what alt text they have. What has not changed is not read again."""
        Applier(self.catalog, self.settings)  # settles what a killed apply left
        chosen = [Path(p) for p in paths] or [self.root]
        return Scanner(self.catalog, self.settings, progress).run(chosen)

    def status(self) -> Status:
        """The library in numbers, from the catalogue alone."""
        scan = count(self.catalog, ScanReport())
        ledger = self.catalog.ledger
        return Status(
            scan,
            ledger.described_photos(),
            ledger.tallies(),
            ledger.decision_counts(),
            ledger.decided_since_apply(),
        )

    def targets(self, path: str | Path | None = None) -> Iterator[tuple[Target, Words]]:
        """Every place that needs words, with the words that count for it now."""
        targets = self.catalog.targets.all(self.prefix(path))
        yield from self.catalog.ledger.words_of(targets, default=self.settings.language)

    def words(self, target: Target, language: str | None = None) -> Words:
        """The words that count for a target, in the language asked for, else the page's own, else the
        setting's."""
        return self.catalog.ledger.words(target, language, self.settings.language)

    def lacking(
        self, kinds: Collection[str], path: str | Path | None = None
    ) -> Iterator[tuple[str, str, str]]:
        """(page, image, kind) of what stands where: kinds are missing, empty, decorative, text, variable,
        elsewhere (images on pages that are no files of the library), and noted (a model's words that nobody
        decided on and that have notes, which are told with the kind). A photo for itself has page ""."""
        known = ("missing", "empty", "decorative", "text", "variable", "elsewhere", "noted")
        for kind in kinds:
            if kind not in known:
                raise UnknownName("kind of alt text", kind, known)
        for target in self.catalog.targets.all(self.prefix(path), sources=kinds):
            yield target.page, target.path, target.source
        if "elsewhere" in kinds:
            yield from self.catalog.elsewhere()
        if "noted" in kinds:
            for target, words in self.targets(path):
                if words.notes and words.state in ("ai", "draft"):
                    yield target.page, target.path, f"noted ({', '.join(words.notes)})"

    def show(self, photo: str | Path) -> list[dict[str, Any]]:
        """Everything ever said, decided and written about a photo, oldest first."""
        place = self.catalog.place(self._name(photo))
        if place is None or place.photo_id is None:
            raise InputError(self._no_photo(photo))
        return self.catalog.ledger.history(place.photo_id)

    def explain(self, photo: str | Path, language: str | None = None) -> explaining.Explanation:
        """Why a photo has the words that it has, and what speaks for and against them."""
        targets = self._targets_of(self._name(photo), "", None)
        if not targets or not targets[0].photo_id:
            raise InputError(self._no_photo(photo))
        return explaining.explain(self.catalog, self.settings, targets, language=language)

    # --- describe ---------------------------------------------------------------------------------

    def describe(
        self,
        model: str | Backend | None = None,
        *,
        path: str | Path | None = None,
        language: str | None = None,
        which: Which = "missing",
        again: bool = False,
        limit: int | None = None,
        max_cost_usd: float | None = None,
        context: Collection[str] | None = None,
        options: Options | None = None,
        load_options: LoadOptions | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> DescribeReport:
        """Ask a model for what has no words yet. Answers are stored as they come; asking again asks only
        for what is still missing for this photo, model, prompt, language and context.

        `context`: what the model is told besides the photo (looksay.settings.CONTEXTS), () for nothing; None:
        what the settings say, which also bound what a remote model is told."""
        return self.describer(
            model,
            path=path,
            language=language,
            which=which,
            again=again,
            limit=limit,
            max_cost_usd=max_cost_usd,
            context=context,
            options=options,
            load_options=load_options,
            on_event=on_event,
        ).run()

    def estimate(self, model: str | Backend | None = None, **choices: Any) -> Estimate:
        """Requests, tokens, time and cost that `describe` with the same arguments would take."""
        if isinstance(model, str):
            model = presets.quote(model, self.catalog.ledger.last_fingerprint(model)) or model
        return self.describer(model, **choices).estimate()

    def upgrade(self, model: str | Backend, **choices: Any) -> DescribeReport:
        """Describe again, with another model, what only models described; texts that changed in substance
        carry a note. Words of people stay."""
        return self.describe(model, which="ai", **choices)

    def describer(
        self,
        model: str | Backend | None = None,
        *,
        path: str | Path | None = None,
        language: str | None = None,
        context: Collection[str] | None = None,
        load_options: LoadOptions | None = None,
        **choices: Any,
    ) -> Describer:
        """The run that `describe` makes, not yet started (so that it can be stopped from outside)."""
        if load_options is None:
            load_options = LoadOptions(
                allow_remote=self.settings.allow_remote,
                language=language or self.settings.language,
                max_side_px=self.settings.max_side_px,
            )
        if model is None or isinstance(model, str):
            model = load_backend(model or self.settings.model, load_options)
        return Describer(
            self.catalog,
            model,
            language=language,
            default_language=self.settings.language,
            prefix=self.prefix(path),
            target_characters=self.settings.target_characters,
            max_characters=self.settings.max_characters,
            context=self.settings.context if context is None else context,
            remote_context=self.settings.remote_context,
            **choices,
        )

    def assessor(
        self, reader: Reader, *, path: str | Path | None = None, **choices: Any
    ) -> Assessor:
        """A run that holds the texts that nobody has reviewed to what is known of their photos, not yet started.
        `reader`: who takes texts apart (`looksay.data.readers.load`)."""
        return Assessor(
            self.catalog,
            reader,
            prefix=self.prefix(path),
            default_language=self.settings.language,
            **choices,
        )

    def combine(
        self,
        models: Iterable[str | Backend],
        reader: str = "english",
        *,
        how: Mapping[str, Any] | None = None,
        **choices: Any,
    ) -> CombineReport:
        """Describe with several models, and make one text of what they say. `how` goes to
        looksay.describing.combining.Combiner (by, verifier, experts, encoder, writer …), the rest to `describe`."""
        from looksay.data import readers
        from looksay.describing.combining import Combiner

        describers = [self.describer(model, **choices) for model in models]
        combiner = Combiner(describers, readers.load(reader), **(how or {}))
        for describer in describers:
            describer.run()
        return combiner.run()

    # --- decide -----------------------------------------------------------------------------------

    def decide(
        self,
        photo: str | Path,
        state: str,
        text: str = "",
        *,
        extended: str = "",
        page: str = "",
        occurrence: int | None = None,
        language: str | None = None,
        replace: bool = False,
        model: str | None = None,
    ) -> int:
        """Decide on a photo: "accept" the newest model's words (or those of `model`), "edit" (with `text`), "reject",
        "decorative" or "clear". Without `page`, on every place that shows it and has a model's words or
        none (or, for "edit", on the photo as such); returns how many places it decided on."""
        name = self._name(photo)
        targets = self._targets_of(name, page, occurrence)
        if not targets:
            raise InputError(f"{page} does not show {name}." if page else self._no_photo(photo))
        decider = self._decider(language)
        with self.catalog.transaction():
            refused = [
                decider.decide(
                    target,
                    state,
                    text,
                    extended,
                    replace=replace,
                    explicit=bool(page) or len(targets) == 1,
                    model=model,
                )
                for target in targets
            ]
        if all(refused):
            raise InputError(refused[0])
        return refused.count("")

    def _decider(self, language: str | None) -> Decider:
        return Decider(self.catalog, language, self.settings.language)

    def _targets_of(self, name: str, page: str, occurrence: int | None) -> list[Target]:
        if page:
            page = self._name(page)
            shown = [p for p in self.catalog.placements_on(page) if p.path == name]
            found = [
                self.catalog.targets.find(name, page, p.occurrence)
                for p in shown
                if occurrence in (None, p.occurrence)
            ]
        else:
            shown = self.catalog.placements_of(name)
            found = [self.catalog.targets.find(name, p.page, p.occurrence) for p in shown] or [
                self.catalog.targets.find(name)
            ]
        return [t for t in found if t is not None]

    def accept_all(
        self,
        path: str | Path | None = None,
        *,
        model: str | None = None,
        language: str | None = None,
    ) -> int:
        """Accept every model's words under `path` (of one `model`, if named) that nobody decided on.
        Drafts (`facts`) are accepted only where their model is named."""
        return self._decider(language).accept_all(self.prefix(path), model)

    def import_csv(
        self, path: str | Path, *, language: str | None = None
    ) -> texts_csv.ImportReport:
        """Take texts that people wrote; see looksay.library.texts_csv for the columns."""
        return texts_csv.read_into(self.catalog, Path(path), language, self.settings.language)

    # --- write ------------------------------------------------------------------------------------

    def apply(self, path: str | Path | None = None, **choices: Any) -> ApplyReport:
        """Write the words that count into pages and sidecars; see looksay.library.apply.Applier.apply."""
        return Applier(self.catalog, self.settings).apply(self.prefix(path), **choices)

    def undo(self) -> ApplyReport:
        """Put back what the last apply replaced."""
        return Applier(self.catalog, self.settings).undo()

    def export(
        self,
        form: str,
        out: str | Path,
        *,
        path: str | Path | None = None,
        language: str | None = None,
    ) -> int:
        """Write every target with its words to a file: csv, jsonl or html; returns their number."""
        module = plugins.load("looksay.library.export", form, "export format")
        if not Path(out).resolve().parent.is_dir():
            raise InputError(
                f"{Path(out).parent} is not there. Make the folder first, or choose another."
            )
        count: int = module.write(self.rows(path, language), Path(out), self.root)
        return count

    def rows(self, path: str | Path | None = None, language: str | None = None) -> Iterator[Row]:
        """What `export` writes."""
        targets = self.catalog.targets.all(self.prefix(path))
        for target, words in self.catalog.ledger.words_of(
            targets, language, self.settings.language
        ):
            yield Row(
                target.path,
                target.page,
                target.occurrence,
                words.language or target.language(language, self.settings.language),
                words.text,
                words.extended,
                words.state == "decorative",
                words.state,
                words.model,
                target.alt or "",
                words.notes,
            )

    # --- names ------------------------------------------------------------------------------------

    def _name(self, path: str | Path) -> str:
        """A path as the catalogue writes it: as given where that is known, else relative to the root."""
        text = Path(path).as_posix()
        if any(
            0xDC80 <= ord(c) <= 0xDCFF for c in text
        ):  # bytes that are no UTF-8, as paths hold them
            raise InputError(f"The name {text!a} is not UTF-8. Give the file another.")
        if not Path(path).is_absolute() and (
            self.catalog.place(text) or self.catalog.page_digest(text)
        ):
            return text
        return catalog_file.relative(self.root, Path(path).resolve())

    def prefix(self, path: str | Path | None) -> str:
        """A folder or file as the catalogue writes it; "" for the whole library."""
        if path is None:
            return ""
        resolved = Path(path).resolve()
        if resolved in (self.root.resolve(), *self.root.resolve().parents):
            return ""
        return catalog_file.relative(self.root.resolve(), resolved)

    def _no_photo(self, photo: str | Path) -> str:
        return (
            f"There is no photo {photo} in the library {self.root}. Type: looksay scan {self.root}"
        )
