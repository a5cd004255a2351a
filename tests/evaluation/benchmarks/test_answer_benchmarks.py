"""OK-VQA, A-OKVQA, VizWiz, TextVQA and GQA: read from the official formats, scored by the official rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Item, checked
from looksay.evaluation.benchmarks import aokvqa, gqa, okvqa, textvqa, vizwiz
from looksay.evaluation.measures import by_kind, interval
from looksay.evaluation.metrics.vqa import m4c

Change = Callable[[Any], Any]


def figures(
    benchmark: Any, items: list[Item], say: Callable[[Item], str], compat: Any = "strict"
) -> dict[str, float]:
    found = benchmark.score([Answer(item, say(item)) for item in items], compat)
    return {m.name: interval(m, samples=20).value for m in found}


def told(item: Item) -> str:
    return item.conversation.messages[0].text


def edit(path: Path, change: Change) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def ok(folder: Path) -> Path:
    """OK-VQA 1.1: VQA's two files; the answers have no multiple_choice_answer, but a raw form."""
    asked = [(297147, "What sport can you use this for?", "four"), (339761, "What is it?", "other")]
    people = [
        [("racing", "race")] * 9 + [("motocross", "motocross")],
        [("pony tail", "pony tail")] * 10,
    ]
    questions = [
        {"image_id": image, "question": text, "question_id": image * 10 + 5}
        for image, text, _ in asked
    ]
    annotations = [
        {
            "image_id": image,
            "answer_type": "other",
            "question_type": kind,
            "question_id": image * 10 + 5,
            "answers": [
                {"answer_id": n + 1, "raw_answer": raw, "answer_confidence": "yes", "answer": stem}
                for n, (raw, stem) in enumerate(said)
            ],
            "confidence": 3,
        }
        for (image, _, kind), said in zip(asked, people, strict=True)
    ]
    head = {"info": {}, "license": {}, "data_subtype": "val2014", "data_type": "mscoco"}
    head |= {"task_type": "Open-Ended"}
    put(
        folder / "OpenEnded_mscoco_val2014_questions.json",
        json.dumps(head | {"questions": questions}),
    )
    put(
        folder / "mscoco_val2014_annotations.json",
        json.dumps(
            head | {"annotations": annotations, "question_types": {"four": "Sports and Recreation"}}
        ),
    )
    for image, _, _ in asked:
        put(folder / "val2014" / f"COCO_val2014_{image:012d}.jpg", jpeg(image))
    return folder


def test_okvqa_is_scored_against_stems_and_against_what_people_wrote(tmp_path: Path) -> None:
    items = checked(okvqa.read(ok(tmp_path)), "okvqa")
    assert [(item.id, item.kind) for item in items] == [
        ("2971475", "Sports and Recreation"),
        ("3397615", "other"),
    ]
    assert told(items[0]).endswith("for?\nAnswer the question using a single word or phrase.")
    said = {"2971475": "Racing", "3397615": "pony tail"}
    found = figures(okvqa, items, lambda item: said[item.id])
    assert found == pytest.approx({"VQA accuracy": 50, "VQA accuracy, unstemmed": 100})
    stems = figures(okvqa, items[::-1], lambda item: item.truth["answers"][0])
    assert stems == pytest.approx({"VQA accuracy": 100, "VQA accuracy, unstemmed": 50})


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        (
            "mscoco_val2014_annotations",
            lambda c: c["annotations"].pop(),
            r"entry 2 of 2.*no answer",
        ),
        (
            "mscoco_val2014_annotations",
            lambda c: c["annotations"][1].update(question_id=2971475),
            r"annotations\.json, entry 2 of 2.*before",
        ),
        (
            "mscoco_val2014_annotations",
            lambda c: c["annotations"][0]["answers"][0].pop("raw_answer"),
            r"entry 1 of 2.*no 'raw_answer'",
        ),
        (
            "OpenEnded_mscoco_val2014_questions",
            lambda c: c["questions"].append(c["questions"][0]),
            r"questions\.json, entry 3 of 3 \(question_id 2971475\): this question was there before",
        ),
        (
            "OpenEnded_mscoco_val2014_questions",
            lambda c: c["questions"][0].update(image_id=1),
            r"questions\.json, entry 1 of 2.*COCO_val2014_000000000001",
        ),
    ],
)
def test_faults_of_okvqa_name_the_entry(
    tmp_path: Path, name: str, change: Change, fault: str
) -> None:
    edit(ok(tmp_path) / f"{name}.json", change)
    with pytest.raises(InputError, match=fault):
        okvqa.read(tmp_path)


