"""MMBench-CN: MMBench's questions and options in Chinese, asked and scored in the same way.

One row of the table: index 1000241, question "在图像中…？", hint, A to D, answer "B", category
"object_localization", l2-category, image (base64).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.evaluation.benchmark import Answer, Card, Compat, Item
from looksay.evaluation.benchmarks import _mmbench
from looksay.evaluation.measures import Measure

LETTER_CN = "请直接回答选项字母。"
"""What LLaVA-1.5 adds to a Chinese question with lettered options (model_vqa_mmbench.py)."""

_FILES = {
    "dev": "mmbench_dev_cn_20231003.tsv",
    "dev-v1.0": "MMBench_DEV_CN.tsv",
    "dev-v1.1": "MMBench_DEV_CN_V11.tsv",
}

CARD = Card(
    title="MMBench-CN",
    measures="MMBench in Chinese: the same pictures, questions and options, translated.",
    needs={
        "mmbench_dev_cn_20231003.tsv": "dev: what LLaVA-1.5 is reported on",
        "MMBench_DEV_CN.tsv": "dev-v1.0: the same split as VLMEvalKit has it",
        "MMBench_DEV_CN_V11.tsv": "dev-v1.1: its revision",
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


def read(folder: Path, variant: str = "dev") -> list[Item]:
    """Every rotation of the dev questions."""
    return _mmbench.items(folder / _FILES[variant], LETTER_CN)


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """As MMBench. VLMEvalKit's rules fail on "答案是C", which strict reads."""
    return _mmbench.score(answers, compat)
