"""BLIP's claims (arXiv 2201.12086): matching ranks better than contrast, and CapFilt mends captions of the web."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from looksay.claims import released
from looksay.claims.base import Arm, Claim, Figure, Reported, Source
from looksay.claims.measuring import FOUND_FIRST, Retrieving, only
from looksay.errors import InputError

if TYPE_CHECKING:
    from looksay.claims.build import Trainer
    from looksay.data import dataset
    from looksay.models.families.blip import Blip
    from looksay.training.stages import Stage

MENDED_STEPS = 500
"""Of every pre-training of CapFilt."""
TUNED = 150
"""Of captioner and filter."""
PICTURES = 6_000
"""With a text of the web each."""
PEOPLE = 2_000
"""With a true caption each."""
AGAIN = 16
"""Candidates that matching looks at; the paper takes 128 of 1,000."""
_NOUNS = Figure("noun recall, same background")
_CAPTIONS = Figure("in short: CIDEr-D")
_SEEN = Figure("in short: object recall")
_PAPER = "Li et al., BLIP: Bootstrapping Language-Image Pre-training, 2022"
_ADDRESS = "https://arxiv.org/abs/2201.12086"


def _new(size: str, seed: int) -> tuple[Blip, list[Stage]]:
    """A model that has learned nothing, over the tower that all share."""
    import torch

    from looksay.training.recipes import blip

    found = released.parts(size)
    torch.manual_seed(seed)
    return blip.model(size, seed, found.tower), found.tower_stages


def _pretrained(size: str, seed: int) -> tuple[Any, list[Stage]]:
    """The recipe up to its stage pretrain."""
    from looksay.training.recipes import blip

    model, before = _new(size, seed)
    return model, [*before, *blip.joining(seed)[:2]]


def _web(size: str, seed: int) -> tuple[Any, list[Stage]]:
    """Pre-training on the web's texts as they are, and some of people."""
    from looksay.training.recipes import capfilt

    model, before = _new(size, seed)
    return model, [*before, *capfilt.again(*_texts(seed), MENDED_STEPS)]


def _texts(seed: int, share: float = 1.0) -> tuple[dataset.Source, dataset.Source]:
    """The web's, of which 40 % are wrong, and people's."""
    from looksay.data.dataset import Part
    from looksay.training.recipes import capfilt

    pictures, people = (max(64, round(count * share)) for count in (PICTURES, PEOPLE))
    return Part(capfilt.web(seed), 0, pictures), Part(capfilt.human(seed), 0, people)


def _mended(arm: str) -> Callable[[str, int, Trainer], dataset.Source]:
    """What the arm's round keeps of the web's texts and writes beside them, and people's."""

    def data(size: str, seed: int, train: Trainer) -> dataset.Source:
        from looksay.training.recipes import capfilt
        from looksay.training.stages import TrainingError

        pretrained = train(*_web(size, seed))
        web, people = _texts(seed, train.share)
        try:
            kept = capfilt.mended(
                arm,
                pretrained,
                web,
                people,
                train.folder / f"round-{pretrained.name}",
                lambda name, model, stages: train(model, stages),
                tuned=TUNED,
                # The filter of a trial has learned nothing, and might reject everything.
                least=0.0 if train.share == 1 else float("-inf"),
                device=train.how.get("device", "auto"),
            )
        except InputError as error:  # nothing was kept
            raise TrainingError(str(error)) from error
        return capfilt.again(kept, people, MENDED_STEPS)[-1].data

    return data


def _arm(name: str, how: str) -> Arm:
    data = None if how == "none" else _mended(how)
    return Arm(name, _web, released.ALONE, only("caption"), data)


_CONTRAST = Arm("contrast alone", _pretrained, released.ALONE, Retrieving())

CLAIMS = (
    Claim(
        "capfilt",
        "Of data in which 40 % of the captions are wrong a new model learns best when a captioner writes and a filter "
        "drops captions; a captioner alone is worse, a filter alone worse still, and neither the worst.",
        (
            _arm("neither", "none"),
            _arm("filter alone", "filter"),
            _arm("captioner alone", "captioner"),
            _arm("both", "both"),
        ),
        _CAPTIONS,
        budget=f"once per seed: the first pre-training (contrast 600 steps, pretrain {MENDED_STEPS}; that is the arm `neither`), captioner and filter "
        f"({TUNED} each), texts and verdicts for {PICTURES:,} pictures; once per other arm and seed: pre-training of a "
        f"new model (600 and {MENDED_STEPS}). The hours leave out texts and verdicts",
        source=Source(_PAPER, _ADDRESS, "table 1 (14M images, ViT-B)", checked=False),
        reported=(
            Reported(
                "COCO captions, CIDEr",
                {
                    "neither": "127.8",
                    "filter alone": "128.2",
                    "captioner alone": "128.9",
                    "both": "129.7",
                },
            ),
            Reported(
                "NoCaps, CIDEr",
                {
                    "neither": "102.2",
                    "filter alone": "102.7",
                    "captioner alone": "103.4",
                    "both": "105.1",
                },
            ),
            Reported(
                "COCO retrieval, TR@1",
                {
                    "neither": "78.4",
                    "filter alone": "79.1",
                    "captioner alone": "79.7",
                    "both": "80.6",
                },
            ),
            Reported(
                "COCO retrieval, IR@1",
                {
                    "neither": "60.7",
                    "filter alone": "61.5",
                    "captioner alone": "62.0",
                    "both": "63.1",
                },
            ),
        ),
        sight=_SEEN,
        note="The paper tunes the new model on COCO before it measures; here it is measured as it is. All arms learn a "
        "quarter of the time from the same true captions, those by which captioner and filter were tuned. In every arm "
        "the tower is there already.",
    ),
    Claim(
        "rerank",
        "Ranking the first candidates of contrast again by matching finds more.",
        (
            _CONTRAST,
            replace(_CONTRAST, name="matching too", measure=Retrieving(AGAIN)),
            replace(_CONTRAST, name="both weighed", measure=Retrieving(AGAIN, weighed=True)),
        ),
        Figure(FOUND_FIRST),
        budget="once per seed: contrast (600 steps) and pretrain (800); all arms are the same model",
        source=Source(_PAPER, _ADDRESS, "section 5.1", checked=False),
        benchmark="scenes_retrieval/test",
        sight=_NOUNS,
        sighted=(),
        note=f"The paper prints figures of both together only. The model learned from true captions. Matching looks at the first {AGAIN} of "
        "each query. `matching too` is the published sum of its log-odds and the cosine; `both weighed` takes the cosine over "
        "the temperature that the model has learned, so that either judge is a log-odds.",
    ),
)
