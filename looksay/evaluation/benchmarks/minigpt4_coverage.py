"""MiniGPT-4's measure of long descriptions: does a description cover a person's caption of the picture?

Files are those of Karpathy's split, see `_karpathy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _karpathy
from looksay.evaluation.benchmarks._judging import verdicts_of, yes
from looksay.evaluation.measures import Measure, of_samples
from looksay.texts import ptb
from looksay.types import Conversation

CARD = Card(
    title="MiniGPT-4: coverage",
    measures="Whether descriptions cover the objects and relations of a person's caption; a judge says.",
    needs={"dataset_coco.json": "Karpathy's splits", "val2014/": "images of COCO 2014"},
    where=_karpathy.WHERE,
    licence="captions: CC BY 4.0; images: Flickr's terms",
    loader="none; request and question as in the paper, section 4.2 and the appendix on caption evaluation",
    paper="Zhu et al., MiniGPT-4: Enhancing Vision-Language Understanding, ICLR 2024",
    variants=("long", "short"),
)
"""short: what a caption of a few words covers, for comparison."""
REQUESTS = {
    "long": "Please describe this image as detailed as possible.",
    "short": "Please describe the image shortly and precisely, in less than 20 words.",
}
"""The paper's two prompts for its study of hallucination; for coverage it names none."""
_TOKENS = 512
_VERDICT_TOKENS = 16


def read(folder: Path, variant: str = "long") -> list[Item]:
    """The test split's 5,000 images. `truth`: caption, the first of each image (the paper draws one)."""
    return [
        Item(
            photo.name,
            Conversation.ask(photo.image, REQUESTS[variant]),
            {"caption": photo.captions[0]},
            image=photo.name,
            max_tokens=_TOKENS,
        )
        for photo in _karpathy.photos(folder, "test")
    ]


def judge(answers: Sequence[Answer]) -> list[Item]:
    """The paper's question; the judge sees text alone."""
    return [
        Item(
            answer.item.id,
            Conversation.ask(
                f"There is one image caption1 '{answer.item.truth['caption']}', and there is another image "
                f"caption2 '{answer.text}'. Does image caption2 cover all the objects and visual relations "
                "shown in image caption1? Only answer yes or no without any explanation."
            ),
            max_tokens=_VERDICT_TOKENS,
        )
        for answer in answers
    ]


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """The share covered (the paper: MiniGPT-4 66.2, BLIP-2 27.5, judged by ChatGPT), and beside it the
    length in words, since a longer description covers more."""
    found = verdicts_of(answers, verdicts, yes)
    words = {a.item.id: float(len(ptb.tokenize(a.text))) for a in answers}
    return [
        of_samples("covered", {name: float(said) for name, said in found.items()}),
        of_samples("words", dict(words), scale=1.0, better=0),
    ]
