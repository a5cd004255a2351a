"""COCO retrieval: who finds whom among 5,000 photographs and their captions (files: see `_karpathy`)."""

from __future__ import annotations

from pathlib import Path

from looksay.evaluation.benchmark import Card, Item
from looksay.evaluation.benchmarks import _karpathy, _retrieval

CARD = Card(
    title="COCO retrieval",
    measures="Whether an encoder puts a photograph and its captions closest to each other.",
    needs={
        "dataset_coco.json": "Karpathy's split (or coco_karpathy_test.json, coco_karpathy_val.json "
        "of BLIP and LAVIS)",
        "val2014/": "images of COCO 2014",
    },
    where=_karpathy.WHERE,
    licence="captions: CC BY 4.0; images: Flickr's terms",
    loader="salesforce/BLIP: data/coco_karpathy_dataset.py, train_retrieval.py",
    paper="Lin et al., Microsoft COCO, ECCV 2014; split: Karpathy and Fei-Fei, CVPR 2015",
    variants=("test", "val"),
    compat=_retrieval.COMPAT,
)
FINDING = _retrieval.Finding(("TR", "IR"), top=256)
"""The candidates are those that BLIP looks at again on COCO (configs/retrieval_coco.yaml, k_test)."""
score_embeddings = FINDING.score_embeddings
candidates = FINDING.candidates
score_reranked = FINDING.score_reranked


def read(folder: Path, variant: str = "test") -> list[Item]:
    """The photographs of a split, then all their captions, as they are written. BLIP's loader has all of them
    too, a few more than five each, but lower-cased, without punctuation, at most 30 words."""
    found = [
        item
        for photo in _karpathy.photos(folder, variant)
        for item in _retrieval.items(photo.name, [photo.image], photo.captions)
    ]
    return _retrieval.in_order(found)
