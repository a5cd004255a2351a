"""ScienceQA, MMBench, AI2D, SEED-Bench and MathVista: read from the official formats, scored as papers do."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Item, checked
from looksay.evaluation.benchmarks import (
    ai2d,
    mathvista,
    mmbench,
    mmbench_cn,
    scienceqa,
    scienceqa_judged,
    seed,
)
from looksay.evaluation.measures import interval

LETTER = "Answer with the option's letter from the given choices directly."


def figures(
    benchmark: Any,
    items: list[Item],
    say: Callable[[Item], str],
    compat: Any = "strict",
    judge: Callable[[Item], str] | None = None,
) -> dict[str, float]:
    answers = [Answer(item, say(item)) for item in items]
    verdicts = []
    if judge:
        verdicts = [Answer(item, judge(item)) for item in benchmark.judge(answers)]
    found = benchmark.score(answers, compat, verdicts)
    return {f"{m.name} {m.kind}".strip(): interval(m, samples=20).value for m in found}


def told(item: Item) -> str:
    return item.conversation.messages[0].text


def right(item: Item) -> str:
    return str(item.truth["answer"])


# ScienceQA

PROBLEMS: dict[str, dict[str, Any]] = {
    "4": {
        "question": "Which figure of speech is used in this text?",
        "choices": ["chiasmus", "apostrophe"],
        "answer": 1,
        "hint": "Sing, O goddess, the anger of Achilles.",
        "image": None,
        "subject": "language science",
        "grade": "grade11",
        "split": "test",
        "lecture": "",
        "solution": "",
    },
    "5": {
        "question": "What is the name of the colony shown?",
        "choices": ["Maryland", "New Hampshire", "Rhode Island"],
        "answer": 2,
        "hint": "",
        "image": "image.png",
        "subject": "social science",
        "grade": "grade4",
        "split": "test",
    },
    "11": {
        "question": "Which is solid?",
        "choices": ["ice", "water"],
        "answer": 0,
        "hint": "",
        "image": None,
        "subject": "natural science",
        "grade": "grade2",
        "split": "test",
    },
    "12": {"question": "Not asked", "choices": ["a", "b"], "answer": 0, "split": "train"},
}


def school(folder: Path, problems: Mapping[str, Any] = PROBLEMS) -> Path:
    put(folder / "problems.json", json.dumps(problems))
    put(
        folder / "pid_splits.json",
        json.dumps({"train": ["12"], "test": ["5", "4", "11"], "minitest": ["4"]}),
    )
    put(folder / "images" / "test" / "5" / "image.png", jpeg(5))
    return folder


def letter(item: Item) -> str:
    return "ABCDE"[item.truth["answer"]]


def test_scienceqa_is_asked_as_llava_does(tmp_path: Path) -> None:
    items = checked(scienceqa.read(school(tmp_path)), "scienceqa")
    assert [item.id for item in items] == ["5", "4", "11"]
    options = "A. Maryland\nB. New Hampshire\nC. Rhode Island"
    assert told(items[0]) == f"What is the name of the colony shown?\n{options}\n{LETTER}"
    assert told(items[1]).startswith(
        "Context: Sing, O goddess, the anger of Achilles.\nWhich figure"
    )
    assert [len(item.conversation.images) for item in items] == [1, 0, 0]
    assert [item.truth["slices"] for item in items] == [
        ["SOC", "IMG", "G1-6"],
        ["LAN", "TXT", "G7-12"],
        ["NAT", "NO", "G1-6"],
    ]
    assert [item.id for item in scienceqa.read(tmp_path, "test-image")] == ["5"]


def test_scienceqa_by_hand(tmp_path: Path) -> None:
    items = scienceqa.read(school(tmp_path))
    perfect = figures(scienceqa, items, letter)
    slices = ["NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12"]
    assert list(perfect) == ["accuracy", *(f"accuracy {one}" for one in slices), "unreadable"]
    assert [*perfect.values()] == [100] * 9 + [0]
    said = {"5": "C. Rhode Island", "4": "A", "11": "I am not sure."}
    found = figures(scienceqa, items, lambda item: said[item.id])
    assert found["accuracy"] == pytest.approx(100 / 3)
    assert (found["accuracy IMG"], found["accuracy G1-6"], found["accuracy NO"]) == (100, 50, 0)
    assert found["unreadable"] == pytest.approx(100 / 3)
    assert figures(scienceqa, items[::-1], lambda item: said[item.id]) == found


@pytest.mark.parametrize(
    ("answer", "strict", "official", "lmms"),
    [
        ("C.", 100, 0, 100),
        ("Rhode Island", 100, 0, 0),
        ("It is small. The answer is C.", 100, 100, 0),
        ("C", 100, 100, 100),
    ],
)
def test_whose_rules_read_scienceqa(
    tmp_path: Path, answer: str, strict: float, official: float, lmms: float
) -> None:
    items = scienceqa.read(school(tmp_path), "test-image")
    expected = {"strict": strict, "official": official, "lmms-eval": lmms}
    for compat, accuracy in expected.items():
        assert figures(scienceqa, items, lambda item: answer, compat)["accuracy"] == accuracy


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"subject": "art"}, r"problems.json, problem '5': subject 'art'"),
        ({"grade": "grade13"}, "problem '5': .*grade 'grade13'"),
        ({"answer": 3}, r"\(id '5'\): 'answer' is 3, but there are 3 choices"),
        ({"image": "other.png"}, r"\(id '5'\): the image 'test/5/other.png' is not in"),
        ({"question": ""}, r"\(id '5'\): 'question' is empty"),
    ],
)
def test_faults_of_scienceqa_are_told(tmp_path: Path, change: Any, fault: str) -> None:
    problems = {**PROBLEMS, "5": {**PROBLEMS["5"], **change}}
    with pytest.raises(InputError, match=fault):
        scienceqa.read(school(tmp_path, problems))


def test_scienceqa_cut_short_is_told(tmp_path: Path) -> None:
    school(tmp_path)
    put(tmp_path / "problems.json", json.dumps(PROBLEMS)[:-40])
    with pytest.raises(InputError, match=r"problems.json is not JSON"):
        scienceqa.read(tmp_path)


# ScienceQA, decided by a text model

TEXT = {
    "5": "It has no picture. The answer is A.",
    "4": "The answer is B.",
    "11": "I cannot say.",
}


def decided(folder: Path, said: Any = TEXT) -> list[Item]:
    put(school(folder) / "text_answers.json", json.dumps({"outputs": said}))
    return scienceqa_judged.read(folder)


def test_the_text_model_is_asked_where_the_two_differ(tmp_path: Path) -> None:
    items = checked(decided(tmp_path), "scienceqa_judged")
    # LLaVA's first wording, options in a line, the image after it.
    assert told(items[0]).endswith("Options: (A) Maryland (B) New Hampshire (C) Rhode Island")
    own = {"5": "The answer is C.", "4": "The answer is B.", "11": "The answer is A."}
    answers = [Answer(item, own[item.id]) for item in items]
    asked = scienceqa_judged.judge(answers)
    assert [item.id for item in asked] == ["5"]
    assert not asked[0].conversation.images
    assert "First answer: The answer is C." in told(asked[0])
    assert "Second answer: It has no picture. The answer is A." in told(asked[0])
    assert scienceqa_judged.judge([Answer(items[0], "no idea")]) == []


def test_decisions_by_hand(tmp_path: Path) -> None:
    items = decided(tmp_path)
    own = {"5": "The answer is C.", "4": "The answer is A.", "11": "The answer is A."}

    def final(item: Item) -> str:
        return {"5": "The answer is C.", "4": "It sings. The answer is B."}[item.id]

    found = figures(scienceqa_judged, items, lambda item: own[item.id], judge=final)
    assert (found["accuracy"], found["accuracy IMG"], found["unreadable"]) == (100, 100, 0)
    # By hand: 4 by the text model, 11 by the judged (the text model says nothing), 5 wrongly.
    assert found["text model, else the judged"] == pytest.approx(200 / 3)
    assert found["the judged alone"] == pytest.approx(200 / 3)
    assert found["text model alone"] == pytest.approx(100 / 3)
    assert found["either is right"] == 100
    for compat in ("strict", "official"):
        wrong = figures(
            scienceqa_judged,
            items,
            lambda item: own[item.id],
            compat,
            lambda item: "The answer is A.",
        )
        assert wrong["accuracy"] == pytest.approx(100 / 3)


def test_a_decision_that_cannot_be_read_is_no_score(tmp_path: Path) -> None:
    items = decided(tmp_path)

    def own(item: Item) -> str:
        return "The answer is C." if item.id == "5" else "The answer is B."

    with pytest.raises(InputError, match=r"Item '5': the judge ended with 'Hard to say.'"):
        figures(scienceqa_judged, items, own, judge=lambda item: "Hard to say.")
    with pytest.raises(InputError, match=r"item '5' has no verdict"):
        figures(scienceqa_judged, items, own)
    # LLaVA's script takes the judged model's answer then.
    found = figures(scienceqa_judged, items, own, "official", lambda item: "Hard to say.")
    assert found["accuracy IMG"] == 100


def test_the_text_model_decides_where_only_one_set_of_rules_reads_both(tmp_path: Path) -> None:
    items = decided(tmp_path)
    # LLaVA's script reads C and nothing else; to strict, two are named.
    own = {"5": "The answer is C, not option B.", "4": "The answer is B.", "11": "B"}
    asked = scienceqa_judged.judge([Answer(item, own[item.id]) for item in items])
    assert [item.id for item in asked] == ["5"]

    def found(compat: Any, final: str) -> float:
        said = figures(
            scienceqa_judged, items, lambda item: own[item.id], compat, lambda item: final
        )
        return said["accuracy IMG"]

    assert found("official", "The answer is C.") == 100
    assert found("official", "The answer is A.") == 0
    # strict reads the text model alone, who says A: no decision is wanted, and none can be at fault.
    assert found("strict", "The answer is C.") == 0
    assert found("strict", "Hard to say.") == 0


def test_the_text_models_answers_must_all_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"text_answers.json: there is no answer to problem '4'"):
        decided(tmp_path, {"5": "The answer is A."})
    with pytest.raises(InputError, match="expected the text model's answers by problem"):
        decided(tmp_path, ["The answer is A."])


# Tables: MMBench and AI2D

COLUMNS = (
    "index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source",
    "l2-category", "comment", "split",
)  # fmt: skip


def picture(number: int) -> str:
    return base64.b64encode(jpeg(number)).decode()


def row(index: int, options: Sequence[str], answer: str, **other: str) -> dict[str, str]:
    found = dict.fromkeys(COLUMNS, "")
    found |= {"index": str(index), "question": 'What "is"\tthis?', "answer": answer}
    found |= {"category": "ocr", "l2-category": "logic_reasoning", "split": "dev"}
    return found | dict(zip("ABCD", options, strict=False)) | other


def table(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> Path:
    """As pandas writes it: tabs, quotes only where they are needed."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[one[column] for column in columns] for one in rows])
    return put(path, out.getvalue())


