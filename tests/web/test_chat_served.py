"""The chat page as `looksay serve` serves it, before the real endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web.hand import answer, photos, said, send
from web.stub import serving

from looksay.serve.shelf import Shelf
from looksay.web.app import create_app

pytestmark = pytest.mark.slow


@pytest.fixture
def url() -> Iterator[str]:
    with serving(create_app(Shelf({"echo": "echo", "slow": "echo:0.01"}), key="right")) as url:
        yield url


def test_two_models_are_asked_about_a_picture(url: str, browser: Any, tmp_path: Path) -> None:
    page = browser.new_page(locale="en-GB")
    page.set_default_timeout(300_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: "Failed to load" in said.text or wrong.append(said.text))
    page.goto(url)
    page.get_by_role("dialog", name="This server asks for a key").wait_for()
    page.keyboard.type("right")
    page.keyboard.press("Enter")
    page.locator("#model option").first.wait_for(state="attached")
    page.get_by_label("Compare with").select_option("slow")
    page.set_input_files("#files", photos(tmp_path, "cat.jpg"))
    page.get_by_alt_text("cat.jpg").wait_for()
    send(page, "What is it?")
    assert said(page, 1, 0).startswith("Echo ")
    assert said(page, 1, 0) == said(page, 1, 1)
    send(page, "And now?")
    assert said(page, 2, 0).startswith("Echo ")
    assert said(page, 2, 0) != said(page, 1, 0), "the second question is the first again"
    assert answer(page, 2, 0).locator(".failure").count() == 0
    page.reload()
    page.locator("#model option").first.wait_for(state="attached")
    assert said(page, 2, 1).startswith("Echo ")
    page.set_input_files("#files", {"name": "b.heic", "mimeType": "", "buffer": b"no picture"})
    page.get_by_role("img", name="b.heic").wait_for()
    send(page, "And this?")
    failed = answer(page, 3, 0).locator(".failure")
    assert failed.get_by_text("Change the question or the settings").is_visible()
    assert failed.locator("p").count() == 2, "the server says what is wrong with the picture"
    page.close()
    assert not wrong
