"""What benchmarks of captions share: items of pictures with references, and COCO's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.benchmarks._asking import CAPTION, SHORT
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics import bleu, cider, rouge
from looksay.texts import ptb
from looksay.types import Conversation, Image

Texts = Mapping[str, tuple[str, Sequence[str]]]
"""Sample's id → its caption and the captions that it is held to."""
Pairs = Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]]
"""The same as tokens."""


def item(name: str, image: Image, file: str, captions: Sequence[str], kind: str = "") -> Item:
    """A picture whose caption is held to several. `truth`: captions."""
    truth: dict[str, Any] = {"captions": list(captions)}
    return Item(name, Conversation.ask(image, CAPTION), truth, file, kind, max_tokens=SHORT)


def texts(answers: Sequence[Answer]) -> dict[str, tuple[str, Sequence[str]]]:
    """Answers and the `captions` of their truth."""
    return {a.item.id: (a.text, a.item.truth["captions"]) for a in answers}


def figures(texts: Texts) -> list[Measure]:
    """CIDEr-D (a hundredfold, as papers print it), BLEU-4, ROUGE-L, tokens per caption, empty captions.

    CIDEr-D weighs n-grams by how rare they are among the references of the samples given, so that figures of
    a part are not those of the whole, and one picture alone has 0; the table stays the same in resamples.
    An empty caption scores 0 everywhere.
    """
    return of_tokens(
        {
            one: (ptb.tokenize(said), [ptb.tokenize(reference) for reference in references])
            for one, (said, references) in texts.items()
        }
    )


def of_tokens(
    pairs: Pairs, frequencies: cider.Frequencies | None = None, orders: Sequence[int] = (4,)
) -> list[Measure]:
    """`figures` of captions that are tokens already, with BLEU of all `orders`; `frequencies` in place of
    those of the references."""
    return [
        cider_d(pairs, frequencies=frequencies),
        *bleus(pairs, *orders),
        rouge_l(pairs),
        of_samples(
            "length",
            {one: float(len(said)) for one, (said, _) in pairs.items()},
            scale=1.0,
            better=0,
        ),
        of_samples(
            "unreadable", {one: float(not said) for one, (said, _) in pairs.items()}, better=-1
        ),
    ]


def cider_d(
    pairs: Pairs,
    name: str = "CIDEr-D",
    variant: Literal["D", "original"] = "D",
    frequencies: cider.Frequencies | None = None,
) -> Measure:
    """CIDEr over the samples given, 0 to 1000 as it is printed."""
    sides = [said for said, _ in pairs.values()], [given for _, given in pairs.values()]
    scores = cider.cider(*sides, variant=variant, frequencies=frequencies) if pairs else []
    return of_samples(name, dict(zip(pairs, scores, strict=True)))


def rouge_l(pairs: Pairs) -> Measure:
    """ROUGE-L, the mean over the samples."""
    return of_samples("ROUGE-L", {one: rouge.rouge_l(*pair) for one, pair in pairs.items()})


def bleus(pairs: Pairs, *orders: int) -> list[Measure]:
    """BLEU of these orders, 1 to 4, from the counts of the samples, which add up."""
    counts = {one: bleu.counts(*pair) for one, pair in pairs.items()}
    rows = {
        one: (float(c.length), float(c.reference), *map(float, c.correct + c.guessed))
        for one, c in counts.items()
    }
    return [Measure(f"BLEU-{n}", rows, partial(_bleu, n)) for n in orders]


def _bleu(n: int, length: float, reference: float, *grams: float) -> float:
    half = len(grams) // 2
    correct, guessed = tuple(map(round, grams[:half])), tuple(map(round, grams[half:]))
    return bleu.bleu(bleu.Counts(round(length), round(reference), correct, guessed))[n - 1]