ROUND = 10**6
ROTATED = [
    row(7, ["cat", "dog", "bus"], "B", image=picture(7), hint="Look\nclosely."),
    row(8, ["yes", "no"], "A", image=picture(8), category="scene", **{"l2-category": "coarse"}),
    row(7 + ROUND, ["dog", "bus", "cat"], "A", image="7", hint="Look\nclosely."),
    row(7 + 2 * ROUND, ["bus", "cat", "dog"], "C", image="7", hint="Look\nclosely."),
    row(8 + ROUND, ["no", "yes"], "B", image=picture(8), category="scene", **{"l2-category": "coarse"}),
]  # fmt: skip
DEV = "mmbench_dev_20230712.tsv"


def test_mmbench_asks_every_rotation_of_the_file(tmp_path: Path) -> None:
    table(tmp_path / DEV, ROTATED)
    items = checked(mmbench.read(tmp_path), "mmbench")
    assert [item.id for item in items] == ["7 r0", "7 r1", "7 r2", "8 r0", "8 r1"]
    options = "A. dog\nB. bus\nC. cat"
    assert told(items[1]) == f'Look\nclosely.\nWhat "is"\tthis?\n{options}\n{LETTER}'
    assert [item.truth["answer"] for item in items] == ["B", "A", "C", "A", "B"]
    assert [item.image for item in items] == ["7", "7", "7", "8", "8"]
    assert len({id(item.conversation.images[0].source) for item in items}) == 2
    assert {item.kind for item in items} == {"ocr", "scene"}
    assert not any(told(item).endswith("\nD.") for item in items)


