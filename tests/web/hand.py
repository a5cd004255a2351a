"""What a person does with the chat page and what they see of it, for the tests of the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pictures import jpeg, put


def visit(page: Any, url: str) -> None:
    page.goto(url)
    page.locator("#model option").first.wait_for(state="attached")


def field(page: Any) -> Any:
    return page.get_by_role("textbox", name="Your question")


def send(page: Any, text: str) -> None:
    field(page).fill(text)
    page.keyboard.press("Enter")


def answer(page: Any, n: int = 1, column: int = 0, ends: bool = True) -> Any:
    """The answer to question `n`; when it has ended, unless `ends` is false."""
    found = page.locator(f"[aria-labelledby=answer-{n}-{column}]")
    if ends:
        found.locator(".foot button").first.wait_for()
    return found


def said(page: Any, n: int = 1, column: int = 0) -> str:
    return str(answer(page, n, column).locator("> .text").inner_text())


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def announced(page: Any, text: str | re.Pattern[str]) -> None:
    page.get_by_role("status").get_by_text(text).wait_for(state="attached")


def photos(folder: Path, *names: str) -> list[Path]:
    return [put(folder / name, jpeg(seed)) for seed, name in enumerate(names)]
