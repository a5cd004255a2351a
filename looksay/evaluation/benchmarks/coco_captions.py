"""COCO captions, Karpathy's split: one sentence about each of 5,000 photographs.

One entry of dataset_coco.json: {"filepath": "val2014", "filename": "COCO_val2014_000000391895.jpg",
"cocoid": 391895, "split": "test", "sentences": [{"raw": "A man with a red helmet on a small moped.", …}, …]}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _captions, _karpathy
from looksay.evaluation.measures import Measure

CARD = Card(
    title="COCO captions (Karpathy)",
    measures="Whether a caption says what five people's captions of a photograph agree on.",
    needs={
        "dataset_coco.json": "Karpathy's split (or coco_karpathy_test.json, coco_karpathy_val.json "
        "of BLIP and LAVIS)",
        "val2014/": "images of COCO 2014",
    },
    where=_karpathy.WHERE,
    licence="CC BY 4.0 (captions); images: Flickr's terms",
    loader="salesforce/BLIP: data/coco_karpathy_dataset.py; scorer: tylin/coco-caption",
    paper="Karpathy and Fei-Fei, Deep Visual-Semantic Alignments for Generating Image Descriptions, "
    "CVPR 2015; Chen et al., Microsoft COCO Captions, 2015",
    variants=("test", "val"),
)


def read(folder: Path, variant: str = "test") -> list[Item]:
    """The photographs of test or val. `truth`: captions (five, sometimes six or seven)."""
    return [
        _captions.item(str(photo.number), photo.image, photo.name, photo.captions)
        for photo in _karpathy.photos(folder, variant)
    ]


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """CIDEr-D, BLEU-4, ROUGE-L and the captions' length."""
    return _captions.figures(_captions.texts(answers))
