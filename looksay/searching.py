"""Search a library by words or by a picture: photos → vectors → nearest. Exact, with numpy alone.

Vectors are float32 rows (n, d) of length 1, a photo's at its position in the catalogue's embeddings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from looksay.backends.base import Encoder, Matcher, as_they_finish
from looksay.errors import BackendError, InputError, UnreadablePhoto
from looksay.images import digest, load_rgb
from looksay.library.catalog import Catalog
from looksay.library.embeddings import Embeddings, Found
from looksay.library.records import Words
from looksay.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

Vectors = NDArray[np.float32]

CHUNK = 64
"""Photos that are embedded and committed together: what a kill loses at most."""
SIDE_PX = 1024
"""Photos are shrunk to this before the encoder's own preparation to its 224 to 512 px: a batch of 12 megapixels each
then takes a fifteenth of the memory."""
MAPPED = 20_000
"""From so many vectors on they are mapped from a file; fewer are read from the catalogue in 0.1 s."""
ROWS, COLUMNS = 64, 65_536
"""Of the blocks in which all photos are compared with all: 16 MB of cosines, 64 bytes per photo of marks."""
_ROUNDING = 1e-6
"""By so much the cosine of equal vectors in float32 may miss 1."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo with the cosine of what was looked for; all files that hold it. `match`: the log-odds that a
    model gives which sees photo and words together."""

    photo_id: int
    paths: tuple[str, ...]
    score: float
    match: float | None = None


class Searcher:
    """A library's photos under `prefix`, in the space of one encoder."""

    def __init__(self, catalog: Catalog, encoder: Encoder, prefix: str = "") -> None:
        self.catalog, self.encoder, self.prefix = catalog, encoder, prefix
        # Asked once: SQLite serves one thread, and photos are read in several.
        self.root = catalog.root
        self.embeddings = Embeddings(catalog, f"{encoder.fingerprint}-{SIDE_PX}px", encoder.name)

    def lacking(self) -> int:
        """How many photos have no vector yet."""
        return self.embeddings.lacking(self.prefix)

    def embed(self, on_photo: Callable[[], None] = lambda: None) -> list[tuple[str, str]]:
        """Embed what has no vector yet; (path, reason) of the photos that cannot be. Stopped at any moment,
        it goes on with what is missing. Raises BackendError where the encoder takes no photo at all."""
        problems: list[tuple[str, str]] = []
        batch: list[_Seen] = []
        photos = self.embeddings.missing(self.prefix)
        for _, seen in as_they_finish(self._read, photos, min(8, os.cpu_count() or 1)):
            if seen.picture is None:
                problems.append((seen.path, seen.fault))
                on_photo()
                continue
            batch.append(seen)
            if len(batch) == CHUNK:
                problems += self._add(batch, on_photo)
                batch = []
        return problems + self._add(batch, on_photo)

    def by_words(
        self, words: str, top: int, rerank: int = 0, on_pair: Callable[[], None] = lambda: None
    ) -> list[Hit]:
        """The `top` photos nearest to the words, best first; the first `rerank` of them in the order of a
        model that sees photo and words together, `match` being its log-odds (with those of the cosine, where the model
        has learned a temperature for it); one whose file cannot be read any
        more comes after those. Raises InputError as `matcher` does, BackendError."""
        matcher = self.matcher() if rerank else None
        (query,) = self.encoder.embed_texts([words])
        hits = self._nearest(query, max(top, rerank))
        if matcher:
            looked, unread = [], []
            for hit in hits[:rerank]:
                seen = self._read((hit.photo_id, hit.paths[0]))
                if seen.picture is None:
                    unread.append(hit)
                else:
                    (logit,) = matcher.match([Image(seen.picture)], [words])
                    looked.append((float(logit), hit))
                on_pair()
            # Where the temperature of its contrast is known, the cosine is a log-odds as well, and both count.
            temperature = getattr(matcher, "temperature", float("inf"))
            looked.sort(key=lambda one: -one[0] - one[1].score / temperature)
            again = [replace(hit, match=logit) for logit, hit in looked]
            hits = again + unread + hits[rerank:]
        return hits[:top]

    def matcher(self) -> Matcher:
        """The encoder, which can look at photo and words together. Raises InputError where it cannot."""
        if not isinstance(self.encoder, Matcher):
            raise InputError(
                f"{self.encoder.name} embeds photo and words apart and cannot look at both together. Leave "
                "--rerank out, or take an encoder that can, such as hub:Salesforce/blip-itm-base-coco"
            )
        return self.encoder

    def by_picture(self, path: Path, top: int) -> list[Hit]:
        """The `top` photos nearest to the picture of a file, best first, itself left out. Raises
        InputError where it cannot be read, BackendError."""
        try:
            picture = load_rgb(path, max_side_px=SIDE_PX)
        except UnreadablePhoto as error:
            raise InputError(f"{path} cannot be read: {error}.") from error
        own = self.catalog.photo_of(bytes.fromhex(digest(path)))
        position = None if own is None else self.embeddings.position_of(own)
        if position is None:
            (query,) = self.encoder.embed_images([Image(picture)])
        else:
            query = self.vectors()[position]
        hits = self._nearest(query, top + 1)
        return [hit for hit in hits if hit.photo_id != own][:top]

    def duplicates(
        self, least: float, on_rows: Callable[[int], None] = lambda number: None
    ) -> list[list[Hit]]:
        """Groups of files whose photos have a cosine of at least `least` with the group's first, the one that
        was scanned first; copies of equal bytes too. A photo is in one group at most. All are compared with
        all, so that twice as many photos take four times as long."""
        there = self.embeddings.found(None, self.prefix)
        photos = list(there.values())
        rows = self.vectors()
        if len(photos) < len(rows):
            rows = rows[list(there)]
        groups = []
        for first, others in alike(rows, least, on_rows):
            paths = photos[first].paths
            if len(others) or len(paths) > 1:
                scores = rows[others] @ rows[first]
                ranked = sorted(zip(-scores, others.tolist(), strict=True))
                groups.append(
                    [_hit(photos[first], 1.0)]
                    + [_hit(photos[one], -score) for score, one in ranked]
                )
        return groups

    def embed_texts(
        self, texts: Iterable[str], on_text: Callable[[], None] = lambda: None
    ) -> Vectors:
        """Their vectors (n, d), a chunk at a time."""
        source, rows = iter(texts), []
        while some := list(islice(source, CHUNK)):
            rows.append(self.encoder.embed_texts(some))
            for _ in some:
                on_text()
        return np.concatenate(rows)

    def words(self, path: str, default_language: str) -> Words:
        """The words that count for a photo: on the first page that shows it and has some, else its own."""
        placed = [
            self.catalog.targets.find(path, one.page, one.occurrence)
            for one in self.catalog.placements_of(path)
        ]
        words = Words("none")
        for target in (*placed, self.catalog.targets.find(path)):
            if target is not None:
                words = self.catalog.ledger.words(target, None, default_language)
                if words.text or words.state == "decorative":
                    break
        return words

    def vectors(self) -> Vectors:
        """All vectors of the encoder (n, d), by position; not to be written to."""
        width = self.embeddings.width
        if len(self.embeddings) >= MAPPED:
            try:
                path, count = self.embeddings.file()
                return np.memmap(path, "<f4", "r", shape=(count, width))
            except OSError:
                pass  # a folder where nothing may be written: memory will do
        return np.frombuffer(b"".join(self.embeddings.read()), "<f4").reshape(-1, width)

    def _nearest(self, query: Vectors, top: int) -> list[Hit]:
        rows = self.vectors()
        if not len(rows):
            return []
        scores = rows @ query
        wanted = 2 * top
        while True:  # until there are enough that are not gone and lie in the folder searched
            places = nearest(scores, wanted).tolist()
            there = self.embeddings.found(places, self.prefix)
            hits = [_hit(there[one], scores[one]) for one in places if one in there]
            if len(hits) >= top or wanted >= len(scores):
                return hits[:top]
            wanted *= 8

    def _read(self, photo: tuple[int, str]) -> _Seen:
        photo_id, path = photo
        try:
            return _Seen(photo_id, path, load_rgb(self.root / path, max_side_px=SIDE_PX))
        except UnreadablePhoto as error:
            return _Seen(photo_id, path, fault=str(error))

    def _add(self, batch: Sequence[_Seen], on_photo: Callable[[], None]) -> list[tuple[str, str]]:
        vectors: dict[int, bytes] = {}
        faults: list[tuple[str, str]] = []
        for seen, row, fault in self._embedded(batch):
            if row is None:
                faults.append((seen.path, fault))
            else:
                vectors[seen.photo_id] = row.astype("<f4").tobytes()
        if len(faults) == CHUNK:
            raise BackendError(faults[0][1])
        self.embeddings.add(vectors)
        for _ in batch:
            on_photo()
        return faults

    def _embedded(self, batch: Sequence[_Seen]) -> Iterator[tuple[_Seen, Vectors | None, str]]:
        """Each photo with its vector, or with what is wrong with it: an encoder refuses all for one's sake."""
        if not batch:
            return
        try:
            rows = self.encoder.embed_images(
                Image(seen.picture) for seen in batch if seen.picture is not None
            )
        except BackendError as error:
            if len(batch) == 1:
                yield batch[0], None, str(error)
                return
            half = len(batch) // 2
            yield from self._embedded(batch[:half])
            yield from self._embedded(batch[half:])
            return
        for seen, row in zip(batch, rows, strict=True):
            if abs(float(row @ row) - 1) < 0.01:
                yield seen, row, ""
            else:
                yield seen, None, f"{self.encoder.name} gave it a vector that is not of length 1"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A photo as the encoder gets it, or why it cannot."""

    photo_id: int
    path: str
    picture: Pillow | None = None
    fault: str = ""


def _hit(found: Found, score: float) -> Hit:
    return Hit(found.photo_id, found.paths, float(score))


def nearest(scores: Vectors, top: int) -> NDArray[np.intp]:
    """The places of the `top` largest, largest first; of equal ones the first is first.

    >>> nearest(np.array([0.1, 0.9, 0.5, 0.9], np.float32), 3).tolist()
    [1, 3, 2]
    """
    count = len(scores)
    if top < count:
        least = np.partition(scores, count - top)[count - top]
        (places,) = np.nonzero(scores >= least)
    else:
        places = np.arange(count)
    order = np.argsort(-scores[places], kind="stable")
    found: NDArray[np.intp] = places[order][:top]
    return found


def alike(
    rows: Vectors,
    least: float,
    on_rows: Callable[[int], None] = lambda number: None,
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each row that is in no earlier group, with the later rows that have a cosine of at least `least` with
    it and are in none: a group lies around its first row, so that it does not wander off."""
    count = len(rows)
    free = np.ones(count, bool)
    for start in range(0, count, ROWS):
        block = rows[start : start + ROWS]
        near = np.zeros((len(block), count - start), bool)
        for column in range(start, count, COLUMNS):
            cosines = block @ rows[column : column + COLUMNS].T
            near[:, column - start : column - start + COLUMNS] = cosines >= least - _ROUNDING
        for number, marks in enumerate(near):
            first = start + number
            if free[first]:
                marks[: number + 1] = False
                (others,) = np.nonzero(marks & free[start:])
                free[start + others] = False
                free[first] = False
                yield first, others + start
        on_rows(len(block))
