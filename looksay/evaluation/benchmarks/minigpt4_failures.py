"""MiniGPT-4's failure rate: descriptions and poems that repeat themselves, fall apart or miss the picture.

Files are those of Karpathy's split, see `_karpathy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _karpathy
from looksay.evaluation.measures import Measure, of_samples
from looksay.evaluation.metrics import minigpt4
from looksay.texts.coco_objects import COCO, present
from looksay.types import Conversation

CARD = Card(
    title="MiniGPT-4: failures",
    measures="How often long answers repeat themselves, break off, are empty or miss the picture, by rules.",
    needs={"dataset_coco.json": "Karpathy's splits", "val2014/": "images of COCO 2014"},
    where=_karpathy.WHERE,
    licence="captions: CC BY 4.0; images: Flickr's terms",
    loader="none; requests as in the paper, section 4.3, where people counted: compare drops, not levels",
    paper="Zhu et al., MiniGPT-4: Enhancing Vision-Language Understanding, ICLR 2024",
    variants=("description", "poem"),
)
REQUESTS = {
    "description": "Describe the image in detail.",
    "poem": "Can you write a beautiful poem about this image?",
}
IMAGES = 100
"""As many as the paper draws from COCO's test set; here they are spread evenly over Karpathy's."""
REFRAINS = 4
"""A line of a poem fails when it comes so often; a sentence of a description when it comes twice."""
_TOKENS = 512


def read(folder: Path, variant: str = "description") -> list[Item]:
    """One request about each of the images. `truth`: objects that the captions name, task."""
    every = _karpathy.photos(folder, "test")
    count = min(IMAGES, len(every))
    chosen = [every[place * len(every) // count] for place in range(count)]
    return [
        Item(
            photo.name,
            Conversation.ask(photo.image, REQUESTS[variant]),
            {"objects": sorted(present((), photo.captions)), "task": variant},
            image=photo.name,
            max_tokens=_TOKENS,
        )
        for photo in chosen
    ]


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """The share that fails, then each rule; an answer can break several. Less is better."""
    broken = {a.item.id: broken_rules(a) for a in answers}
    return [
        of_samples("failed", {name: float(bool(r)) for name, r in broken.items()}, better=-1),
        *(
            of_samples(rule, {name: float(rule in r) for name, r in broken.items()}, better=-1)
            for rule in minigpt4.RULES
        ),
    ]


def broken_rules(answer: Answer) -> tuple[str, ...]:
    """The rules that an answer breaks. Off topic: it has no word for any object that the captions name;
    captions without an object of COCO's classes leave that out."""
    topic = {word for name in answer.item.truth["objects"] for word in _words(name)}
    refrains = REFRAINS if answer.item.truth["task"] == "poem" else 2
    return minigpt4.failures(answer.text, topic, sentences=refrains)


@cache
def _words(name: str) -> frozenset[str]:
    """Every word for a class; of names of several words the last ("traffic light": light)."""
    return frozenset(word.split()[-1] for word, known in COCO.classes.items() if known == name)