def aok(folder: Path) -> Path:
    """aokvqa_v1p0_val.json: a list, its images those of COCO 2017."""
    rows = [
        {
            "split": "val",
            "image_id": 461751,
            "question_id": "22jbM6gDxdaMaunuzgrsBB",
            "question": "What is in the motorcyclist's mouth?",
            "choices": ["toothpick", "food", "popsicle stick", "cigarette"],
            "correct_choice_idx": 3,
            "direct_answers": ["cigarette"] * 8 + ["joint", "joint"],
            "difficult_direct_answer": False,
            "rationales": ["He's smoking while riding."],
        },
        {
            "split": "val",
            "image_id": 299207,
            "question_id": "22MexNkBPpdZGX6sxbxVBH",
            "question": "What is the man by the bags awaiting?",
            "choices": ["skateboarder", "train", "delivery", "cab"],
            "correct_choice_idx": 3,
            "direct_answers": ["ride", "ride", "bus", "taxi", "cab"],
            "difficult_direct_answer": True,
            "rationales": [],
        },
    ]
    for row in rows:
        put(folder / "val2017" / f"{row['image_id']:012d}.jpg", jpeg(1))
    put(folder / "aokvqa_v1p0_val.json", json.dumps(rows))
    return folder


def test_aokvqa_s_direct_answers(tmp_path: Path) -> None:
    items = checked(aokvqa.read(aok(tmp_path), "direct"), "aokvqa")
    assert [item.id for item in items] == [
        "22jbM6gDxdaMaunuzgrsBB"
    ]  # the other is marked difficult

    def accuracy(said: str, compat: str = "strict") -> float:
        return figures(aokvqa, items, lambda _: said, compat)["accuracy"]

    assert accuracy("cigarette") == 100
    assert accuracy("joint") == pytest.approx(200 / 3)
    assert accuracy("A cigarette.") == 100
    assert accuracy("A cigarette.", "official") == 0
    assert accuracy("cigarette", "official") == 100


def test_aokvqa_s_choices(tmp_path: Path) -> None:
    items = checked(aokvqa.read(aok(tmp_path), "multiple-choice"), "aokvqa")
    assert len(items) == 2
    assert told(items[0]).splitlines()[1:] == [
        "A. toothpick",
        "B. food",
        "C. popsicle stick",
        "D. cigarette",
        "Answer with the option's letter from the given choices directly.",
    ]
    assert items[0].choices == ("A", "B", "C", "D")
    assert figures(aokvqa, items, lambda _: "D")["accuracy"] == 100
    half = figures(aokvqa, items, lambda item: "cab" if item is items[1] else "smoke")
    assert half == {"accuracy": 50, "unreadable": 50}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c[0].update(correct_choice_idx=4), r"entry 1 of 2.*'correct_choice_idx' is 4"),
        (lambda c: c[1].update(question_id=c[0]["question_id"]), r"entry 2 of 2.*before"),
        (lambda c: c[1].update(image_id=5), r"entry 2 of 2.*000000000005\.jpg"),
        (lambda c: c[0].update(choices="food"), r"entry 1 of 2.*'choices' should be a list"),
    ],
)
def test_faults_of_aokvqa_name_the_entry(tmp_path: Path, change: Change, fault: str) -> None:
    edit(aok(tmp_path) / "aokvqa_v1p0_val.json", change)
    with pytest.raises(InputError, match=fault):
        aokvqa.read(tmp_path, "multiple-choice")