def test_mmbench_rotates_a_file_that_is_not(tmp_path: Path) -> None:
    table(tmp_path / "MMBench_DEV_EN.tsv", ROTATED[:2])
    table(tmp_path / DEV, ROTATED)
    ours = mmbench.read(tmp_path, "dev-v1.0")
    given = mmbench.read(tmp_path)
    assert [(i.id, told(i), i.truth) for i in ours] == [(i.id, told(i), i.truth) for i in given]


def test_credit_asks_for_every_rotation(tmp_path: Path) -> None:
    table(tmp_path / DEV, ROTATED)
    items = mmbench.read(tmp_path)
    perfect = figures(mmbench, items, right)
    assert perfect == {
        "circular accuracy": 100,
        "circular accuracy coarse": 100,
        "circular accuracy logic_reasoning": 100,
        "accuracy, options as given": 100,
        "unreadable": 0,
    }
    # Always the first letter: right on one rotation of each question, never on all.
    found = figures(mmbench, items, lambda item: "A")
    assert (found["circular accuracy"], found["accuracy, options as given"]) == (0, 50)
    said = {item.id: right(item) for item in items} | {"7 r2": "A dog"}
    strict = figures(mmbench, items, lambda item: said[item.id])
    assert (strict["circular accuracy"], strict["unreadable"]) == (50, 20)
    assert strict["circular accuracy coarse"] == 100
    assert figures(mmbench, items[::-1], lambda item: said[item.id]) == strict
    # VLMEvalKit reads the article as the letter: wrong here, and not unreadable.
    quirk = figures(mmbench, items, lambda item: said[item.id], "vlmevalkit")
    assert (quirk["circular accuracy"], quirk["unreadable"]) == (50, 0)
    refused = figures(mmbench, items, lambda item: "Cannot determine the answer", "vlmevalkit")
    assert (refused["circular accuracy"], refused["unreadable"]) == (0, 100)
    with pytest.raises(InputError, match=r"Question 7 with 3 options has the shifts \[0, 1\]"):
        figures(mmbench, [item for item in items if item.id != "7 r2"], right)


