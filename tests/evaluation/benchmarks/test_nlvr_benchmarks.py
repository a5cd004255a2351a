"""NLVR and NLVR2: pictures put to their sentences, accuracy and consistency as the official tools count."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import encoded, picture, put

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Item, checked
from looksay.evaluation.benchmarks import nlvr, nlvr2
from looksay.evaluation.measures import interval
from looksay.types import Image

SENTENCES = [
    ("3125-0", "There is a tower with four blocks.", "true"),
    ("3125-1", "There is a tower with four blocks.", "false"),
    ("88-2", "A box has only circles.", "true"),
]


def figures(benchmark: Any, answers: list[Answer], compat: Any = "strict") -> dict[str, float]:
    return {m.name: interval(m, samples=20).value for m in benchmark.score(answers, compat)}


def right(item: Item) -> str:
    return "True." if item.truth["answer"] else "false"


def drawn(folder: Path, split: str = "dev") -> Path:
    """As in lil-lab/nlvr: JSON Lines in dev/dev.json, pictures in dev/images/{directory}/."""
    lines = []
    for name, sentence, label in SENTENCES:
        row = {
            "sentence": sentence,
            "label": label,
            "identifier": name,
            "directory": "2",
            "evals": {"r1": label},
            "structured_rep": [[], [], []],
        }
        lines.append(json.dumps(row))
        for order in range(6):
            path = folder / split / "images" / "2" / f"{split}-{name}-{order}.png"
            put(path, encoded(picture(order, (40, 10)), "PNG"))
    put(folder / split / f"{split}.json", "\n".join(lines))
    return folder


def test_an_example_is_asked_on_its_six_pictures(tmp_path: Path) -> None:
    items = checked(nlvr.read(drawn(tmp_path)), "nlvr")
    assert len(items) == 18
    assert items[7].id == "dev-3125-1-1"
    assert items[7].truth == {"answer": False, "sentence": "dev-3125"}
    assert (items[7].image, items[7].kind) == ("dev-3125", "false")
    assert isinstance(items[7].conversation.images[0].source, Path)
    assert items[7].conversation.images[0].source.name == "dev-3125-1-1.png"
    assert SENTENCES[1][1] in items[7].conversation.messages[0].text
    assert nlvr.read(drawn(tmp_path, "test"), "test")[0].id == "test-3125-0-0"


def test_the_repository_s_folder_may_stand_below(tmp_path: Path) -> None:
    items = nlvr.read(drawn(tmp_path / "nlvr").parent)
    assert [item.id for item in items] == [item.id for item in nlvr.read(tmp_path / "nlvr")]
    (tmp_path / "dev.jsonl").write_bytes((tmp_path / "nlvr" / "dev" / "dev.json").read_bytes())
    assert len(nlvr.read(tmp_path)) == 18


def test_a_sentence_is_consistent_where_it_is_right_on_every_picture(tmp_path: Path) -> None:
    items = nlvr.read(drawn(tmp_path))
    perfect = figures(nlvr, [Answer(item, right(item)) for item in items])
    assert perfect == pytest.approx(
        {"accuracy": 100, "consistency": 100, "said true": 100 * 12 / 18, "unreadable": 0}
    )
    wrong = [Answer(item, "False" if item.id == "dev-3125-0-3" else right(item)) for item in items]
    found = figures(nlvr, wrong)
    assert found["accuracy"] == pytest.approx(100 * 17 / 18)
    assert found["consistency"] == 50
    assert figures(nlvr, wrong[::-1]) == found


def test_what_says_neither_is_no_answer(tmp_path: Path) -> None:
    items = nlvr.read(drawn(tmp_path))
    hedged = figures(nlvr, [Answer(item, "It could be true or false.") for item in items])
    assert (hedged["unreadable"], hedged["accuracy"]) == (100, 0)
    spoken = [Answer(item, f"The sentence is {item.kind}.") for item in items]
    assert figures(nlvr, spoken)["accuracy"] == 100
    official = figures(nlvr, spoken, "official")
    assert (official["accuracy"], official["unreadable"]) == (0, 0)
    plain = [Answer(item, item.kind.upper()) for item in items]
    assert figures(nlvr, plain, "official")["accuracy"] == 100


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"label": "True"}, r"dev\.json, entry 2 of 3.*'label' should be true or false"),
        ({"identifier": "3125-0"}, r"entry 2 of 3 \(identifier '3125-0'\).*before"),
        ({"identifier": "3125"}, r"entry 2 of 3.*two numbers"),
        ({"directory": "7"}, r"entry 2 of 3.*dev-3125-1-0\.png"),
        ({"sentence": ""}, r"entry 2 of 3.*'sentence' is empty"),
    ],
)
def test_faults_of_nlvr_name_the_entry(tmp_path: Path, change: dict[str, str], fault: str) -> None:
    path = drawn(tmp_path) / "dev" / "dev.json"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    rows[1] |= change
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(InputError, match=fault):
        nlvr.read(tmp_path)


def test_a_file_cut_off_or_absent_is_told(tmp_path: Path) -> None:
    path = drawn(tmp_path) / "dev" / "dev.json"
    path.write_text(path.read_text("utf-8")[:-5], "utf-8")
    with pytest.raises(InputError, match=r"dev\.json is not JSON: .* in line 3"):
        nlvr.read(tmp_path)
    with pytest.raises(InputError, match=r"none of test/test\.json"):
        nlvr.read(tmp_path, "test")


def test_on_the_sentences_of_dev_the_majority_has_what_the_paper_prints(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "nlvr"
    with zipfile.ZipFile(folder / "images.zip") as pictures:
        names = [n for n in pictures.namelist() if n.startswith("nlvr/dev/")]
        pictures.extractall(tmp_path, names)
    (tmp_path / "dev.jsonl").write_bytes((folder / "dev.jsonl").read_bytes())
    items = nlvr.read(tmp_path)
    assert len(checked(items, "nlvr")) == 6 * 989
    assert set(Counter(item.image for item in items).values()) <= {6, 12, 18, 24}
    always = figures(nlvr, [Answer(item, "true") for item in items])
    assert round(always["accuracy"], 1) == 55.3  # the paper's majority on Dev (from memory)
    labels: dict[str, set[str]] = {}
    for line in (folder / "dev.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        labels.setdefault(row["identifier"].partition("-")[0], set()).add(row["label"])
    whole = sum(found == {"true"} for found in labels.values())
    assert always["consistency"] == pytest.approx(100 * whole / len(labels))
    perfect = figures(nlvr, [Answer(item, right(item)) for item in items])
    assert (perfect["accuracy"], perfect["consistency"]) == (100, 100)


PAIRS = [
    ("test1-0-0-0", "There is an empty glass.", "False"),
    ("test1-0-1-0", "There is an empty glass.", "True"),
    ("test1-0-1-1", "A bottle stands on the left.", "True"),
    ("test1-5-0-0", "Two dogs sleep.", "False"),
]


def photographed(folder: Path) -> Path:
    """As in lil-lab/nlvr, nlvr2/README.md; the pictures are JPEG under a name that says PNG."""
    rows = [
        {
            "sentence": sentence,
            "label": label,
            "identifier": name,
            "left_url": "https://example.org/l.jpg",
            "right_url": "https://example.org/r.jpg",
            "writer": 1,
            "validation": [["7", label]],
            "synset": "beaker",
            "query": "two beakers1",
        }
        for name, sentence, label in PAIRS
    ]
    for name, _, _ in PAIRS:
        for side in (0, 1):
            path = folder / "test1" / f"{name.rpartition('-')[0]}-img{side}.png"
            put(path, encoded(picture(side), "JPEG"))
    put(folder / "test1.json", "\n".join(map(json.dumps, rows)))
    return folder


def test_a_pair_is_shown_left_first(tmp_path: Path) -> None:
    items = checked(nlvr2.read(photographed(tmp_path)), "nlvr2")
    left, right_, asked = items[2].conversation.messages[0].parts
    assert isinstance(left, Image)
    assert isinstance(right_, Image)
    assert isinstance(asked, str)
    assert [Path(str(one.source)).name for one in (left, right_)] == [
        "test1-0-1-img0.png",
        "test1-0-1-img1.png",
    ]
    assert "A bottle stands on the left." in asked
    assert items[2].truth == {"answer": True, "sentence": "test1-0-1"}
    assert [item.image for item in items] == ["test1-0", "test1-0", "test1-0", "test1-5"]


def test_a_sentence_s_pairs_count_together(tmp_path: Path) -> None:
    items = nlvr2.read(photographed(tmp_path))
    answers = [Answer(item, "True" if item.id == "test1-0-0-0" else right(item)) for item in items]
    found = figures(nlvr2, answers)
    assert found["accuracy"] == 75
    assert found["consistency"] == pytest.approx(100 * 2 / 3)
    assert figures(nlvr2, [Answer(item, right(item)) for item in items])["consistency"] == 100


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda row: row.update(label="true"), r"entry 1 of 4.*'label' should be True or False"),
        (lambda row: row.update(identifier="test1-0-1-0"), r"entry 2 of 4.*before"),
        (lambda row: row.update(identifier="test1-0"), r"entry 1 of 4.*split-set-pair-sentence"),
        (lambda row: row.update(identifier="test1-9-0-0"), r"entry 1 of 4.*test1-9-0-img0\.png"),
    ],
)
def test_faults_of_nlvr2_name_the_entry(
    tmp_path: Path, change: Callable[[Any], None], fault: str
) -> None:
    path = photographed(tmp_path) / "test1.json"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    change(rows[0])
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(InputError, match=fault):
        nlvr2.read(tmp_path)
