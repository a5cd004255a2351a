"""`looksay explain`: as text, as JSON, and as a page by axe's rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import looksay
from describing.test_explaining_photos import DOGS, TEXT, assess, described, explained, site
from describing.test_run import Scripted
from pictures import jpeg, put

from looksay.api import Library
from looksay.describing.calibration import ENOUGH

__all__ = ["site"]
EVIL = '<script>document.title="owned"</script>" onerror="document.title=1'


def test_as_text(site: Path) -> None:
    described(site, "Two dogs on the sand.", "b")
    described(site, which="all")
    assess(site)
    done = looksay("explain", site / "Trip to Lisbon" / "1.jpg")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in (
        f"  {TEXT}",
        "  State: a model's words that nobody has reviewed, a",
        "  rejected: three dogs",
        "    b says otherwise: two dogs",
        "    detection:x found it (90%)",
        "  unchecked: a kite (left out of the text)",
        "  The page's title: The beach",
        "  album: Trip to Lisbon",
        "  b (en, told of a page): Two dogs on the sand.",
        "Not known",
    ):
        assert line in lines, done.stdout
    risk = next(line for line in lines if line.startswith("  Risk: "))
    assert "high: " in risk
    assert "three dogs" in risk


def test_as_json(site: Path) -> None:
    described(site)
    assess(site)
    done = looksay("explain", site / "Trip to Lisbon" / "1.jpg", "--json")
    record = json.loads(done.stdout)
    assert record["spots"][0]["words"]["text"] == TEXT
    assert [c["verdict"] for c in record["sayings"][0]["claims"]] == [d.verdict for d in DOGS]


def test_the_risk_is_by_the_users_own_reviews_once_there_are_enough(site: Path) -> None:
    photos = [put(site / f"{n}.jpg", jpeg(n)) for n in range(2, 2 + ENOUGH)]
    with Library(site) as library:
        library.scan()
        library.describe(Scripted(TEXT, "a"))
        for number, photo in enumerate(photos):
            library.decide(photo, "reject" if number % 2 else "accept")
    done = looksay("explain", site / "Trip to Lisbon" / "1.jpg")
    told = re.search(r"  Risk: \w+ by rules alone \(\d+% by your reviews\): ", done.stdout)
    assert told, done.stdout + done.stderr
    assert "is no probability" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Trip to Lisbon/other.jpg",), "There is no photo"),
        (("Trip to Lisbon/1.jpg", "--html", "nowhere/why.html"), "Make the folder first"),
    ],
)
def test_mistakes_are_told_with_what_to_type(site: Path, words: tuple[str, ...], said: str) -> None:
    arguments = [site / word if "/" in word else word for word in words]
    done = looksay("explain", *arguments, "--db", site / "looksay.db")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page(
    site: Path, browser: Any, scheme: str, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    described(site, EVIL, EVIL, which="all")
    described(site, which="all")
    described(site, "", "c", which="all")
    assess(site)
    out = tmp_path / "why.html"
    done = looksay("explain", site / "Trip to Lisbon" / "1.jpg", "--html", out)
    assert done.returncode == 0, done.stderr
    page = browser.new_page(color_scheme=scheme)
    page.goto(out.as_uri())
    results = axe.run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.title() == "Why Trip to Lisbon/1.jpg has its words", "a text ran as script"
    assert page.locator("h1").inner_text() == page.title()
    assert page.get_by_alt_text(TEXT).count() == 1
    assert page.locator("blockquote mark.rejected").first.inner_text() == "Three "
    assert page.get_by_text(EVIL).count() >= 1
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open] pre").is_visible()
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, "wider than a small screen"


@pytest.mark.slow
def test_a_photo_without_words_has_a_page_too(site: Path, browser: Any, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    out = tmp_path / "why.html"
    assert looksay("explain", site / "Trip to Lisbon" / "1.jpg", "--html", out).returncode == 0
    page = browser.new_page()
    page.goto(out.as_uri())
    assert axe.run(page).violations_count == 0
    for sentence in explained(site).lacking:
        assert page.get_by_text(sentence).count() == 1
