"""The open review page, before a real server process, and what a person does with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="no fastapi: no server")
pytest.importorskip("uvicorn", reason="no uvicorn: no server")

from pictures import jpeg, put

import looksay
from looksay.backends.base import Backend
from looksay.describing.claims import Checked, Claim, Evidence, Said, as_records
from looksay.library.assessments import Assessments
from looksay.library.catalog import Catalog
from looksay.library.records import Decision, Key

TIMEOUT_MS = 120_000
"""No test is timed: this ends one that waits for what never comes."""
TEXTS = {
    "ollama:one": "Three small dogs on a red sofa.",
    "ollama:two": "Two small dogs on a red sofa.",
    "ollama:three": "Probably dogs.",
}


@contextmanager
def reviewing(folder: Path, *options: str, port: int = 0) -> Iterator[tuple[str, Any]]:
    """`looksay review` as a process: (its address, the process)."""
    command = [sys.executable, "-m", "looksay", "review", str(folder), "--port", str(port)]
    command += ["--cache", str(folder / ".thumbnails"), "--who", "ana", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"http://[\w.:]+", line):
            rest = threading.Thread(target=process.stderr.read)
            rest.start()
            try:
                yield found[0], process
            finally:
                process.kill()
                process.wait()
                rest.join()
                process.stderr.close()
            return
    process.stderr.close()
    process.wait()
    raise AssertionError(f"the server did not start: {said}")


def library(folder: Path, photos: int, backend: str | Backend = "echo") -> Path:
    """So many photos, described."""
    for n in range(photos):
        put(folder / f"{n:03d}.jpg", jpeg(n, (64, 48)))
    with looksay.Library(folder) as opened:
        opened.scan()
        opened.describe(backend)
    return folder


def told(folder: Path) -> Path:
    """Two photos of a page, of which three models said something, and evidence on one of these texts."""
    put(folder / "dogs.jpg", jpeg(1, (640, 480)))
    put(folder / "sea.jpg", jpeg(2, (640, 480)))
    put(folder / "walk.md", "# A walk\n\nWith the dogs.\n\n![](dogs.jpg)\n\n![](sea.jpg)\n")
    with looksay.Library(folder) as opened:
        opened.scan()
        put(folder / "near.jpg", jpeg(1, (320, 240)))  # the first that is seen leads
        opened.scan()
        catalog, ledger = opened.catalog, opened.catalog.ledger
        dogs, sea = (catalog.targets.find(name, "walk.md") for name in ("dogs.jpg", "sea.jpg"))
        assert dogs is not None
        assert sea is not None
        for model, text in reversed(TEXTS.items()):
            add(catalog, dogs.photo_id, model, text)
        add(catalog, sea.photo_id, "ollama:one", "The sea at noon.")
        claims = [
            checked("object", "dog", "", "dogs", (12, 16), 0.9),
            checked("count", "dog", "3", "three dogs", (0, 5), 0.1),
            checked("attribute", "dog", "small", "small dogs", (6, 11), 0.5),
            checked("attribute", "sofa", "red", "a red sofa", (22, 30), None),
        ]
        generation = catalog.one(
            "SELECT max(id) FROM generation WHERE photo_id = ?", (dogs.photo_id,)
        )
        Assessments(catalog).add(generation, "test", as_records(claims), {})
        assert ledger.words(dogs).text == TEXTS["ollama:one"]
    return folder


def add(catalog: Catalog, photo: int, model: str, text: str) -> None:
    catalog.ledger.add_generation(
        Key(photo, catalog.ledger.model_id(model, "1", False), "p", "s", "en", ""),
        raw=text, alt=text, extended="", decorative=False, notes=[], prompt_tokens=None, completion_tokens=None,
        cost_usd=0.0, seconds=1.0, details={},
    )  # fmt: skip


def checked(
    kind: Any, subject: str, value: str, words: str, span: tuple[int, int], support: float | None
) -> Checked:
    told = () if support is None else (Evidence("ollama:two", "said", support, "Two small dogs"),)
    return Checked(Said(Claim(kind, subject, value), (span,)), words, told, support)


@contextmanager
def opened(browser: Any, url: str, faults: bool = False, **options: Any) -> Iterator[Any]:
    """The open page. It asks no other server, breaks no rule of its security policy, and no script fails."""
    context = browser.new_context(locale="en-GB", **options)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("request", lambda sent: sent.url.startswith((url, "blob:")) or wrong.append(sent.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: "Failed to load" in said.text or wrong.append(said.text))
    page.goto(url)
    page.locator("#item:not([hidden]), #nothing:not([hidden]), dialog[open]").first.wait_for()
    idle(page)
    yield page
    context.close()
    assert not wrong


def shown(page: Any) -> str:
    """The photo that is shown."""
    return str(page.locator("#title").inner_text())


def press(page: Any, key: str, then: str | re.Pattern[str] = "") -> None:
    """Press a key once the page hears it, and wait until something else is said, or until that is said."""
    idle(page)
    before = said(page)
    page.keyboard.press(key)
    if then:
        page.locator("#status").get_by_text(then).wait_for(state="attached")
    else:
        wait(page, lambda: said(page) not in ("", before))
    idle(page)


def idle(page: Any) -> None:
    """Wait until the page has done what it was told, and said what it shows: while it is at that, it hears nothing."""
    wait(
        page,
        lambda: bool(
            page.evaluate(
                "!('busy' in document.body.dataset) && "
                "(document.getElementById('item').hidden || document.getElementById('status').textContent !== '')"
            )
        ),
    )


def said(page: Any) -> str:
    """What a screen reader was given to say last."""
    return str(page.evaluate("document.getElementById('status').textContent"))


def wait(page: Any, until: Callable[[], bool]) -> None:
    """Wait for what the page's policy forbids Playwright to wait for itself: it would evaluate a string."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not until():
        assert time.monotonic() < deadline, f"the page stays like this: {page.inner_text('body')}"
        page.wait_for_timeout(10)


def decisions(folder: Path) -> list[Decision]:
    with closing(Catalog(folder / "looksay.db")) as catalog:
        return [Decision(**dict(row)) for row in catalog.rows("SELECT * FROM decision ORDER BY id")]


def kept(page: Any) -> list[str]:
    """What this browser keeps of the review."""
    return list(json.loads(page.evaluate("JSON.stringify(Object.keys(localStorage))")))
