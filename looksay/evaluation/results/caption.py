"""Captions held to references: CIDEr-D, BLEU, ROUGE-L, and METEOR and SPICE where Java is there.

COCO's results: [{"image_id": 404464, "caption": "a man standing in front of a building"}, …], beside
{"images": […], "annotations": [{"id": 1, "image_id": 404464, "caption": "…"}, …]}. Or candidates.json
{"id": "caption"} and references.json {"id": ["caption", …]}; ptb_tokens.json {"candidates": {"id": ["tokens with
spaces"]}, "references": {…}} then takes the place of our own tokeniser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from looksay.data.reading import Place, entries, kind
from looksay.errors import InputError, plainly
from looksay.evaluation.benchmark import Compat
from looksay.evaluation.benchmarks import _captions
from looksay.evaluation.benchmarks._captions import Pairs
from looksay.evaluation.measures import Measure, of_samples, share
from looksay.evaluation.metrics import coco_java
from looksay.evaluation.metrics.cider import Frequencies
from looksay.evaluation.metrics.grams import Tokens
from looksay.evaluation.results import _files
from looksay.evaluation.results._files import File
from looksay.evaluation.scoring import Scored
from looksay.texts.ptb import tokenize

ABOUT = "Captions held to references, as the COCO evaluation does, without Java."
EXPECTS = (
    'results [{"image_id", "caption"}], beside annotations {"annotations": [{"image_id", "caption"}]}',
    'or candidates.json {"id": "caption"} and references.json {"id": ["caption", …]}',
    "with it, if it is there, ptb_tokens.json: the tokens of both, in place of our tokeniser's",
)
COMPAT: tuple[Compat, ...] = ("official",)


def read(
    paths: Sequence[Path],
    compat: Compat,
    *,
    partial: bool = False,
    df: Path | None = None,
    save_df: Path | None = None,
    meteor: bool = False,
    spice: bool = False,
    timeout: float | None = None,
) -> list[Scored]:
    """`df`: a table of document frequencies in place of that of the references scored; `save_df` writes
    the latter. `timeout`: seconds for METEOR and for SPICE."""
    files = _files.gathered(paths)
    named = {file.path.name: file for file in files}
    results = [file for file in files if file.has("image_id", "caption")]
    annotated = [file for file in files if file.under("annotations", "image_id", "caption")]
    own = "candidates.json" in named and "references.json" in named
    if not own and not (results and annotated):
        lacking = "references" if results or "candidates.json" in named else "captions"
        raise _files.unknown(files, "caption", f"There are no {lacking}.", EXPECTS)
    if own and results and annotated:
        raise InputError(
            f"{named['candidates.json'].path} and {results[0].path} are results of two layouts. "
            "Score them apart: name one set of files."
        )
    sets = [_own(named, partial)] if own else _coco(results, annotated, partial)
    table = Frequencies.load(df) if df else None
    if save_df:
        _save(save_df, [references for _, references in _words(sets[0][1]).values()])
    found = []
    for scored, pairs in sets:
        words = _words(pairs)
        measures = _captions.of_tokens(words, table, orders=(4, 3, 2, 1))
        if words is not pairs:
            rouge = _captions.rouge_l(pairs)
            measures = [rouge if one.name == rouge.name else one for one in measures]
        measures.append(_captions.cider_d(words, "CIDEr (original)", "original", table))
        notes = [*scored.notes, _rarity(len(pairs), df, table)]
        for name, wanted, metric in (
            ("METEOR", meteor, coco_java.meteor),
            ("SPICE", spice, coco_java.spice),
        ):
            if wanted:
                how: dict[str, Any] = {} if timeout is None else {"timeout_s": timeout}
                sides = [one for one, _ in pairs.values()], [r for _, r in pairs.values()]
                said = metric(*sides, **how)
                measures.append(_java(name, list(pairs), said))
                if said.skipped:
                    notes.append(
                        f"Captions without a figure of {name}, most often empty ones: {said.skipped}."
                    )
        found.append(replace(scored, measures=measures, notes=tuple(notes)))
    return found


def _words(pairs: Pairs) -> Pairs:
    """The tokens as BLEU and CIDEr have them there, which split at any white space; ROUGE splits at spaces
    alone, and takes a mixed number, which the tokeniser keeps together by a no-break space, for one token."""

    def apart(tokens: Tokens) -> Tokens:
        return " ".join(tokens).split()

    texts = [tokens for said, known in pairs.values() for tokens in (said, *known)]
    if not any(token.split() != [token] for tokens in texts for token in tokens):
        return pairs
    return {
        name: (apart(said), [apart(one) for one in known]) for name, (said, known) in pairs.items()
    }


def _rarity(count: int, df: Path | None, table: Frequencies | None) -> str:
    if table:
        return f"CIDEr weighs n-grams by {df}, a table of {table.images} images."
    return (
        f"CIDEr weighs n-grams by how rare they are in the references of these {count} images: figures of "
        "other sets are not comparable."
    )


def _save(path: Path, references: Sequence[Sequence[Tokens]]) -> None:
    try:
        Frequencies.of(references).save(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {plainly(error)}.") from error


def _java(name: str, ids: Sequence[str], said: coco_java.JavaScores) -> Measure:
    """METEOR's figure is not the mean of its scores but of statistics that its program keeps to itself: the
    mean is resampled, and moved by what lies between the two."""
    scores = dict(zip(ids, said.scores, strict=True))
    there = [score for score in said.scores if score is not None]
    apart = 0.0 if said.corpus is None else said.corpus - math.fsum(there) / len(there)
    return of_samples(name, scores, value=lambda total, count: share(total, count) + apart)


def _own(named: Mapping[str, File], partial: bool) -> tuple[Scored, Pairs]:
    candidates, references = named["candidates.json"], named["references.json"]
    said, told = _files.by_image(candidates), _files.by_image(references)
    names, notes = _files.paired(said, told, references.path, candidates.path, partial, "image")
    paths = [candidates.path, references.path]
    if "ptb_tokens.json" in named:
        file = named["ptb_tokens.json"]
        paths.append(file.path)
        pairs = _tokens(file, names)
        for name in names:  # the texts are read all the same: what is at fault in them is told
            _files.caption(*said[name]), _files.references(*told[name])
    else:
        pairs = {
            name: (
                tokenize(_files.caption(*said[name])),
                [tokenize(text) for text in _files.references(*told[name])],
            )
            for name in names
        }
    return _set(candidates.path.parent.resolve().name, pairs, paths, notes), pairs


def _tokens(file: File, names: Sequence[str]) -> Pairs:
    """Tokens as given: a caption's is a list of one text, a space between two tokens."""
    sides = []
    for side in ("candidates", "references"):
        given = file.content.get(side) if isinstance(file.content, dict) else None
        if not isinstance(given, dict):
            raise InputError(
                f"{file.path}: expected an object under {side!r}; found {kind(given)}."
            )
        sides.append(_files.keyed(file, given))
        for name in names:
            if name not in given:
                raise InputError(f"{file.path} has no {side} of image {name}.")
    found: dict[str, tuple[Tokens, list[Tokens]]] = {}
    for name in names:
        (place, candidate), (other, references) = (side[name] for side in sides)
        if not isinstance(candidate, list) or len(candidate) != 1:
            place.fail(f"expected a list of one text; found {kind(candidate)}.")
        known: list[Tokens] = [text.split(" ") for text in _files.references(other, references)]
        text = _files.caption(place, candidate[0])
        found[name] = text.split(" ") if text else [], known
    return found


