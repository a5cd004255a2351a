"""How a trained arm becomes samples: it is asked, or pictures and texts look for each other in what it embeds.

Whatever the way, a `Result` comes of it, so that all else (results, verdicts, the page) knows of no ways.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from looksay.errors import BackendError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from looksay.backends._local_encoder import LocalMatcher
    from looksay.evaluation.benchmark import Item
    from looksay.evaluation.run import Result

DESCRIBED = 200
"""Of the scenes, where descriptions show no more than whether a model sees."""
FOUND_FIRST = "recall at 1"
"""Of pictures that look for their caption and captions that look for their picture, how many find it first."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the arms of a claim are measured on."""

    name: str
    """Of the benchmark, with its variant."""
    benchmark: Any
    items: list[Item]
    folder: Path
    """For answers and vectors."""
    device: str


class Measuring(Protocol):
    """A way to measure. Arms of one trained model may differ in it alone."""

    def __call__(self, place: Path, task: Task) -> Result:
        """The figures of the model in the folder `place`, without intervals; what `task.folder` holds is not made
        again. Raises InputError (a model or a benchmark that cannot be measured so) and BackendError."""


@dataclass(frozen=True, slots=True)
class Asking:
    """The model answers the benchmark's items, or what `items` makes of them: fewer, in other words, after
    examples."""

    items: Callable[[Sequence[Item]], list[Item]] | None = None

    def __call__(self, place: Path, task: Task) -> Result:
        from looksay.backends import local
        from looksay.backends.base import LoadOptions
        from looksay.evaluation import run
        from looksay.types import Options

        items = self.items(task.items) if self.items else task.items
        # Named by its stage: claims that share a model share its answers.
        backend = local.open_folder(place.name, place, LoadOptions(device=task.device))
        # Intervals are made over all seeds, so none is wanted here.
        result = run.evaluate(
            backend, task.name, task.benchmark, items, task.folder, options=Options(), samples=1
        )
        if result.failures:
            item, fault = result.failures[0]
            raise BackendError(
                f"{place} did not answer {len(result.failures)} of {len(items)} items ({item}: {fault}). Type the "
                "same again: only these are asked."
            )
        return result


@dataclass(frozen=True, slots=True)
class Retrieving:
    """Pictures look for captions and captions for pictures; a model whose pictures have several vectors (BLIP-2's
    queries) is compared by the best of them.

    With `again`, the model's matching head orders each query's first candidates, so many of them, by its log-odds plus
    the similarity (BLIP); `weighed`: plus the similarity over the temperature that the model has learned, which makes
    a log-odds of it, too. What an item is given as its answer is the place at which its own was found, from 1.
    """

    again: int = 0
    weighed: bool = False

    def __call__(self, place: Path, task: Task) -> Result:
        import numpy as np

        from looksay.evaluation import embedding, measures, run
        from looksay.evaluation.benchmarks import scenes_retrieval
        from looksay.evaluation.metrics import retrieval
        from looksay.types import Completion

        started = time.perf_counter()
        encoder = encoder_of(place, task.device, matches=self.again > 0)
        kept = task.folder / "embeddings" / task.name.replace("/", "-") / place.name
        pictures = [n for n, item in enumerate(task.items) if item.conversation.images]
        texts = [n for n, item in enumerate(task.items) if not item.conversation.images]
        seen, read = (
            embedding.embed(encoder, [task.items[n] for n in side], kept)[0]
            for side in (pictures, texts)
        )
        similarity = best(seen, read)
        told = np.array([bool(task.items[n].image) for n in texts])
        captions = [n for n, one in zip(texts, told, strict=True) if one]
        belongs = np.array(
            [[task.items[c].image == task.items[p].image for c in captions] for p in pictures]
        )
        rows: dict[str, tuple[float, float]] = {}
        ranks: dict[str, int] = {}
        for queries, own in (("images", pictures), ("texts", captions)):
            ranked = similarity[:, told]
            if self.again:
                ranked = self._again(encoder, task, kept, ranked, (pictures, captions), queries)
            turned = (ranked, belongs) if queries == "images" else (ranked.T, belongs.T)
            for n, rank in zip(own, retrieval.ranks(*turned, ties="against").tolist(), strict=True):
                rows[task.items[n].id] = (float(rank < 1), 1.0)
                ranks[task.items[n].id] = rank + 1
        row_of = {n: row for row, n in enumerate(pictures)}
        column_of = {n: column for column, n in enumerate(texts)}
        nouns = scenes_retrieval.nouns_found(
            task.items, lambda one, some: similarity[row_of[one], [column_of[n] for n in some]]
        )
        seconds = (time.perf_counter() - started) / len(task.items)
        said = tuple(
            Completion(n, str(ranks.get(item.id, "")), seconds=seconds)
            for n, item in enumerate(task.items)
        )
        found = [measures.Measure(FOUND_FIRST, rows), nouns]
        return run.Result(
            encoder.name,
            f"{encoder.fingerprint}-retrieval{self.again or ''}{'-weighed' * self.weighed}",
            task.name,
            "strict",
            run.Asked(tuple(task.items), said, 0),
            figures=tuple(run.Figure(m, measures.interval(m, samples=1)) for m in found),
        )

    def _again(
        self,
        encoder: LocalMatcher,
        task: Task,
        kept: Path,
        similarity: NDArray[np.float64],
        sides: tuple[list[int], list[int]],
        queries: Any,
    ) -> NDArray[np.float64]:
        """Similarities with the candidates of each query in the order of the matching head."""
        import numpy as np

        from looksay.evaluation import embedding
        from looksay.evaluation.metrics import retrieval

        top = min(self.again, *similarity.shape)
        chosen = retrieval.candidates(similarity, top, queries=queries)
        where = np.zeros(similarity.shape, bool)
        np.put_along_axis(where, chosen, True, 1 if queries == "images" else 0)
        rows, columns = where.nonzero()
        pictures, captions = (np.array(side, np.int64) for side in sides)
        pairs = np.stack([pictures[rows], captions[columns]], axis=1)
        logits = np.full(similarity.shape, np.nan)
        logits[rows, columns] = embedding.match(
            encoder, encoder.fingerprint, task.items, pairs, kept
        )
        temperature = encoder.temperature if self.weighed else 1.0
        return retrieval.reranked(similarity, logits, top, queries=queries, temperature=temperature)


