"""The report is one file that needs nothing, says everything, and is open to all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from comparing.compared import compared, grade, library, says
from comparing.test_judging import judge

from looksay.comparing import judging, report

EVIL = "<script>document.title = 1</script> & <b>bold</b>"


def made(folder: Path) -> str:
    """A comparison with all there can be: people, a judge who leans, empty cells, evil words."""
    models = [
        says(lambda stem: f"A good text about photo {stem}.", "able <b>"),
        says(lambda stem: f"A dog beside {stem}. {EVIL}", "evil"),
        says(
            lambda stem: "!It broke <i>here</i>." if stem in "024" else f"It is {stem} there.",
            "broken",
        ),
    ]
    with library(folder) as found:
        board = compared(found, models)
        for name, less in (("Kim", 0), ("Lee", 1)):
            grade(
                board,
                name,
                lambda place, entrant, less=less: max(0, 3 - entrant - less * (place % 2)),
            )
        judging.Judge(board, judge(lambda one, other: "FIRST" if "good" in one else "SECOND")).run()
        record = report.record(board, {0: ["dog"]})
        html = report.html(board, record)
        assert html == report.html(board, record)
        return html


def test_it_holds_everything_and_escapes_it(tmp_path: Path) -> None:
    html = made(tmp_path)
    assert "<script" not in html
    assert "able &lt;b&gt;" in html
    assert "It broke &lt;i&gt;here&lt;/i&gt;." in html
    assert "http" not in re.sub(r"data:[^\"]*", "", html), "it fetches nothing"
    assert html.count('src="data:image/jpeg;base64,') == 7
    for words in (
        "Graded by people (Kim, Lee)",
        "Graded by judge",
        "A person wrote: A red dog",
        "Weighted kappa",
    ):
        assert words in html
    assert html.count('role="img"') == html.count("<svg")
    assert "Pairs judged in both orders:" in html
    assert len(html) < 400_000


@pytest.mark.slow
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    tmp_path: Path, browser: Any
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    path = tmp_path / "compare.html"
    path.write_text(made(tmp_path / "site"), "utf-8")
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 380, "height": 700})
        page.goto(path.as_uri())
        done = axe.run(page)
        assert done.violations_count == 0, done.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        page.close()
