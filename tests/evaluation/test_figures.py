"""Every figure of a benchmark that ships has a sentence that says what it is, and chance is what the docs say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

np = pytest.importorskip("numpy", reason="no numpy: no benchmarks")

from looksay.evaluation import benchmark, figures, published  # noqa: E402
from looksay.evaluation.benchmarks import _retrieval, scenes_retrieval  # noqa: E402
from looksay.evaluation.metrics import scenes as texts  # noqa: E402
from looksay.evaluation.metrics.minigpt4 import RULES  # noqa: E402
from looksay.evaluation.metrics.mme import PERCEPTION  # noqa: E402

FOLDER = Path(benchmark.__file__).parent / "benchmarks"
MAKERS = {"Measure", "of_samples", "of_verdicts", "mean", "cider_d", "figure"}


def written() -> Iterator[tuple[str, str]]:
    """(benchmark, figure) of all names that stand as they are in the benchmarks' own files."""
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id not in MAKERS:
                    continue
                # `figure` and `of_verdicts` take the name that is shown second.
                given = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
                if names := [one for one in given if isinstance(one, str)]:
                    yield path.stem, names[-1]


def made() -> Iterator[tuple[str, str]]:
    """Those that are put together."""
    yield from (("scenes", f"{how}{one}") for how in ("", "in short: ") for one in texts.MEASURES)
    yield from (("scenes", one) for one in ("questions", "text prior", "in short: CIDEr-D"))
    yield from (
        ("scenes", f"{how}{one}") for how in ("", "in short: ") for one in ("words", "failed")
    )
    yield from (("minigpt4_failures", rule) for rule in RULES)
    yield from (("mme", f"perception, 3 of {len(PERCEPTION)} tasks"), ("mme", "cognition"))
    yield from (("coco_captions", f"BLEU-{n}") for n in range(1, 5))
    yield ("nocaps", "CIDEr-D of near-domain alone")
    yield ("okvqa", "VQA accuracy, unstemmed")
    yield ("imagenet_clip", "among the first five")
    for also in ("", ", first 128 looked at again:"):
        for way in ("TR", "IR", "video to text", "text to video", *scenes_retrieval._FINDING.ways):
            yield from (("flickr30k", f"{way}{also} R@{k}") for k in _retrieval.AT)
    yield from (("scienceqa_judged", one) for one in ("either is right", "the judged alone"))
    yield ("scenes_retrieval", scenes_retrieval.NOUNS_FOUND)
    yield from ((one.benchmark, one.figure) for one in published.every())
    yield from ((name, "unreadable") for name in benchmark.names())


def test_every_figure_is_explained() -> None:
    named = {*written(), *made()}
    assert len(named) > 150
    assert [one for one in sorted(named) if not figures.means(*one)] == []
    for _, _, said in figures._every():
        assert re.fullmatch(r"[A-Z].{20,140}\.", said), said


def test_one_name_can_say_different_things() -> None:
    assert "answer is yes" in figures.means("pope/random", "recall")
    assert "objects" in figures.means("chair", "recall")
    assert figures.means("clocks", "minutes off") == ""


def test_an_encoder_that_guesses_finds_k_in_the_number_of_pictures() -> None:
    items = scenes_retrieval.read(number=20)
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(40):
        vectors = rng.normal(size=(len(items), 16)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for measure in scenes_retrieval.score_embeddings(items, vectors):
            sums = np.array([*measure.rows.values()]).sum(axis=0)
            found.setdefault(measure.name, []).append(100 * measure.value(*sums))
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    for k, chance in ((1, 5), (5, 25), (10, 50)):
        for way in ("text retrieval", "image retrieval"):
            assert mean[f"{way} R@{k}"] == pytest.approx(chance, abs=2.5)
    assert mean[scenes_retrieval.NOUNS_FOUND] == pytest.approx(1.3, abs=0.8)
