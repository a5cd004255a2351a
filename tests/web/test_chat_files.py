"""The chat page as files: what the server sends, what the package holds, and the small parts of its script."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from web.opened import page, stub
from web.stub import Stub, app, serving

from looksay.web import pages

__all__ = ["page", "stub"]

WEB = Path(pages.__file__).parent
WORDS = WEB / "templates"
PAGES = sorted(path.stem for path in WORDS.glob("*.json") if path.stem != "words")
MAX_LINES = 200


@pytest.fixture(scope="module")
def site() -> Any:
    with serving(app(Stub())) as url, httpx.Client(base_url=url) as client:
        yield client


def linked(page: str) -> list[str]:
    return [one for one in re.findall(r'(?:href|src)="([^"]+)"', page) if not one.startswith("#")]


def test_files_are_sent_once_and_the_page_is_asked_for_anew(site: httpx.Client) -> None:
    page = site.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    again = site.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert linked(page.text)
    for address in linked(page.text):
        found = site.get(f"/{address}")
        assert found.status_code == 200, address
        assert "immutable" in found.headers["cache-control"]
        assert re.search("javascript|css|svg", found.headers["content-type"]), address


def test_no_path_reaches_other_files(site: httpx.Client) -> None:
    folder = linked(site.get("/").text)[0].rpartition("/")[0]
    for name in ["..%2fchat.py", "../chat.py", "%2e%2e/chat.py", "words.json", "", "nothing.js"]:
        assert site.get(f"/{folder}/{name}").status_code == 404, name
    assert site.get("/static/000000000000/chat.js").status_code == 404


def test_the_page_needs_nothing_from_elsewhere_and_no_inline_code(site: httpx.Client) -> None:
    page = site.get("/").text
    body = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|https?://", body)
    for path in (WEB / "static").iterdir():
        text = re.sub(
            r"http://www.w3.org/2000/svg|https://html.spec.whatwg.org\S*",
            "",
            path.read_text("utf-8"),
        )
        assert "://" not in text, path.name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        ), path.name
        assert text.count("\n") <= MAX_LINES, path.name


def test_the_language_is_negotiated(site: httpx.Client) -> None:
    for wish, language in [
        ("ko", "ko"),
        ("de;q=1, ko;q=0.5, en;q=0.4", "ko"),
        ("fr, *;q=0.1", "en"),
    ]:
        page = site.get("/", headers={"Accept-Language": wish})
        assert f'<html lang="{language}">' in page.text
        assert page.headers["vary"] == "Accept-Language"
    assert pages.preferred("ko;q=nonsense, en-GB", {"ko": 1, "en": 1}) == "en"


@pytest.mark.parametrize("name", PAGES)
def test_both_languages_say_the_same_things(name: str) -> None:
    words = pages.words(name)
    english, korean = words["en"], words["ko"]
    assert list(english) == list(korean)
    for key, text in english.items():
        blanks = sorted(re.findall(r"\{\w+\}", text))
        assert sorted(re.findall(r"\{\w+\}", korean[key])) == blanks, key
        assert re.search("[가-힣]", korean[key]) or not re.search(
            "[a-z]", re.sub(r"\{\w+\}", "", text)
        ), key


@pytest.mark.parametrize("name", PAGES)
def test_every_word_is_used_and_every_used_word_exists(name: str) -> None:
    used = " ".join(
        path.read_text("utf-8") for path in WEB.rglob("*.[jh]*") if path.suffix != ".json"
    )
    for key in pages.words(name)["en"]:
        # Keys that are put together: advice_404, theme_dark, idea_dice_ask.
        stem = re.match(
            r"(?:advice|theme|idea|verdict|level|verb|done|kind|how|why|state|what|context|only|missing)_",
            key,
        )
        found = stem[0] if stem else rf"{key}\b"
        assert re.search(rf"\b{found}", used), f"nobody says {key}"


SPLIT = """async (folder) => {
    const {events} = await import(`/${folder}/sse.js`);
    const bytes = new TextEncoder().encode(
        ": ping\\r\\n\\r\\ndata: {\\"a\\": \\"개\\"}\\r\\n\\r\\ndata:two\\ndata: lines\\n\\nevent: x\\rdata: old\\r\\r" +
        "data\\n\\ndata: unfinished");
    const outcomes = new Set();
    for (let first = 0; first <= bytes.length; first += 1)
        for (const second of [first, first + 1, first + 2, bytes.length]) {
            const pieces = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
            const body = new ReadableStream({
                start(flow) { pieces.forEach((piece) => flow.enqueue(piece)); flow.close(); }});
            const found = [];
            for await (const data of events(body)) found.push(data);
            outcomes.add(JSON.stringify(found));
        }
    return [...outcomes];
}"""


@pytest.mark.slow
def test_a_stream_reads_the_same_however_it_is_cut(page: Any, stub: Stub) -> None:
    folder = linked(httpx.get(stub.url).text)[0].rpartition("/")[0]
    outcomes = page.evaluate(SPLIT, folder)
    assert [json.loads(one) for one in outcomes] == [['{"a": "개"}', "two\nlines", "old", ""]]
