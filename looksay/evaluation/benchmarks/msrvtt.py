"""MSR-VTT: who finds whom among 1,000 videos and a sentence about each, without training on videos.

One line of msrvtt_test.jsonl: {"clip_name": "video9770", "caption": "a person is connecting something to system",
…}; the thousand are those of MSRVTT_JSFUSION_test.csv ("1k-A").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, load_json
from looksay.evaluation.benchmark import Card, Compat, Item
from looksay.evaluation.benchmarks import _frames, _retrieval
from looksay.evaluation.benchmarks._retrieval import Pairs, Vectors
from looksay.evaluation.measures import Measure

CARD = Card(
    title="MSR-VTT retrieval, zero-shot",
    measures="Whether an encoder of pictures puts a video's frames and a sentence about it closest together.",
    needs={"msrvtt_test.jsonl": "clips and sentences", _frames.FOLDER: _frames.WHAT},
    where="https://storage.googleapis.com/sfr-vision-language-research/datasets/msrvtt_test.jsonl",
    licence="research (Microsoft's terms); videos: YouTube's",
    loader="salesforce/BLIP: data/video_dataset.py, eval_retrieval_video.py",
    paper="Xu et al., MSR-VTT, CVPR 2016; zero-shot from pictures: Li et al., BLIP, ICML 2022",
    compat=_retrieval.COMPAT,
)
WAYS = ("video to text", "text to video")
TOP = 64
"""Candidates that BLIP looks at again on MSR-VTT, from memory of its configuration (k_test)."""


def read(folder: Path, variant: str = "") -> list[Item]:
    """The videos, eight frames each, then the sentences."""
    path, home = (folder / name for name in CARD.needs)
    rows = load_json(path, lines=True)
    found: dict[str, list[Item]] = {}
    for number, row in enumerate(rows):
        place = Place(path, number, len(rows), row, "clip_name")
        video = place.words(row, "clip_name")
        if video in found:
            place.fail(f"the video {video!r} was there before.")
        seen = _frames.frames(place, home, video)
        found[video] = _retrieval.items(video, seen, [place.words(row, "caption")])
    return _retrieval.in_order([item for some in found.values() for item in some])


def score_embeddings(
    items: Sequence[Item], vectors: Vectors, compat: Compat = "strict"
) -> list[Measure]:
    """Text to video, which papers print, then video to text, at 1, 5 and 10.

    A video is the mean of its frames' unit vectors; BLIP takes the mean before it makes them unit vectors.
    """
    found = _retrieval.score(items, vectors, compat, WAYS)
    return found[len(_retrieval.AT) :] + found[: len(_retrieval.AT)]


def candidates(items: Sequence[Item], vectors: Vectors) -> Pairs:
    """See `_retrieval.candidates`."""
    return _retrieval.candidates(items, vectors, TOP)


def score_reranked(
    items: Sequence[Item],
    vectors: Vectors,
    pairs: Pairs,
    logits: Vectors,
    compat: Compat = "strict",
) -> list[Measure]:
    """See `_retrieval.score_reranked`."""
    found = _retrieval.score_reranked(items, vectors, pairs, logits, compat, WAYS, TOP)
    return found[len(_retrieval.AT) :] + found[: len(_retrieval.AT)]