def _coco(
    results: Sequence[File], annotated: Sequence[File], partial: bool
) -> list[tuple[Scored, Pairs]]:
    references: dict[str, list[str]] = {}
    for file in annotated:
        rows = entries(file.path, file.content, "annotations")
        for place, row in _files.placed(file, rows, "id"):
            name = _files.name_of(place, row, "image_id")
            references.setdefault(name, []).append(place.words(row, "caption"))
    where = annotated[0].path
    tokens: dict[str, list[Tokens]] = {}
    sets: list[tuple[Scored, Pairs]] = []
    for file in results:
        said = _files.by_id(file, file.rows, "image_id")
        names, notes = _files.paired(said, references, where, file.path, partial, "image")
        for name in names:
            if name not in tokens:
                tokens[name] = [tokenize(text) for text in references[name]]
        pairs = {name: (tokenize(_caption(*said[name])), tokens[name]) for name in names}
        paths = [file.path, *(one.path for one in annotated)]
        sets.append((_set(file.path.stem, pairs, paths, notes), pairs))
    return sets


def _caption(place: Place, row: Any) -> str:
    text: str = place.get(row, "caption", str, "text")
    return text


def _set(name: str, pairs: Pairs, paths: Sequence[Path], notes: Sequence[str]) -> Scored:
    if not pairs:
        raise InputError(f"{paths[0]} holds no caption to score.")
    return Scored(name, [], notes=tuple(notes), files=tuple(paths))
