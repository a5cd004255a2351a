"""MSR-VTT: who finds whom among 1,000 videos and a sentence about each, without training on videos.

One line of msrvtt_test.jsonl: {"clip_name": "video9770", "caption": "a person is connecting something to system",
…}; the thousand are those of MSRVTT_JSFUSION_test.csv ("1k-A").
"""

from __future__ import annotations

from pathlib import Path

from looksay.data.reading import Place, load_json
from looksay.evaluation.benchmark import Card, Item
from looksay.evaluation.benchmarks import _frames, _retrieval

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
FINDING = _retrieval.Finding(("video to text", "text to video"), top=64, pictures_first=False)
"""The candidates are those that BLIP looks at again on MSR-VTT, from memory of its configuration (k_test)."""
score_embeddings = FINDING.score_embeddings
candidates = FINDING.candidates
score_reranked = FINDING.score_reranked


def read(folder: Path, variant: str = "") -> list[Item]:
    """The videos, eight frames each, then the sentences.

    A video is embedded as the mean of its frames' unit vectors; BLIP takes the mean before it makes them unit
    vectors.
    """
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
