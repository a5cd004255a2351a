"""The report as pages: everything of the record is there, plots speak, and axe finds nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("numpy", reason="no numpy: no intervals")

from evaluation.test_running import CARD, SUMS, Adder
from evaluation.test_running import items as sums
from PIL import Image as Pillow

from looksay.evaluation import pages, report
from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.run import Result, evaluate
from looksay.types import Completion, Conversation, Image, Options


def score(answers: Any, compat: str, verdicts: Any) -> list[Measure]:
    return of_verdicts({a.item.id: int(a.text) == a.item.truth["answer"] for a in answers})


def results(folder: Path) -> list[Result]:
    items = [
        Item(
            f"item {n}",
            Conversation.ask(Image(Pillow.new("RGB", (400, 300), (n, 0, 0))), f"{n}+1"),
            {"answer": n + 1},
            kind="odd <b>" if n % 2 else "even",
        )
        for n in range(8)
    ]
    bench: Any = SimpleNamespace(CARD=CARD, score=score)
    models = (
        Adder("good & right"),
        Adder("off", "adder-2", wrong=4),
        Adder("silent", "adder-3", fails=frozenset({"2+1"})),
    )
    return [evaluate(model, "sums", bench, items, folder, options=Options()) for model in models]


def test_html_holds_everything_and_escapes_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: no plots")
    found = results(tmp_path)
    made = pages.html(report.record(found), found)
    assert made == pages.html(report.record(found), found)
    assert "good &amp; right" in made
    assert "odd &lt;b&gt;" in made
    assert "odd <b>" not in made
    assert "silent is not scored:" in made
    assert "<dt>accuracy</dt><dd>The share of questions with a right answer.</dd>" in made
    assert re.search(r"<dt>unreadable</dt><dd>The share .* Less is better\.</dd>", made)
    assert "off less good &amp; right" in made
    assert re.search(
        r'alt="Bars of accuracy by type\. good &amp; right: all 100\.0, even 100\.0', made
    )
    assert made.count('alt="Picture of item') == 2 * 6
    assert "http" not in re.sub(r"data:[^\"]*", "", made)


def test_the_worst_come_first(tmp_path: Path) -> None:
    worst = pages.worst(results(tmp_path)[1])
    assert [one["answers"] for one in worst[:2]] == [
        [{"id": "item 3", "asked": "3+1", "said": "5", "expected": "4"}],
        [{"id": "item 0", "asked": "0+1", "said": "1", "expected": "1"}],
    ]
    assert pages.worst(results(tmp_path)[2]) == []


class First(Adder):
    """Chooses the first option whatever it is, and says nothing to the question about the last."""

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for number, conversation in enumerate(conversations):
            text = conversation.messages[-1].text
            yield Completion(number, "" if "A. bus" in text else "A")


def test_of_a_question_asked_in_every_order_the_orders_that_were_wrong_are_shown(
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: no plots")
    from evaluation.benchmarks.test_choice_benchmarks import DEV, ROTATED, row, table
    from evaluation.benchmarks.test_choice_benchmarks import picture as as_base64

    from looksay.evaluation.benchmarks import mmbench

    # In both orders of 9 the first option is right: nothing decided against it.
    sure = [
        row(9 + shift * 10**6, ["one", "two"], "A", image=as_base64(9), category="sure")
        for shift in range(2)
    ]
    table(tmp_path / DEV, [*ROTATED, *sure])
    items = mmbench.read(tmp_path)
    found = evaluate(First(), "mmbench", mmbench, items, tmp_path / "out", options=Options())
    shown = {
        one["id"]: [(a["id"], a["said"], a["expected"]) for a in one["answers"]]
        for one in pages.worst(found)
    }
    assert shown == {
        "7 r0": [("7 r0", "A", "B"), ("7 r2", "", "C")],
        "8 r0": [("8 r1", "A", "B")],
        "9 r0": [("9 r0", "A", "A")],
    }
    page = pages.html(report.record([found]), [found])
    assert page.count("<dt>Item</dt>") == 4
    assert "<dt>Item</dt><dd>8 r1</dd>" in page


def test_what_the_judge_took_stands_beside_what_the_model_took(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: no plots")

    def judge(answers: list[Answer]) -> list[Item]:
        return [Item(a.item.id, Conversation.ask(f"{a.text}+1")) for a in answers]

    def judged(answers: Any, compat: str, verdicts: list[Answer]) -> list[Measure]:
        return of_verdicts({v.item.id: True for v in verdicts})

    items = [Item(str(n), Conversation.ask(f"{n}+1")) for n in range(3)]
    bench: Any = SimpleNamespace(CARD=CARD, score=judged, judge=judge)
    reader = Adder("reader", "reader-1", fails=frozenset({"3+1"}))
    # A call that failed took nothing; what it takes once it is made again counts.
    for fails, calls in ((frozenset({"3+1"}), 2), (frozenset[str](), 3)):
        reader.fails = fails
        found = [
            evaluate(Adder(), "judged", bench, items, tmp_path, options=Options(), judge=reader)
        ]
        record = report.record(found)
        (result,) = record["results"]
        assert (result["prompt_tokens"], result["completion_tokens"]) == (9, 3)
        spent = (3 * calls, calls, 0.5 * calls)
        names = ("judge_prompt_tokens", "judge_completion_tokens", "judge_seconds")
        assert tuple(result[name] for name in names) == spent
        assert result["judge_cost_usd"] == pytest.approx(0.01 * calls)
    row = "| adder | judged | 3 | 9, 3 | 0.0300 | reader | 9, 3 | 0.0300 |"
    assert row in pages.markdown(record)
    page = pages.html(record, found)
    assert "judge’s tokens in, out" in page
    assert page.count('<td class="n">9, 3</td>') == 2
    alone = report.record([evaluate(Adder(), "sums", SUMS, sums(2), tmp_path, options=Options())])
    assert "| adder | sums | 2 | 6, 2 | 0.0200 | none | - | - |" in pages.markdown(alone)


def test_markdown_is_tables(tmp_path: Path) -> None:
    found = results(tmp_path)
    text = pages.markdown(report.record(found))
    assert "| accuracy | 100.0 (100.0 to 100.0) | 87.5 " in text
    assert "silent: not scored, 1 of 8 calls failed." in text
    assert "| sums | accuracy | off - good & right | -12.5 " in text


@pytest.mark.slow
def test_axe_finds_nothing(tmp_path: Path, browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = results(tmp_path)
    written, _ = pages.write(report.record(found), found, tmp_path)
    page = browser.new_page()
    page.goto(written.as_uri())
    done = axe.run(page)
    assert done.violations_count == 0, done.generate_report()
