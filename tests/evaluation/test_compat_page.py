"""Every cell of docs/compat.md is what the benchmark's own scorer says under that column's rules."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

pytest.importorskip("numpy", reason="no numpy: no benchmarks")

import numpy as np

from looksay.errors import InputError
from looksay.evaluation import benchmark
from looksay.evaluation.benchmark import Answer, Compat, Item
from looksay.evaluation.benchmarks import _retrieval
from looksay.evaluation.measures import Measure, interval
from looksay.types import Conversation, Image

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "compat.md").read_text("utf-8")
ASKED = Conversation.ask("What is there?")
Row = Mapping[str, str]
"""A row of a table by its columns; cells without their backticks."""


def tables() -> dict[str, list[dict[str, str]]]:
    """Heading → rows of the first table below it."""
    found: dict[str, list[dict[str, str]]] = {}
    for part in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("|")]
        cells = [[plain(cell) for cell in line.strip("|").split(" | ")] for line in lines]
        if cells:
            found[heading] = [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    return found


def plain(cell: str) -> str:
    cell = cell.strip()
    return "" if cell == "(nothing)" else cell.strip("`")


def value(measures: Sequence[Measure], name: str) -> float:
    (one,) = (m for m in measures if m.name == name and not m.kind)
    return interval(one, samples=1).value


def module(name: str) -> Any:
    return importlib.import_module(f"looksay.evaluation.benchmarks.{name}")


def score(name: str, rule: str, items: Sequence[Item], said: str, verdicts: Any = ()) -> Any:
    return module(name).score([Answer(item, said) for item in items], rule, verdicts)


def chosen(
    name: str,
    rule: str,
    said: str,
    truths: Mapping[str, Mapping[str, Any]],
    figure: str = "accuracy",
    count: int = 1,
    verdict: str | None = None,
) -> str:
    """The truth under which an answer is right; else whether it could not be read, or is wrong anyhow."""
    found = []
    for label, truth in truths.items():
        items = [Item(f"{n} r0", ASKED, truth, "1.jpg", "existence") for n in range(count)]
        verdicts = [] if verdict is None else [Answer(item, verdict) for item in items]
        found = score(name, rule, items, said, verdicts)
        if value(found, figure) == 100:
            return label
    return "unreadable" if value(found, "unreadable") == 100 else "wrong"


def number(found: float) -> str:
    return f"{round(found, 1):g}"


def listed(cell: str) -> list[str]:
    """ "9 yes, 1 no" as ten answers."""
    given = [part.split(" ", 1) for part in cell.split(", ")]
    return [text.strip("`") for times, text in given for _ in range(int(times))]


YES_NO = {word: {"answer": word} for word in ("yes", "no")}
OPTIONS = {"A": "cat", "B": "dog", "C": "rabbit", "D": "no animal"}
LETTERS = {
    name: {"options": OPTIONS, "answer": name, "question": 0, "shift": 0, "size": 1, "ability": ""}
    for name in OPTIONS
}
HEAT = {
    name: {"choices": ["cold", "hot"], "answer": n, "slices": [], "text": "A"}
    for n, name in enumerate("AB")
}
ANGLES = ["145°", "140°", "135°", "150°"]
WHOLE_OR_NOT = {str(truth).lower(): {"answer": truth, "sentence": "1"} for truth in (True, False)}


def circular(name: str) -> str:
    return "circular accuracy" if name.startswith("mmbench") else "accuracy"


def decided(name: str, row: Row, rule: str) -> str:
    try:
        return chosen(name, rule, "B", HEAT, verdict=row["the text model's last words"])
    except InputError:
        return "an error"


def extracted(name: str, row: Row, rule: str) -> str:
    truths = {
        angle: {
            "answer": angle,
            "answer_type": "text",
            "choices": ANGLES,
            "precision": None,
            "skills": [],
            "query": "Which angle?",
        }
        for angle in ANGLES
    }
    said = "It is hard to tell from this picture."
    return chosen(name, rule, said, truths, verdict=row["extraction"])


def people(name: str, row: Row, rule: str) -> str:
    given = listed(row["people wrote"])
    truth = {"answers": given, "raw_answers": given, "answerable": True}
    figure = "accuracy" if name == "aokvqa" else "VQA accuracy"
    return number(value(score(name, rule, [Item("1", ASKED, truth)], row["answer"]), figure))


def matched(name: str, row: Row, rule: str) -> str:
    truth = {"answer": row["right answer"]}
    found = value(score(name, rule, [Item("1", ASKED, truth)], row["answer"]), "accuracy")
    return "right" if found == 100 else "wrong"


def boxed(name: str, row: Row, rule: str) -> str:
    truths = {"right": {"box": [0.1, 0.2, 0.5, 0.9]}}
    return chosen(name, rule, row["answer"], truths, "accuracy at IoU 0.5")


def objects(name: str, row: Row, rule: str) -> str:
    there = [
        thing
        for thing in ("bus", "bear", "teddy bear", "train", "tie")
        if value(
            score(
                name,
                rule,
                [Item("1", ASKED, {"instances": [thing], "captions": []})],
                row["caption"],
            ),
            "recall",
        )
        == 100
    ]
    return ", ".join(there) or "nothing"


def blind(name: str, row: Row, rule: str) -> str:
    """R@1 (or accuracy) of a model for which everything is alike: four pictures, a text for each."""
    assert row["model"] == "says the same of everything"
    if name == "imagenet_clip":
        shown = [Item(str(n), Conversation.ask(Image(b"")), {"class": str(n)}) for n in range(4)]
        told = [Item(f"class {n}", ASKED, {"class": str(n)}) for n in range(4)]
    else:
        both = [_retrieval.items(str(n), [Image(b"")], ["a text"]) for n in range(4)]
        shown, told = [one[0] for one in both], [one[1] for one in both]
    vectors = np.ones((8, 1), np.float32)
    found = module(name).score_embeddings([*shown, *told], vectors, rule)
    return number(interval(found[0], samples=1).value)


Reader = Callable[[str, Row, str], str]
READERS: dict[str, tuple[tuple[str, ...], Reader]] = {
    "POPE": (("pope",), lambda n, row, rule: chosen(n, rule, row["answer"], YES_NO)),
    "MME": (("mme",), lambda n, row, rule: chosen(n, rule, row["answer"], YES_NO, count=2)),
    "MMBench, AI2D, SEED-Bench": (
        ("mmbench", "mmbench_cn", "ai2d", "seed"),
        lambda n, row, rule: chosen(n, rule, row["answer"], LETTERS, circular(n)),
    ),
    "ScienceQA": (("scienceqa",), lambda n, row, rule: chosen(n, rule, row["answer"], HEAT)),
    "ScienceQA, a text model deciding": (("scienceqa_judged",), decided),
    "MathVista": (("mathvista",), extracted),
    "VQA v2, OK-VQA, TextVQA, VizWiz": (("vizwiz",), people),
    "A-OKVQA": (("aokvqa",), people),
    "GQA": (("gqa",), matched),
    "NLVR, NLVR2": (
        ("nlvr", "nlvr2"),
        lambda n, row, rule: chosen(n, rule, row["answer"], WHOLE_OR_NOT),
    ),
    "RefCOCO": (("refcoco",), boxed),
    "CHAIR": (("chair",), objects),
    "Retrieval and ImageNet by embeddings": (
        ("coco_retrieval", "flickr30k", "msrvtt", "msvd", "scenes_retrieval", "imagenet_clip"),
        blind,
    ),
}
RULES = get_args(Compat)


@pytest.mark.parametrize("heading", READERS)
def test_cells_are_what_the_scorers_say(heading: str) -> None:
    names, read = READERS[heading]
    shown, real = [], []
    for row in tables()[heading]:
        for rule in (column for column in row if column in RULES):
            for name in names:
                if rule in module(name).CARD.compat:
                    told = {k: v for k, v in row.items() if k not in RULES and k != "why"}
                    shown.append((told, name, rule, row[rule]))
                    real.append((told, name, rule, read(name, row, rule)))
    assert len(shown) > 1
    assert shown == real


@pytest.mark.parametrize("heading", READERS)
def test_a_table_has_the_rules_of_its_benchmarks_a_reason_for_each_row_and_none_twice(
    heading: str,
) -> None:
    rows = tables()[heading]
    rules = {rule for name in READERS[heading][0] for rule in module(name).CARD.compat}
    assert {column for column in rows[0] if column in RULES} == rules
    assert all(row["why"] for row in rows)
    told = [tuple(v for k, v in row.items() if k not in RULES and k != "why") for row in rows]
    assert len(set(told)) == len(told)


def test_every_benchmark_with_rules_to_choose_from_is_on_the_page() -> None:
    chosen_from = {n for n in benchmark.names() if len(module(n).CARD.compat) > 1}
    assert chosen_from == {name for names, _ in READERS.values() for name in names}


def test_vqa_v2_and_ok_vqa_are_the_strict_column_and_textvqa_the_column_of_lmms_eval() -> None:
    rows = tables()["VQA v2, OK-VQA, TextVQA, VizWiz"]
    assert {people("vqav2", row, "strict") == row["strict"] for row in rows} == {True}
    assert {people("okvqa", row, "strict") == row["strict"] for row in rows} == {True}
    assert {people("textvqa", row, "strict") == row["lmms-eval"] for row in rows} == {True}


def test_the_figures_of_pope_that_lmms_eval_counts_otherwise() -> None:
    labels = ["yes", "yes", "no"]
    answers = [
        Answer(Item(str(n), ASKED, {"answer": label}), said)
        for n, (label, said) in enumerate(zip(labels, ["yes", "Unsure", "no"], strict=True))
    ]
    found = {rule: module("pope").score(answers, rule) for rule in ("strict", "lmms-eval")}
    assert [round(value(one, "recall")) for one in found.values()] == [50, 100]
    assert [round(value(one, "yes ratio")) for one in found.values()] == [33, 67]
    assert not math.isnan(value(found["strict"], "F1"))