def test_mmbench_cn_asks_in_chinese(tmp_path: Path) -> None:
    table(tmp_path / "mmbench_dev_cn_20231003.tsv", ROTATED)
    items = mmbench_cn.read(tmp_path)
    assert told(items[0]).endswith("C. bus\n请直接回答选项字母。")
    assert figures(mmbench_cn, items, lambda i: f"答案是{right(i)}")["circular accuracy"] == 100
    found = figures(mmbench_cn, items, lambda i: f"答案是{right(i)}", "vlmevalkit")
    assert (found["circular accuracy"], found["unreadable"]) == (0, 100)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (ROTATED[:4], r"question 8 with 2 options has the shifts \[0\]; expected 0 to 1: is the fil"),
        ([*ROTATED, ROTATED[1]], r"entry 6 of 6 \(index '8'\): entry 2 has the same index"),
        ([row(1, ["a", "b"], "C", image=picture(1))], r"\(index '1'\): 'answer' should be A or B; fou"),
        ([row(1, ["a"], "A", image=picture(1))], "at least two of the options"),
        ([row(1, ["a", "b"], "A", image="2")], "neither a picture nor the index of a row with one"),
        ([row(1, ["a", "b"], "A", image="")], "'image' is empty"),
        ([row(1, ["a", "b"], "A", image="%" * 80)], "'image' is not base64"),
        ([row(1, ["a", "b"], "A", image=picture(1)[:80])], "'image' cannot be read"),
        ([{**row(1, ["a", "b"], "A", image=picture(1)), "index": "x"}], "'index' should be a whole number"),
        ([], "has columns and no rows"),
    ],
)  # fmt: skip
def test_faults_of_tables_are_told(tmp_path: Path, rows: Any, fault: str) -> None:
    table(tmp_path / DEV, rows)
    with pytest.raises(InputError, match=f"{DEV}.*{fault}"):
        mmbench.read(tmp_path)


