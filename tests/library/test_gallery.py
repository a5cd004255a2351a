"""The exported gallery in a real browser: accessible by axe's rules, usable by keyboard, safe."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import looksay

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "site"
EVIL = '<script>document.title="owned"</script>" onerror="document.title=1'


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    shutil.copytree(EXAMPLES, site)
    (site / "page.html").write_text('<img src="images/fish-sign.jpg">', "utf-8")
    with looksay.Library(site) as library:
        library.scan()
        library.decide(site / "images/fish-sign.jpg", "edit", EVIL, page="page.html")
        library.decide(
            site / "images/logo.png",
            "edit",
            "A gull.",
            extended="A white gull over three blue waves.",
            page="index.md",
        )
        library.describe("echo")
        out = tmp_path / "gallery.html"
        assert library.export("html", out) == 16
    return out


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(gallery: Path, browser: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = browser.new_page(color_scheme=scheme)
    page.goto(gallery.as_uri())
    results = axe.run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.title() == "Photos and their alt text", "a text ran as script"
    assert page.locator("img").first.get_attribute("alt") is not None
    assert page.get_by_alt_text(EVIL).count() == 1


@pytest.mark.slow
def test_the_extended_description_opens_by_keyboard(gallery: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(gallery.as_uri())
    hidden = page.get_by_text("A white gull over three blue waves.")
    assert not hidden.is_visible()
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    assert hidden.is_visible()
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, "wider than a small screen"
