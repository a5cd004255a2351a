"""The report as pages: everything of the record is there, plots speak, and axe finds nothing."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("numpy", reason="no numpy: no intervals")

from evaluation.test_running import CARD, Adder
from PIL import Image as Pillow

from looksay.evaluation import pages, report
from looksay.evaluation.benchmark import Item
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.run import Result, evaluate
from looksay.types import Conversation, Image, Options


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
    assert "off less good &amp; right" in made
    assert re.search(
        r'alt="Bars of accuracy by type\. good &amp; right: all 100\.0, even 100\.0', made
    )
    assert made.count('alt="Picture of item') == 2 * 6
    assert "http" not in re.sub(r"data:[^\"]*", "", made)


def test_the_worst_come_first(tmp_path: Path) -> None:
    worst = pages.worst(results(tmp_path)[1])
    assert [(one["id"], one["said"], one["expected"]) for one in worst[:2]] == [
        ("item 3", "5", "4"),
        ("item 0", "1", "1"),
    ]
    assert pages.worst(results(tmp_path)[2]) == []


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
