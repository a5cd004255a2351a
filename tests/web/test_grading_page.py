"""The grading page before the real server: blind, by keyboard alone, and no grade lost whatever ends the server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="no fastapi: no server")
pytest.importorskip("uvicorn", reason="no uvicorn: no server")

from comparing.compared import compared, library, says
from web.stub import serving

import looksay
from looksay.comparing import figures
from looksay.comparing.board import open_newest
from looksay.web.grading import create_app

GRADE = {
    "named": 2, "objects": 3, "mood": True, "purpose": True, "repetition": False, "grammar": False, "hallucinations": 0,
}  # fmt: skip
TIMEOUT_MS = 300_000
SECRET = ("secret-one", "secret-two")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = [
        says(lambda stem, n=n: f"Text {n} says <i>{stem}</i>.", name)
        for n, name in enumerate(SECRET)
    ]
    with library(tmp_path / "site", 2) as found:
        compared(found, models)
    return tmp_path / "site"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with looksay.Library(folder) as found:
        board = open_newest(found.catalog)
        assert board is not None
        app = create_app(found.catalog.path, board.comparison, rater="Kim")
    with serving(app) as url:
        yield url


def ask(url: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{url}/{path}", data, {"Content-Type": "application/json"} if data else {}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def grades(folder: Path) -> list[tuple[str, int, float]]:
    with looksay.Library(folder) as found:
        return [
            tuple(row)
            for row in found.catalog.rows(
                "SELECT rater, generation_id, points FROM rating ORDER BY id"
            )
        ]


def test_nothing_that_the_server_says_tells_who_wrote_a_text(folder: Path) -> None:
    with served(folder) as url:
        seen, said = set[int](), ""
        for number in range(6):
            status, found = ask(url, "api/grading/next?rater=Kim")
            assert (status, found["done"], found["total"]) == (200, number, 6)
            said += json.dumps(found)
            seen.add(found["text"]["id"])
            sent = {
                "rater": "Kim",
                "id": found["text"]["id"],
                "token": f"token {number} of it",
                "grade": GRADE,
            }
            assert ask(url, "api/grading/grade", sent)[0] == 200
        assert len(seen) == 6
        assert not any(name in said for name in SECRET)
        assert ask(url, "api/grading/next?rater=Kim")[1]["text"] is None
        assert ask(url, "api/grading/next?rater=Lee")[1]["done"] == 0
    assert len(grades(folder)) == 6


def test_a_grade_sent_twice_is_one_and_a_wrong_one_is_refused(folder: Path) -> None:
    with served(folder) as url:
        id = ask(url, "api/grading/next?rater=Kim")[1]["text"]["id"]
        sent = {"rater": "Kim", "id": id, "token": "the same token", "grade": GRADE}
        for _ in range(3):
            assert ask(url, "api/grading/grade", sent)[1]["done"] == 1
        for wrong in (
            sent | {"id": 9999},
            sent | {"rater": "  "},
            sent | {"grade": GRADE | {"named": 7}},
            sent | {"token": "short"},
            {"rater": "Kim"},
        ):
            status, found = ask(url, "api/grading/grade", wrong)
            assert status == 400
            assert found["error"]["message"]
        assert ask(url, "api/grading/photo/77")[0] == 404
    assert len(grades(folder)) == 1


def test_another_site_cannot_ask_through_a_name_that_points_here(folder: Path) -> None:
    with served(folder) as url:
        request = urllib.request.Request(
            f"{url}/api/grading/next?rater=Kim", headers={"Host": "evil.example"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 421
        refused.value.close()


def test_a_photo_that_was_deleted_is_left_out_and_said(folder: Path) -> None:
    with served(folder) as url:
        (folder / "1.jpg").unlink()
        found = ask(url, "api/grading/next?rater=Kim")[1]
        assert (found["total"], found["gone"]) == (4, 1)
        with looksay.Library(folder) as library_:
            board = open_newest(library_.catalog)
            assert board is not None
            place = [one.path for one in board.places].index("1.jpg")
        status, said = ask(url, f"api/grading/photo/{place}")
        assert status == 404
        assert "cannot be shown" in said["error"]["message"]


# --- in a browser -------------------------------------------------------------------------------------


@contextmanager
def opened(browser: Any, url: str, locale: str = "en-GB") -> Iterator[Any]:
    """The open page. It asks no other server, breaks no rule of its security policy, and no script fails."""
    context = browser.new_context(locale=locale, viewport={"width": 1000, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("request", lambda sent: sent.url.startswith(url) or wrong.append(sent.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda said: "Failed to load resource" in said.text or wrong.append(said.text)
    )
    page.goto(url)
    yield page
    context.close()
    assert not wrong


def begin(page: Any, name: str = "") -> None:
    page.locator("#rater:focus").wait_for()
    if name:
        page.keyboard.press("Control+a")
        page.keyboard.type(name)
    page.keyboard.press("Enter")


@pytest.mark.slow
def test_everything_is_graded_by_keyboard_alone(folder: Path, browser: Any) -> None:
    with served(folder) as url, opened(browser, url) as page:
        assert page.locator("#rater").input_value() in ("", "Kim")
        begin(page, "Kim")
        for number in range(6):
            page.get_by_role("heading", name=f"{number} of 6 graded").wait_for()
            assert page.evaluate("document.activeElement.name") == "objects"
            words = page.locator("#text").inner_text()
            assert re.fullmatch(r"Text [01] says <i>\w+</i>\.", words), "what a model says is text"
            page.keyboard.press("Tab")  # how many of them are named
            page.keyboard.press("Space")
            for _ in range(2 if words.startswith("Text 1") else 1):
                page.keyboard.press("ArrowRight")
            page.keyboard.press("Tab")
            page.keyboard.press("Space")  # the mood
            page.keyboard.press("Enter")
        page.get_by_role("heading", name="All is graded").wait_for()
        assert page.evaluate("document.activeElement.id") == "done-title"
    with looksay.Library(folder) as found:
        board = open_newest(found.catalog)
        assert board is not None
        (panel,) = figures.panels(board)
        means = dict(
            zip([e.name for e in board.entrants], figures.means(board, panel), strict=True)
        )
        assert means["secret-one"].value == pytest.approx(4 / 3 + 1)
        assert means["secret-two"].value == pytest.approx(8 / 3 + 1)


@pytest.mark.slow
def test_a_grade_can_be_looked_at_again_and_corrected(folder: Path, browser: Any) -> None:
    with served(folder) as url, opened(browser, url) as page:
        begin(page, "Kim")
        page.get_by_role("heading", name="0 of 6 graded").wait_for()
        first = page.locator("#text").inner_text()
        page.get_by_role("group", name="Of these, the text names").get_by_label("3").check()
        page.get_by_label("Details that are not in the photo").fill("2")
        page.get_by_role("button", name="Save, next").click()
        page.get_by_role("heading", name="1 of 6 graded").wait_for()
        page.get_by_role("button", name="The one before").click()
        page.locator("#text").filter(has_text=first).wait_for()
        assert page.get_by_label("Details that are not in the photo").input_value() == "2"
        page.get_by_label("Details that are not in the photo").fill("0")
        page.get_by_role("button", name="Save, next").click()
        page.get_by_role("heading", name="1 of 6 graded").wait_for()
        page.locator("#text").filter(has_not_text=first).wait_for()
        page.get_by_role("group", name="Key objects in the photo").get_by_label("1").check()
        page.get_by_role("group", name="Of these, the text names").get_by_label("3").check()
        page.get_by_role("button", name="Save, next").click()
        page.get_by_text("More objects are named than there are").first.wait_for()
    assert [points for _, _, points in grades(folder)] == [2, 4]
    assert len({id for _, id, _ in grades(folder)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locale", "missing", "number"),
    [
        ("en-GB", "Choose how many of the key objects the text names.", "Type how many details"),
        ("ko-KR", "주요 대상 가운데 몇 개가 글에 나오는지 고르세요.", "사진에 없는 내용의 수를"),
    ],
)
def test_what_is_missing_is_said_beside_it(
    folder: Path, browser: Any, locale: str, missing: str, number: str
) -> None:
    with served(folder) as url, opened(browser, url, locale) as page:
        begin(page, "Kim")
        page.locator("[name=objects]:focus").wait_for()
        page.keyboard.press("Enter")
        page.locator("#status").get_by_text(missing).wait_for(state="attached")
        group = page.locator("fieldset", has=page.locator("[name=named]"))
        assert group.get_by_text(missing).is_visible()
        assert group.get_attribute("aria-describedby") == "named-wrong"
        assert page.evaluate("document.activeElement.name") == "named"
        page.keyboard.press("Space")
        group.get_by_text(missing).wait_for(state="hidden")
        assert group.get_attribute("aria-describedby") is None
        page.locator("#hallucinations").fill("13")
        page.keyboard.press("Enter")
        page.locator("#hallucinations-wrong").get_by_text(number).wait_for()
        assert page.evaluate("document.activeElement.id") == "hallucinations"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.locator("#bar[value='1']").wait_for(state="attached")
        assert page.locator("#grade .failure:visible").count() == 0
    assert len(grades(folder)) == 1


def started(folder: Path, *words: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "looksay", "compare", str(folder), "--grade", "--rater", "Kim", "--port", "0", *words],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=folder.parent,
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    while (found := re.search(r"http://127\.0\.0\.1:\d+", said)) is None:
        line = process.stderr.readline()
        assert line, said
        said += line
    return process, found[0]


@pytest.mark.slow
def test_no_grade_is_lost_or_doubled_when_the_server_is_killed(folder: Path, browser: Any) -> None:
    process, url = started(folder)
    port = url.rpartition(":")[2]
    try:
        with opened(browser, url) as page:
            begin(page)
            for number in range(6):
                page.get_by_role("heading", name=f"{number} of 6 graded").wait_for()
                page.get_by_role("group", name="Of these, the text names").get_by_label("2").check()
                if number == 3:
                    process.kill()
                    process.communicate()
                    page.get_by_role("button", name="Save, next").click()
                    page.get_by_text("The server cannot be reached.").first.wait_for()
                    process, _ = started(folder, "--port", port)
                page.get_by_role("button", name="Save, next").click()
            page.get_by_role("heading", name="All is graded").wait_for()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
        assert "There is one rater (Kim)" in said
        assert (folder.parent / "compare.html").is_file()
    finally:
        process.kill()
        process.communicate()
    assert len(grades(folder)) == 6
    assert len({id for _, id, _ in grades(folder)}) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locale", "heading"), [("en-GB", "0 of 6 graded"), ("ko-KR", "6개 중 0개 채점함")]
)
def test_axe_finds_nothing_in_both_languages_on_a_phone_too(
    folder: Path, browser: Any, locale: str, heading: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with served(folder) as url, opened(browser, url, locale) as page:

        def clean() -> None:
            for width in (1000, 360):
                page.set_viewport_size({"width": width, "height": 800})
                done = axe.run(page)
                assert done.violations_count == 0, done.generate_report()
                assert page.evaluate("document.documentElement.scrollWidth") <= width

        page.locator("#rater:focus").wait_for()
        clean()
        begin(page, "Kim")
        page.get_by_role("heading", name=heading).wait_for()
        clean()
        page.locator("#theme").select_option("dark")
        clean()
        for number in range(6):
            page.locator("[name=named]").first.check()
            page.locator("#save").click()
            page.locator(f"#bar[value='{number + 1}']").wait_for(state="attached")
        page.locator("#done-title").wait_for()
        clean()


def test_both_languages_say_the_same_things() -> None:
    from looksay.web import pages

    words = pages.words("grading")
    assert words["en"].keys() == words["ko"].keys()
    for key, text in words["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", words["ko"][key])), (
            key
        )
