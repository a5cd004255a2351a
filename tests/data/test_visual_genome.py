"""Visual Genome's four files in the layout of the release: what is asked, what is left out, what is at fault."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import jpeg, put

from looksay.data.dataset import problems
from looksay.data.grounding import FORM
from looksay.data.opening import open_source
from looksay.data.sources import visual_genome
from looksay.errors import InputError
from looksay.evaluation.metrics.boxes import parse

SIZES = [
    {
        "image_id": number,
        "url": f"https://cs.stanford.edu/people/rak248/VG_100K/{number}.jpg",
        "width": wide,
        "height": high,
        "coco_id": None,
        "flickr_id": None,
    }
    for number, wide, high in ((1, 200, 100), (2, 100, 200))
]


def region(number: int, image: int, phrase: str, x: int, y: int, width: int, height: int) -> Any:
    return {
        "region_id": number,
        "width": width,
        "height": height,
        "image_id": image,
        "phrase": phrase,
        "y": y,
        "x": x,
    }


REGIONS = [
    {
        "id": 1,
        "regions": [
            region(1382, 1, "the clock is green in colour", 20, 10, 60, 80),
            region(1383, 1, "a window", 100, 0, 120, 50),  # over the edge
            region(1384, 1, "a window", 0, 0, 20, 20),  # the same words of another
            region(1385, 1, "a cloud in the sky", 20, -904, 55, 25),  # as the release has some
        ],
    },
    {"id": 2, "regions": [region(1386, 2, "shade along the kerb", -2, 150, 52, 50)]},
]
OBJECTS = [
    {
        "image_id": 1,
        "image_url": "https://cs.stanford.edu/people/rak248/VG_100K/1.jpg",
        "objects": [
            {
                "synsets": ["tree.n.01"],
                "h": 80,
                "object_id": 1058549,
                "merged_object_ids": [],
                "names": ["trees"],
                "w": 60,
                "y": 10,
                "x": 20,
            }
        ],
    },
    {"image_id": 2, "image_url": "", "objects": []},
]


def end(number: int, name: str, x: int, y: int, w: int, h: int, listed: bool = False) -> Any:
    called = {"names": [name]} if listed else {"name": name}
    return {"object_id": number, "synsets": [], "h": h, "w": w, "x": x, "y": y} | called


RELATIONS = [
    {
        "relationships": [
            {
                "predicate": "ON",
                "object": end(5046, "sidewalk", 0, 50, 200, 50),
                "relationship_id": 15927,
                "synsets": ["along.r.01"],
                "subject": end(5045, "shade", 20, 10, 60, 80, listed=True),
            },
            {
                "predicate": "wears",
                "object": end(5047, "shoes", 0, 300, 5, 5),
                "relationship_id": 15928,
                "synsets": [],
                "subject": end(5048, "man", 0, 0, 20, 20),
            },
        ],
        "image_id": 1,
    }
]
QUESTIONS = [
    {
        "id": 1,
        "qas": [
            {
                "a_objects": [],
                "question": "What color is the clock?",
                "image_id": 1,
                "qa_id": 986768,
                "answer": "Green.",
                "q_objects": [],
            },
            {
                "a_objects": [],
                "question": "How tall is it?",
                "image_id": 1,
                "qa_id": 986769,
                "answer": "Taller than a person.",
                "q_objects": [],
            },
        ],
    }
]
NAMES = {
    "region_descriptions.json": REGIONS,
    "objects.json": OBJECTS,
    "relationships.json": RELATIONS,
    "question_answers.json": QUESTIONS,
}


def saved(folder: Path, name: str, rows: Any = None, sizes: Any = SIZES) -> Path:
    put(folder / "image_data.json", json.dumps(sizes))
    put(folder / "VG_100K" / "1.jpg", jpeg(1, (200, 100)))
    put(folder / "VG_100K_2" / "2.jpg", jpeg(2, (100, 200)))
    return put(folder / name, json.dumps(NAMES[name] if rows is None else rows))


def said(source: visual_genome.VisualGenome) -> list[list[tuple[str, str]]]:
    found = []
    for number in range(source.size or 0):
        messages = source.example(number).conversation.messages
        pairs = list(zip(messages[::2], messages[1::2], strict=True))
        found.append([(q.text.removeprefix(f"{FORM} "), a.text) for q, a in pairs])
    return found


FIND = "Give the box of what this describes, and nothing else: "
NAME = "Say in a few words what is in this box: "


def test_regions_both_ways(tmp_path: Path) -> None:
    source = visual_genome.read(saved(tmp_path, "region_descriptions.json"))
    clock, right, left = "[0.10, 0.10, 0.40, 0.90]", "[0.50, 0.00, 1.00, 0.50]", "[0.00, 0.00, 0.10, 0.20]"  # fmt: skip
    # Of the two windows neither can be found by its words alone.
    assert said(source) == [
        [(f"{FIND}the clock is green in colour", clock), (NAME + right, "a window"), (NAME + left, "a window")],
        [(NAME + clock, "the clock is green in colour"), (NAME + right, "a window"), (NAME + left, "a window")],
        [(f"{FIND}shade along the kerb", "[0.00, 0.75, 0.50, 1.00]")],
        [(f"{NAME}[0.00, 0.75, 0.50, 1.00]", "shade along the kerb")],
    ]  # fmt: skip
    assert source.left_out == 1
    first, last = source.example(0), source.example(3)
    assert first.truth == {"image_id": 1, "ids": [1382, 1383, 1384]}
    assert first.conversation.images[0].source == tmp_path / "VG_100K" / "1.jpg"
    assert last.conversation.images[0].source == tmp_path / "VG_100K_2" / "2.jpg"
    assert [len(source.example(n).conversation.images) for n in range(4)] == [1] * 4
    assert list(problems(source, decode=True)) == []


def test_objects_relations_and_questions(tmp_path: Path) -> None:
    objects = visual_genome.read(saved(tmp_path, "objects.json"))
    assert said(objects) == [
        [(f"{FIND}trees", "[0.10, 0.10, 0.40, 0.90]")],
        [(f"{NAME}[0.10, 0.10, 0.40, 0.90]", "trees")],
    ]
    relations = visual_genome.read(saved(tmp_path, "relationships.json"))
    assert said(relations) == [
        [
            (
                "How does the shade at [0.10, 0.10, 0.40, 0.90] relate to the sidewalk at [0.00, 0.50, 1.00, 1.00]? "
                "Answer with the two and what is between them.",
                "shade on sidewalk",
            )
        ]
    ]
    assert relations.left_out == 1
    assert relations.example(0).truth["ids"] == [15927]
    (tmp_path / "image_data.json").unlink()
    questions = open_source(str(put(tmp_path / "question_answers.json", json.dumps(QUESTIONS))))
    assert isinstance(questions, visual_genome.VisualGenome)  # they have no boxes
    assert said(questions) == [
        [
            ("What color is the clock?\nAnswer the question using a single word or phrase.", "Green."),
            ("How tall is it?\nAnswer the question using a single word or phrase.", "Taller than a person."),
        ]
    ]  # fmt: skip
    assert FORM not in questions.example(0).conversation.messages[0].text
    bare = visual_genome.read(tmp_path / "question_answers.json", suffix="", turns=1)
    assert [talk[0] for talk in said(bare)] == [
        ("What color is the clock?", "Green."),
        ("How tall is it?", "Taller than a person."),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_data_knows_each_file_by_its_content(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name)
    renamed = path.rename(tmp_path / "mine.json")
    source = open_source(str(renamed), tmp_path)
    assert isinstance(source, visual_genome.VisualGenome)
    assert source.size
    assert list(problems(source)) == []
    ids = [source.example(n).id for n in range(source.size)]
    assert len(set(ids)) == len(ids)
    # As some releases name the picture.
    other = [{("image_id" if k == "id" else k): v for k, v in row.items()} for row in NAMES[name]]
    put(renamed, json.dumps(other, indent=1))
    assert [open_source(str(renamed)).example(n).conversation for n in range(source.size)] == [
        source.example(n).conversation for n in range(source.size)
    ]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(*[st.integers(-250, 250)] * 4), min_size=1, max_size=25),
    st.integers(1, 6),
)
def test_whatever_the_boxes_each_region_is_asked_for_once_each_way(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[Any], turns: int
) -> None:
    folder = tmp_path_factory.mktemp("genome")
    rows = [{"id": 1, "regions": [region(n, 1, f"thing {n}", *box) for n, box in enumerate(boxes)]}]
    inside = [
        n
        for n, (x, y, w, h) in enumerate(boxes)
        if max(x, 0) < min(x + w, 200) and max(y, 0) < min(y + h, 100)
    ]
    path = saved(folder, "region_descriptions.json", rows)
    if not inside:
        with pytest.raises(InputError, match="hold nothing to ask about"):
            visual_genome.read(path)
        return
    source = visual_genome.read(path, turns=turns)
    assert source.left_out == len(boxes) - len(inside)
    talks = said(source)
    assert max(map(len, talks)) <= turns
    found, named = Counter[str](), Counter[str]()
    for question, answer in (pair for talk in talks for pair in talk):
        if question.startswith(FIND):
            found[question.removeprefix(FIND)] += 1
            assert parse(answer) is not None
        else:
            named[answer] += 1
            assert parse(question) is not None
    assert found == named == Counter(f"thing {n}" for n in inside)


def changed(rows: Any, key: str, **change: Any) -> Any:
    """The rows with the first thing of the first entry changed; None takes a key away."""
    thing = {k: v for k, v in (rows[0][key][0] | change).items() if v is not None}
    return [{**rows[0], key: [thing, *rows[0][key][1:]]}, *rows[1:]]


@pytest.mark.parametrize(
    ("name", "rows", "fault"),
    [
        ("region_descriptions.json", changed(REGIONS, "regions", phrase=" "), r"entry 1 of 2 \(region_id 1382\): 'phrase' is empty"),
        ("region_descriptions.json", changed(REGIONS, "regions", x="20"), r"\(region_id 1382\): 'x' should be pixels; found text"),
        ("region_descriptions.json", changed(REGIONS, "regions", width=None), r"there is no 'width', which should be pixels"),
        ("region_descriptions.json", changed(REGIONS, "regions", region_id=None), "there is no 'region_id', which should be a number"),
        ("region_descriptions.json", [{**REGIONS[0], "regions": {}}], r"entry 1 of 1 \(id 1\): 'regions' should be a list"),
        ("region_descriptions.json", [REGIONS[0], 3], "entry 2 of 2: expected an object; found a number"),
        ("region_descriptions.json", [REGIONS[0], {"id": 2}], r"entry 2 of 2 \(id 2\): there is no 'regions'"),
        ("region_descriptions.json", [{**REGIONS[0], "id": 3}], r"picture 3 is not among the 2 of image_data\.json"),
        ("region_descriptions.json", [{"regions": REGIONS[0]["regions"]}], "there is no 'id', which should be the picture's number"),
        ("objects.json", changed(OBJECTS, "objects", names=[]), r"\(object_id 1058549\): 'names' should be a list of texts, at least one"),
        ("objects.json", changed(OBJECTS, "objects", names=None), "there is no 'name', which should be text"),
        ("relationships.json", changed(RELATIONS, "relationships", predicate=""), r"\(relationship_id 15927\): 'predicate' is empty"),
        ("relationships.json", changed(RELATIONS, "relationships", subject=None), "there is no 'subject', which should be an object with a box"),
        ("relationships.json", changed(RELATIONS, "relationships", object=5046), "'object' should be an object with a box; found a number"),
        ("question_answers.json", changed(QUESTIONS, "qas", answer=None), r"\(qa_id 986768\): there is no 'answer'"),
        ("question_answers.json", changed(QUESTIONS, "qas", question=""), "'question' is empty"),
        ("question_answers.json", [{"id": 1, "regions": [], "qas": []}], "expected entries with one of regions, objects, relationships, qas; the first one has id, regions, qas"),
        ("question_answers.json", [{"id": 1, "qas": []}], "its 1 entries hold nothing to ask about"),
        ("question_answers.json", [], "is an empty list"),
        ("question_answers.json", ["a"], r"the first one has text \('a'\)"),
    ],
)  # fmt: skip
def test_defects_are_named(tmp_path: Path, name: str, rows: Any, fault: str) -> None:
    path = saved(tmp_path, name, rows)
    with pytest.raises(InputError, match=fault) as told:
        visual_genome.read(path)
    assert name in str(told.value)


def test_pictures_and_sizes_that_are_missing(tmp_path: Path) -> None:
    path = saved(tmp_path, "region_descriptions.json")
    (tmp_path / "VG_100K" / "1.jpg").unlink()
    faults = list(problems(visual_genome.read(path)))
    assert len(faults) == 2
    assert "entry 1 of 2 (id 1): the image '1.jpg' is not in" in faults[0]
    for sizes, fault in (
        ([], r"image_data\.json: the file is an empty list"),
        ([{"image_id": 1, "width": "200", "height": 100}], r"image_data\.json, entry 1 of 1 \(image_id 1\): 'width' should be pixels"),
        ([{"image_id": 1, "width": 0, "height": 100}, SIZES[1]], r"\(region_id 1382\): its picture is said to have 0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=fault):
            visual_genome.read(saved(tmp_path, "region_descriptions.json", sizes=sizes))
    (tmp_path / "image_data.json").unlink()
    with pytest.raises(InputError, match=r"looked for in .*image_data\.json, which is not there"):
        visual_genome.read(path)