def blind(folder: Path) -> Path:
    """val.json of VizWiz: one question to a photograph."""
    people = [
        ("What is this?", ["candle"] * 10, "other", 1),
        ("How much?", ["two dollars"] * 8 + ["2 dollars"] * 2, "number", 1),
        ("What does it say?", ["unanswerable"] * 7 + ["unsuitable"] * 3, "unanswerable", 0),
        ("Is it on?", ["yes"] * 10, "yes/no", 1),
    ]
    rows = [
        {
            "image": f"VizWiz_val_{n:08d}.jpg",
            "question": question,
            "answers": [{"answer": one, "answer_confidence": "yes"} for one in said],
            "answer_type": kind,
            "answerable": answerable,
        }
        for n, (question, said, kind, answerable) in enumerate(people)
    ]
    for n, row in enumerate(rows):
        put(folder / "val" / str(row["image"]), jpeg(n))
    put(folder / "val.json", json.dumps(rows))
    return folder


def test_vizwiz_counts_saying_so_where_there_is_no_answer(tmp_path: Path) -> None:
    items = checked(vizwiz.read(blind(tmp_path)), "vizwiz")
    assert [item.kind for item in items] == ["other", "number", "unanswerable", "yes/no"]
    assert told(items[0]) == (
        "What is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'.\n"
        "Answer the question using a single word or phrase."
    )
    perfect = figures(vizwiz, items, lambda item: item.truth["answers"][0])
    assert perfect == {"VQA accuracy": 100, "unanswerable F1": 100}
    shy = figures(vizwiz, items, lambda _: "Unanswerable")
    assert shy["VQA accuracy"] == 25
    assert shy["unanswerable F1"] == pytest.approx(100 * 2 / (2 + 3))
    found = vizwiz.score([Answer(item, "unanswerable") for item in items])
    kinds = by_kind(found[0], {item.id: item.kind for item in items})
    assert {m.kind: interval(m).value for m in kinds} == {
        "number": 0,
        "other": 0,
        "unanswerable": 100,
        "yes/no": 0,
    }


def test_vizwiz_by_three_rules(tmp_path: Path) -> None:
    items = vizwiz.read(blind(tmp_path))

    def accuracy(number: int, said: str, compat: str) -> float:
        return figures(vizwiz, [items[number]], lambda _: said, compat)["VQA accuracy"]

    # "two" becomes "2" in the prediction alone: eight people's words are lost, two are left.
    assert accuracy(1, "two dollars", "strict") == 100
    assert accuracy(1, "two dollars", "official") == pytest.approx(60)
    assert accuracy(0, "Candle.", "strict") == 0  # VQA v2's tool normalises nothing where all agree
    assert accuracy(0, "Candle.", "official") == 100
    assert accuracy(0, "Candle.", "lmms-eval") == 100


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda c: c[1].update(answer_type="color"),
            r"entry 2 of 4.*'answer_type' should be yes/no",
        ),
        (lambda c: c[1].update(image=c[0]["image"]), r"entry 2 of 4.*before"),
        (lambda c: c[1].update(answerable=2), r"entry 2 of 4.*0 or 1"),
        (lambda c: c[1].update(answers=[]), r"entry 2 of 4.*'answers' is empty"),
        (lambda c: c[3].update(image="VizWiz_val_9.jpg"), r"entry 4 of 4.*VizWiz_val_9\.jpg"),
    ],
)
def test_faults_of_vizwiz_name_the_entry(tmp_path: Path, change: Change, fault: str) -> None:
    edit(blind(tmp_path) / "val.json", change)
    with pytest.raises(InputError, match=fault):
        vizwiz.read(tmp_path)