def test_a_table_cut_short_or_of_the_test_split_is_told(tmp_path: Path) -> None:
    path = table(tmp_path / DEV, ROTATED)
    whole = path.read_bytes()
    put(path, whole[: whole.rindex(b"\tscene")])
    with pytest.raises(InputError, match=r"entry 5 of 5 .* expected 14 fields; found 8"):
        mmbench.read(tmp_path)
    table(path, ROTATED, [name for name in COLUMNS if name != "answer"])
    with pytest.raises(InputError, match="has no column 'answer'"):
        mmbench.read(tmp_path)
    put(path, b"")
    with pytest.raises(InputError, match="is empty"):
        mmbench.read(tmp_path)
    put(path, b"index\xff")
    with pytest.raises(InputError, match="is not UTF-8"):
        mmbench.read(tmp_path)
    with pytest.raises(InputError, match=r"There is no file .*MMBench_DEV_EN_V11.tsv"):
        mmbench.read(tmp_path, "dev-v1.1")


def test_ai2d_names_its_variant(tmp_path: Path) -> None:
    rows = [
        row(0, ["root", "stem"], "B", image=picture(1), category="atomStructure"),
        row(1, ["leaf", "root"], "A", image="0", category="partsOfA"),
    ]
    table(tmp_path / "AI2D_TEST.tsv", rows)
    table(tmp_path / "AI2D_TEST_NO_MASK.tsv", rows[:1])
    items = checked(ai2d.read(tmp_path), "ai2d")
    assert told(items[0]) == f'What "is"\tthis?\nA. root\nB. stem\n{LETTER}'
    assert [item.image for item in items] == ["0", "0"]
    assert len(ai2d.read(tmp_path, "no_mask")) == 1
    assert figures(ai2d, items, right) == {"accuracy": 100, "unreadable": 0}
    said = {"0": "The stem, sure", "1": "A"}
    assert figures(ai2d, items, lambda item: said[item.id]) == {"accuracy": 50, "unreadable": 50}
    # VLMEvalKit takes an option's text wherever it occurs.
    found = figures(ai2d, items, lambda item: said[item.id], "vlmevalkit")
    assert found == {"accuracy": 100, "unreadable": 0}


# SEED-Bench

TOWELS = {
    "answer": "A",
    "choice_a": "One",
    "choice_b": "Two",
    "choice_c": "Three",
    "choice_d": 4,
    "data_id": "1454426_2591111986",
    "data_type": "image",
    "question": "How many towels are in the image?",
    "question_id": "101669",
    "question_type_id": 5,
}
DONE = {**TOWELS, "question_id": "7", "question_type_id": 1, "answer": "D", "question": "What?"}
VIDEO = {**TOWELS, "data_type": "video", "data_id": "94328.webm", "question_id": "v1"}


def seeds(folder: Path, *rows: Any) -> Path:
    kinds = {"Scene Understanding": 1, "Instances Counting": 5, "Action Recognition": 10}
    content = {"questions": list(rows), "question_type": kinds}
    put(folder / "SEED-Bench.json", json.dumps(content))
    put(folder / "SEED-Bench-image" / TOWELS["data_id"], jpeg(1))  # type: ignore[operator]
    return folder


def test_seed_leaves_videos_out(tmp_path: Path) -> None:
    items = checked(seed.read(seeds(tmp_path, TOWELS, VIDEO, DONE)), "seed")
    assert [(item.id, item.kind) for item in items] == [
        ("101669", "Instances Counting"),
        ("7", "Scene Understanding"),
    ]
    options = "A. One\nB. Two\nC. Three\nD. 4"
    assert told(items[0]) == f"How many towels are in the image?\n{options}\n{LETTER}"
    assert figures(seed, items, right) == {"accuracy": 100, "unreadable": 0}
    ranked = seed.read(tmp_path, "ranked")
    assert told(ranked[0]) == "How many towels are in the image?"
    assert ranked[0].choices == ("One", "Two", "Three", "4")
    best = figures(seed, ranked, lambda item: item.truth["options"][right(item)])
    assert best == {"accuracy": 100, "unreadable": 0}


