"""Published figures: every one stands beside a figure that its benchmark gives, and a report shows them as such."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy", reason="no numpy: no intervals")

import numpy as np
from typer.testing import CliRunner

from looksay.backends.base import Profile
from looksay.cli import app
from looksay.errors import InputError
from looksay.evaluation import benchmark as benchmarks
from looksay.evaluation import pages, published, report
from looksay.evaluation.benchmark import Item
from looksay.evaluation.benchmarks import _retrieval
from looksay.evaluation.metrics.mme import COGNITION, PERCEPTION
from looksay.evaluation.metrics.scienceqa import SLICES
from looksay.evaluation.run import Result, evaluate
from looksay.types import Completion, Conversation, Options

# --- What figures a benchmark gives: it scores a few answers made up here, by the same way as a report does. ---


@dataclass
class Says:
    """Says the same to everything."""

    text: str
    name: str = "one & only"
    fingerprint: str = "says"
    profile: Profile = field(default_factory=Profile)

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for number, _ in enumerate(conversations):
            yield Completion(number, self.text)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield self.text


def item(name: str, kind: str = "", image: str = "", **truth: Any) -> Item:
    return Item(name, Conversation.ask(f"question {name}"), truth, image=image, kind=kind)


CAPTIONS = ["a dog runs on grass", "a dog is running"]
PEOPLE = ["yes"] * 10
OPTIONS = {"A": "a fish", "B": "a bird"}
SQA: dict[str, Any] = {"choices": ["a fish", "a bird"], "answer": 0, "slices": list(SLICES)}
ASKED: dict[str, Any] = {
    "question": "What is it?",
    "reference": "a dog",
    "context": "a dog",
    "role": "Assistant",
}
CIRCLE: dict[str, Any] = {
    "question": 1,
    "size": 2,
    "options": OPTIONS,
    "answer": "A",
    "ability": "coarse",
}
MATHS: dict[str, Any] = {
    "answer": "2",
    "answer_type": "integer",
    "choices": None,
    "precision": None,
}

ITEMS: dict[str, list[Item]] = {
    "vqav2": [item("1", answers=PEOPLE)],
    "gqa": [item("1", "verify", answer="yes"), item("2", "query", answer="dog")],
    "okvqa": [item("1", answers=PEOPLE, raw_answers=PEOPLE)],
    "vizwiz": [item("1", answers=PEOPLE, answerable=True)],
    "textvqa": [item("1", answers=PEOPLE)],
    "coco_captions": [item("1", captions=CAPTIONS), item("2", captions=["two cats sit"])],
    "nocaps": [item(str(n), d, captions=CAPTIONS) for n, d in enumerate(("in-domain", "x"))],
    "chair": [item("1", instances=["dog"], captions=CAPTIONS)],
    "nlvr": [item("1", answer=True, sentence="s")],
    "nlvr2": [item("1", answer=True, sentence="s")],
    "pope": [item("1", "yes", answer="yes"), item("2", "no", answer="no")],
    "mme": [
        item(f"{task} {n}", task, task, answer="yes")
        for task in (*PERCEPTION, *COGNITION)
        for n in (1, 2)
    ],
    "scienceqa": [item("1", **SQA)],
    "scienceqa_judged": [item("1", **SQA, text="The answer is A.")],
    "mmbench": [item(f"1 r{n}", shift=n, **CIRCLE) for n in (0, 1)],
    "mmbench_cn": [item(f"1 r{n}", shift=n, **CIRCLE) for n in (0, 1)],
    "seed": [item("1", options=OPTIONS, answer="A")],
    "mathvista": [item("1", skills=["logical reasoning"], query="1 + 1?", **MATHS)],
    "mm_vet": [item("1", "ocr", question="?", answer="2", capabilities=["ocr"])],
    "llava_bench_wild": [item(k, k, rule="", **ASKED) for k in ("conv", "detail", "complex")],
    "llava_bench_coco": [item(k, k, rule="", **ASKED) for k in ("conv", "detail", "complex")],
    "minigpt4": [item("1", "meme", request="Explain.", note="")],
    "minigpt4_coverage": [item("1", caption="a dog")],
    "minigpt4_failures": [item("1", objects=["dog"], task="poem")],
}
VERDICTS = {
    "mathvista": "2",
    "mm_vet": "0.5",
    "llava_bench_wild": "8 7",
    "llava_bench_coco": "8 7",
    "minigpt4": "yes",
    "minigpt4_coverage": "yes",
    "scienceqa_judged": "The answer is A.",
}
RANKED = ("coco_retrieval", "flickr30k", "msrvtt")


def measured(name: str, folder: Path, said: str = "yes") -> Result:
    judge: Any = Says(VERDICTS.get(name, ""), "judge", "judge")
    backend: Any = Says(said)
    return evaluate(
        backend,
        name,
        benchmarks.load(name)[0],
        ITEMS[name.partition("/")[0]],
        folder,
        options=Options(),
        judge=judge,
        samples=2,
    )


def given(name: str, folder: Path) -> set[tuple[str, str]]:
    """(figure, kind) of all that the benchmark measures."""
    if name in ITEMS:
        return {(f.measure.name, f.measure.kind) for f in measured(name, folder).figures}
    found: Any = benchmarks.load(name)[0]
    rows = np.eye(2, dtype=np.float32)
    if name == "imagenet_clip":
        shown = [_retrieval.items("1", [picture()], ["a dog"])[0]]
        some = [Item(one.id, one.conversation, {"class": "n1"}) for one in shown]
        some.append(Item("class n1", Conversation.ask("a dog"), {"class": "n1"}))
        return {(m.name, m.kind) for m in found.score_embeddings(some, rows, "strict")}
    assert name in RANKED, f"{name} has published figures: say in ITEMS what it is asked"
    some = _retrieval.items("1", [picture()], ["a dog"])
    pairs = found.candidates(some, rows)
    again = found.score_reranked(some, rows, pairs, np.ones(len(pairs), np.float32), "strict")
    plain = found.score_embeddings(some, rows, "strict")
    return {(m.name, m.kind) for m in (*plain, *again)}


def picture() -> Any:
    from PIL import Image as Pillow

    from looksay.types import Image

    return Image(Pillow.new("RGB", (8, 8)))


BASES = sorted({one.benchmark.partition("/")[0] for one in published.every()})


@pytest.mark.parametrize("name", BASES)
def test_every_entry_names_a_figure_that_its_benchmark_gives(name: str, tmp_path: Path) -> None:
    there = given(name, tmp_path)
    for one in published.about(name):
        assert (one.figure, one.kind) in there, (one, sorted(there))


@pytest.mark.parametrize("name", sorted({one.benchmark for one in published.every()}))
def test_every_entry_names_a_part_that_there_is(name: str) -> None:
    benchmarks.load(name)


def test_the_families_are_there_and_the_muddled_figures_are_not() -> None:
    models = {one.model for one in published.every()}
    families = (
        "BLIP ",
        "BLIP-2",
        "Flamingo",
        "LLaVA",
        "LLaVA-1.5",
        "LLaVA-1.6",
        "MiniGPT-4",
        "SimVLM",
        "PaLI",
    )
    others = ("CoLLaVO", "MoAI", "GPT-4V", "GPT-4o", "Claude", "Human", "Random", "Majority")
    for family in (*families, *others):
        assert any(model.startswith(family) for model in models), family
    assert not [one for one in published.about("nocaps") if one.printed == "129.7"]
    assert not published.about("rubric")


def test_entries_fit_into_tables() -> None:
    for one in published.every():
        assert not re.search(r"[|\n<>]", f"{one.model} {one.figure} {one.how} {one.source}"), one
        assert re.fullmatch(r"https://[^\s()]+", one.address), one


def test_values_keep_the_digits_that_are_printed() -> None:
    human = next(one for one in published.about("scienceqa/test") if one.model == "Human")
    assert (human.value, human.printed) == (88.4, "88.40")


# --- beside ---


def test_a_part_has_its_own_figures_and_those_of_the_whole() -> None:
    whole = published.beside("pope/adversarial", "F1")
    assert whole == published.beside("pope", "F1")
    assert {one.benchmark for one in whole} == {"pope"}
    plain = {one.model for one in published.beside("textvqa", "VQA accuracy")}
    assert plain == {"CoLLaVO-7B", "MoAI-7B", "GPT-4V"}
    assert plain < {one.model for one in published.beside("textvqa/llava", "VQA accuracy")}
    assert [one.printed for one in published.beside("nlvr", "accuracy")] == ["55.3"]
    assert [one.printed for one in published.beside("nlvr/test", "accuracy")] == ["56.2"]
    assert published.beside("pope", "accuracy") == []
    assert published.beside("no benchmark", "F1") == []
    assert published.beside("scienceqa", "accuracy", "IMG")[0].printed == "87.50"


# --- What is wrong in the file is told with the entry. ---

SOURCE = '[sources.s]\nwhat = "a page"\naddress = "https://example.org/"\nchecked = true\n'
COLUMN = '[[columns]]\nbenchmark = "pope"\nfigure = "F1"\nsource = "s"\nhow = "beam 1"\n'
VALUES = 'values = { "A" = 1.5 }\n'


def test_a_good_file_is_read() -> None:
    (one,) = published.parse(SOURCE + COLUMN + VALUES)
    assert (one.model, one.value, one.source, one.checked, one.kind) == (
        "A",
        1.5,
        "a page",
        True,
        "",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[sources", "p.toml is no TOML"),
        (SOURCE, "expected tables [sources.NAME] and [[columns]]"),
        (SOURCE + COLUMN, "column 1 of 1 (pope, F1): there is no 'values'"),
        (SOURCE + COLUMN + "values = {}", "column 1 of 1 (pope, F1): 'values' is empty"),
        (
            SOURCE + COLUMN + 'values = { A = "1" }',
            "(pope, F1): the value of 'A' should be a number",
        ),
        (SOURCE + COLUMN + "values = { A = nan }", "the value of 'A' should be a number"),
        (SOURCE + COLUMN + "values = { A = true }", "the value of 'A' should be a number"),
        (
            SOURCE + COLUMN + VALUES + 'when = "now"',
            "(pope, F1): when is unknown. Known: benchmark",
        ),
        (SOURCE + COLUMN.replace('"F1"', "1") + VALUES, "'figure' should be text; found a number"),
        (SOURCE + COLUMN.replace("beam 1", " ") + VALUES, "(pope, F1): 'how' is empty"),
        (SOURCE + COLUMN.replace("pope", "popes/x") + VALUES, "no benchmark 'popes/x'"),
        (SOURCE + COLUMN.replace('"s"', '"t"') + VALUES, "there is no [sources.t]; known: s"),
        (SOURCE.replace("https", "http") + COLUMN + VALUES, "source 's': expected an address"),
        (SOURCE.replace("true", '"yes"') + COLUMN + VALUES, "'checked' should be true or false"),
        (SOURCE + (COLUMN + VALUES) * 2, "column 2 of 2 (pope, F1): 'A' is in column 1 too"),
        ("columns = [1]\nsources = { s = 1 }", "source 's': expected a table"),
    ],
)
def test_a_fault_is_told_with_its_entry(text: str, told: str) -> None:
    with pytest.raises(InputError) as fault:
        published.parse(text, "p.toml")
    assert told in str(fault.value)
    assert str(fault.value).startswith("p.toml")


# --- Reports and the command ---


def test_a_report_has_them_beside_and_marked(tmp_path: Path) -> None:
    found = [measured(name, tmp_path) for name in ("pope", "minigpt4")]
    record = report.record(found)
    rows = record["published"]
    assert {(one["benchmark"], one["name"]) for one in rows} == {
        ("pope", "F1"),
        ("minigpt4", "done"),
    }
    assert rows[0] | {"value": 85.9, "printed": "85.9", "model": "LLaVA-1.5 7B"} == rows[0]
    assert json.loads(json.dumps(record))["published"] == rows

    text = report.table(record)
    assert text.index("one & only on minigpt4") < text.index(published.NOTE)
    assert re.search(r"minigpt4, done\n    people said .*\[4\]\n +65  MiniGPT-4\n", text)
    assert re.search(r"\[1\] LLaVA, docs/MODEL_ZOO.md: https://github.com/\S+MODEL_ZOO.md\n", text)
    assert re.search(r"\[4\] Zhu et al.* \(second-hand\)$", text)

    page = pages.markdown(record)
    assert page.index("## pope (rules") < page.index("### Published figures of pope")
    assert page.index("### Published figures of pope") < page.index("## minigpt4 (rules")
    assert "| F1 | LLaVA-1.5 7B | 85.9 | mean of the three parts' F1" in page
    assert re.search(r"\| done \| BLIP-2 \| 5 \| .*\]\(https://\S+\) \(second-hand\) \|", page)


def test_an_interval_beside_its_value_is_plotted(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: no plots")
    figures = [
        {"name": "F1", "kind": kind, "value": value, "low": low, "high": high}
        for kind, value, low, high in (("", 50.0, 60.0, 70.0), ("no", 40.0, 0.0, 30.0))
    ]
    made = pages.plot({"models": [{"model": "m", "figures": figures}]})
    assert made is not None
    assert made["alt"] == "Bars of F1 by type. m: all 50.0, no 40.0."


def test_a_failed_run_and_an_unknown_benchmark_have_none(tmp_path: Path) -> None:
    whole = measured("pope", tmp_path)
    record = report.record([Result(whole.model, "f", "pope", "strict", whole.asked)])
    assert record["published"] == []
    assert published.NOTE not in report.table(record)
    assert "Published" not in pages.markdown(record)


def test_html_says_not_measured_here_and_links_the_source(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: no plots")
    found = [measured("minigpt4", tmp_path)]
    made = pages.html(report.record(found), found)
    assert "Published figures of minigpt4, not measured here</caption>" in made
    assert re.search(
        r'<a href="https://arxiv.org/abs/2304.10592">Zhu et al[^<]+</a> \(second-hand\)', made
    )


@pytest.mark.slow
def test_axe_finds_nothing_in_a_report_with_published_figures(tmp_path: Path, browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = [measured(name, tmp_path) for name in ("pope", "minigpt4")]
    written, _ = pages.write(report.record(found), found, tmp_path)
    page = browser.new_page()
    page.goto(written.as_uri())
    done = axe.run(page)
    assert done.violations_count == 0, done.generate_report()


def test_the_command_shows_one_card_in_full() -> None:
    done = CliRunner().invoke(app, ["benchmarks", "mathvista"])
    assert done.exit_code == 0, done.output
    for told in ("  paper   Lu et al.", "  also    a judge", "    testmini.json: 1,000 problems"):
        assert told in done.output
    assert "        63.8  GPT-4o\n" in done.output
    assert "not measured here" in done.output
    none = CliRunner().invoke(app, ["benchmarks", "scenes"]).output
    assert "  needs   nothing" in none
    assert "measured here" not in none


def test_the_command_shows_a_part_and_gives_json() -> None:
    done = CliRunner().invoke(app, ["benchmarks", "nlvr/test", "--json"])
    told = json.loads(done.output)
    assert told["title"] == "NLVR"
    assert [one["printed"] for one in told["published"]] == ["56.2"]
    wrong = CliRunner().invoke(app, ["benchmarks", "pop"])
    assert wrong.exit_code != 0
    both = CliRunner().invoke(app, ["benchmarks", "pope", "--markdown"])
    assert both.exit_code != 0
