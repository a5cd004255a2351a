"""Embed what benchmarks of dual encoders hold, and keep every vector: items → vectors → figures.

Vectors lie in <folder>/embeddings/<benchmark>/<model>-<digest>/<digest of what was embedded>.npy, a few hundred
items each: killed and started again, only what is missing is embedded.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from looksay.backends.base import Encoder, Matcher
from looksay.data.reading import write
from looksay.errors import InputError
from looksay.evaluation import measures
from looksay.evaluation.benchmark import Compat, Embedded, Item, Reranked
from looksay.evaluation.journal import data
from looksay.evaluation.run import Asked, Figure, Result, clusters
from looksay.images import digest
from looksay.types import Completion, Image

Vectors = NDArray[np.float32]

CHUNK = 256
"""Items kept in one file, at most."""


def evaluate(
    encoder: Encoder,
    name: str,
    benchmark: Embedded,
    items: Sequence[Item],
    folder: Path,
    *,
    compat: Compat = "strict",
    rerank: bool = False,
    whole: int = 0,
    samples: int = measures.SAMPLES,
    seed: int = 0,
    on_item: Callable[[], None] | None = None,
) -> Result:
    """Embed every item that `folder` holds no vector of, and score.

    With `rerank` the encoder looks again at the first candidates pair by pair, which takes a thousand times
    as long; its figures stand beside the plain ones. In the result every item counts as asked. Raises
    InputError (rules that the benchmark does not know; nothing that can look again) and BackendError.
    """
    if compat not in benchmark.CARD.compat:
        raise InputError(
            f"{name} has no rules of {compat!r}; it has {', '.join(benchmark.CARD.compat)}."
        )
    if rerank and not (isinstance(encoder, Matcher) and hasattr(benchmark, "score_reranked")):
        raise InputError(
            f"{encoder.name} on {name} cannot be ranked again: expected a model that looks at picture and "
            "text together, such as BLIP's for retrieval, on a benchmark of retrieval."
        )
    kept = _folder(folder, name, encoder)
    started = time.perf_counter()
    vectors, reused = embed(encoder, items, kept, on_item)
    found = benchmark.score_embeddings(items, vectors, compat)
    if rerank:
        slower = cast(Reranked, benchmark)
        pairs = slower.candidates(items, vectors)
        logits = match(cast(Matcher, encoder), encoder.fingerprint, items, pairs, kept)
        found += slower.score_reranked(items, vectors, pairs, logits, compat)
    seconds = (time.perf_counter() - started) / len(items)
    done = tuple(Completion(place, seconds=seconds) for place in range(len(items)))
    shared = clusters(items)
    figures = [
        Figure(one, measures.interval(one, shared, samples=samples, seed=seed)) for one in found
    ]
    return Result(
        encoder.name,
        encoder.fingerprint,
        name,
        compat,
        Asked(tuple(items), done, reused),
        figures=tuple(figures),
        data=data(items),
        whole=whole or len(items),
    )


def embed(
    encoder: Encoder,
    items: Sequence[Item],
    folder: Path,
    on_item: Callable[[], None] | None = None,
) -> tuple[Vectors, int]:
    """A unit row for each item, (n, d), and how many of them an earlier run had."""
    rows = []
    reused = 0
    for chunk in _chunks(items):
        key = _key(
            encoder.fingerprint, *(one for item in chunk for one in ("item", *_digests(item)))
        )
        path = folder / f"{key}.npy"
        found = _kept(path, len(chunk))
        reused += 0 if found is None else len(chunk)
        if found is None:
            found = _embedded(encoder, chunk)
            _keep(path, found)
        rows.append(found)
        if on_item:
            for _ in chunk:
                on_item()
    return np.concatenate(rows), reused


def match(
    matcher: Matcher,
    fingerprint: str,
    items: Sequence[Item],
    pairs: NDArray[np.int64],
    folder: Path,
) -> Vectors:
    """The logit of each pair of a picture's and a text's place, (k,); kept picture by picture."""
    logits = np.full(len(pairs), np.nan, np.float32)
    order = np.argsort(pairs[:, 0], kind="stable")
    for picture, group in groupby(order.tolist(), key=lambda one: int(pairs[one, 0])):
        places = list(group)
        texts = [_text(items[int(pairs[one, 1])]) for one in places]
        path = folder / f"{_key(fingerprint, 'match', *_digests(items[picture]), *texts)}.npy"
        found = _kept(path, len(places))
        if found is None:
            found = matcher.match(items[picture].conversation.images, texts)
            if not np.isfinite(found).all():
                one = places[int((~np.isfinite(found)).argmax())]
                raise InputError(
                    f"{fingerprint}: the logit of {items[picture].id!r} with "
                    f"{items[int(pairs[one, 1])].id!r} is no finite number; nothing can be ranked by it."
                )
            _keep(path, found)
        logits[places] = found
    return logits


def limited(items: Sequence[Item], pictures: int | None) -> list[Item]:
    """The items of the first so many pictures; texts that belong to no one picture (classes) all stay."""
    if pictures is None:
        return list(items)
    shown = [item for item in items if item.conversation.images][:pictures]
    kept = {item.image or item.id for item in shown}
    return [item for item in items if not item.image or item.image in kept]


def _embedded(encoder: Encoder, items: Sequence[Item]) -> Vectors:
    """Unit rows of items that all show pictures, or all say texts. Raises InputError that names the item
    whose embedding has no direction."""
    parts = [item.conversation.messages[0].parts for item in items]
    if items[0].conversation.images:
        rows = encoder.embed_images(
            part for one in parts for part in one if isinstance(part, Image)
        )
    else:
        rows = encoder.embed_texts([part for one in parts for part in one if isinstance(part, str)])
    if len(rows) != sum(map(len, parts)):
        raise InputError(
            f"{encoder.name} gave {len(rows)} embeddings of {sum(map(len, parts))} pictures or texts; an item "
            "of this benchmark shows pictures alone or says texts alone."
        )
    ends = np.cumsum([len(one) for one in parts])
    means = np.stack(
        [rows[end - len(one) : end].mean(axis=0) for end, one in zip(ends, parts, strict=True)]
    )
    norms = np.linalg.norm(means.astype(np.float64), axis=1)
    for item, norm in zip(items, norms.tolist(), strict=True):
        if not np.isfinite(norm) or norm == 0:
            raise InputError(
                f"{encoder.name} gave {item.id!r} the embedding of length {norm}; expected finite numbers, "
                "not all 0: a cosine with it would mean nothing."
            )
    found: Vectors = (means / norms[:, None]).astype(np.float32)
    return found


def _chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    for _, group in groupby(items, key=lambda item: bool(item.conversation.images)):
        alike = list(group)
        for start in range(0, len(alike), CHUNK):
            yield alike[start : start + CHUNK]


def _digests(item: Item) -> list[str]:
    parts = item.conversation.messages[0].parts
    return [f"text {part}" if isinstance(part, str) else digest(part.source) for part in parts]


def _text(item: Item) -> str:
    return item.conversation.messages[0].text


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _folder(folder: Path, name: str, encoder: Encoder) -> Path:
    told = "".join(c if c.isalnum() or c in "-._" else "-" for c in encoder.name)[-60:]
    which = hashlib.sha256(encoder.fingerprint.encode()).hexdigest()[:8]
    return folder / "embeddings" / name.replace("/", "-") / f"{told}-{which}"


def _kept(path: Path, rows: int) -> Vectors | None:
    """What an earlier run kept; None where there is nothing, or a file that is not whole or holds no numbers."""
    try:
        found: Vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = len(found) == rows and found.dtype == np.float32 and np.isfinite(found).all()
    return found if whole else None


def _keep(path: Path, rows: Vectors) -> None:
    stream = io.BytesIO()
    np.save(stream, rows, allow_pickle=False)
    write(path, stream.getvalue())