def best(pictures: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines, pictures × texts, of the vector of each picture that is most like the text. Rows of pictures are as
    many vectors of equal length as they are times as wide as texts; rounded, so that equal ones tie."""
    import numpy as np

    width = texts.shape[1]
    count = pictures.shape[1] // width
    exact = texts.astype(np.float64).T
    rows = [
        (row.reshape(count, width).astype(np.float64) @ exact).max(axis=0) * math.sqrt(count)
        for row in pictures
    ]
    return np.round(np.stack(rows), 6)


class _Queries:
    """A model whose pictures have several vectors, side by side in one row."""

    def __init__(self, model: Any) -> None:
        self.device, self.embed_texts, self.match = model.device, model.embed_texts, model.match
        self._model = model

    def embed_images(self, images: Any) -> Tensor:
        found: Tensor = self._model.embed_queries(images).flatten(1)
        return found


def encoder_of(place: Path, device: str, matches: bool = False) -> LocalMatcher:
    """The model of a folder as what embeds (`matches`: and looks at a picture and a text together). Raises InputError
    where it does not."""
    from looksay.backends import local
    from looksay.backends._batches import DEFAULT
    from looksay.backends._local_encoder import LocalMatcher
    from looksay.backends.base import LoadOptions

    options = LoadOptions(device=device, dtype="float32")
    model, content, fingerprint = local.opened(place.name, place, options)
    if not hasattr(model, "embed_images") or (matches and not hasattr(model, "match")):
        raise InputError(
            f"{place} is a {content['family']}, which does not embed{' and match' if matches else ''} pictures and "
            "texts. Expected a family that does, such as blip or blip2."
        )
    if hasattr(model, "embed_queries"):
        model, fingerprint = _Queries(model), f"{fingerprint}-queries"
    return LocalMatcher(place.name, fingerprint, model, DEFAULT[model.device.type])


def only(*kinds: str) -> Asking:
    """Ask the items of these kinds alone."""
    return Asking(lambda items: [item for item in items if item.kind in kinds])


def informed(*kinds: str, wrong: float = 0.0, lacking: str = "") -> Asking:
    """Ask as `asked`, with findings (`looksay.evaluation.benchmarks.scenes.informed`)."""

    def told(items: Sequence[Item]) -> list[Item]:
        from looksay.evaluation.benchmarks import scenes

        return scenes.informed(asked(items, kinds), wrong, lacking)

    return Asking(told)


def asked(items: Sequence[Item], kinds: Collection[str]) -> list[Item]:
    """The items of these kinds, and as many descriptions as show whether a model sees."""
    described = [item for item in items if item.kind == "description"][:DESCRIBED]
    return [*described, *(item for item in items if item.kind in kinds)]