def texts(folder: Path) -> Path:
    """TextVQA 0.5.1, Rosetta's file and LLaVA-1.5's own question file."""
    rows = [
        {
            "question": "what is the brand of this camera?",
            "image_id": "003a8ae2ef43b901",
            "image_classes": ["Cassette deck"],
            "flickr_original_url": "https://example.org/a.jpg",
            "image_width": 1024,
            "image_height": 664,
            "answers": ["dakota"] * 8 + ["nous les gosses", "dakota digital"],
            "question_tokens": ["what"],
            "question_id": 34602,
            "set_name": "val",
        },
        {
            "question": "whose diner is it?",
            "image_id": "0054c91397f2fe05",
            "answers": ["joe's"] * 10,
            "question_id": 34603,
            "set_name": "val",
        },
    ]
    ocr = [
        {"image_id": row["image_id"], "ocr_tokens": ["DAKOTA", "DIGITAL"], "ocr_info": []}
        for row in rows
    ]
    lines = [
        {
            "question_id": row["image_id"],
            "image": f"{row['image_id']}.jpg",
            "text": f"{row['question']}\nReference OCR token: PENTAX, Joe's\n"
            "Answer the question using a single word or phrase.",
            "category": "default",
        }
        for row in reversed(rows)
    ]
    for row in rows:
        put(folder / "train_images" / f"{row['image_id']}.jpg", jpeg(1))
    head = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    put(folder / "TextVQA_0.5.1_val.json", json.dumps(head | {"data": rows}))
    put(folder / "TextVQA_Rosetta_OCR_v0.2_val.json", json.dumps({"data": ocr}))
    put(folder / "llava_textvqa_val_v051_ocr.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
    return folder


def test_textvqa_is_asked_in_three_ways(tmp_path: Path) -> None:
    folder = texts(tmp_path)
    asked = {variant: told(textvqa.read(folder, variant)[0]) for variant in textvqa.CARD.variants}
    question, ending = (
        "what is the brand of this camera?",
        "\nAnswer the question using a single word or phrase.",
    )
    assert asked == {
        "plain": question + ending,
        "ocr": f"{question}\nReference OCR token: DAKOTA, DIGITAL{ending}",
        "llava": f"{question}\nReference OCR token: PENTAX, Joe's{ending}",
    }


def test_textvqa_is_scored_as_m4c_does(tmp_path: Path) -> None:
    items = checked(textvqa.read(texts(tmp_path)), "textvqa")
    assert figures(textvqa, items, lambda item: item.truth["answers"][0])["VQA accuracy"] == 100
    # All agree on "joe's", which VQA v2's tool would leave as it is.
    assert figures(textvqa, items[1:], lambda _: "Joe's?")["VQA accuracy"] == 100
    assert figures(textvqa, items[:1], lambda _: "Dakota, Digital")["VQA accuracy"] == 30
    assert m4c("The Joe's, one") == "joe 's 1"


@pytest.mark.parametrize(
    ("variant", "file", "change", "fault"),
    [
        ("plain", "TextVQA_0.5.1_val.json", lambda c: c["data"][1].pop("answers"), r"entry 2 of 2"),
        ("plain", "TextVQA_0.5.1_val.json", lambda c: c["data"][1].update(image_id="z"), r"z\.jpg"),
        (
            "plain",
            "TextVQA_0.5.1_val.json",
            lambda c: c["data"].append(c["data"][0]),
            r"TextVQA_0\.5\.1_val\.json, entry 3 of 3 .*: this question was there before",
        ),
        (
            "plain",
            "TextVQA_0.5.1_val.json",
            lambda c: c.update(data=[]),
            r"'data' is an empty list",
        ),
        (
            "ocr",
            "TextVQA_Rosetta_OCR_v0.2_val.json",
            lambda c: c["data"].pop(),
            r"entry 2 of 2.*Rosetta's file has no image '0054c91397f2fe05'",
        ),
        (
            "llava",
            "TextVQA_0.5.1_val.json",
            lambda c: c["data"][0].update(question="what brand?"),
            r"entry 1 of 2.*LLaVA's file does not ask",
        ),
    ],
)
def test_faults_of_textvqa_name_the_entry(
    tmp_path: Path, variant: str, file: str, change: Change, fault: str
) -> None:
    edit(texts(tmp_path) / file, change)
    with pytest.raises(InputError, match=fault):
        textvqa.read(tmp_path, variant)


def composed(folder: Path) -> Path:
    """testdev_balanced_questions.json: an object by question."""
    asked = [
        ("201307251", "n161313", "Is it overcast?", "no", "verify"),
        ("201640614", "n235859", "Who is wearing the dress?", "woman", "query"),
        ("202225914", "n336443", "Is the cup red or blue?", "t-shirt", "choose"),
    ]
    content = {
        name: {
            "semantic": [],
            "entailed": [],
            "equivalent": [name],
            "question": question,
            "imageId": photo,
            "isBalanced": True,
            "groups": {"global": None, "local": ""},
            "answer": answer,
            "semanticStr": "",
            "types": {"detailed": "x", "semantic": "global", "structural": structure},
            "fullAnswer": "",
        }
        for name, photo, question, answer, structure in asked
    }
    for n, (_, photo, *_rest) in enumerate(asked):
        put(folder / "images" / f"{photo}.jpg", jpeg(n))
    put(folder / "testdev_balanced_questions.json", json.dumps(content))
    return folder


def test_gqa_is_exact_match_parted_by_structure(tmp_path: Path) -> None:
    items = checked(gqa.read(composed(tmp_path)), "gqa")
    assert [item.kind for item in items] == ["verify", "query", "choose"]
    perfect = figures(gqa, items, lambda item: item.truth["answer"], "official")
    assert perfect == {"accuracy": 100, "binary": 100, "open": 100}
    half = figures(gqa, items[::-1], lambda item: "woman" if item.kind == "query" else "maybe")
    assert half == pytest.approx({"accuracy": 100 / 3, "binary": 0, "open": 100})


@pytest.mark.parametrize(
    ("said", "strict", "official", "harness"),
    [
        ("t-shirt", 100, 100, 100),
        ("T-shirt.", 100, 0, 100),
        ("T shirt", 0, 0, 0),
        ("tshirt!", 0, 0, 100),
        ("a t-shirt", 0, 0, 0),
    ],
)
def test_gqa_by_three_rules(
    tmp_path: Path, said: str, strict: float, official: float, harness: float
) -> None:
    item = gqa.read(composed(tmp_path))[2]
    found = [
        figures(gqa, [item], lambda _: said, compat)["accuracy"]
        for compat in ("strict", "official", "lmms-eval")
    ]
    assert found == [strict, official, harness]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda c: c["201640614"]["types"].update(structural="list"),
            r"entry 2 of 3 \(id '201640614'\)",
        ),
        (lambda c: c["201640614"].update(imageId="n1"), r"entry 2 of 3.*n1\.jpg"),
        (lambda c: c["201640614"].pop("answer"), r"entry 2 of 3.*no 'answer'"),
        (lambda c: c.clear(), r"expected questions by id"),
    ],
)
def test_faults_of_gqa_name_the_entry(tmp_path: Path, change: Change, fault: str) -> None:
    edit(composed(tmp_path) / "testdev_balanced_questions.json", change)
    with pytest.raises(InputError, match=fault):
        gqa.read(tmp_path)


@pytest.mark.parametrize(
    ("benchmark", "build", "file"),
    [
        (okvqa, ok, "mscoco_val2014_annotations.json"),
        (aokvqa, aok, "aokvqa_v1p0_val.json"),
        (vizwiz, blind, "val.json"),
        (textvqa, texts, "TextVQA_0.5.1_val.json"),
        (gqa, composed, "testdev_balanced_questions.json"),
    ],
)
def test_a_file_cut_off_is_told(
    tmp_path: Path, benchmark: Any, build: Callable[[Path], Path], file: str
) -> None:
    path = build(tmp_path) / file
    path.write_text(path.read_text("utf-8")[:-20], "utf-8")
    with pytest.raises(InputError, match=f"{file} is not JSON"):
        benchmark.read(tmp_path, benchmark.CARD.variants[0])
    path.unlink()
    with pytest.raises(InputError, match=f"no file .*{file}"):
        benchmark.read(tmp_path, benchmark.CARD.variants[0])
