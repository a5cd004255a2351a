"""Flickr30k: who finds whom among 1,000 photographs and their five captions each.

dataset_flickr30k.json: {"images": [{"filename": "1000092795.jpg", "imgid": 0, "split": "train", "sentids": [0, …],
"sentences": [{"raw": "Two young guys with shaggy hair look at their hands.", "tokens": ["two", …], "imgid": 0,
"sentid": 0}, …]}, …], "dataset": "flickr30k"}.
"""

from __future__ import annotations

from pathlib import Path

from looksay.data.reading import Place, entries, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Card, Item
from looksay.evaluation.benchmarks import _karpathy, _retrieval

CARD = Card(
    title="Flickr30k retrieval",
    measures="Whether an encoder puts a photograph and its captions closest to each other.",
    needs={"dataset_flickr30k.json": "Karpathy's split", "flickr30k-images/": "photographs"},
    where=f"{_karpathy.WHERE}; photographs: https://shannon.cs.illinois.edu/DenotationGraph/",
    licence="research and teaching, not for profit; photographs: Flickr's terms",
    loader="salesforce/BLIP: data/flickr30k_dataset.py, train_retrieval.py",
    paper="Young et al., From Image Descriptions to Visual Denotations, TACL 2014",
    variants=("test", "val"),
    compat=_retrieval.COMPAT,
)
FINDING = _retrieval.Finding(("TR", "IR"), top=128)
"""The candidates are those that BLIP looks at again on Flickr30k, from memory of its configuration (k_test)."""
score_embeddings = FINDING.score_embeddings
candidates = FINDING.candidates
score_reranked = FINDING.score_reranked


def read(folder: Path, variant: str = "test") -> list[Item]:
    """The photographs of a split, then their captions, as they are written (BLIP's loader lower-cases them,
    removes punctuation and keeps 30 words)."""
    path, images = (folder / name for name in CARD.needs)
    rows = entries(path, load_json(path), "images")
    found: dict[str, list[Item]] = {}
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row, "imgid")
        if place.one_of(row, "split", _karpathy.SPLITS) != variant:
            continue
        name = place.words(row, "filename")
        if name in found:
            place.fail(f"the image {name!r} was there before.")
        said = place.get(row, "sentences", list, "a list of captions")
        if not said:
            place.fail("there is no caption.")
        texts = [place.words(one, "raw") for one in said]
        found[name] = _retrieval.items(name, [place.image(images, name)], texts)
    if not found:
        raise InputError(f"{path} has no image of the split {variant!r}.")
    return _retrieval.in_order([item for some in found.values() for item in some])
