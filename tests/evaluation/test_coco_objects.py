"""Objects of COCO found in texts: the reference's findings with its own words, and ours without its faults."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import UnknownName
from looksay.evaluation.benchmarks.chair import figures
from looksay.evaluation.measures import interval
from looksay.evaluation.metrics import chair
from looksay.texts import coco_objects
from looksay.texts.coco_objects import COCO, Vocabulary, find, present

CLASSES = sorted(set(COCO.classes.values()))


@pytest.fixture
def golden(shared_data: Path) -> Path:
    folder = shared_data.parent / "golden" / "chair"
    need(folder.is_dir(), "no golden captions of CHAIR")
    return folder


@pytest.fixture
def theirs(golden: Path) -> Vocabulary:
    lines = (golden / "synonyms.txt").read_text("utf-8").splitlines()
    rows = [line.strip().split(", ") for line in lines]
    return Vocabulary.of({row[0]: row[1:] for row in rows})


def load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def chair_of(captions: Sequence[chair.Hallucination]) -> tuple[float, float, float]:
    """CHAIRi, CHAIRs and recall, 0 to 1, as reports have them."""
    found = {str(n): one for n, one in enumerate(captions)}
    of = {one.name: one for one in figures(found, {})}
    first, second, third = (
        interval(of[name], samples=1).value / 100 for name in ("CHAIRi", "CHAIRs", "recall")
    )
    return first, second, third


@pytest.mark.parametrize("part", ["given_gpt4_detail_first15", "given_rotated40"])
def test_chair_is_the_reference_s(golden: Path, theirs: Vocabulary, part: str) -> None:
    expected = load(golden / part / "golden.json")
    truth = load(golden / part / "ground_truth.json")
    scored = []
    for row, said in zip(
        expected["per_caption"], load(golden / part / "captions.json"), strict=True
    ):
        there = truth[row["image"]]
        mentions = find(said["caption"], theirs, "reference")
        assert [m.object for m in mentions] == row["objects"]
        known = present(there["objects"], there["captions"], theirs, "reference")
        assert sorted(known) == row["gt"]
        wrong = [[m.word, m.object] for m in mentions if m.object not in known]
        assert wrong == row["hallucinated"]
        one = chair.of_coco(
            said["caption"],
            there["objects"],
            there["captions"],
            vocabulary=theirs,
            mode="reference",
        )
        assert list(one.hallucinated) == [name for _, name in wrong]
        scored.append(one)
    names = ("CHAIRi", "CHAIRs", "object_recall_micro(extra, not in reference)")
    assert chair_of(scored) == pytest.approx([expected["overall"][name] for name in names])


@pytest.mark.parametrize("part", ["instruction1_minigpt-4", "instruction2_minigpt-4"])
def test_objects_are_those_that_pope_s_authors_published(
    golden: Path, theirs: Vocabulary, part: str
) -> None:
    for row in load(golden / "pope_captions_given" / f"{part}.json"):
        assert [m.object for m in find(row["text"], theirs, "reference")] == row["objects"]


def test_both_vocabularies_have_coco_s_classes(theirs: Vocabulary) -> None:
    assert set(theirs.classes.values()) == set(CLASSES)


def test_there_are_eighty_classes_and_no_word_has_two() -> None:
    assert len(CLASSES) == 80
    words = [word for name, others in coco_objects._table().items() for word in {name, *others}]
    assert len(words) == len(set(words))


def plural(name: str) -> str:
    odd = {"person": "people", "sheep": "sheep", "skis": "skis", "scissors": "scissors"}
    odd |= {"mouse": "mice", "knife": "knives", "broccoli": "broccoli"}
    if name in odd:
        return odd[name]
    return name + ("es" if name.endswith(("s", "ch", "sh")) else "s")


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_found_one_or_many(name: str) -> None:
    for said in (f"The {name}.", f"two {plural(name)}, in a picture", f'"{name.upper()}"'):
        assert [m.object for m in find(said)] == [name], said


@pytest.mark.parametrize(
    ("text", "fixed", "reference"),
    [
        ("a bus", ["bus"], []),
        ("two buses", ["bus"], ["bus"]),
        ("three ties and canoes", ["tie", "boat"], []),
        ("a pickup truck", ["truck"], ["truck", "truck"]),
        ("a hot dog", ["hot dog"], ["hot dog"]),
        ("hot, dog", ["dog"], ["dog"]),
        ("a baby elephant", ["elephant"], ["elephant"]),
        ("a male lion and a baby", ["person"], ["person", "person"]),
        ("a passenger train", ["train"], ["train"]),
        ("a passenger ferry", ["boat"], ["person", "boat"]),
        ("the train station", [], ["train"]),
        ("at the bus stop", [], []),
        ("the toilet seat", ["toilet"], ["toilet"]),
        ("carrot cake", ["cake"], ["carrot", "cake"]),
        ("two wine glasses", ["wine glass"], ["wine glass"]),
        ("stove top oven", ["oven"], ["oven", "oven"]),
        ("The cat's bowl", ["cat", "bowl"], ["cat", "bowl"]),
        ("cat/dog", [], []),
        ("polar bears", ["bear"], ["bear"]),
        ("knives, mice and geese", ["knife", "mouse", "bird"], ["knife", "mouse", "bird"]),
        ("children of policemen", ["person", "person"], ["person", "person"]),
        ("a glass of water on a plate", [], []),
        ("", [], []),
    ],
)
def test_what_texts_name(text: str, fixed: list[str], reference: list[str]) -> None:
    assert [m.object for m in find(text)] == fixed
    assert [m.object for m in find(text, mode="reference")] == reference


def test_a_toilet_anywhere_takes_all_seats_from_the_reference_alone() -> None:
    words = Vocabulary.of({"chair": ["seat"], "toilet": []})
    text = "A toilet, and a car with a leather seat."
    assert [m.object for m in find(text, words, "reference")] == ["toilet"]
    assert [m.object for m in find(text, words)] == ["toilet", "chair"]


def test_what_is_there_and_what_is_not() -> None:
    found = chair.of_coco(
        "Two dogs and a cat wait for a bus.", ["dog"], ["A puppy waits.", "a bus stop"]
    )
    assert found == chair.Hallucination(3, ("cat", "bus"), 1, 1)
    with pytest.raises(UnknownName, match=r"class of COCO 'dogs'.*Did you mean 'dog'"):
        present(["dogs"], [])


WORDS = st.sampled_from(
    ["a", "dog", "dogs", "hot", "bus", "stop", "sign", "baby", "bear", ",", "ox"]
)


@given(st.lists(WORDS, max_size=12), st.sampled_from(["fixed", "reference"]))
def test_a_caption_of_its_own_reference_invents_nothing(words: list[str], mode: Any) -> None:
    caption = " ".join(words)
    found = chair.of_coco(caption, [], [caption], mode=mode)
    assert found.hallucinated == ()
    assert found.found == found.present


@given(st.lists(st.lists(WORDS, max_size=6), max_size=6), st.randoms())
def test_order_of_captions_changes_no_figure(texts: list[list[str]], draw: random.Random) -> None:
    scored = [chair.of_coco(" ".join(text), ["dog"], []) for text in texts]
    mixed = chair_of(draw.sample(scored, len(scored)))
    assert mixed == pytest.approx(chair_of(scored), nan_ok=True)