@pytest.mark.parametrize("compat", seed.CARD.compat)
def test_a_ranked_text_is_no_letter(compat: Any, tmp_path: Path) -> None:
    # Texts in which every rule would find a letter, or a statement of one.
    texts = {"choice_a": "B", "choice_b": "A", "choice_c": "D. dog", "choice_d": "A cat"}
    items = seed.read(seeds(tmp_path, {**TOWELS, **texts}), "ranked")
    found = [
        figures(seed, items, lambda item, said=said: said, compat)["accuracy"]  # type: ignore[misc]
        for said in texts.values()
    ]
    assert found == [100, 0, 0, 0]
    with pytest.raises(InputError, match=r"'101669' asks without its options.*--mode likelihood"):
        figures(seed, items, lambda item: "The answer is A.", compat)


def test_lmms_eval_takes_the_first_character(tmp_path: Path) -> None:
    items = seed.read(seeds(tmp_path, TOWELS, DONE))
    said = {"101669": "A few of them", "7": "Dogs"}
    assert figures(seed, items, lambda item: said[item.id]) == {"accuracy": 0, "unreadable": 100}
    found = figures(seed, items, lambda item: said[item.id], "lmms-eval")
    assert found == {"accuracy": 100, "unreadable": 0}
    empty = figures(seed, items, lambda item: " ", "lmms-eval")
    assert empty == {"accuracy": 0, "unreadable": 100}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (
            [TOWELS, TOWELS],
            r"entry 2 of 2 \(question_id '101669'\): this question was there before",
        ),
        ([{**TOWELS, "answer": "E"}], "'answer' should be A or B or C or D; found 'E'"),
        ([{**TOWELS, "question_type_id": 99}], "'question_type_id' is 99"),
        ([{**TOWELS, "data_id": "1_2"}], "the image '1_2' is not in"),
        ([{**TOWELS, "data_type": "sound"}], "'data_type' should be image or video"),
        ([{k: v for k, v in TOWELS.items() if k != "choice_c"}], "there is no 'choice_c'"),
    ],
)
def test_faults_of_seed_are_told(tmp_path: Path, rows: Any, fault: str) -> None:
    with pytest.raises(InputError, match=f"SEED-Bench.json, {fault}|SEED-Bench.json.*{fault}"):
        seed.read(seeds(tmp_path, *rows))


# MathVista


def problem(number: int, **change: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "question": "How many objects are left?",
        "image": f"images/{number}.jpg",
        "choices": None,
        "unit": None,
        "precision": None,
        "answer": "4",
        "question_type": "free_form",
        "answer_type": "integer",
        "pid": str(number),
        "metadata": {"split": "testmini", "task": "math word problem", "skills": ["arithmetic"]},
    }
    return found | change


ANGLE = {
    "choices": ["135°", "145°", "150°"],
    "answer": "145°",
    "question_type": "multi_choice",
    "answer_type": "text",
    "metadata": {"task": "geometry problem solving", "skills": ["geometry", "arithmetic"]},
}
SPRING = {"answer": "1.2", "answer_type": "float", "precision": 1.0}


def mathematics(folder: Path, *problems: dict[str, Any]) -> list[Item]:
    put(folder / "testmini.json", json.dumps({one["pid"]: one for one in problems}))
    queries = {one["pid"]: f"Hint: say it.\nQuestion: {one['question']}" for one in problems}
    put(folder / "query.json", json.dumps(queries))
    for one in problems:
        put(folder / "images" / f"{one['pid']}.jpg", jpeg(int(one["pid"])))
    return mathvista.read(folder)


@pytest.fixture
def three(tmp_path: Path) -> list[Item]:
    return mathematics(tmp_path, problem(1, **SPRING), problem(3, **ANGLE), problem(4))


