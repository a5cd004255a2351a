"""MSVD: who finds whom among 670 videos and about forty sentences each, without training on videos.

test_list.txt has a video's name per line ("-4wsuPCjDBc_5_15"); raw-captions.pkl is a pickled dictionary from names
to sentences as lists of words: {"-4wsuPCjDBc_5_15": [["a", "squirrel", "is", "eating", "a", "peanut"], …], …}.
"""

from __future__ import annotations

from pathlib import Path

from looksay.data import pickles
from looksay.data.reading import Place, kind
from looksay.errors import InputError
from looksay.evaluation.benchmark import Card, Item
from looksay.evaluation.benchmarks import _frames, _retrieval, _text

CARD = Card(
    title="MSVD retrieval, zero-shot",
    measures="Whether an encoder of pictures puts a video's frames and sentences about it closest together.",
    needs={
        "test_list.txt": "names of the videos",
        "raw-captions.pkl": "sentences about all videos",
        _frames.FOLDER: _frames.WHAT,
    },
    where="https://github.com/ArrowLuo/CLIP4Clip/releases/download/v0.0/msvd_data.zip",
    licence="research (Microsoft Research Video Description Corpus); videos: YouTube's",
    loader="ArrowLuo/CLIP4Clip: dataloaders/dataloader_msvd_retrieval.py",
    paper="Chen and Dolan, Collecting Highly Parallel Data for Paraphrase Evaluation, ACL 2011",
    compat=_retrieval.COMPAT,
)
FINDING = _retrieval.Finding(("video to text", "text to video"), pictures_first=False)
score_embeddings = FINDING.score_embeddings


def read(folder: Path, variant: str = "") -> list[Item]:
    """The videos of the list, eight frames each, then their sentences."""
    path, captions, home = (folder / name for name in CARD.needs)
    said = _captions(captions)
    names = [line.strip() for line in _text.lines(path)]
    found: dict[str, list[Item]] = {}
    for number, video in enumerate(names):
        place = Place(path, number, len(names), {"id": video})
        if video in found:
            place.fail("this video was there before.")
        texts = said.get(video)
        if not texts:
            place.fail(f"{captions} has no sentence about it, among {len(said)} videos.")
        seen = _frames.frames(place, home, video)
        found[video] = _retrieval.items(video, seen, texts)
    if not found:
        raise InputError(f"{path} names no video.")
    return _retrieval.in_order([item for some in found.values() for item in some])


def _captions(path: Path) -> dict[str, list[str]]:
    found = pickles.load(path, "a dictionary of lists of words")
    if not isinstance(found, dict):
        raise InputError(
            f"{path}: expected a dictionary from videos to sentences; found {kind(found)}."
        )
    for video, sentences in found.items():
        for words in sentences if isinstance(sentences, list) else [None]:
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise InputError(
                    f"{path}, video {video!r}: expected sentences as lists of words; found {kind(words)}."
                )
    return {str(video): [" ".join(words) for words in found[video] if words] for video in found}
