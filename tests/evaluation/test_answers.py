"""VQA accuracy against the official tool's output; text prior, CHAIR."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.evaluation.benchmarks.chair import figures
from looksay.evaluation.measures import interval
from looksay.evaluation.metrics import chair, vqa


@pytest.fixture(scope="session")
def cases(shared_data: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    folder = shared_data.parent / "golden" / "vqa-accuracy" / "given"
    return json.loads((folder / "cases.json").read_text("utf-8")), json.loads(
        (folder / "golden.json").read_text("utf-8")
    )


def test_accuracy_is_the_official_tool_s(
    cases: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    rows, golden = cases
    groups = defaultdict(list)
    for row in rows:
        score = 100 * vqa.vqa_accuracy(row["prediction"], row["answers"])
        assert round(score, 2) == golden["per_question"][str(row["question_id"])]
        for name in ("overall", row["question_type"], row["answer_type"]):
            groups[name].append(round(score, 2))  # the tool averages what it has rounded
    means = {name: round(sum(scores) / len(scores), 2) for name, scores in groups.items()}
    whole = golden["accuracy"]
    expected = {"overall": whole["overall"], **whole["perQuestionType"], **whole["perAnswerType"]}
    assert means == expected


def test_answers_are_normalised_as_there(
    cases: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    for said, expected in cases[1]["normalised_strings"].items():
        assert vqa.normalize(said) == expected, said


def test_quirk_identical_answers_are_not_normalised() -> None:
    assert vqa.vqa_accuracy("Yes.", ["yes"] * 10) == 0
    assert vqa.vqa_accuracy("Yes.", ["yes"] * 9 + ["no"]) == 1
    assert vqa.vqa_accuracy("yes", ["yes"] * 10) == 1


@given(st.text(max_size=40))
def test_normalising_never_fails_nor_leaves_capitals(text: str) -> None:
    assert vqa.normalize(text) == vqa.normalize(text).lower()


def test_the_prior_answers_what_training_said_most() -> None:
    train = [
        ("how many", "2"),
        ("how many", "1"),
        ("how many", "2"),
        ("what", "dog"),
        ("what", "cat"),
    ]
    assert vqa.text_prior(train) == {"how many": "2", "what": "cat"}
    assert vqa.text_prior(train, least=3) == {"how many": "2"}


def test_exact_is_so_after_normalising() -> None:
    assert (vqa.exact("Two", "2"), vqa.exact("a dog.", "dog"), vqa.exact("cat", "dog")) == (1, 1, 0)


def chair_of(captions: Sequence[chair.Hallucination]) -> tuple[float, float, float]:
    """CHAIRi, CHAIRs and recall, 0 to 1, as reports have them."""
    found = {str(n): one for n, one in enumerate(captions)}
    of = {one.name: one for one in figures(found, {})}
    first, second, third = (
        interval(of[name], samples=1).value / 100 for name in ("CHAIRi", "CHAIRs", "recall")
    )
    return first, second, third


NAMES = st.sampled_from(["dog", "cat", "bus", "fish"])


@given(st.lists(st.tuples(st.lists(NAMES, max_size=6), st.sets(NAMES)), max_size=8))
def test_chair_recounted(captions: list[tuple[list[str], set[str]]]) -> None:
    scored = [chair.hallucination(said, there) for said, there in captions]
    chair_i, chair_s, recall = chair_of(scored)
    wrong = [[m for m in said if m not in there] for said, there in captions]
    if any(said for said, _ in captions):
        assert chair_i * sum(len(said) for said, _ in captions) == pytest.approx(
            sum(map(len, wrong))
        )
    if captions:
        assert chair_s * len(captions) == pytest.approx(sum(bool(w) for w in wrong))
    if any(there for _, there in captions):
        named = sum(len(there.intersection(said)) for said, there in captions)
        assert recall * sum(len(there) for _, there in captions) == pytest.approx(named)


def test_chair_is_the_reference_s_on_its_mentions(shared_data: Path) -> None:
    for name in ("given_gpt4_detail_first15", "given_rotated40"):
        path = shared_data.parent / "golden" / "chair" / name / "golden.json"
        golden = json.loads(path.read_text("utf-8"))
        found = chair_of(
            [chair.hallucination(row["objects"], row["gt"]) for row in golden["per_caption"]]
        )
        names = ("CHAIRi", "CHAIRs", "object_recall_micro(extra, not in reference)")
        assert found == pytest.approx([golden["overall"][name] for name in names])
