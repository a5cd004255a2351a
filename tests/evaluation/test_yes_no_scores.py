"""POPE and MME against the official tools' output and by hand; yes and no are read, never guessed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError, UnknownName
from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.benchmarks import pope as benchmark
from looksay.evaluation.measures import interval
from looksay.evaluation.metrics import mme, pope, yes_no
from looksay.types import Conversation


def counted(rows: Iterable[Any], compat: Any = "official") -> pope.Pope:
    """As reports count: rows of samples, added up."""
    sums = np.array([(0,) * 6, *(pope.row(*one) for one in rows)]).sum(axis=0).tolist()
    return pope.Pope(*sums, compat=compat)


LABELS = st.sampled_from(["yes", "no"])


@pytest.mark.parametrize("part", ["random", "popular", "adversarial"])
def test_pope_is_the_official_tool_s(shared_data: Path, part: str) -> None:
    folder = shared_data.parent / "golden" / "pope" / "given"
    need(folder.is_dir(), "no golden answers of POPE")

    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]

    golden = json.loads((folder / f"golden_{part}.json").read_text("utf-8"))
    answers = [row["answer"] for row in lines(f"answers_{part}.jsonl")]
    said = [pope.parse(answer) for answer in answers]
    labels = [row["label"] for row in lines(f"coco_pope_{part}.jsonl")]
    assert said == golden["parsed"]
    found = counted(zip(said, labels, strict=True))
    counts = (found.true_yes, found.false_yes, found.true_no, found.false_no)
    assert counts == tuple(golden[name] for name in ("TP", "FP", "TN", "FN"))
    for name in ("accuracy", "precision", "recall", "f1", "yes_ratio"):
        assert getattr(found, name) == golden[name], name
    asked = [
        Answer(Item(str(n), Conversation(()), {"answer": label}), answer)
        for n, (answer, label) in enumerate(zip(answers, labels, strict=True))
    ]
    reported = {one.name: one for one in benchmark.score(asked, "official")}
    for name in ("accuracy", "precision", "recall", "F1", "yes ratio"):
        value = interval(reported[name], samples=1).value
        assert value == pytest.approx(100 * golden[name.lower().replace(" ", "_")]), name


@pytest.mark.parametrize(
    ("answer", "official", "lmms", "vlm", "strict"),
    [
        ("yes", "yes", "yes", "yes", "yes"),
        ("Yes.", "yes", None, "yes", "yes"),
        ("No, there is no dog.", "no", None, "no", "no"),
        ("There is no dog.", "no", None, "no", None),
        ("It is not there", "no", None, None, None),
        ("None", "yes", None, None, None),
        ("", "yes", None, None, None),
        ("I see. No.", "yes", None, "no", "no"),
        ("Yes, there is no doubt.", "no", None, None, "yes"),
        ("Yes and no", "no", None, None, None),
        ("Yes. No.", "yes", None, None, None),
        ("**Yes**", "yes", None, None, "yes"),
        ("The answer is: no", "no", None, "no", "no"),
        ("Yesterday", "yes", None, None, None),
        ("Nothing", "yes", None, None, None),
    ],
)
def test_one_answer_as_each_tool_reads_it(
    answer: str, official: str, lmms: str | None, vlm: str | None, strict: str | None
) -> None:
    assert pope.parse(answer) == official
    assert pope.parse(answer, "lmms-eval") == lmms
    assert pope.parse(answer, "vlmevalkit") == vlm
    assert pope.parse(answer, "strict") == strict


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("No idea.", None),
        ("No one can tell.", None),
        ("No-one can tell.", None),
        ("No dogs, but yes, a cat.", None),
        ("No dogs.", None),
        ("No, wait, yes.", None),
        ("Yes, but no.", None),
        ("Yes, I would say no", None),
        ("Yes... no!", None),
        ("Yes or no? Yes.", None),
        ("No. 5 is the bus.", None),
        ("A: I am not sure.", None),
        ("The answer is no dog.", None),
        ("Yes, there is no doubt.", "yes"),
        ("Yes, and no one else is there.", "yes"),
        ("Yes there is", "yes"),
        ("Yes - a dog", "yes"),
        ("No there isn't", "no"),
        ("No I don't see one.", "no"),
        ("No\nDogs are not to be seen", "no"),
        ("No – not a dog", "no"),
        ("A dog? No!", "no"),
        ("_No_", "no"),
        ("* No", "no"),
        ("The answer is **no**", "no"),
        ("I have no idea. No.", "no"),
    ],
)
def test_no_before_a_noun_is_no_answer_and_the_other_word_spoils_one(
    answer: str, read: str | None
) -> None:
    assert yes_no.strict(answer) == read


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("True", True),
        ("True, there is no false part", None),
        ("False. It would be true of dogs", None),
        ("True or false? True.", None),
        ("The claim is false", False),
        ("**False**: no dog", False),
    ],
)
def test_true_and_false_likewise(answer: str, read: bool | None) -> None:
    assert yes_no.true_false(answer) is read


def test_pope_by_hand() -> None:
    rows = [("yes", "yes"), ("yes", "no"), ("no", "no"), ("no", "yes"), (None, "yes"), (None, "no")]
    found = counted(rows, "strict")
    assert (found.n, found.unparsed) == (6, 2)
    assert found.accuracy == 2 / 6
    assert found.precision == 1 / 2
    assert found.recall == 1 / 3  # one yes was said of three questions whose answer it is
    assert found.f1 == pytest.approx(0.4)
    assert found.yes_ratio == 2 / 6
    there = counted(rows, "lmms-eval")
    assert there.recall == 1 / 2  # failed parses are not among its misses
    assert there.yes_ratio == 3 / 6  # of the labels


def test_nothing_said_yes_divides_by_nothing() -> None:
    found = counted([("no", "yes")])
    assert (found.precision, found.recall, found.f1, found.accuracy) == (0, 0, 0, 0)
    assert counted([]).accuracy == 0


@given(st.lists(st.tuples(st.sampled_from(["yes", "no", None]), LABELS)), st.randoms())
def test_order_changes_nothing_and_samples_add_up(rows: list[Any], draw: random.Random) -> None:
    shuffled = draw.sample(rows, len(rows))
    assert counted(shuffled) == counted(rows)
    assert counted(rows).n == len(rows)
    right = sum(pope.verdict(*row) is True for row in rows)
    assert counted(rows).accuracy * len(rows) == pytest.approx(right)


@given(st.lists(LABELS, min_size=1))
def test_perfect_answers_of_pope(labels: list[Any]) -> None:
    found = counted((pope.parse(label.title() + "."), label) for label in labels)
    assert found.accuracy == 1
    assert found.f1 == ("yes" in labels)


@given(st.text(alphabet="abdefghijklmpqrtuvwxz .,!", max_size=40))
def test_without_the_words_nothing_is_read(text: str) -> None:
    assert yes_no.strict(text) is None
    assert yes_no.vlmevalkit(text) is None
    assert pope.parse(text, "lmms-eval") is None


@pytest.mark.parametrize(
    ("answer", "official", "lmms", "strict"),
    [
        ("Yes", "yes", "yes", "yes"),
        ("No.", "no", "no", "no"),
        ("Not really", "no", "no", None),
        ("I know it", None, None, None),
        ("Know", "no", "no", None),
        (" Yes", "yes", "yes", "yes"),
        ("   Yes", None, "yes", "yes"),
        ("y", None, "yes", None),
        ("The answer is yes", None, None, "yes"),
        ("", None, None, None),
        ("N.o", None, "no", None),
    ],
)
def test_mme_looks_at_four_letters(
    answer: str, official: str | None, lmms: str | None, strict: str | None
) -> None:
    assert mme.parse(answer) == official
    assert mme.parse(answer, "lmms-eval") == lmms
    assert mme.parse(answer, "strict") == strict


def test_mme_by_hand() -> None:
    rows = [
        ("count", "1.png", True),
        ("count", "1.png", True),
        ("count", "2.png", True),
        ("count", "2.png", None),
    ]
    found = mme.mme(rows)
    task = found.tasks["count"]
    assert (task.accuracy, task.accuracy_plus, task.unparsed) == (0.75, 0.5, 1)
    assert task.score == 125
    assert found.perception is None  # nine tasks of ten are missing
    assert found.cognition is None
    assert found.unparsed == 1


def everything(verdict: bool | None) -> list[tuple[str, str, bool | None]]:
    tasks = (*mme.PERCEPTION, *mme.COGNITION)
    return [(task, image, verdict) for task in tasks for image in "ab" for _ in range(2)]


def test_mme_s_maximum_and_minimum() -> None:
    best, worst = mme.mme(everything(True)), mme.mme(everything(None))
    assert (best.perception, best.cognition) == (2000, 800)
    assert (worst.perception, worst.cognition, worst.unparsed) == (0, 0, len(everything(None)))


@given(st.lists(st.booleans(), min_size=56, max_size=56), st.randoms())
def test_order_changes_nothing_in_mme(verdicts: list[bool], draw: random.Random) -> None:
    rows = [
        (task, image, right)
        for (task, image, _), right in zip(everything(True), verdicts, strict=True)
    ]
    assert mme.mme(draw.sample(rows, len(rows))).perception == mme.mme(rows).perception


def test_mme_s_faults_are_told() -> None:
    with pytest.raises(InputError, match=r"count, 1\.png: 1 answers; expected two"):
        mme.mme([("count", "1.png", True)])
    with pytest.raises(UnknownName, match=r"counts.*Did you mean 'count'"):
        mme.mme([("counts", "1.png", True), ("counts", "1.png", True)])