def test_mathvista_asks_the_official_query(three: list[Item]) -> None:
    assert [item.id for item in checked(three, "mathvista")] == ["1", "3", "4"]
    assert told(three[2]) == "Hint: say it.\nQuestion: How many objects are left?"
    assert three[0].truth["precision"] == 1
    assert [item.kind for item in three] == [
        "math word problem",
        "geometry problem solving",
        "math word problem",
    ]


def test_answers_that_are_one_by_themselves_need_no_judge(three: list[Item]) -> None:
    plain = [Answer(item, right(item)) for item in three]
    assert mathvista.judge(plain) == []
    assert figures(mathvista, three, right) == {
        "accuracy": 100,
        "accuracy arithmetic": 100,
        "accuracy geometry": 100,
        "unreadable": 0,
    }
    asked = mathvista.judge([Answer(three[1], "(B)"), Answer(three[2], "I see 4 of them. ")])
    assert [item.id for item in asked] == ["3", "4"]
    assert told(asked[1]).endswith("Response: I see 4 of them.\nExtracted answer:")


def test_extractions_by_hand(three: list[Item]) -> None:
    extracted = {"1": "1.24", "3": "B", "4": "3"}
    found = figures(
        mathvista, three, lambda item: "Let me see …", judge=lambda item: extracted[item.id]
    )
    assert found["accuracy"] == pytest.approx(200 / 3)
    assert (found["accuracy geometry"], found["unreadable"]) == (100, 0)
    # What is no option: the nearest by spelling for the official tool, a failed parse for us.
    vague = {"1": "none", "3": "145", "4": "four"}
    for compat, accuracy, unreadable in (("strict", 0, 100), ("official", 100 / 3, 200 / 3)):
        found = figures(
            mathvista, three, lambda item: "Let me see …", compat, lambda item: vague[item.id]
        )
        assert found["accuracy"] == pytest.approx(accuracy)
        assert found["unreadable"] == pytest.approx(unreadable)
        again = figures(
            mathvista, three[::-1], lambda item: "Let me see …", compat, lambda item: vague[item.id]
        )
        assert again == found


def test_no_answer_is_wrong_for_the_tool_and_unreadable_for_us(three: list[Item]) -> None:
    assert figures(mathvista, three, lambda item: "")["unreadable"] == 100
    found = figures(mathvista, three, lambda item: "", "official")
    assert (found["accuracy"], found["unreadable"]) == (0, pytest.approx(200 / 3))


def test_a_failed_extraction_is_no_score(three: list[Item]) -> None:
    with pytest.raises(InputError, match=r"item '1' has no verdict"):
        figures(mathvista, three, lambda item: "Let me see …")
    with pytest.raises(InputError, match=r"Item '1': The judge wrote nothing"):
        figures(mathvista, three, lambda item: "Let me see …", judge=lambda item: " ")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"answer_type": "boolean"}, r"\(pid '1'\): 'answer_type' should be integer or float"),
        ({"choices": ["1", "2"]}, "the question is free_form, and 'choices' is"),
        ({**ANGLE, "answer": "90°"}, "'answer' is '90°', which is not among the choices"),
        ({"answer": 4}, "'answer' should be text"),
        ({"image": "images/9.jpg"}, "the image 'images/9.jpg' is not in"),
        ({"metadata": {}}, "there is no 'task'"),
    ],
)
def test_faults_of_mathvista_are_told(tmp_path: Path, change: Any, fault: str) -> None:
    with pytest.raises(InputError, match=rf"testmini.json, entry 1 of 1 .*{fault}"):
        mathematics(tmp_path, problem(1, **change))


def test_mathvista_cut_short_is_told(tmp_path: Path) -> None:
    mathematics(tmp_path, problem(1))
    put(tmp_path / "query.json", json.dumps({"2": "?"}))
    with pytest.raises(InputError, match=r"query.json has no text for '1'"):
        mathvista.read(tmp_path)
    put(tmp_path / "testmini.json", '{"1": {"question": "How')
    with pytest.raises(InputError, match=r"testmini.json is not JSON"):
        mathvista.read(tmp_path)
