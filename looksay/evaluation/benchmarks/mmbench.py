"""MMBench: twenty abilities, options asked in every order, credit only where every order is answered right.

One row of the table: index 1000241 (question 241, options shifted by one), question, hint, A to D, answer
"B", category "object_localization", l2-category "finegrained_perception (instance-level)", image (base64).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _mmbench
from looksay.evaluation.benchmarks._asking import LETTER
from looksay.evaluation.measures import Measure

_FILES = {
    "dev": "mmbench_dev_20230712.tsv",
    "dev-20231003": "mmbench_dev_en_20231003.tsv",
    "dev-v1.0": "MMBench_DEV_EN.tsv",
    "dev-v1.1": "MMBench_DEV_EN_V11.tsv",
}

CARD = Card(
    title="MMBench",
    measures="Lettered choices over twenty abilities, robust against a liking for one letter.",
    needs={
        "mmbench_dev_20230712.tsv": "dev: what LLaVA-1.5 is reported on",
        "mmbench_dev_en_20231003.tsv": "dev-20231003: what MMBench's page has had since",
        "MMBench_DEV_EN.tsv": "dev-v1.0: the same split as VLMEvalKit has it",
        "MMBench_DEV_EN_V11.tsv": "dev-v1.1: its revision",
    },
    where="https://github.com/open-compass/MMBench",
    licence="none stated in its README; pictures from public data sets and the web",
    loader="open-compass/VLMEvalKit: vlmeval/dataset/image_base.py, image_mcq.py, utils/multiple_choice.py; "
    "prompt: haotian-liu/LLaVA, llava/eval/model_vqa_mmbench.py",
    paper="Liu et al., MMBench: Is Your Multi-modal Model an All-around Player?, ECCV 2024",
    variants=tuple(_FILES),
    compat=("strict", "vlmevalkit"),
    likelihood=True,
)
"""The test split's answers are not public. Each variant needs its own file alone."""


def read(folder: Path, variant: str = "dev") -> list[Item]:
    """Every rotation of the dev questions (1,164 questions, 4,377 rows in the file of July 2023)."""
    return _mmbench.items(folder / _FILES[variant], LETTER)


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Circular accuracy first, then by ability, on the options as given, and what could not be read."""
    return _mmbench.score(answers, compat)
